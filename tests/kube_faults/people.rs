//! A process that dies or ends in the middle, and clocks that differ: K3, K19, K21.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osproxy_core::{Clock, SystemClock};
use testbed::eventually;
use testbed::gateway::Asked;

use super::stage::{Stage, fault};
use super::support::{SOON, Stopwatch};

type About = fn(&Asked) -> bool;

/// Killed before the server is asked, and killed when it has done it and nobody was told. Entries, ends and statuses are those of a run
/// that nothing happened to: they follow from the resources alone.
#[tokio::test]
async fn k03_killed_before_and_after_each_call() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let first = stage.holds(&["kept"]).await?.context("a document")?;
    let end = first.end_secs("default/kept");
    let mut held = vec!["kept".to_owned()];
    let mut worst = Duration::ZERO;
    let calls: [(&str, About); 5] = [
        ("list", Asked::is_list),
        ("definition", Asked::is_definition),
        ("watch", Asked::is_watch),
        ("status", Asked::is_status),
        ("event", Asked::is_event),
    ];
    for (call, about) in calls {
        for after in [false, true] {
            let rule = stage.gateway.when(about);
            let rule = if after {
                rule.answered(stage.kill()?)
            } else {
                rule.run(stage.kill()?)
            };
            let armed = rule.arm();
            let name = format!("{call}-{}", if after { "after" } else { "before" });
            stage.makes_it_list().await?;
            stage.apply(&name).await?;
            armed.hit(1, SOON).await.with_context(|| name.clone())?;
            held.push(name.clone());
            held.sort();
            let watch = Stopwatch::start();
            stage.comes_back().await.with_context(|| name.clone())?;
            let names: Vec<&str> = held.iter().map(String::as_str).collect();
            let document = stage.holds(&names).await.with_context(|| name.clone())?;
            worst = worst.max(watch.elapsed());
            ensure!(document.context("a document")?.end_secs("default/kept") == end);
            let status = stage.line.state(&name, "Active").await?;
            let conditions = status["conditions"].as_array().into_iter().flatten();
            // What the proxies say comes a moment later, and not at all before its time.
            let types: BTreeSet<&str> = conditions
                .filter_map(|condition| condition["type"].as_str())
                .filter(|type_| *type_ != "Applied")
                .collect();
            ensure!(
                types == BTreeSet::from(["Accepted", "Published", "Ready"]),
                "{status}"
            );
        }
    }
    fault(
        "K3",
        "killed at each of ten moments, from its end",
        SOON,
        worst,
    );
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k19_clocks_that_differ_are_said_to() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage
        .metric("osproxy_directives_kube_clock_ahead_seconds 0")
        .await?;
    for (ahead, word) in [(300_i64, "ahead of"), (-300, "behind")] {
        stage.gateway.heal();
        let now = SystemClock.unix_nanos() / 1_000_000_000;
        let theirs = jiff::Timestamp::from_second(i64::try_from(now)? - ahead)?;
        let date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let watch = Stopwatch::start();
        stage
            .gateway
            .when(|_| true)
            .every()
            .header("date", &date)
            .arm();
        stage.gateway.end_watches();
        eventually("the difference", SOON, async || {
            let metrics = stage.line.operator.replica(0).metrics().await?;
            let sample = metrics
                .lines()
                .find_map(|line| line.strip_prefix("osproxy_directives_kube_clock_ahead_seconds "));
            let found: i64 = sample.context("no sample")?.parse()?;
            ensure!((found - ahead).abs() <= 30, "{found}");
            Ok(())
        })
        .await?;
        let what = format!("a clock five minutes {word} the server's");
        fault("K19", &what, SOON, watch.elapsed());
        // A default start never waits for a slow clock, and an end is the operator's own to compute.
        let name = word.split(' ').next().context("a word")?;
        stage.apply(name).await?;
        stage.line.state(name, "Active").await?;
    }
    stage.holds(&["a", "ahead", "behind"]).await?;
    let log = stage.log()?;
    ensure!(log.contains("the API server's differ"), "{log}");
    eventually("the Event", SOON, async || {
        let args = ["get", "events", "-n", "osproxy-directives"];
        let events = stage.line.plane.kubectl(&args).await?.success()?;
        ensure!(events.contains("ClocksDiffer"), "{events}");
        Ok(())
    })
    .await?;
    stage.never_lost("a").await
}

#[tokio::test]
async fn k21_an_end_in_the_middle_of_everything() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let replica = stage.line.operator.replica(0);
    // Nothing is answered any more, and there is work.
    stage.gateway.when(|_| true).every().mute().arm();
    stage.makes_it_list().await?;
    stage.apply("a").await?;
    let watch = Stopwatch::start();
    replica.stop(Duration::from_secs(5)).await?;
    fault(
        "K21",
        "SIGTERM while nothing is answered",
        Duration::from_secs(5),
        watch.elapsed(),
    );
    stage.keeps(&["kept"], Duration::from_secs(1)).await?;
    let keys = [
        "get",
        "--prefix",
        "osproxy/directives/leader/",
        "--keys-only",
    ];
    let keys = stage.line.etcd.etcdctl(&keys).await?.success()?;
    ensure!(keys.trim().is_empty(), "it did not resign: {keys}");
    stage.gateway.heal();
    replica.restart()?;
    stage
        .right_within("K21", "its successor", &["a", "kept"], SOON)
        .await?;
    stage.never_lost("kept").await
}
