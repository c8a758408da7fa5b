//! What the task writes and the store's clones read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use osproxy_core::{Clock, Instant};
use tokio::sync::watch;

use super::holding::{Holding, Snapshot};
use super::status::{Applied, Counters, Refused, Reporting, Status};
use crate::document::{Aging, Moment};
use crate::etcd::Fault;

/// The snapshot for requests, and the facts for people.
pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    instance: Option<Arc<str>>,
    snapshot: ArcSwap<Snapshot>,
    facts: Mutex<Facts>,
    version: watch::Sender<u64>,
}

/// What [`Status`] is made of: moments instead of durations, so that a status is right whenever it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) disconnected: Option<Instant>,
    pub(super) confirmed: Option<Instant>,
    pub(super) last_fault: Option<Fault>,
    pub(super) unused_files: Option<&'static str>,
    pub(super) revision: i64,
    pub(super) reporting: Option<Reporting>,
    pub(super) counters: Counters,
    applied: Option<Applied>,
    aging: Option<Aging>,
    refused: Option<Refused>,
}

impl Facts {
    /// Notes what is held.
    pub(super) fn hold(&mut self, holding: &Holding) {
        self.applied = holding.applied();
        self.aging = holding.aging().cloned();
        self.refused = holding.refused();
    }
}

/// Longer than this nothing goes unconfirmed while etcd is well: the longest wait for a re-read, and its deadline.
const STALE: Duration = Duration::from_secs(65);

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>, instance: Option<Arc<str>>) -> Self {
        let now = clock.now();
        Self {
            clock,
            instance,
            snapshot: ArcSwap::default(),
            facts: Mutex::new(Facts {
                disconnected: Some(now),
                confirmed: None,
                last_fault: None,
                unused_files: None,
                revision: 0,
                reporting: None,
                counters: Counters::default(),
                applied: None,
                aging: None,
                refused: None,
            }),
            version: watch::Sender::new(0),
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(super) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Replaces the snapshot and tells whoever waits for it.
    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(super) fn record(&self, note: impl FnOnce(&mut Facts)) {
        // Nothing panics while it holds the lock; if it did, the facts would still be facts.
        note(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn status(&self) -> Status {
        let facts = self
            .facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now = Moment::now(self.clock());
        let ago = |moment: Instant| now.mono.saturating_duration_since(moment);
        let aging = facts.aging.as_ref();
        Status {
            instance: self.instance.as_deref().map(str::to_owned),
            connected: facts.disconnected.is_none(),
            disconnected_ms: facts.disconnected.map(|since| millis(ago(since))),
            last_fault: facts.last_fault.map(Fault::slug),
            unused_files: facts.unused_files,
            revision: facts.revision,
            applied: facts.applied,
            age_ms: aging.map(|aging| millis(aging.age(now).effective)),
            confirmed_ms_ago: facts.confirmed.map(|at| millis(ago(at))),
            clock_ahead_ms: aging.and_then(|aging| aging.clock_ahead_ms(now)),
            stale: facts.confirmed.is_none_or(|at| ago(at) > STALE),
            refused: facts.refused,
            reporting: facts.reporting,
            counters: facts.counters,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
