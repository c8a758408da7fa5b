//! When a proxy says what of itself: a pure step function, like the watch protocol.
//!
//! What it keeps true:
//!
//! * A record is written only where it would say something else than the last one: another revision, or another refusal.
//! * At most one a window, but for that in which the window changes, at a moment that chance has given to this proxy. A session that begins, which
//!   costs its lease as well, takes two windows. The window is read before each write and never watched: if the fleet has outgrown
//!   the one that was gone by, the write is put off into the new one, which counts from the news, so that news are a window old at most.
//! * The session's lease has an id that follows from the key and the instance, so that a second process of the same name finds it
//!   taken. It needs no right to read any record for that. A lease that nobody refreshes for longer than a live owner would is a dead predecessor's and is
//!   taken over; one that is refreshed is a namesake's, and then nothing is written.
//! * Without the right nothing is tried again for a long while.

use std::time::Duration;

use osproxy_core::Instant;

use super::moments::Moments;
use super::vocabulary::{Call, Happened, Word};
use crate::document::LeaseReading;
use crate::etcd::Fault;
use crate::fleet::{DEFAULT_WINDOW_MS, REFRESH_SECS};
use crate::store::back_off::BackOff;
use crate::store::status::ReportingState;

/// The state of a proxy's session.
#[derive(Debug)]
pub(super) struct Session {
    chance: fastrand::Rng,
    moments: Moments,
    word: Option<Word>,
    /// Since when there has been something to say.
    news_at: Instant,
    writing: Option<Word>,
    written: Option<Word>,
    lease: Lease,
    step: Step,
    calling: bool,
    back_off: BackOff,
    /// How often its beginning was put off.
    put_off: u32,
    state: ReportingState,
    fault: Option<Fault>,
    records: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lease {
    None,
    Held {
        refresh_at: Instant,
    },
    /// Somebody had it when it was to be granted; what was left of it when it was looked at.
    Others {
        look_at: Instant,
        left: Option<(Instant, i64)>,
    },
}

/// How far the next record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing to say, or all is said.
    Said,
    /// The window has to be known before a moment in it can be chosen.
    Window,
    /// None was announced. Looked for once more: an operator that has just been started announces one.
    Unannounced(Instant),
    /// At its moment.
    At(Instant),
    /// The moment has come. The window is read once more; with `true` whatever it says.
    Due(bool),
    /// The window is as it was.
    Go,
    /// Not before this moment.
    Rest(Instant),
}

const REFRESH: Duration = Duration::from_secs(REFRESH_SECS);
/// Longer than a live owner leaves its lease alone, with room for a slow answer.
const LOOK: Duration = Duration::from_secs(30);
/// Between two tries to get a lease whose time is up.
const LET_GO: Duration = Duration::from_secs(1);
/// Without the right nothing is tried for this long, and up to half as long again.
const DENIED: Duration = Duration::from_mins(10);
/// What the back-off starts with, and where it stops growing. Nobody waits for a record.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often a session's beginning is put off while the fleet outgrows its windows.
const PUT_OFF: u32 = 4;

