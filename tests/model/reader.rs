//! A reader: one proxy's store, which learns of the key late, loses its connection, restarts, and counts ends.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::Duration;

use osproxy_core::{Clock, Instant, ManualClock};
use osproxy_directives::document::{Accepted, Aging, LeaseReading, Moment, Publication};

use crate::etcd::{Etcd, Kv};
use crate::machine::{Mutant, Promise};
use crate::state::State;
use crate::world::{COUNT, Ids, Known, TICK_SECS, Text, end_secs, remember, secs};

/// Which of the two clocks that a reader has may be wrong. Both at once is not promised against.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Clocks {
    /// Wall clocks agree; leases may be given their full time again.
    Agree,
    /// The reader's wall clock is an hour behind; leases keep their time.
    Behind,
}

/// One store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Reader {
    /// The newest revision at which it has known the key; 0 where it has not read yet.
    pub(crate) at: i64,
    /// Whether its watch runs.
    pub(crate) connected: bool,
    /// What it serves from.
    pub(crate) held: Option<Held>,
    /// What the key said that it took last, for the promises alone.
    pub(crate) took: Option<Kv>,
    /// What its watch has still to show.
    pub(crate) coming: Vec<(i64, Option<Kv>)>,
}

/// A document that a reader holds, with what it knows of its age.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Held {
    pub(crate) kv: Kv,
    /// The tick in which it was first seen.
    sight: u8,
    /// What etcd said of its lease: in which tick, how many ticks it was granted for, how many are left.
    readings: Vec<(u8, u8, u8)>,
}

/// A step of a reader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    /// Its watch shows the next event.
    Next,
    /// It reads the key, after a loss of the connection or by the clock.
    Read,
    /// It loses its connection.
    Lose,
    /// The proxy restarts.
    Restart,
}

impl Reader {
    /// A store that has not read yet.
    pub(crate) fn new() -> Self {
        Self {
            at: 0,
            connected: false,
            held: None,
            took: None,
            coming: Vec::new(),
        }
    }

    /// Takes one step; false where it cannot be taken now.
    pub(crate) fn step(
        &mut self,
        step: Step,
        etcd: &Etcd,
        now: u8,
        mutant: Option<Mutant>,
    ) -> bool {
        match step {
            Step::Next => {
                if !self.connected || self.coming.is_empty() {
                    return false;
                }
                let (revision, document) = self.coming.remove(0);
                let lease_is_gone =
                    document.is_some_and(|kv| kv.lease != 0 && etcd.lease(kv.lease).is_none());
                if lease_is_gone {
                    // A lease that is gone took the key with it: read again.
                    return self.step(Step::Read, etcd, now, mutant);
                }
                self.take(revision, document, etcd, now);
            }
            Step::Read => {
                let coming = std::mem::take(&mut self.coming);
                if mutant == Some(Mutant::BelievesLowerRevisions) {
                    self.coming = coming;
                }
                self.connected = true;
                self.take(etcd.now.revision, etcd.now.document, etcd, now);
            }
            Step::Lose => {
                if !self.connected {
                    return false;
                }
                self.connected = false;
                self.coming.clear();
                if mutant == Some(Mutant::BlanksOnLoss) {
                    self.held = None;
                }
            }
            Step::Restart => *self = Self::new(),
        }
        true
    }

    fn take(&mut self, revision: i64, document: Option<Kv>, etcd: &Etcd, now: u8) {
        self.at = self.at.max(revision);
        self.took = document;
        let Some(kv) = document else {
            self.held = None;
            return;
        };
        if Accepted::from_bytes(kv.value.bytes()).is_err() {
            return;
        }
        // One lease is one publication, and for one publication the age never falls.
        let known = self
            .held
            .take()
            .filter(|held| kv.lease != 0 && held.kv.lease == kv.lease);
        let (sight, readings) = known.map_or((now, Vec::new()), |held| (held.sight, held.readings));
        let mut held = Held {
            kv,
            sight,
            readings,
        };
        if let Some(lease) = etcd.lease(kv.lease) {
            held.learn((now, lease.granted, lease.left));
        }
        self.held = Some(held);
    }

    /// Which directives it applies at `now`.
    pub(crate) fn applies(&self, now: u8, clocks: Clocks, mutant: Option<Mutant>) -> Ids {
        self.held
            .as_ref()
            .map_or(Ids::default(), |held| held.alive(now, clocks, mutant))
    }

