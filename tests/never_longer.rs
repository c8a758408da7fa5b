//! Promise 2, **never longer**: in our store no directive applies after its end: not after a reconnect, a restart of the proxy, of
//! the operator or of etcd, nor a republish of its neighbours. Not when the operator is gone for good.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use support::{
    KEY, Line, SOON, SkewedClock, Stopwatch, directive, document, etcds, now_secs, options,
    publish_by_hand, store, traces,
};
use testbed::{Attributes, Etcd, EtcdOptions, Proxy, ProxyOptions, eventually};

/// Watches a store until it stops tracing; says how many milliseconds after `end_secs` of the real wall clock that was.
///
/// It is as late as it was last seen on, by a clock that was read before it was asked; and early where it was off before the end. How long
/// this thread was not run in between is not the store's doing.
async fn ends(store: &EtcdDirectiveStore, clock: &dyn Clock, end_secs: u64) -> Result<i64> {
    let mut last_on: i64 = 0;
    eventually("the directive to end", SOON, async || {
        let asked = millis_after(end_secs)?;
        if traces(store, clock.now()) {
            last_on = asked;
            bail!("still on");
        }
        Ok(())
    })
    .await?;
    Ok(millis_after(end_secs)?.min(last_on.max(0)))
}

/// By how many milliseconds the real wall clock is past a second; negative before it.
fn millis_after(secs: u64) -> Result<i64> {
    let late = i128::from(SystemClock.unix_nanos()) / 1_000_000 - i128::from(secs) * 1_000;
    Ok(i64::try_from(late)?)
}

/// The term of etcd's leader.
async fn raft_term(etcd: &Etcd) -> Result<u64> {
    let mut client = etcd.client().await?;
    let answer = client.get(KEY, None).await?;
    Ok(answer.header().context("no header")?.raft_term())
}

fn is_on_time(late_ms: i64) -> Result<()> {
    ensure!(
        (-20..=500).contains(&late_ms),
        "it ended {late_ms} ms after its end"
    );
    Ok(())
}

/// Writes the fault's line of the table; an end is late by half a second at most.
fn told(number: &str, what: &str, late_ms: i64) {
    let late = Duration::from_millis(u64::try_from(late_ms).unwrap_or_default());
    support::faults::line(number, what, Duration::from_millis(500), late, "");
}

#[tokio::test]
async fn with_the_operator_killed_a_directive_ends_in_every_store_and_leaves_etcd_within_its_lease()
-> Result<()> {
    for etcd in etcds() {
        with_the_operator_killed(etcd).await?;
    }
    Ok(())
}

