//! The store against a real etcd: what it reads, what it survives, what it leaves behind.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench::{Bench, KEY, SOON, clock, connected, disconnected, document, ids_are, ids_become};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::{EtcdDirectiveStore, EtcdError};
use osproxy_observe::DirectiveStore;
use testbed::{Cut, Direction, FaultProxy, eventually};

#[path = "store/bench.rs"]
mod bench;

#[tokio::test]
async fn a_store_follows_puts_and_deletions() -> Result<()> {
    let bench = Bench::start().await?;
    let store = bench.store().await?;
    ensure!(store.load().is_empty() && store.status().applied.is_none());
    let mut changes = store.changed();

    bench.publish(&["a", "b"], 600).await?;
    ids_become(&store, &["a", "b"]).await?;
    ensure!(changes.next().await);
    bench.publish(&["b", "c"], 600).await?;
    ids_become(&store, &["b", "c"]).await?;
    bench.delete().await?;
    ids_become(&store, &[]).await?;

    let status = store.status();
    ensure!(
        status.connected && status.counters.restarts == 0,
        "{status:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_stands_at_the_key_is_there_when_connect_returns() -> Result<()> {
    let bench = Bench::start().await?;
    let began = SystemClock.now();
    bench.publish(&["a"], 600).await?;
    let store = bench.store().await?;
    ids_are(&store, &["a"])?;
    let status = store.status();
    // Its age counts from a whole second.
    let oldest = SystemClock.now().saturating_duration_since(began) + Duration::from_secs(1);
    let applied = status.applied.context("nothing applied")?;
    ensure!(
        applied.directives == 1 && applied.publication_secs.is_some(),
        "{status:?}"
    );
    let age = Duration::from_millis(status.age_ms.context("no age")?);
    ensure!(age <= oldest, "{status:?}");
    ensure!(status.confirmed_ms_ago.is_some_and(|ago| ago < 5_000) && !status.stale);
    Ok(())
}

#[tokio::test]
async fn a_malformed_value_at_the_start_is_an_empty_set_that_says_so() -> Result<()> {
    let bench = Bench::start().await?;
    bench
        .put(
            br#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60,"tenant":null}]}"#,
            0,
        )
        .await?;
    let store = bench.store().await?;
    ids_are(&store, &[])?;
    let refused = store.status().refused.context("nothing refused")?;
    ensure!(refused.reason == "null_value", "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_malformed_value_later_keeps_the_last_good_set() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    let store = bench.store().await?;
    let mut refusal = None;
    for bad in [&b"nonsense"[..], &[0xff, 0xfe], &vec![b'['; 1_000_000]] {
        bench.put(bad, 0).await?;
        refusal = eventually("the refusal", SOON, async || {
            let refused = store.status().refused;
            ensure!(refused.is_some() && refused != refusal);
            Ok(refused)
        })
        .await?;
        ids_are(&store, &["a"])?;
    }
    bench.publish(&["b"], 600).await?;
    ids_become(&store, &["b"]).await?;
    ensure!(store.status().refused.is_none());
    Ok(())
}

#[tokio::test]
async fn an_unreachable_etcd_is_an_error_within_its_bound() -> Result<()> {
    let refused = FaultProxy::start("127.0.0.1:1").await?;
    refused.cut(Cut::Rst);
    let mute = FaultProxy::start("127.0.0.1:1").await?;
    mute.blackhole(Direction::Both);
    for proxy in [refused, mute] {
        let began = SystemClock.now();
        let Err(error) = EtcdDirectiveStore::connect(&[proxy.endpoint()], KEY, clock()).await
        else {
            bail!("connected to nothing");
        };
        ensure!(matches!(error, EtcdError::Connect(_)), "{error}");
        ensure!(error.to_string().contains("check the endpoints"), "{error}");
        let took = SystemClock.now().saturating_duration_since(began);
        ensure!(took < Duration::from_secs(11), "{took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_an_error() {
    let error = EtcdDirectiveStore::connect(&["http://127.0.0.1:1".into()], "a/", clock())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("osproxy/directives"), "{error}");
}

#[tokio::test]
async fn a_write_between_the_read_and_the_watch_is_not_lost() -> Result<()> {
    let bench = Bench::start().await?;
    for round in 0..40 {
        bench.publish(&["old"], 600).await?;
        let id = format!("new{round}");
        let writes = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            if round % 4 == 0 {
                bench.delete().await
            } else {
                bench.publish(&[&id], 600).await
            }
        };
        let (store, written) = tokio::join!(bench.store(), writes);
        written?;
        let expected: &[&str] = if round % 4 == 0 { &[] } else { &[&id] };
        ids_become(&store?, expected)
            .await
            .with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_directive_ends_by_itself_to_the_millisecond() -> Result<()> {
    let bench = Bench::start().await?;
    let second = SystemClock.unix_nanos() / 1_000_000_000;
    bench.publish_at(second, &["a"], 8).await?;
    let store = bench.store().await?;
    ids_are(&store, &["a"])?;
    let mut changes = store.changed();
    let end = (second + 8) * 1_000_000_000;
    // A timer of the same thread for the same moment: what holds up the one holds up the other.
    let timer = async {
        let left = end.saturating_sub(SystemClock.unix_nanos());
        tokio::time::sleep(Duration::from_nanos(left)).await;
        SystemClock.unix_nanos()
    };
    let change = async {
        let told = tokio::time::timeout(Duration::from_secs(12), changes.next()).await?;
        anyhow::Ok((told, SystemClock.unix_nanos()))
    };
    let (due, change) = tokio::join!(timer, change);
    let (told, at) = change?;
    // NTP may slew the clock that people read meanwhile.
    ensure!(told && at + 20_000_000 >= end, "{told}, {at}, before {end}");
    let late = at.saturating_sub(due.max(end));
    ensure!(late < 300_000_000, "{late} ns after its end");
    ids_are(&store, &[])
}

#[tokio::test]
async fn an_ended_directive_stays_ended_across_a_restart_of_etcd_and_for_a_late_joiner()
-> Result<()> {
    let bench = Bench::start().await?;
    // Under a long lease, so that the key outlives the directive.
    let second = SystemClock.unix_nanos() / 1_000_000_000 - 100;
    bench.publish_at(second, &["ended"], 100).await?;
    let store = bench.store().await?;
    ids_are(&store, &[])?;
    bench.etcd.kill()?;
    bench.etcd.restart().await?;
    connected(&store, Duration::from_secs(15)).await?;
    ids_are(&store, &[])?;
    ids_are(&bench.store().await?, &[])
}

#[tokio::test]
async fn an_outage_keeps_the_last_good_set_and_what_was_missed_is_made_up_for() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    let store = bench.store().await?;
    for change in ["put", "delete"] {
        bench.way.disconnect(Cut::Rst);
        bench.way.cut(Cut::Rst);
        disconnected(&store, SOON).await?;
        ensure!(!store.load().is_empty(), "blank in an outage");
        if change == "put" {
            bench.publish(&["b"], 600).await?;
        } else {
            bench.delete().await?;
        }
        bench.way.heal();
        let expected: &[&str] = if change == "put" { &["b"] } else { &[] };
        eventually(
            "the store to catch up",
            Duration::from_secs(10),
            async || ids_are(&store, expected),
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_half_open_connection_is_noticed() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    let store = bench.store().await?;
    connected(&store, SOON).await?;
    bench.way.blackhole(Direction::Both);
    bench.publish(&["b"], 600).await?;
    disconnected(&store, Duration::from_secs(26)).await?;
    ids_are(&store, &["a"])?;
    bench.way.heal();
    eventually(
        "the store to catch up",
        Duration::from_secs(12),
        async || ids_are(&store, &["b"]),
    )
    .await
}

#[tokio::test]
async fn a_compacted_watch_starts_over_without_a_blank() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    let store = bench.store().await?;
    connected(&store, SOON).await?;
    bench.way.disconnect(Cut::Fin);
    bench.way.cut(Cut::Fin);
    for _ in 0..5 {
        bench.publish(&["b"], 600).await?;
    }
    let revision = bench
        .client
        .clone()
        .get(KEY, None)
        .await?
        .header()
        .context("no header")?
        .revision();
    bench.client.clone().compact(revision, None).await?;
    bench.way.heal();
    eventually(
        "the store to catch up",
        Duration::from_secs(10),
        async || ids_are(&store, &["b"]),
    )
    .await?;
    connected(&store, SOON).await?;
    ensure!(store.status().counters.reads <= 20, "{:?}", store.status());
    Ok(())
}

#[tokio::test]
async fn a_restored_etcd_is_followed() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["old"], 600).await?;
    let snapshot = bench.etcd.snapshot("old.db").await?;
    for _ in 0..10 {
        bench.publish(&["new"], 600).await?;
    }
    let store = bench.store().await?;
    ids_are(&store, &["new"])?;
    bench.etcd.restore(&snapshot, &[]).await?;
    eventually(
        "the restored document",
        Duration::from_secs(20),
        async || ids_are(&store, &["old"]),
    )
    .await?;
    ensure!(
        store.status().counters.histories == 1,
        "{:?}",
        store.status()
    );
    bench.publish(&["after"], 600).await?;
    ids_become(&store, &["after"]).await
}

#[tokio::test]
async fn the_last_clone_takes_its_task_and_connections_with_it() -> Result<()> {
    let bench = Bench::start().await?;
    let tasks = tokio::runtime::Handle::current().metrics();
    let store = bench.store().await?;
    connected(&store, SOON).await?;
    let mut changes = store.changed();
    let clone = store.clone();
    drop(store);
    bench.publish(&["a"], 600).await?;
    ids_become(&clone, &["a"]).await?;
    ensure!(changes.next().await);
    let running = tasks.num_alive_tasks();
    drop(clone);
    while changes.next().await {}
    eventually("the connections to close", SOON, async || {
        ensure!(bench.way.counts().open == 0, "{:?}", bench.way.counts());
        Ok(())
    })
    .await?;
    ensure!(tasks.num_alive_tasks() < running);
    Ok(())
}

#[tokio::test]
async fn a_store_of_one_document_needs_no_etcd() -> Result<()> {
    let store = EtcdDirectiveStore::from_document(document(&["a"], 60).as_bytes(), clock())?;
    ids_are(&store, &["a"])?;
    let refusal = EtcdDirectiveStore::from_document(b"{}", clock()).unwrap_err();
    ensure!(refusal.reason.slug() == "missing_directives", "{refusal}");
    Ok(())
}

/// The calling code of osproxy-server 1.0.5, which knows the reference.
#[tokio::test]
async fn the_references_calling_code_compiles_with_one_use_changed() {
    struct Config {
        endpoints: Vec<String>,
        directives_key: String,
    }
    async fn calls(
        etcd: &Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn DirectiveStore>, String> {
        let store =
            EtcdDirectiveStore::connect(&etcd.endpoints, etcd.directives_key.clone(), clock)
                .await
                .map_err(|e| format!("etcd directive store: {e}"))?;
        Ok(Arc::new(store))
    }
    let config = Config {
        endpoints: vec![],
        directives_key: KEY.to_owned(),
    };
    assert!(calls(&config, clock()).await.is_err());
}
