//! An etcd, a way to it, a store, and beside it the reference where `OSPROXY_FAULTS_REFERENCE` is set.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::DirectiveStore;
use testbed::interpose::Interposer;
use testbed::{Cut, eventually};

use super::bench::{self, Bench, KEY, clock, connected, disconnected, ids_are, ids_become};
use super::table::{line, seconds};

/// How long the reference is waited for at most, where ours may take longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a fault happens to.
pub(super) struct Stage {
    pub(super) store: EtcdDirectiveStore,
    reference: Option<osproxy_etcd::EtcdDirectiveStore>,
    between: Option<Interposer>,
    pub(super) bench: Bench,
}

impl Stage {
    /// With nothing at the key.
    pub(super) async fn start() -> Result<Self> {
        Self::on(Bench::start().await?, None, &[]).await
    }

    /// With a document of these directives, and a store that watches.
    pub(super) async fn with(ids: &[&str]) -> Result<Self> {
        Self::on(Bench::start().await?, None, ids).await
    }

    /// The same, with somebody in the middle who understands what is said.
    pub(super) async fn interposed(ids: &[&str]) -> Result<Self> {
        let bench = Bench::start().await?;
        let between = Interposer::start(&bench.way.endpoint()).await?;
        Self::on(bench, Some(between), ids).await
    }

    pub(super) async fn on(
        bench: Bench,
        between: Option<Interposer>,
        ids: &[&str],
    ) -> Result<Self> {
        if !ids.is_empty() {
            bench.publish(ids, 600).await?;
        }
        let way = between
            .as_ref()
            .map_or_else(|| bench.way.endpoint(), Interposer::endpoint);
        let endpoints = [way];
        let store = EtcdDirectiveStore::connect(&endpoints, KEY, clock()).await?;
        let reference = if std::env::var_os("OSPROXY_FAULTS_REFERENCE").is_some() {
            let theirs = osproxy_etcd::EtcdDirectiveStore::connect(&endpoints, KEY, clock());
            Some(theirs.await.context("the reference does not start")?)
        } else {
            None
        };
        ids_become(&store, ids).await?;
        connected(&store, bench::SOON).await?;
        Ok(Self {
            store,
            reference,
            between,
            bench,
        })
    }

    #[allow(
        clippy::unwrap_used,
        reason = "a test that asks for it has set the stage with it"
    )]
    pub(super) fn between(&self) -> &Interposer {
        self.between.as_ref().unwrap()
    }

    /// Closes every connection and lets none through; the set stays.
    pub(super) async fn cut(&self, how: Cut) -> Result<()> {
        let before = self.store.load().len();
        self.bench.way.disconnect(how);
        self.bench.way.cut(how);
        disconnected(&self.store, bench::SOON).await?;
        anyhow::ensure!(self.store.load().len() == before, "blank in an outage");
        Ok(())
    }

    /// The store holds these directives within the bound, counted from now; writes the fault's line.
    pub(super) async fn right_within(
        &self,
        number: &str,
        what: &str,
        ids: &[&str],
        bound: Duration,
    ) -> Result<()> {
        let began = SystemClock.now();
        let elapsed = || SystemClock.now().saturating_duration_since(began);
        let ours = async {
            eventually(what, bound, async || ids_are(&self.store, ids)).await?;
            anyhow::Ok(elapsed())
        };
        let theirs = async {
            let Some(reference) = &self.reference else {
                return Ok(String::new());
            };
            let patience = bound.min(PATIENCE);
            let last = eventually(what, patience, async || holds(reference, ids)).await;
            anyhow::Ok(match last {
                Ok(()) => seconds(elapsed()),
                Err(_) => format!("not in {}", seconds(elapsed())),
            })
        };
        let (took, theirs) = tokio::join!(ours, theirs);
        let (took, theirs) = (took?, theirs?);
        line(number, what, bound, took, &theirs);
        Ok(())
    }
}

fn holds(store: &osproxy_etcd::EtcdDirectiveStore, ids: &[&str]) -> Result<()> {
    let shown = store.load().introspect(SystemClock.now());
    let shown = shown["directives"].as_array().context("no list")?;
    let held: HashSet<_> = shown.iter().filter_map(|one| one["id"].as_str()).collect();
    anyhow::ensure!(held == ids.iter().copied().collect(), "{held:?}");
    Ok(())
}

/// What this thread has spent so far; with it every task of a test's own runtime. To 10 ms.
pub(super) fn thread_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