async fn with_the_operator_killed(etcd: EtcdOptions) -> Result<()> {
    let line = Line::start_with(etcd, options()).await?;
    let early = store(&line.etcd, Arc::new(SystemClock)).await?;
    let term = raft_term(&line.etcd).await?;
    // Long enough to set the stage in.
    let ttl_secs = 15;
    line.apply(&directive("short", &format!("{ttl_secs}s")))
        .await?;
    let end = line
        .ids(&["default/short"])
        .await?
        .map(|d| d.end_secs("default/short"));
    let end = end.unwrap_or_default();
    line.operator.replica(0).kill()?;
    // etcd has it, and the store a moment later.
    eventually("it to be on until then", SOON, async || {
        ensure!(traces(&early, SystemClock.now()), "off");
        Ok(())
    })
    .await?;
    let late = store(&line.etcd, Arc::new(SystemClock)).await?;
    let late_by = ends(&early, &SystemClock, end).await?;
    is_on_time(late_by)?;
    told("L8", "the operator is gone, an end late by", late_by);
    is_on_time(ends(&late, &SystemClock, end).await?)?;
    // etcd looks for ended leases every half second, and gives one at least twice its election timeout; its full time again under a new
    // leader.
    let is_stretched = raft_term(&line.etcd).await? != term;
    let lapses = Duration::from_secs(6 + if is_stretched { ttl_secs } else { 0 });
    eventually("the key to be gone", lapses, async || {
        ensure!(document(&line.etcd).await?.is_none(), "still there");
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_ended_directive_stays_ended_for_a_proxy_that_joins_afterwards_and_across_a_restart_of_etcd()
-> Result<()> {
    for etcd in etcds() {
        across_a_restart_of_etcd(etcd).await?;
    }
    Ok(())
}

async fn across_a_restart_of_etcd(etcd: EtcdOptions) -> Result<()> {
    let etcd = Etcd::start(etcd).await?;
    let end = publish_by_hand(&etcd, "ops/a", 10, 0).await?;
    let before = store(&etcd, Arc::new(SystemClock)).await?;
    ensure!(traces(&before, SystemClock.now()));
    is_on_time(ends(&before, &SystemClock, end).await?)?;
    // A restart gives every lease its full time again, so the document is back for a while.
    etcd.kill()?;
    etcd.restart().await?;
    let joined = store(&etcd, Arc::new(SystemClock)).await?;
    let watched = Stopwatch::start();
    while watched.elapsed() < Duration::from_secs(3) {
        ensure!(!traces(&before, SystemClock.now()), "it came back to life");
        ensure!(
            !traces(&joined, SystemClock.now()),
            "it lives for whoever joins"
        );
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_lease_stretched_by_a_change_of_etcds_leader_stretches_no_directive() -> Result<()> {
    for version in ["3.7", "3.5"] {
        the_lease_is_stretched(EtcdOptions::new().version(version).members(3)).await?;
    }
    Ok(())
}

async fn the_lease_is_stretched(options: EtcdOptions) -> Result<()> {
    let etcd = Etcd::start(options).await?;
    let end = publish_by_hand(&etcd, "ops/a", 16, 0).await?;
    let reader = store(&etcd, Arc::new(SystemClock)).await?;
    ensure!(traces(&reader, SystemClock.now()));
    tokio::time::sleep(Duration::from_secs((end - 5).saturating_sub(now_secs()))).await;
    let leader = eventually("a leader", SOON, async || etcd.leader().await).await?;
    etcd.member(leader).kill()?;
    let late = ends(&reader, &SystemClock, end).await?;
    is_on_time(late)?;
    told(
        "L3",
        "a lease stretched by a new leader of etcd, late by",
        late,
    );
    eventually("a leader", SOON, async || etcd.leader().await).await?;
    let stretched = eventually("the key past its end", SOON, async || {
        // One member is dead: a client may pick it.
        document(&etcd).await
    })
    .await?;
    ensure!(
        stretched.is_some(),
        "the lease was not stretched, so this proves nothing"
    );
    let joined = store(&etcd, Arc::new(SystemClock)).await?;
    ensure!(
        !traces(&joined, SystemClock.now()),
        "it lives for whoever joins"
    );
    ensure!(!traces(&reader, SystemClock.now()), "it came back to life");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_was_stopped_past_the_end_answers_its_first_request_without_the_directive()
-> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_osproxy-directives"));
    let binary = binary
        .parent()
        .map(|dir| dir.join("examples/proxy"))
        .unwrap_or_default();
    let proxy = Proxy::start(ProxyOptions::new(binary, etcd.endpoints())).await?;
    let end = publish_by_hand(&etcd, "ops/a", 12, 0).await?;
    let request = Attributes::new("acme", "orders");
    eventually("the proxy to have it", SOON, async || {
        ensure!(!proxy.decide(&request).await?.is_off(), "off");
        Ok(())
    })
    .await?;
    proxy.process().pause()?;
    tokio::time::sleep(Duration::from_secs((end + 1).saturating_sub(now_secs()))).await;
    proxy.process().resume()?;
    ensure!(
        proxy.decide(&request).await?.is_off(),
        "the first request after it was still traced"
    );
    Ok(())
}

#[tokio::test]
async fn a_wall_clock_an_hour_ahead_ends_a_directive_early_and_says_so() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let staged = Stopwatch::start();
    publish_by_hand(&etcd, "ops/a", 600, 0).await?;
    let clock = SkewedClock::new(3_600);
    let reader = store(&etcd, clock.clone()).await?;
    let slow = i64::try_from(staged.elapsed().as_millis())?;
    ensure!(
        !traces(&reader, clock.now()),
        "when in doubt a directive is off"
    );
    let ahead = reader.status().clock_ahead_ms.unwrap_or_default();
    // By the lease it is younger by what its grant took, and then the answer about it.
    ensure!(
        (3_597_000..=3_603_000 + slow).contains(&ahead),
        "status says {ahead} ms"
    );
    Ok(())
}

#[tokio::test]
async fn a_wall_clock_an_hour_behind_leaves_the_end_to_the_lease_and_says_so() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let published = Stopwatch::start();
    let end = publish_by_hand(&etcd, "ops/a", 12, 0).await?;
    let published = published.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let clock = SkewedClock::new(-3_600);
    let asked = Stopwatch::start();
    let reader = store(&etcd, clock.clone()).await?;
    // By the lease it is younger by what its grant took, and then the answer about it.
    let slow = i64::try_from((published + asked.elapsed()).as_millis())?;
    ensure!(traces(&reader, clock.now()));
    let behind = reader.status().clock_ahead_ms.unwrap_or_default();
    ensure!(
        (-3_603_000..=-3_597_000 + slow).contains(&behind),
        "status says {behind} ms"
    );
    // The lease is told in whole seconds, so the end by it is up to two seconds late, and never more.
    let late = ends(&reader, &*clock, end).await?;
    ensure!(
        (-20..=2_500 + slow).contains(&late),
        "it ended {late} ms after its end"
    );
    Ok(())
}

#[tokio::test]
async fn a_process_younger_than_the_document_ends_it_on_time() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let end = publish_by_hand(&etcd, "ops/a", 10_010, 10_000).await?;
    let clock = SkewedClock::new(0);
    let reader = store(&etcd, clock.clone()).await?;
    ensure!(traces(&reader, clock.now()));
    is_on_time(ends(&reader, &*clock, end).await?)
}

#[tokio::test]
async fn a_republish_of_its_neighbours_does_not_move_an_end() -> Result<()> {
    let line = Line::start().await?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    line.apply(&directive("short", "30s")).await?;
    let end = line
        .ids(&["default/short"])
        .await?
        .map(|d| d.end_secs("default/short"));
    let end = end.unwrap_or_default();
    let mut publications = 0;
    // Three at least, and none so late that it cannot be looked at before the end.
    while publications < 3 || now_secs() < end - 12 {
        let name = format!("neighbour-{publications}");
        let mut neighbour = directive(&name, "1h");
        neighbour["spec"]["match"][0]["value"] = "globex".into();
        line.apply(&neighbour).await?;
        publications += 1;
        let document = eventually("the neighbour", SOON, async || {
            let document = line.document().await?.context("absent")?;
            let ids = document.ids();
            ensure!(ids.len() == publications + 1, "{ids:?}");
            Ok(document)
        })
        .await?;
        let moved = document.end_secs("default/short");
        ensure!(moved == end, "the end moved to {moved}");
        // etcd has it, and the store a moment later.
        eventually("the reader to have it", SOON, async || {
            let applied = reader.status().applied.context("nothing applied")?;
            ensure!(applied.revision >= document.mod_revision, "{applied:?}");
            Ok(())
        })
        .await?;
        ensure!(traces(&reader, SystemClock.now()), "off before its end");
    }
    is_on_time(ends(&reader, &SystemClock, end).await?)?;
    Ok(())
}