impl Session {
    /// A session that has not begun at `now`. What is left to chance comes from `seed` alone.
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        Self {
            moments: Moments::new(chance.f64(), now, Duration::from_millis(DEFAULT_WINDOW_MS)),
            chance,
            word: None,
            news_at: now,
            writing: None,
            written: None,
            lease: Lease::None,
            step: Step::Said,
            calling: false,
            back_off: BackOff::new(BACK_OFF),
            put_off: 0,
            state: ReportingState::Starting,
            fault: None,
            records: 0,
        }
    }

    /// Takes in what happened at `now` and says which call to make, if any.
    pub(super) fn step(&mut self, now: Instant, happened: Happened) -> Option<Call> {
        if !matches!(happened, Happened::Word(_) | Happened::TimePassed) {
            self.calling = false;
        }
        match happened {
            Happened::Word(word) => self.heard(now, word),
            Happened::Window(answer) => self.window_read(now, answer),
            Happened::Granted(answer) => self.granted(now, answer),
            Happened::Left(answer) => self.left(now, answer),
            Happened::Written(answer) => self.wrote(now, answer),
            Happened::Refreshed(answer) => self.refreshed(now, answer),
            Happened::TimePassed => {}
        }
        if self.calling {
            return None;
        }
        let call = self.due(now)?;
        self.calling = true;
        Some(call)
    }

    /// When to step again, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let step = match self.step {
            Step::At(at) | Step::Rest(at) | Step::Unannounced(at) => Some(at),
            _ => None,
        };
        let lease = match self.lease {
            Lease::None => None,
            Lease::Held { refresh_at: at } | Lease::Others { look_at: at, .. } => Some(at),
        };
        match (step, lease) {
            (Some(step), Some(lease)) => Some(step.min(lease)),
            (one, other) => one.or(other),
        }
    }

    /// Whether a lease is held that should be given back at the end.
    pub(super) fn holds_a_lease(&self) -> bool {
        matches!(self.lease, Lease::Held { .. })
    }

    /// How it stands, for people: the state, the last failure, the revision that was last said, and how many records were written.
    pub(super) fn told(&self) -> (ReportingState, Option<Fault>, Option<i64>, u64) {
        let said = self.written.map(|written| written.revision);
        (self.state, self.fault, said, self.records)
    }

    fn heard(&mut self, now: Instant, word: Word) {
        self.word = Some(word);
        if self.step == Step::Said && self.written != Some(word) {
            self.step = Step::Window;
            self.news_at = now;
        }
    }

    /// What is to be done at `now`.
    fn due(&mut self, now: Instant) -> Option<Call> {
        match self.lease {
            Lease::Held { refresh_at } if now >= refresh_at => return Some(Call::Refresh),
            // While the lease is another's nothing is said.
            Lease::Others { look_at, .. } => return (now >= look_at).then_some(Call::AskLease),
            _ => {}
        }
        // The window of a moment ago does: it is read again before the write.
        if self.step == Step::Window && self.lease != Lease::None {
            self.plan(now);
        }
        match self.step {
            Step::At(at) if now >= at => self.step = Step::Due(false),
            Step::Rest(at) if now >= at => self.step = Step::Due(true),
            _ => {}
        }
        match self.step {
            Step::Unannounced(at) if now < at => None,
            Step::Said | Step::At(_) | Step::Rest(_) => None,
            Step::Window | Step::Unannounced(_) | Step::Due(_) => Some(Call::ReadWindow),
            Step::Go => match self.word.filter(|word| self.written != Some(*word)) {
                Some(_) if self.lease == Lease::None => Some(Call::Grant),
                Some(word) => {
                    self.writing = Some(word);
                    Some(Call::Write(word))
                }
                None => {
                    self.step = Step::Said;
                    None
                }
            },
        }
    }

    /// Chooses the moment of the next record.
    fn plan(&mut self, now: Instant) {
        self.step = Step::At(if self.lease == Lease::None {
            self.moments.beginning(now, self.chance.f64())
        } else {
            self.moments.next(now)
        });
    }

    /// Chooses a later moment, in a window that has become longer meanwhile.
    fn put_off(&mut self, now: Instant) {
        if self.lease == Lease::None {
            self.put_off += 1;
            // Whoever comes while a fleet grows is not passed over for as long as it does.
            if self.put_off > PUT_OFF {
                self.step = Step::Go;
            } else {
                self.plan(now);
            }
            return;
        }
        let at = self.moments.since(self.news_at);
        self.step = if at > now { Step::At(at) } else { Step::Go };
    }

    fn window_read(&mut self, now: Instant, answer: Result<Option<u64>, Fault>) {
        let announced = match answer {
            Ok(announced) => announced.unwrap_or(DEFAULT_WINDOW_MS),
            Err(fault) => return self.failed(now, fault),
        };
        let outgrown = self.moments.take(Duration::from_millis(announced));
        match self.step {
            Step::Window if answer == Ok(None) => {
                self.step = Step::Unannounced(Moments::unannounced(now, self.chance.f64()));
            }
            Step::Window | Step::Unannounced(_) => self.plan(now),
            Step::Due(false) if outgrown => self.put_off(now),
            Step::Due(_) => self.step = Step::Go,
            _ => {}
        }
    }

    fn granted(&mut self, now: Instant, answer: Result<(), Fault>) {
        match answer {
            Ok(()) => self.hold(now),
            Err(Fault::LeaseExists) => {
                self.lease = Lease::Others {
                    look_at: now,
                    left: None,
                };
            }
            Err(fault) => self.failed(now, fault),
        }
    }

    fn hold(&mut self, now: Instant) {
        let refresh_at = self.next_refresh(now);
        self.lease = Lease::Held { refresh_at };
    }

    /// Up to a tenth sooner, so that a fleet that started together does not refresh together for ever.
    fn next_refresh(&mut self, now: Instant) -> Instant {
        now.saturating_add(REFRESH.mul_f64(1.0 - self.chance.f64() / 10.0))
    }

    /// Tells a dead predecessor's lease from a namesake's: a live owner would have refreshed it between two looks.
    fn left(&mut self, now: Instant, answer: Result<LeaseReading, Fault>) {
        let Lease::Others { left: before, .. } = self.lease else {
            return;
        };
        let look_at = now.saturating_add(LOOK);
        let left = match answer {
            Ok(reading) if reading.remaining_secs < 0 => {
                self.lease = Lease::None;
                // etcd lets go of a lease a moment after its time is up.
                self.step = Step::Rest(now.saturating_add(LET_GO));
                return;
            }
            Ok(reading) => reading.remaining_secs,
            // The next look begins anew.
            Err(fault) => {
                self.fault = Some(fault);
                self.lease = Lease::Others {
                    look_at,
                    left: None,
                };
                return;
            }
        };
        if let Some((at, before)) = before {
            let passed = now.saturating_duration_since(at).as_secs();
            let expected = before.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX));
            // Two seconds for what both sides round.
            if left <= expected + 2 {
                self.state = ReportingState::Starting;
                // It has been left alone for a while: refreshed at once, before it lapses.
                self.lease = Lease::Held { refresh_at: now };
                return;
            }
            self.state = ReportingState::NameTaken;
        }
        self.lease = Lease::Others {
            look_at,
            left: Some((now, left)),
        };
    }

    fn wrote(&mut self, now: Instant, answer: Result<(), Fault>) {
        match answer {
            Ok(()) => {
                self.written = self.writing.take();
                self.records += 1;
                self.back_off.reset();
                self.put_off = 0;
                self.state = ReportingState::Reporting;
                self.fault = None;
                self.step = if self.word == self.written {
                    Step::Said
                } else {
                    self.news_at = now;
                    Step::Window
                };
            }
            Err(Fault::LeaseNotFound) => self.begin_anew(now),
            Err(fault) => self.failed(now, fault),
        }
    }

    fn refreshed(&mut self, now: Instant, answer: Result<(), Fault>) {
        match answer {
            Ok(()) => {
                self.back_off.reset();
                self.hold(now);
            }
            Err(Fault::LeaseNotFound) => self.begin_anew(now),
            Err(fault) => {
                self.fault = Some(fault);
                let wait = self
                    .back_off
                    .wait(&mut self.chance)
                    .min(Duration::from_secs(5));
                let refresh_at = now.saturating_add(wait);
                self.lease = Lease::Held { refresh_at };
            }
        }
    }

    /// The lease lapsed, and the record with it.
    fn begin_anew(&mut self, now: Instant) {
        self.lease = Lease::None;
        self.written = None;
        self.state = ReportingState::Starting;
        if self.word.is_some() {
            self.plan(now);
        }
    }

    fn failed(&mut self, now: Instant, fault: Fault) {
        self.fault = Some(fault);
        let wait = if fault == Fault::PermissionDenied {
            self.state = ReportingState::Denied;
            // What was granted for a record that may not be written lapses by itself.
            self.lease = Lease::None;
            self.written = None;
            DENIED.mul_f64(1.0 + self.chance.f64() / 2.0)
        } else {
            self.state = ReportingState::Failing;
            self.back_off.wait(&mut self.chance)
        };
        self.step = Step::Rest(now.saturating_add(wait));
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
