//! The testbed's etcd does what its faults promise.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::{Etcd, EtcdOptions, eventually};

const KEY: &str = "testbed/key";
const SOON: Duration = Duration::from_secs(30);

async fn read(etcd: &Etcd) -> Result<String> {
    etcd.etcdctl(&["get", "--print-value-only", KEY])
        .await?
        .success()
}

/// A member may be too busy to answer at once.
async fn leader(etcd: &Etcd) -> Result<usize> {
    eventually("a leader", SOON, async || etcd.leader().await).await
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
    let leader = leader(&etcd).await?;
    etcd.member(leader).kill()?;
    let others: Vec<String> = etcd
        .members()
        .iter()
        .filter(|m| m.is_running())
        .map(testbed::Member::endpoint)
        .collect();
    let endpoints = format!("--endpoints={}", others.join(","));
    eventually("a write without the old leader", SOON, async || {
        etcd.etcdctl(&[&endpoints, "put", KEY, "after"])
            .await?
            .success()
    })
    .await?;
    etcd.member(leader).restart().await?;
    assert_eq!(read(&etcd).await?, "after\n");
    etcd.member(0).stop().await?;
    assert!(!etcd.member(0).is_running());
    Ok(())
}

#[tokio::test]
async fn a_member_that_is_replaced_has_the_data_and_another_id() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    etcd.etcdctl(&["put", KEY, "before"]).await?.success()?;
    let list = ["member", "list"];
    let before = etcd.etcdctl(&list).await?.success()?;
    let leader = leader(&etcd).await?;
    etcd.replace(leader).await?;
    let after = etcd.etcdctl(&list).await?.success()?;
    let lines = after.lines().filter(|line| before.contains(*line)).count();
    assert_eq!(
        (lines, after.lines().count()),
        (2, 3),
        "{before} and then {after}"
    );
    let only = format!("--endpoints={}", etcd.member(leader).endpoint());
    let value = etcd
        .etcdctl(&[&only, "get", KEY, "--print-value-only"])
        .await?
        .success()?;
    assert_eq!(value, "before\n");
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

#[tokio::test]
async fn an_isolated_member_serves_its_clients_and_knows_nothing() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3).peer_links()).await?;
    etcd.etcdctl(&["put", KEY, "before"]).await?.success()?;
    let isolated = leader(&etcd).await?;
    let alone = format!("--endpoints={}", etcd.member(isolated).endpoint());
    let others = etcd.members().iter().enumerate();
    let others: Vec<String> = others
        .filter(|(index, _)| *index != isolated)
        .map(|(_, member)| member.endpoint())
        .collect();
    let others = format!("--endpoints={}", others.join(","));
    etcd.isolate(isolated)?;
    eventually("the others to go on without it", SOON, async || {
        etcd.etcdctl(&[&others, "put", KEY, "after"])
            .await?
            .success()
    })
    .await?;
    let stale = [&alone, "get", "--consistency=s", "--print-value-only", KEY];
    assert_eq!(etcd.etcdctl(&stale).await?.success()?, "before\n");
    etcd.etcdctl(&[&alone, "--command-timeout=1s", "get", KEY])
        .await?
        .failure()?;
    etcd.rejoin(isolated)?;
    eventually("it to catch up", SOON, async || {
        let value = etcd.etcdctl(&stale).await?.success()?;
        ensure!(value == "after\n", "{value}");
        Ok(())
    })
    .await?;
    etcd.healthy().await
}

#[tokio::test]
async fn a_single_link_carries_the_faults_of_a_test_and_a_restarted_member_is_known() -> Result<()>
{
    let etcd = Etcd::start(EtcdOptions::new().members(3).peer_links()).await?;
    for from in 0..3 {
        for to in (0..3).filter(|to| *to != from) {
            // Two that follow need each other for nothing yet.
            eventually("every link to be used", SOON, async || {
                let counts = etcd.peer_link(from, to)?.counts();
                ensure!(counts.up > 0, "nobody used the link from {from} to {to}");
                Ok(())
            })
            .await?;
        }
    }
    assert!(etcd.peer_link(1, 1).is_err());
    let before = etcd.peer_link(2, 0)?.counts().accepted;
    etcd.member(2).kill()?;
    etcd.member(2).restart().await?;
    eventually("member 2 to dial again", SOON, async || {
        let accepted = etcd.peer_link(2, 0)?.counts().accepted;
        ensure!(accepted > before, "{accepted} connections so far");
        Ok(())
    })
    .await?;
    let plain = Etcd::start(EtcdOptions::new()).await?;
    assert!(plain.isolate(0).is_err());
    Ok(())
}

#[tokio::test]
async fn every_pinned_version_serves_and_is_restored_from_a_snapshot() -> Result<()> {
    for (minor, members) in [("3.5", 3), ("3.6", 1), ("3.7", 1)] {
        let etcd = Etcd::start(EtcdOptions::new().version(minor).members(members)).await?;
        let version = etcd.client().await?.status().await?.version().to_owned();
        assert!(version.starts_with(minor), "{version} is not {minor}");
        etcd.etcdctl(&["put", KEY, "saved"]).await?.success()?;
        let snapshot = etcd.snapshot("saved.db").await?;
        etcd.etcdctl(&["put", KEY, "lost"]).await?.success()?;
        etcd.restore(&snapshot, &[]).await?;
        assert_eq!(read(&etcd).await?, "saved\n", "etcd {version}");
        leader(&etcd).await?;
    }
    Ok(())
}
