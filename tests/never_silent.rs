//! Promise 7, **never silent**: whatever is refused, late, stale or overwritten shows up where its reader looks.

mod support;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osproxy_core::{Clock, SystemClock};
use serde_json::{Value, json};
use support::{
    Line, SOON, Stopwatch, condition, directive, now_secs, options, seen, store, traces,
};
use testbed::{EtcdOptions, eventually};

/// An etcd that is full after a few megabytes, and what fills it.
fn small_etcd() -> EtcdOptions {
    EtcdOptions::new().flag("--quota-backend-bytes=16777216")
}

async fn fill(line: &Line) -> Result<()> {
    let blob = "x".repeat(1_000_000);
    for n in 0..40 {
        let args = ["put", &format!("filler/{n}")];
        let put = line.etcd.etcdctl_with_input(&args, Some(&blob)).await?;
        // One that only took too long is no sign of it.
        if put.stderr.contains("space exceeded") {
            return Ok(());
        }
    }
    anyhow::bail!("forty megabytes did not fill it")
}

async fn published(line: &Line, name: &str, expected: &str) -> Result<Value> {
    eventually(
        &format!("{name} to be Published={expected}"),
        SOON,
        async || {
            let status = line.status(name).await?;
            ensure!(condition(&status, "Published")? == expected, "{status}");
            Ok(status)
        },
    )
    .await
}

