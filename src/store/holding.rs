//! What a store holds: the last good document, how old it is, and what follows for requests.

use std::time::Duration;

use osproxy_core::Instant;
use osproxy_observe::DirectiveSet;

use super::copies::Copies;
use super::decision::Index;
use super::protocol::Value;
use super::status::{Applied, Refused};
use crate::document::{Accepted, Aging, LeaseReading, Moment, Publication, Refusal};

/// What requests are decided by: immutable, replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) copies: Copies,
    pub(super) index: Index,
}

/// The last good document, and the last refused one.
#[derive(Debug, Default)]
pub(super) struct Holding {
    document: Option<Document>,
    /// As of which revision the key was seen absent, if it is.
    absent: Option<i64>,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Document {
    accepted: Accepted,
    revision: i64,
    lease: i64,
    bytes: usize,
    aging: Aging,
    built: Option<Built>,
}

/// From which age the ends of the current snapshot were computed, and when.
#[derive(Clone, Copy, Debug)]
struct Built {
    at: Instant,
    age: Duration,
    next_end: Option<Instant>,
    alive: usize,
}

/// The clocks are looked at this often while a document is held, so that a machine that slept is noticed.
const LOOK: Duration = Duration::from_secs(1);
/// Ends that moved by no more than this stay as they are: NTP slews by half of it in a minute.
const TOLERANCE: Duration = Duration::from_millis(50);

impl Holding {
    /// Takes a document in place of the one held, or keeps that one where it is refused. `reading` is what etcd says
    /// of its lease, where it was asked.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn take(
        &mut self,
        value: &Value,
        reading: Option<LeaseReading>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let accepted = Accepted::from_bytes(&value.bytes).inspect_err(|refusal| {
            self.refused = Some(Refused {
                reason: refusal.reason.slug(),
                revision: value.mod_revision,
            });
        })?;
        // One lease is one publication, and for one publication the age never falls: not because it is
        // put again, and not because a restored etcd shows it under another revision.
        let known = self
            .document
            .take()
            .filter(|held| value.lease != 0 && held.lease == value.lease);
        let mut aging = known.map_or_else(
            || Aging::first_sight(Publication::from_lease_id(value.lease), now),
            |held| held.aging,
        );
        if let Some(reading) = reading {
            aging.lease_answered(reading, now);
        }
        self.refused = None;
        self.absent = None;
        self.document = Some(Document {
            accepted,
            revision: value.mod_revision,
            lease: value.lease,
            bytes: value.bytes.len(),
            aging,
            built: None,
        });
        Ok(())
    }

    /// The key is absent as of `revision`: nothing is in force.
    pub(super) fn clear(&mut self, revision: i64) {
        *self = Self {
            absent: Some(revision),
            ..Self::default()
        };
    }

    /// What stands at the key is too large to be received.
    pub(super) fn refuse_unseen(&mut self, reason: &'static str) {
        self.refused = Some(Refused {
            reason,
            revision: 0,
        });
    }

    /// etcd said how much is left of a lease; it counts where the document held hangs on it.
    pub(super) fn lease_answered(&mut self, lease: i64, reading: LeaseReading, now: Moment) {
        if let Some(document) = &mut self.document
            && document.lease == lease
        {
            document.aging.lease_answered(reading, now);
        }
    }

    /// Looks at the clocks; true where the age has to be asked for.
    pub(super) fn look(&mut self, now: Moment) -> bool {
        self.document
            .as_mut()
            .is_some_and(|document| document.aging.look(now))
    }

    /// Whether a new snapshot is due: a directive has ended, or the ends have moved.
    pub(super) fn is_outdated(&self, now: Moment) -> bool {
        let Some(document) = &self.document else {
            return false;
        };
        let Some(built) = document.built else {
            return true;
        };
        let expected = built
            .age
            .saturating_add(now.mono.saturating_duration_since(built.at));
        let age = document.aging.age(now).effective;
        built.next_end.is_some_and(|end| now.mono >= end) || age.abs_diff(expected) > TOLERANCE
    }

    /// What follows for requests at `now`. Costs a copy of every directive that has not ended.
    pub(super) fn snapshot(&mut self, now: Moment) -> Snapshot {
        let Some(document) = &mut self.document else {
            return Snapshot::default();
        };
        let age = document.aging.age(now).effective;
        let directives = document.accepted.directives_at(age, now.mono);
        document.built = Some(Built {
            at: now.mono,
            age,
            next_end: directives
                .iter()
                .map(|directive| directive.expires_at)
                .min(),
            alive: directives.len(),
        });
        Snapshot {
            index: Index::new(&directives),
            copies: Copies::new(DirectiveSet::from_directives(directives)),
        }
    }

    /// When to look again.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let document = self.document.as_ref()?;
        let look = now.saturating_add(LOOK);
        let end = document.built.and_then(|built| built.next_end);
        Some(end.map_or(look, |end| look.min(end)))
    }

    /// The document in force, for people.
    pub(super) fn applied(&self) -> Option<Applied> {
        self.document.as_ref().map(|document| Applied {
            revision: document.revision,
            publication_secs: document.aging.publication().map(Publication::second),
            directives: document.built.map_or(0, |built| built.alive),
            bytes: document.bytes,
        })
    }

    /// As of which revision the key was seen absent, where it is.
    pub(super) fn absent(&self) -> Option<i64> {
        self.absent
    }

    /// How the document in force ages.
    pub(super) fn aging(&self) -> Option<&Aging> {
        self.document.as_ref().map(|document| &document.aging)
    }

    /// What stands at the key and was not taken.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused
    }
}

#[cfg(test)]
#[path = "holding_tests.rs"]
mod tests;
