//! What `docs/operations.md` says of the days on which somebody restores, rebuilds or stops something.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osproxy_core::SystemClock;
use osproxy_observe::DirectiveStore;
use serde_json::{Value, json};
use testbed::process::Launch;
use testbed::{ControlPlane, Operator, eventually, http};

use super::stage::{leader_lease, leads};
use super::support::{
    KEY, Line, SOON, Stopwatch, binary, directive, now_secs, options, seen, store,
};

/// Follower or leader: both have the key right after etcd came back in another state.
const RIGHT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn r1_a_wiped_etcd_is_filled_again_with_the_same_ends() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("a", "1h")).await?;
    let before = line.ids(&["default/a"]).await?.context("a document")?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    line.etcd.wipe().await?;
    let wiped = Stopwatch::start();
    let after = line.ids(&["default/a"]).await?.context("a document")?;
    seen("R1", "etcd is wiped, until the key is right", RIGHT, &wiped)?;
    assert_eq!(after.dated(), before.dated(), "the same ends");
    eventually("the reader to follow", RIGHT, async || {
        let applied = reader.status().applied.context("nothing")?;
        ensure!(applied.revision == after.mod_revision, "{applied:?}");
        Ok(())
    })
    .await?;
    line.operator.wait_ready().await
}

#[tokio::test]
async fn r2_a_restored_etcd_does_not_bring_a_withdrawn_directive_back_for_good() -> Result<()> {
    let line = Line::start().await?;
    leads(line.operator.replica(0), true, SOON).await?;
    line.apply(&directive("kept", "1h")).await?;
    line.apply(&directive("withdrawn", "1h")).await?;
    line.ids(&["default/kept", "default/withdrawn"]).await?;
    let lease = leader_lease(&line.etcd).await?;
    let snapshot = line.etcd.snapshot("old.db").await?;
    for n in 0..5 {
        line.apply(&directive(&format!("later-{n}"), "1h")).await?;
        line.delete(&format!("later-{n}")).await?;
    }
    line.delete("withdrawn").await?;
    line.ids(&["default/kept"]).await?;

    // The leader's own key and lease are in the snapshot: its term goes on, over a history that has gone back. It goes on for ten seconds
    // without etcd, from the last refresh.
    let client = line.etcd.client().await?;
    let id = i64::from_str_radix(&lease, 16)?;
    eventually("a refresh of the lease", SOON, async || {
        let left = client.lease_client().time_to_live(id, None).await?.ttl();
        ensure!(left >= 14, "{left} s left");
        Ok(())
    })
    .await?;
    line.etcd.restore(&snapshot, &[]).await?;
    let restored = Stopwatch::start();
    line.ids(&["default/kept"]).await?;
    seen(
        "R2",
        "etcd is restored, until the key is right",
        RIGHT,
        &restored,
    )?;
    ensure!(
        leader_lease(&line.etcd).await? == lease,
        "the term ended, so this proves nothing"
    );
    line.apply(&directive("next", "1h")).await?;
    line.ids(&["default/kept", "default/next"]).await?;
    Ok(())
}

#[tokio::test]
async fn r3_a_rebuilt_cluster_waits_until_a_person_gives_it_the_key() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("old", "1h")).await?;
    let before = line.ids(&["default/old"]).await?;
    line.operator
        .replica(0)
        .stop(Duration::from_secs(5))
        .await?;
    // The same release, namespace and manifests, on a cluster that is another one.
    let plane = ControlPlane::start().await?;
    let operator = Operator::start(&plane, &line.etcd, options()).await?;
    let url = format!("{}/readyz", operator.replica(0).endpoint());
    eventually("it to say so", SOON, async || {
        let ready = http::get(&url, &[]).await?;
        ensure!(
            ready.status == 503 && ready.body.contains("owned_by_another"),
            "{ready:?}"
        );
        Ok(())
    })
    .await?;
    assert_eq!(line.document().await?, before, "untouched");
    let revision = before.context("a document")?.mod_revision;
    let adopt = Launch::new(binary())
        .args([
            "adopt".to_owned(),
            "--release=osproxy-directives/osproxy-directives".to_owned(),
            format!("--revision={revision}"),
            format!("--etcd-endpoints={}", line.etcd.endpoint_list()),
        ])
        .env("KUBECONFIG", plane.kubeconfig());
    testbed::command::run(&adopt, None).await?.success()?;
    let adopted = Stopwatch::start();
    // Its resources are what counts now, and it has none.
    line.ids(&[]).await?;
    seen(
        "R3",
        "a rebuilt cluster adopts the key, until it is right",
        RIGHT,
        &adopted,
    )?;
    operator.wait_ready().await
}

#[tokio::test]
async fn r4_everything_can_be_stopped_while_the_api_server_is_down() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("a", "1h")).await?;
    line.ids(&["default/a"]).await?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    line.plane.api_server().kill()?;

    // The two lines of the emergency page, in their order.
    for args in [
        &["put", "osproxy/directives/paused", "ana"][..],
        &["del", KEY],
    ] {
        line.etcd.etcdctl(args).await?.success()?;
    }
    // The starts of etcdctl are no part of it.
    let stopped = Stopwatch::start();
    eventually("the reader to be off", SOON, async || {
        ensure!(reader.load().is_empty(), "still on");
        Ok(())
    })
    .await?;
    let bound = Duration::from_secs(2);
    seen(
        "R4",
        "stopped by hand without an API server",
        bound,
        &stopped,
    )?;
    let until = now_secs() + 10;
    while now_secs() < until {
        ensure!(line.document().await?.is_none(), "the operator wrote");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    line.plane.restart_api_server().await?;
    let mut suspended = directive("a", "1h");
    suspended["spec"]["suspend"] = true.into();
    line.apply(&suspended).await?;
    line.apply(&directive("b", "1h")).await?;
    line.etcd
        .etcdctl(&["del", "osproxy/directives/paused"])
        .await?
        .success()?;
    let resumed = Stopwatch::start();
    line.ids(&["default/b"]).await?;
    seen(
        "R4",
        "the pause is over, until the key is right",
        RIGHT,
        &resumed,
    )
}

#[tokio::test]
async fn r5_a_resource_restored_by_hand_starts_anew_unless_it_says_when() -> Result<()> {
    let line = Line::start().await?;
    let mut dated = directive("dated", "1h");
    let start = i64::try_from(now_secs())? - 60;
    let start = jiff::Timestamp::from_second(start)?;
    dated["spec"]["activeFrom"] = start.to_string().into();
    line.apply(&dated).await?;
    line.apply(&directive("undated", "1h")).await?;
    let both = ["default/dated", "default/undated"];
    let before = line.ids(&both).await?.context("a document")?;
    let backup = ["get", "diag", "-o", "json"];
    let backup = line.plane.kubectl(&backup).await?.success()?;
    let mut backup: Value = serde_json::from_str(&backup)?;
    for name in ["dated", "undated"] {
        line.delete(name).await?;
    }
    line.ids(&[]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for item in backup["items"].as_array_mut().context("items")? {
        // As backup tools do: what the API server gave is left out.
        let name = item["metadata"]["name"].clone();
        item["metadata"] = json!({ "name": name, "namespace": "default" });
        item["status"].take();
        line.apply(item).await?;
    }
    let after = line.ids(&both).await?.context("a document")?;
    let end = |id: &str| (before.end_secs(id), after.end_secs(id));
    let (was, is) = end("default/dated");
    assert_eq!(was, is, "activeFrom keeps it");
    let (was, is) = end("default/undated");
    ensure!(is >= was + 2, "{was} and then {is}");
    Ok(())
}