#[tokio::test]
async fn a_full_etcd_takes_an_emptied_plan_and_a_smaller_one_is_said_to_be_stuck_and_ends_by_itself()
-> Result<()> {
    let line = Line::start_with(small_etcd(), options()).await?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    // Not over before the test is, however long it takes to fill etcd.
    line.apply(&directive("short", "5m")).await?;
    line.apply(&directive("long", "1h")).await?;
    let document = line
        .ids(&["default/long", "default/short"])
        .await?
        .context("a document")?;
    let end = document.end_secs("default/short");
    fill(&line).await?;

    // A smaller one is stuck, and says so on every resource that waits for it.
    line.delete("long").await?;
    line.apply(&directive("waits", "1h")).await?;
    let applied = Stopwatch::start();
    let status = published(&line, "waits", "False/NoSpace").await?;
    let what = "a full etcd, until the status says so";
    seen("S2", what, Duration::from_secs(10), &applied)?;
    let ready = status["conditions"].as_array().context("conditions")?;
    let ready = ready
        .iter()
        .find(|c| c["type"] == "Ready")
        .context("Ready")?;
    ensure!(
        ready["message"]
            .as_str()
            .is_some_and(|m| m.contains("disarm")),
        "it says what to do: {ready}"
    );
    // Each try sets it anew.
    eventually("the metric to say so", SOON, async || {
        let metrics = line.operator.replica(0).metrics().await?;
        ensure!(
            metrics.contains(r#"osproxy_directives_held{reason="etcd_no_space"} 1"#),
            "{metrics}"
        );
        Ok(())
    })
    .await?;
    assert_eq!(line.document().await?, Some(document), "untouched");

    // It ends by its own time all the same.
    ensure!(now_secs() < end, "the test was too slow to see it");
    ensure!(traces(&reader, SystemClock.now()));

    // An emptied plan is a pure deletion, which goes through.
    line.delete("waits").await?;
    line.delete("short").await?;
    line.ids(&[]).await?;
    ensure!(line.document().await?.is_none(), "the key is absent");
    Ok(())
}

#[tokio::test]
async fn a_full_etcd_is_recovered_from_without_a_restart() -> Result<()> {
    let line = Line::start_with(small_etcd(), options()).await?;
    fill(&line).await?;
    line.apply(&directive("waits", "1h")).await?;
    published(&line, "waits", "False/NoSpace").await?;
    line.etcd
        .etcdctl(&["del", "--prefix", "filler/"])
        .await?
        .success()?;
    let revision = line
        .etcd
        .etcdctl(&["get", "osproxy/directives", "-w", "json"])
        .await?
        .success()?;
    let revision: Value = serde_json::from_str(&revision)?;
    let revision = revision["header"]["revision"].to_string();
    line.etcd
        .etcdctl(&["compact", &revision, "--physical"])
        .await?
        .success()?;
    line.etcd.etcdctl(&["defrag"]).await?.success()?;
    line.etcd.etcdctl(&["alarm", "disarm"]).await?.success()?;
    let disarmed = Stopwatch::start();
    line.ids(&["default/waits"]).await?;
    let what = "a full etcd has room again, until the key is right";
    seen("S2", what, Duration::from_secs(15), &disarmed)?;
    line.state("waits", "Active").await?;
    Ok(())
}

#[tokio::test]
async fn where_a_person_said_so_a_full_etcd_is_a_reason_to_delete_the_document() -> Result<()> {
    let values = json!({"extraArgs": ["--on-no-space=delete"]});
    let line = Line::start_with(small_etcd(), options().values(values)).await?;
    line.apply(&directive("kept", "1h")).await?;
    line.apply(&directive("withdrawn", "1h")).await?;
    line.ids(&["default/kept", "default/withdrawn"]).await?;
    fill(&line).await?;
    line.delete("withdrawn").await?;
    line.ids(&[]).await?;
    published(&line, "kept", "False/NoSpace").await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_resource_says_why_and_what_to_do_in_its_status_and_in_an_event() -> Result<()> {
    let values = json!({"policy": {"enabled": false}});
    let line = Line::start_with(EtcdOptions::new(), options().values(values)).await?;
    let mut typo = directive("typo", "1h");
    typo["spec"]["supend"] = true.into();
    // A client that does not validate: the API server keeps the field, and the operator names it.
    line.plane
        .kubectl_with_input(
            &["create", "--validate=false", "-f", "-"],
            &typo.to_string(),
        )
        .await?
        .success()?;
    let status = line.state("typo", "Rejected").await?;
    assert_eq!(condition(&status, "Accepted")?, "False/UnknownField");
    assert_eq!(condition(&status, "Published")?, "False/NotAccepted");
    assert_eq!(condition(&status, "Ready")?, "False/UnknownField");
    assert_eq!(condition(&status, "Stalled")?, "True/UnknownField");
    let text = status.to_string();
    ensure!(text.contains("supend"), "it names the field: {text}");
    eventually("the Event", SOON, async || {
        let events = line
            .plane
            .kubectl(&["events", "--for", "diag/typo"])
            .await?
            .success()?;
        ensure!(
            events.contains("Rejected") && events.contains("supend"),
            "{events}"
        );
        Ok(())
    })
    .await?;
    let log = line.operator.replica(0).process().log_text()?;
    ensure!(!log.contains("acme"), "a selector value in the log");
    Ok(())
}

/// How long the quiet is: a minute in `make test`, ten in `make soak`.
fn quiet() -> Duration {
    let secs = std::env::var("SOAK_QUIET_SECS")
        .ok()
        .and_then(|n| n.parse().ok());
    Duration::from_secs(secs.unwrap_or(60))
}

/// What the operator has asked the API server to write so far.
fn asked(line: &Line) -> Result<Vec<String>> {
    let asked = line.plane.audited(line.operator.user())?.into_iter();
    let writes = asked.filter(|one| !["get", "list", "watch"].contains(&one.verb.as_str()));
    Ok(writes.map(|write| write.to_string()).collect())
}

/// Waits until the operator has told all that there is to tell: the fleet's glance comes last, some seconds after the rest.
async fn done(line: &Line) -> Result<Vec<String>> {
    eventually("the operator to be done", SOON * 2, async || {
        let before = asked(line)?;
        tokio::time::sleep(Duration::from_secs(12)).await;
        let writes = asked(line)?;
        ensure!(writes == before, "{:?}", writes.last());
        Ok(writes)
    })
    .await
}

#[tokio::test]
async fn a_quiet_cluster_with_a_hundred_resources_causes_no_write() -> Result<()> {
    let line = Line::start().await?;
    let all: Vec<Value> = (0..100)
        .map(|n| directive(&format!("quiet-{n}"), "1h"))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
    line.apply(&list).await?;
    let versions = async || -> Result<Vec<String>> {
        let all = line
            .plane
            .kubectl(&["get", "diag", "-o", "json"])
            .await?
            .success()?;
        let all: Value = serde_json::from_str(&all)?;
        let items = all["items"].as_array().context("no items")?;
        let active = items
            .iter()
            .filter(|item| item["status"]["state"] == "Active");
        ensure!(active.count() == 100, "not all of them are active");
        Ok(items
            .iter()
            .map(|item| item["metadata"]["resourceVersion"].to_string())
            .collect())
    };
    eventually("all of them to be active", SOON, versions).await?;
    let revision = async || -> Result<i64> {
        let mut client = line.etcd.client().await?;
        Ok(client
            .get("osproxy/directives", None)
            .await?
            .header()
            .context("no header")?
            .revision())
    };
    // What the proxies say may come a moment after that, by a status of its own.
    let writes = done(&line).await?;
    let before = versions().await?;
    let at = revision().await?;
    tokio::time::sleep(quiet()).await;
    assert_eq!(versions().await?, before, "a status was written");
    // Not even in vain: what changes nothing leaves no trace in a resource. Events and the fleet's glance are among these.
    assert_eq!(asked(&line)?, writes, "the API server was asked to write");
    assert_eq!(revision().await?, at, "etcd was written");
    Ok(())
}
