//! The testbed's etcd does what its faults promise.

use std::time::Duration;

use anyhow::{Result, bail};
use testbed::{Etcd, EtcdOptions, eventually};

const KEY: &str = "testbed/key";

async fn read(etcd: &Etcd) -> Result<String> {
    etcd.etcdctl(&["get", "--print-value-only", KEY])
        .await?
        .success()
}

#[tokio::test]
async fn one_member_keeps_its_data_over_a_kill() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    etcd.etcdctl(&["put", KEY, "before"]).await?.success()?;
    let endpoints = etcd.endpoints();
    etcd.member(0).kill()?;
    assert!(!etcd.member(0).is_running());
    etcd.etcdctl(&["--command-timeout=1s", "--dial-timeout=1s", "get", KEY])
        .await?
        .failure()?;
    etcd.member(0).restart().await?;
    assert_eq!(etcd.endpoints(), endpoints);
    assert_eq!(read(&etcd).await?, "before\n");
    Ok(())
}

#[tokio::test]
async fn a_paused_member_is_mute_until_it_is_resumed() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    etcd.member(0).pause()?;
    assert!(etcd.member(0).is_running());
    etcd.etcdctl(&["--command-timeout=1s", "--dial-timeout=1s", "get", KEY])
        .await?
        .failure()?;
    etcd.member(0).resume()?;
    etcd.healthy().await
}

#[tokio::test]
async fn three_members_live_through_the_loss_of_their_leader() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    let leader = etcd.leader().await?;
    etcd.member(leader).kill()?;
    let others: Vec<String> = etcd
        .members()
        .iter()
        .filter(|m| m.is_running())
        .map(testbed::Member::endpoint)
        .collect();
    let endpoints = format!("--endpoints={}", others.join(","));
    eventually(
        "a write without the old leader",
        Duration::from_secs(20),
        async || {
            etcd.etcdctl(&[&endpoints, "put", KEY, "after"])
                .await?
                .success()
        },
    )
    .await?;
    etcd.member(leader).restart().await?;
    assert_eq!(read(&etcd).await?, "after\n");
    etcd.member(0).stop().await?;
    assert!(!etcd.member(0).is_running());
    Ok(())
}

#[tokio::test]
async fn a_restored_snapshot_forgets_what_came_after_it() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    etcd.etcdctl(&["put", KEY, "old"]).await?.success()?;
    let snapshot = etcd.snapshot("snapshot.db").await?;
    etcd.etcdctl(&["put", KEY, "new"]).await?.success()?;
    etcd.restore(&snapshot, &[]).await?;
    assert_eq!(read(&etcd).await?, "old\n");
    etcd.wipe().await?;
    assert_eq!(read(&etcd).await?, "");
    Ok(())
}

#[tokio::test]
async fn a_flag_that_etcd_does_not_know_is_quoted_from_its_log() -> Result<()> {
    let Err(error) = Etcd::start(EtcdOptions::new().flag("--no-such-flag")).await else {
        bail!("it started");
    };
    let text = format!("{error:#}");
    assert!(
        text.contains("ended while it was starting") && text.contains("no-such-flag"),
        "{text}"
    );
    Ok(())
}
