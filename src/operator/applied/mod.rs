//! Beside step four: which proxies have what was published.
//!
//! * [`follow`] keeps the roll of the proxies that report, and announces over how long they spread their records.
//! * `ledger` notes since which publication each directive stands as it does; pure.
//! * `newest` knows up to which publication a proxy has to be current by now; pure.
//! * `judge` says what that comes to for each directive, and when to look again; pure.
//!
//! Nothing here is a gate: a document is published whatever the proxies say, and a status is written where the answer changes.

mod follow;
mod judge;
mod ledger;
mod newest;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use osproxy_core::Instant;
use tokio::sync::watch as channel;

use super::plan::Plan;
use super::publish::{KeyState, Stored};
use crate::fleet::{DEFAULT_WINDOW_MS, FleetView, Target};

pub use follow::follow;
pub use judge::{Judge, Opinion, Said, grace};
pub use ledger::{Ledger, Since};
pub use newest::Newest;

/// The proxies that report, as the leader sees them; shared by whoever tells of them.
#[derive(Debug)]
pub struct Roll {
    /// `None` before the first complete list.
    view: Mutex<Option<FleetView>>,
    changes: channel::Sender<u64>,
    window_ms: AtomicU64,
    /// `None` before the key has been compared.
    newest: Mutex<Option<Newest>>,
}

impl Default for Roll {
    fn default() -> Self {
        Self {
            view: Mutex::default(),
            changes: channel::Sender::new(0),
            window_ms: AtomicU64::new(DEFAULT_WINDOW_MS),
            newest: Mutex::default(),
        }
    }
}

impl Roll {
    /// Looks at the fleet; `None` before the first complete list. What was seen before stays while the records cannot be seen. The lock is held
    /// meanwhile, so whoever looks is quick.
    pub fn look<T>(&self, look: impl FnOnce(Option<&FleetView>) -> T) -> T {
        look(self.lock().as_ref())
    }

    /// Wakes where a count may be another one.
    #[must_use]
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The window that is in force, in milliseconds.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        self.window_ms.load(Ordering::Relaxed)
    }

    /// The newest publication, as it stands at the last look; `None` before the key has been compared.
    #[must_use]
    pub fn newest(&self) -> Option<Newest> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes at `now` what a proxy has seen that has the newest publication.
    pub fn set_newest(&self, target: Target, now: Instant) {
        let grace = grace(self.window_ms());
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(match *newest {
            Some(known) => known.becomes(target, now, grace),
            None => Newest::first(target, now),
        });
    }

    /// Changes what is known; `change` says whether a count may be another one.
    fn change(&self, change: impl FnOnce(&mut FleetView) -> bool) {
        let changed = {
            let mut view = self.lock();
            let first = view.is_none();
            change(view.get_or_insert_default()) || first
        };
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<FleetView>> {
        // Nothing panics while it holds the lock.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a new leader finds at the key.
pub(super) fn found(state: &KeyState, now: Instant) -> Arc<Ledger> {
    let entries = state.document.as_ref().and_then(Stored::dated);
    let entries = entries.map(<[_]>::to_vec).unwrap_or_default();
    let revision = state.document_revision();
    Arc::new(Ledger::found(now, entries, revision))
}

/// Notes that the key, which stands as in `state`, says what the plan says: since when, for each directive.
pub(super) fn note(
    ledger: &mut Arc<Ledger>,
    roll: &Roll,
    now: Instant,
    plan: &Plan,
    state: &KeyState,
    foreign_writes: u64,
) {
    let newest = match state.document_revision() {
        0 => Target::withdrawn(state.revision),
        revision => Target::published(revision),
    };
    Arc::make_mut(ledger).settled(now, plan, newest.revision, foreign_writes);
    roll.set_newest(newest, now);
}
