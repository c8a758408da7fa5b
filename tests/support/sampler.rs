//! Looks at a store all the time.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    reason = "each test binary compiles this file for itself and uses a part of it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use osproxy_core::{Clock, Instant, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::DirectiveStore;

use super::traces;

/// Both clocks at one moment, exact to `within`: a thread that was held up between the two readings makes them again.
fn both_clocks(within: Duration) -> (Instant, u64) {
    loop {
        let (now, wall) = (SystemClock.now(), SystemClock.unix_nanos());
        if SystemClock.now().saturating_duration_since(now) < within {
            return (now, wall);
        }
    }
}

/// Looks at a store every 10 ms: it must never be empty, and the end of its one long directive must never move.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    samples: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Sampler {
    pub fn start(store: EtcdDirectiveStore, end_secs: u64) -> Self {
        let (stop, samples) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopping, counted) = (Arc::clone(&stop), Arc::clone(&samples));
        let task = tokio::spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                ensure!(!store.load().is_empty(), "an empty set");
                // The end, by asking about requests of the future: on 100 ms before it, off 100 ms after.
                let margin = Duration::from_millis(100);
                let (now, wall) = both_clocks(margin / 4);
                let left = Duration::from_nanos((end_secs * 1_000_000_000).saturating_sub(wall));
                let before = now.saturating_add(left.saturating_sub(margin));
                let after = now.saturating_add(left + margin);
                ensure!(traces(&store, before), "the end moved forward");
                ensure!(!traces(&store, after), "the end moved back");
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        });
        Self {
            stop,
            samples,
            task,
        }
    }

    /// Stops looking. Fails where one look saw something else, or there were fewer.
    pub async fn finish(self, at_least: u64) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        let samples = self.samples.load(Ordering::Relaxed);
        ensure!(samples >= at_least, "only {samples} samples");
        Ok(())
    }
}
