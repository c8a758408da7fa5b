//! The watch protocol: what happened, and what to do next.
//!
//! A pure step function. It knows neither a runtime nor etcd nor a clock: whoever drives it tells it what
//! happened and when, and carries out what it answers. What it keeps true:
//!
//! * The value changes only by a read, or by an event newer than all that is known. An event at or below the
//!   known revision is a repetition, also one from a member that travelled back in time.
//! * The known revision falls only with a history that two linearizable reads, or a watch and a read, five
//!   seconds apart have shown alike: a restored, wiped or exchanged etcd.
//! * A message that carries no event proves life and nothing else.
//! * Whatever goes wrong with a watch leads back to the read. So does the passing of 45 s ± 15 s, because etcd
//!   itself has lost events (etcd-io/etcd#19179, #17529): no watch defect lasts longer than that.

mod history;
mod value;
mod vocabulary;

use osproxy_core::Instant;

use super::back_off::{BackOff, between};
use super::status::Counters;
use crate::document::LeaseReading;
use crate::etcd::Fault;

pub(super) use vocabulary::{Event, Happened, Header, Message, Next, Pace, Tell, Value};

/// The state of the protocol.
#[derive(Debug)]
pub(in crate::store) struct Protocol {
    pace: Pace,
    chance: fastrand::Rng,
    /// The cluster whose history is followed; `None` before the first answer.
    cluster: Option<u64>,
    /// Up to which revision the state of the key is known.
    known: i64,
    taken: Taken,
    /// A value that waits for the age of its lease: applied without it, a document that ended long ago could come
    /// back to life in a proxy whose wall clock is behind.
    pending: Option<Value>,
    watch: Watch,
    read: Read,
    doubt: Option<Header>,
    back_off: BackOff,
    /// The lease that etcd last said was gone, so that it is asked for again only once.
    gone: Option<i64>,
    told: Option<Tell>,
    counters: Counters,
}

#[derive(Debug)]
enum Taken {
    Nothing,
    /// The key was absent at this revision.
    Absence(i64),
    Value(Value),
}