    /// Holds what it applies against the promises.
    pub(crate) fn check(&self, state: &mut State, clocks: Clocks, mutant: Option<Mutant>) {
        let now_secs = secs(state.now);
        let applies = self.applies(state.now, clocks, mutant);
        for which in (0..COUNT).filter(|which| applies.has(*which)) {
            let Some(end) = end_secs(state.lives, which) else {
                state.broken(Promise::NeverWider);
                continue;
            };
            if now_secs >= end + self.may_be_late(clocks) {
                state.broken(Promise::NeverLonger);
            }
            if state.ghost.gone[which].is_some_and(|gone| self.at >= gone) {
                state.broken(Promise::NeverWider);
            }
        }
        if self.held.is_none() && self.took.is_some() {
            state.broken(Promise::NeverBlank);
        }
    }

    /// By how many seconds an end may be missed: not at all while wall clocks agree. By the lease alone: by what the writer took
    /// between dating the publication and granting its lease, and the second that etcd rounds away.
    fn may_be_late(&self, clocks: Clocks) -> u64 {
        let Some(held) = self.held.as_ref().filter(|_| clocks == Clocks::Behind) else {
            return 0;
        };
        let published = Publication::from_lease_id(held.kv.lease).map_or(0, Publication::second);
        secs(held.kv.granted_at).saturating_sub(published) + 2
    }
}

impl Held {
    /// Takes an answer about its lease, and keeps it if it makes the document older.
    fn learn(&mut self, reading: (u8, u8, u8)) {
        let (now, ..) = reading;
        let before = aging(self, Clocks::Agree)
            .age(moment(now, Clocks::Agree))
            .lease;
        self.readings.push(reading);
        let after = aging(self, Clocks::Agree)
            .age(moment(now, Clocks::Agree))
            .lease;
        if after <= before {
            self.readings.pop();
        }
    }

    fn alive(&self, now: u8, clocks: Clocks, mutant: Option<Mutant>) -> Ids {
        type Question = (Text, i64, u8, Vec<(u8, u8, u8)>, u8, Clocks, Option<Mutant>);
        thread_local! {
            static KNOWN: Known<Question, Ids> = RefCell::default();
        }
        let Self {
            kv,
            sight,
            readings,
        } = self;
        let question = (
            kv.value,
            kv.lease,
            *sight,
            readings.clone(),
            now,
            clocks,
            mutant,
        );
        remember(&KNOWN, question, || {
            let moment = moment(now, clocks);
            let age = aging(self, clocks).age(moment);
            let age = match mutant {
                Some(Mutant::NeverEnds) => Duration::ZERO,
                Some(Mutant::AgesByLeaseAlone) => age.lease,
                Some(Mutant::AgesByWallAlone) => age.wall.unwrap_or_default(),
                _ => age.effective,
            };
            let accepted = Accepted::from_bytes(kv.value.bytes()).unwrap_or_default();
            let alive = accepted.directives_at(age, moment.mono);
            Ids::of(alive.iter().map(|directive| directive.id.as_str()))
        })
    }
}

/// The crate's own account of a document's age, told again from first sight on.
fn aging(held: &Held, clocks: Clocks) -> Aging {
    let publication = Publication::from_lease_id(held.kv.lease);
    let mut aging = Aging::first_sight(publication, moment(held.sight, clocks));
    let seconds = |ticks: u8| i64::from(ticks) * TICK_SECS.cast_signed();
    for (now, granted, left) in &held.readings {
        let reading = LeaseReading {
            granted_secs: seconds(*granted),
            remaining_secs: seconds(*left),
        };
        aging.lease_answered(reading, moment(*now, clocks));
    }
    aging
}

/// Both clocks of a reader at `tick`.
fn moment(tick: u8, clocks: Clocks) -> Moment {
    static MONOTONIC: LazyLock<Vec<Instant>> = LazyLock::new(|| {
        let clock = ManualClock::new();
        let mut ticks = Vec::new();
        for _ in 0..=u8::MAX {
            ticks.push(clock.now());
            clock.advance(Duration::from_secs(TICK_SECS));
        }
        ticks
    });
    let behind = match clocks {
        Clocks::Agree => 0,
        Clocks::Behind => 3_600,
    };
    Moment {
        mono: MONOTONIC[usize::from(tick)],
        wall_nanos: (secs(tick) - behind) * 1_000_000_000,
    }
}
