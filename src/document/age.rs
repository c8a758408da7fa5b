//! How old a document is, by two clocks that may both be wrong.
//!
//! The **wall age** is now minus the publication's second. It is exact while clocks agree, and a
//! wall clock can be an hour off. The **lease age** is how much of its lease etcd says is gone. It
//! needs no common clock, and etcd gives a lease its full time again when its leader changes (a lease of 10 s
//! lived 21 s) or when a snapshot is restored. So the age is the larger of the two: being wrong
//! then makes a directive end early, and never late.

use std::time::Duration;

use osproxy_core::{Clock, Instant};

use super::Publication;

/// The two clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The monotonic clock, which stands still while a machine is suspended.
    pub mono: Instant,
    /// The wall clock: nanoseconds since the Unix epoch, which a person or NTP may set.
    pub wall_nanos: u64,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now(clock: &dyn Clock) -> Self {
        Self {
            mono: clock.now(),
            wall_nanos: clock.unix_nanos(),
        }
    }

    /// The wall clock's whole second.
    #[must_use]
    pub fn wall_secs(self) -> u64 {
        self.wall_nanos / NANOS_PER_SEC
    }
}

/// What `LeaseTimeToLive` answered, in whole seconds as etcd gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseReading {
    /// The time that the lease was granted with.
    pub granted_secs: i64,
    /// What is left of it; −1 where the lease is gone.
    pub remaining_secs: i64,
}

/// A document's age at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Age {
    /// By the wall clock; `None` for a document that no publication of ours dates.
    pub wall: Option<Duration>,
    /// By its lease, or from first sight where there is none.
    pub lease: Duration,
    /// The larger one: what counts.
    pub effective: Duration,
}

/// A wall clock may run this far ahead of the monotonic one between two looks before it is a jump:
/// NTP slews by at most 500 ppm, and the looks are seconds apart.
const JUMP: Duration = Duration::from_millis(250);
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Keeps the age of one document, from first sight on.
#[derive(Clone, Debug)]
pub struct Aging {
    publication: Option<Publication>,
    lease_age: Duration,
    lease_age_at: Instant,
    jump: Duration,
    last: Moment,
}

impl Aging {
    /// A document that is seen now for the first time. `publication` is what its lease id says;
    /// without one (a value put by hand, or by a mirror) its life counts from here.
    #[must_use]
    pub fn first_sight(publication: Option<Publication>, now: Moment) -> Self {
        Self {
            publication,
            lease_age: Duration::ZERO,
            lease_age_at: now.mono,
            jump: Duration::ZERO,
            last: now,
        }
    }

    /// When the document was written, where it says so.
    #[must_use]
    pub fn publication(&self) -> Option<Publication> {
        self.publication
    }

    /// Looks at the clocks. A wall clock that ran ahead of the monotonic one (a machine that slept,
    /// or a correction) counts as elapsed. Returns true where it did: time to read the key again.
    pub fn look(&mut self, now: Moment) -> bool {
        let wall = now.wall_nanos.saturating_sub(self.last.wall_nanos);
        let mono = now.mono.saturating_duration_since(self.last.mono);
        self.last = now;
        let ahead = Duration::from_nanos(wall).saturating_sub(mono);
        if ahead <= JUMP {
            return false;
        }
        self.jump = self.jump.saturating_add(ahead);
        true
    }

    /// Takes an answer of `LeaseTimeToLive` that arrived at `now`. For one publication the lease age never
    /// falls, whatever etcd says after a change of its leader. The jump that asked for this answer is settled by it.
    ///
    /// etcd rounds what remains down: a millisecond after the grant granted − remaining is 1 already,
    /// hence the −1. A lease that is gone (−1) tells nothing about the age and changes nothing.
    pub fn lease_answered(&mut self, reading: LeaseReading, now: Moment) {
        if reading.remaining_secs < 0 {
            return;
        }
        let gone = reading.granted_secs - reading.remaining_secs - 1;
        let answered = Duration::from_secs(u64::try_from(gone).unwrap_or(0));
        self.lease_age = self.lease_age_without_jump(now).max(answered);
        self.lease_age_at = now.mono;
        self.jump = Duration::ZERO;
    }

    /// How old the document is at `now`. Never negative, whatever the clocks say.
    #[must_use]
    pub fn age(&self, now: Moment) -> Age {
        let wall = self.publication.map(|publication| {
            let second = publication.second().saturating_mul(NANOS_PER_SEC);
            Duration::from_nanos(now.wall_nanos.saturating_sub(second))
        });
        let lease = self.lease_age_without_jump(now).saturating_add(self.jump);
        Age {
            wall,
            lease,
            effective: wall.unwrap_or_default().max(lease),
        }
    }

    /// By how many milliseconds the wall clock is ahead of what the lease says; negative where it is behind. Exact to
    /// about a second, as etcd tells leases in whole ones. `None` without a publication.
    #[must_use]
    pub fn clock_ahead_ms(&self, now: Moment) -> Option<i64> {
        let second = self.publication?.second().saturating_mul(NANOS_PER_SEC);
        let wall_ms = (i128::from(now.wall_nanos) - i128::from(second)) / 1_000_000;
        let lease_ms = i128::try_from(self.lease_age_without_jump(now).as_millis()).ok()?;
        i64::try_from(wall_ms - lease_ms).ok()
    }

    fn lease_age_without_jump(&self, now: Moment) -> Duration {
        self.lease_age
            .saturating_add(now.mono.saturating_duration_since(self.lease_age_at))
    }
}

#[cfg(test)]
#[path = "age_tests.rs"]
mod tests;
