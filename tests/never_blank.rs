//! Promise 3, **never blank by accident**: an outage, a malformed document, a fail-over or an operator restart keeps the last good
//! set.

mod support;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use osproxy_core::SystemClock;
use osproxy_observe::DirectiveStore;
use support::sampler::Sampler;
use support::{Line, SOON, Stopwatch, directive, seen, store};
use testbed::eventually;

/// How many restarts: ten in `make test`, fifty in `make soak`.
fn rounds() -> usize {
    std::env::var("SOAK_RESTARTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restarts_of_two_replicas_blank_nothing_and_move_no_end() -> Result<()> {
    let mut line = Line::start().await?;
    line.operator.start_replica(&line.plane).await?;
    line.operator.wait_ready().await?;
    line.apply(&directive("kept", "1h")).await?;
    let document = line.ids(&["default/kept"]).await?;
    let end = document
        .map(|d| d.end_secs("default/kept"))
        .unwrap_or_default();
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    eventually("the reader to have it", SOON, async || {
        ensure!(!reader.load().is_empty());
        Ok(())
    })
    .await?;
    let sampler = Sampler::start(reader, end);

    for round in 0..rounds() {
        let restarted = Stopwatch::start();
        let replica = line.operator.replica(round % 2);
        if round % 4 < 2 {
            replica.stop(Duration::from_secs(5)).await?;
        } else {
            replica.kill()?;
        }
        // Something to publish while nobody, or the other one, leads.
        let name = format!("round-{round}");
        let mut other = directive(&name, "1h");
        other["spec"]["match"][0]["value"] = "globex".into();
        line.apply(&other).await?;
        replica.restart()?;
        line.operator.wait_ready().await?;
        line.ids(&["default/kept", &format!("default/{name}")])
            .await?;
        let what = "a replica is stopped or killed, a change meanwhile";
        seen("L4", what, SOON, &restarted)?;
        line.delete(&name).await?;
    }
    line.ids(&["default/kept"]).await?;
    sampler.finish(100).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_either_server_and_a_malformed_document_blank_nothing() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("kept", "1h")).await?;
    let document = line.ids(&["default/kept"]).await?;
    let end = document
        .map(|d| d.end_secs("default/kept"))
        .unwrap_or_default();
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    let sampler = Sampler::start(reader.clone(), end);

    line.etcd.kill()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    eventually("it to say that it is cut off", SOON, async || {
        ensure!(!reader.status().connected, "{:?}", reader.status());
        Ok(())
    })
    .await?;
    line.etcd.restart().await?;

    line.plane.api_server().kill()?;
    line.operator.replica(0).kill()?;
    line.operator.replica(0).restart()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    line.plane.restart_api_server().await?;
    line.operator.wait_ready().await?;

    line.operator.replica(0).pause()?;
    line.etcd
        .etcdctl(&["put", support::KEY, "{\"directives\": nonsense"])
        .await?
        .success()?;
    eventually("the reader to refuse it", SOON, async || {
        ensure!(reader.status().refused.is_some(), "{:?}", reader.status());
        Ok(())
    })
    .await?;
    line.operator.replica(0).resume()?;
    line.ids(&["default/kept"]).await?;
    eventually("the reader to be content", SOON, async || {
        ensure!(reader.status().refused.is_none());
        Ok(())
    })
    .await?;
    sampler.finish(100).await
}