#[derive(Clone, Copy, Debug)]
enum Watch {
    Closed,
    Opening {
        by: Instant,
        from: i64,
    },
    Open {
        since: Instant,
        asked: u8,
        next: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
enum Read {
    /// Under way; when it was sent, the key was known up to this revision, and a linearizable answer cannot be older.
    Asked(i64),
    At(Instant),
}

/// After this many unanswered questions a watch is dead.
const MISSES: u8 = 2;

impl Protocol {
    /// A protocol that begins with a read at `now`. The jitter comes from `seed` alone.
    pub(in crate::store) fn new(pace: Pace, seed: u64, now: Instant) -> Self {
        Self {
            back_off: BackOff::new(pace.back_off),
            pace,
            chance: fastrand::Rng::with_seed(seed),
            cluster: None,
            known: 0,
            taken: Taken::Nothing,
            pending: None,
            watch: Watch::Closed,
            read: Read::At(now),
            doubt: None,
            gone: None,
            told: None,
            counters: Counters::default(),
        }
    }

    /// Takes in what happened at `now` and says what to do.
    pub(in crate::store) fn step(&mut self, now: Instant, happened: Happened) -> Vec<Next> {
        let mut next = Vec::new();
        // First the deadlines: a watch that should be dead by now is not believed any more, also where its next
        // message lay unread while the process was stopped.
        self.expire(now, &mut next);
        match happened {
            Happened::Read(header, value) => self.read_answered(now, header, value, &mut next),
            Happened::ReadFailed(fault) => self.read_failed(now, fault, &mut next),
            Happened::Lease(id, reading) => self.lease_answered(now, id, reading, &mut next),
            Happened::LeaseFailed(fault) => self.lease_failed(now, fault, &mut next),
            Happened::Watch(message) => self.heard(now, message, &mut next),
            Happened::WatchFailed(fault) => self.watch_failed(now, fault, &mut next),
            Happened::ClockJumped => self.read_by(now),
            Happened::Renewed => self.start_again(now, &mut next),
            Happened::TimePassed => {}
        }
        self.do_what_is_due(now, &mut next);
        next
    }

    /// When to step again, if nothing happens before.
    pub(in crate::store) fn wake_at(&self) -> Option<Instant> {
        let read = match self.read {
            Read::At(at) => Some(at),
            Read::Asked(_) => None,
        };
        let watch = match self.watch {
            Watch::Closed => None,
            Watch::Opening { by: at, .. } | Watch::Open { next: at, .. } => Some(at),
        };
        match (read, watch) {
            (Some(read), Some(watch)) => Some(read.min(watch)),
            (one, other) => one.or(other),
        }
    }

    /// Whether the key's state is known, be it absence.
    pub(in crate::store) fn has_taken(&self) -> bool {
        !matches!(self.taken, Taken::Nothing)
    }

    /// Up to which revision the state of the key is known; 0 before the first answer.
    pub(in crate::store) fn known(&self) -> i64 {
        self.known
    }

    /// Whether a watch is open.
    pub(in crate::store) fn is_watching(&self) -> bool {
        matches!(self.watch, Watch::Open { .. })
    }

    /// What has happened so far, in numbers.
    pub(in crate::store) fn counters(&self) -> Counters {
        self.counters
    }

    fn expire(&mut self, now: Instant, next: &mut Vec<Next>) {
        let dead = match self.watch {
            Watch::Closed => false,
            Watch::Opening { by, .. } => now >= by,
            Watch::Open {
                asked, next: at, ..
            } => asked >= MISSES && now >= at,
        };
        if dead {
            self.counters.silences += 1;
            self.start_over(now, Fault::Timeout, next);
        }
    }

    fn do_what_is_due(&mut self, now: Instant, next: &mut Vec<Next>) {
        if matches!(self.read, Read::At(at) if now >= at) {
            self.read = Read::Asked(self.known);
            self.counters.reads += 1;
            next.push(Next::Read);
        }
        if let Watch::Open {
            asked, next: at, ..
        } = &mut self.watch
            && *asked < MISSES
            && now >= *at
        {
            *asked += 1;
            let patience = if *asked < MISSES {
                self.pace.heartbeat
            } else {
                self.pace.answer
            };
            *at = now.saturating_add(patience);
            next.push(Next::AskProgress);
        }
    }

    fn read_answered(
        &mut self,
        now: Instant,
        header: Header,
        value: Option<Value>,
        next: &mut Vec<Next>,
    ) {
        let Read::Asked(floor) = self.read else {
            return; // an answer to a call that was dropped
        };
        let (least, most) = self.pace.reread;
        let again = between(least, most, &mut self.chance);
        self.read = Read::At(now.saturating_add(again));
        if self.has_lasted(now) {
            self.back_off.reset();
        }
        if self.is_strange(header, floor, value.as_ref()) {
            if !self.is_second_witness(header) {
                self.doubt(now, header, next);
                return;
            }
            self.counters.histories += 1;
            self.tell(Tell::Followed(header), next);
            self.known = 0;
            self.watch = Watch::Closed;
        }
        self.doubt = None;
        self.cluster = Some(header.cluster);
        // The watch may have brought something newer while the read was under way.
        if header.revision >= self.known {
            self.known = header.revision;
            self.settle(header.revision, value, next);
        }
        if matches!(self.watch, Watch::Closed) {
            let by = now.saturating_add(self.pace.answer);
            self.watch = Watch::Opening {
                by,
                from: header.revision,
            };
            // From this very revision and not from the one after it: there a quiet etcd 3.5 or later never
            // answers a progress request, and 3.4 loses a deletion at the compaction boundary.
            next.push(Next::Watch(header.revision));
        }
    }

    fn read_failed(&mut self, now: Instant, fault: Fault, next: &mut Vec<Next>) {
        if !matches!(self.read, Read::Asked(_)) {
            return;
        }
        self.counters.failed_reads += 1;
        self.tell(Tell::ReadFailed(fault), next);
        // An open watch proves a connection that a read found mute, and not a login that etcd takes no more.
        let is_proven = fault == Fault::Timeout && !matches!(self.watch, Watch::Closed);
        if needs_another_connection(fault) && !is_proven {
            self.close(true, next);
        }
        let wait = self.back_off.wait(&mut self.chance);
        self.read = Read::At(now.saturating_add(wait));
    }

    fn watch_failed(&mut self, now: Instant, fault: Fault, next: &mut Vec<Next>) {
        if !matches!(self.watch, Watch::Closed) {
            self.start_over(now, fault, next);
        }
    }

    fn heard(&mut self, now: Instant, message: Message, next: &mut Vec<Next>) {
        if matches!(self.watch, Watch::Closed) {
            return;
        }
        // Before "created": a refusal says both.
        if let Some(fault) = message.cancelled {
            self.counters.cancellations += 1;
            self.start_over(now, fault, next);
            return;
        }
        if self.cluster != Some(message.header.cluster) {
            self.doubt(now, message.header, next);
            return;
        }
        let heartbeat = now.saturating_add(self.pace.heartbeat);
        match &mut self.watch {
            Watch::Open {
                asked, next: at, ..
            } => {
                *asked = 0;
                *at = heartbeat;
            }
            Watch::Opening { from, .. } if message.created => {
                let from = *from;
                self.watch = Watch::Open {
                    since: now,
                    asked: 0,
                    next: heartbeat,
                };
                self.tell(Tell::Connected, next);
                if message.header.revision < from {
                    // Either a member that lags behind, and then all is well, or a restored etcd, and then this
                    // watch stays mute. A read that cannot lag tells which.
                    self.doubt = Some(message.header);
                    self.read_by(now.saturating_add(self.pace.doubt));
                }
            }
            Watch::Opening { .. } | Watch::Closed => {}
        }
        self.apply(message.events, next);
    }

    /// Of one message only the newest event counts.
    fn apply(&mut self, events: Vec<Event>, next: &mut Vec<Next>) {
        let mut newest = None;
        for event in events {
            if !event.ours {
                self.counters.foreign_events += 1;
            } else if event.mod_revision <= self.known {
                self.counters.repeated_events += 1;
            } else {
                self.counters.events += 1;
                self.known = event.mod_revision;
                newest = Some(event);
            }
        }
        if let Some(Event {
            value,
            mod_revision,
            ..
        }) = newest
        {
            self.take(value, mod_revision, None, next);
        }
    }

    /// Back to the read, after a while that grows.
    fn start_over(&mut self, now: Instant, fault: Fault, next: &mut Vec<Next>) {
        if self.has_lasted(now) {
            self.back_off.reset();
        }
        self.counters.restarts += 1;
        self.tell(Tell::Lost(fault), next);
        // etcd also says "permission denied" where the login behind a watch has expired (etcd-io/etcd#8914).
        let refused = fault == Fault::PermissionDenied;
        self.close(refused || needs_another_connection(fault), next);
        let wait = self.back_off.wait(&mut self.chance);
        self.read = Read::At(now.saturating_add(wait));
    }

    /// Back to the read on another connection. A second witness is waited for all the same.
    fn start_again(&mut self, now: Instant, next: &mut Vec<Next>) {
        self.close(false, next);
        if self.doubt.is_none() || matches!(self.read, Read::Asked(_)) {
            self.read = Read::At(now);
        }
    }

    fn close(&mut self, connection_too: bool, next: &mut Vec<Next>) {
        self.watch = Watch::Closed;
        self.pending = None;
        next.push(Next::Drop(connection_too));
    }

    /// Whether the watch has been open long enough for its end to be a new story.
    fn has_lasted(&self, now: Instant) -> bool {
        matches!(self.watch, Watch::Open { since, .. }
            if now.saturating_duration_since(since) >= self.pace.heartbeat)
    }

    /// Brings the next read forward.
    fn read_by(&mut self, at: Instant) {
        if let Read::At(planned) = &mut self.read {
            *planned = at.min(*planned);
        }
    }

    /// Says a thing once, not each time that it is still so.
    fn tell(&mut self, tell: Tell, next: &mut Vec<Next>) {
        if self.told.replace(tell) != Some(tell) {
            next.push(Next::Tell(tell));
        }
    }
}

/// After silence, because the connection may be half-open; after a login that is not good any more, because
/// a new connection logs in anew.
fn needs_another_connection(fault: Fault) -> bool {
    matches!(fault, Fault::Timeout | Fault::Authentication)
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "world_tests.rs"]
mod world;
