//! Everything at one moment, and what happens to it by whoever's doing.

use crate::etcd::{Candidate, Etcd, Sight, Write};
use crate::flight::Flight;
use crate::machine::{Action, Mutant, Promise};
use crate::reader::Reader;
use crate::world::{COUNT, Life, Lives, dated, ids_of, secs};
use crate::writer::{Phase, Writer};

/// Everything at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) now: u8,
    /// The resources, as the API server has them.
    pub(crate) lives: Lives,
    pub(crate) etcd: Etcd,
    /// Transactions on their way.
    pub(crate) flights: Vec<Flight>,
    pub(crate) writers: Vec<Writer>,
    pub(crate) reader: Option<Reader>,
    /// The revisions of document and owner that a person who wants to adopt has seen.
    pub(crate) person_saw: Option<(i64, i64)>,
    pub(crate) faults_left: u8,
    pub(crate) changes_left: u8,
    pub(crate) hands_left: u8,
    pub(crate) ghost: Ghost,
}

/// What no process knows, and the promises are about.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Ghost {
    /// Whether the key ever had an owner.
    pub(crate) ever_owned: bool,
    /// Whether what stands there was put by hand before any owner, and not adopted since.
    pub(crate) foreign: bool,
    /// As of which revision each resource was withdrawn and its directive gone.
    pub(crate) gone: [Option<i64>; COUNT],
    /// Which session wrote the document.
    pub(crate) written_by: Option<(u8, u8)>,
    /// The promises that were broken, one bit each.
    pub(crate) broken: u16,
}

impl State {
    /// Notes a broken promise.
    pub(crate) fn broken(&mut self, promise: Promise) {
        self.ghost.broken |= 1 << promise as u16;
    }

    /// How many writers would write if their plan changed.
    pub(crate) fn believers(&self) -> usize {
        let believes = |w: &&Writer| matches!(w.phase, Phase::Leading | Phase::Prepared(..));
        self.writers.iter().filter(believes).count()
    }

    /// Whether a write is under way whose answer nobody waits for, and whose compares hold, or do not.
    pub(crate) fn has_lost_write(&self, holds: bool) -> bool {
        let mut lost = self.flights.iter().filter(|flight| !flight.awaited);
        lost.any(|flight| self.etcd.holds(&flight.guards) == holds)
    }

    pub(crate) fn keeps(&self, promise: Promise) -> bool {
        self.ghost.broken & (1 << promise as u16) == 0
    }

    /// The document was written or deleted: it is nobody's foreign value any more, and the reader's watch will show it.
    pub(crate) fn document_changed(&mut self) {
        self.ghost.foreign = false;
        let now = self.etcd.now;
        if let Some(reader) = self.reader.as_mut().filter(|reader| reader.connected) {
            reader.coming.push((now.revision, now.document));
        }
    }

    /// What `view` says is withdrawn, and the key does not say: from now on it must not come back.
    pub(crate) fn note_withdrawn(&mut self, view: Lives) {
        let now = self.etcd.now;
        let ids = now.document.map(|kv| ids_of(kv.value)).unwrap_or_default();
        for (which, life) in view.iter().enumerate() {
            let withdrawn = matches!(life, Life::Withdrawn { .. });
            if withdrawn && !ids.has(which) && self.ghost.gone[which].is_none() {
                self.ghost.gone[which] = Some(now.revision);
            }
        }
    }

    /// Whether some value or transaction names a lease id.
    pub(crate) fn names_lease(&self, id: i64) -> bool {
        let names = |write: &Write| matches!(write, Write::Put { lease, .. } if *lease == id);
        let prepared = |writer: &Writer| matches!(&writer.phase, Phase::Prepared(flight, _) if names(&flight.write));
        let held = self.reader.as_ref().and_then(|reader| reader.held.as_ref());
        self.etcd.lease(id).is_some()
            || self.flights.iter().any(|flight| names(&flight.write))
            || self.writers.iter().any(prepared)
            || held.is_some_and(|held| held.kv.lease == id)
    }

    /// A session's lease ends, and its key in the election with it.
    pub(crate) fn end_session(&mut self, writer: u8, session: u8, mutant: Option<Mutant>) {
        let is_its = |c: &Candidate| (c.writer, c.session) == (writer, session);
        if self.etcd.candidate(writer, session).is_none() {
            return;
        }
        self.etcd.candidates.retain(|candidate| !is_its(candidate));
        self.etcd.next_revision();
        if mutant == Some(Mutant::SharesItsLease)
            && self.ghost.written_by == Some((writer, session))
        {
            self.lease_takes_document();
        }
    }

    /// A lease that has no time left ends.
    pub(crate) fn lapse(&mut self, lease: usize) -> bool {
        let lease = self.etcd.leases[lease];
        if lease.left > 0 {
            return false;
        }
        self.etcd.leases.retain(|other| other.id != lease.id);
        if self
            .etcd
            .now
            .document
            .is_some_and(|kv| kv.lease == lease.id)
        {
            self.lease_takes_document();
        }
        true
    }

    fn lease_takes_document(&mut self) {
        let Some(kv) = self.etcd.now.document else {
            return;
        };
        let entries = dated(kv.value, kv.lease);
        let ended = |end: u64| end <= secs(self.now);
        if !entries.is_some_and(|entries| entries.iter().all(|dated| ended(dated.end_secs))) {
            self.broken(Promise::NeverBlank);
        }
        self.delete_document();
    }

    /// The document goes away.
    pub(crate) fn delete_document(&mut self) {
        self.etcd.next_revision();
        self.etcd.now.document = None;
        self.document_changed();
    }

    /// A person applies or withdraws a resource.
    pub(crate) fn change(&mut self, action: Action) -> bool {
        self.changes_left = self.changes_left.saturating_sub(1);
        match action {
            Action::Apply(which) => self.lives[which] = Life::Live { since: self.now },
            Action::Withdraw(which) => {
                if let Life::Live { since } = self.lives[which] {
                    self.lives[which] = Life::Withdrawn { since };
                }
            }
            _ => return false,
        }
        true
    }

    /// The election keys that no living session holds.
    pub(crate) fn orphans(&self) -> Vec<Action> {
        let of = |writer: u8| &self.writers[usize::from(writer)];
        let candidates = self.etcd.candidates.iter().enumerate();
        candidates
            .filter(|(_, c)| of(c.writer).session != c.session)
            .map(|(index, _)| Action::Orphan(index))
            .collect()
    }

    /// Leases on which nothing hangs and nothing will.
    pub(crate) fn forget_what_no_longer_matters(&mut self) {
        let document = self.etcd.now.document.map(|kv| kv.lease);
        let coming: Vec<i64> = self
            .reader
            .iter()
            .flat_map(|reader| &reader.coming)
            .filter_map(|(_, kv)| kv.map(|kv| kv.lease))
            .collect();
        let flights = &self.flights;
        self.etcd.leases.retain(|lease| {
            let named = |flight: &Flight| matches!(flight.write, Write::Put { lease: id, .. } if id == lease.id);
            document == Some(lease.id) || flights.iter().any(named) || coming.contains(&lease.id)
        });
        self.flights
            .sort_by_key(|flight| (flight.writer, flight.session, flight.awaited));
    }

    /// Numbers the revisions anew, in their order: only order and equality count, and so states meet that differ in nothing else.
    pub(crate) fn renumber(&mut self) {
        let mut seen = Vec::with_capacity(32);
        self.revisions(&mut |revision| seen.push(*revision));
        seen.push(0);
        seen.sort_unstable();
        seen.dedup();
        // A revision that nothing else names counts as the one before it.
        let rank = |revision| {
            let rank = seen.partition_point(|other| *other <= revision) - 1;
            i64::try_from(rank).unwrap_or(i64::MAX)
        };
        self.revisions(&mut |revision| {
            *revision = rank(*revision);
        });
        if let Some(reader) = &mut self.reader {
            reader.at = rank(reader.at);
        }
    }

    fn revisions(&mut self, visit: &mut impl FnMut(&mut i64)) {
        let of_sight = |sight: &mut Sight, visit: &mut dyn FnMut(&mut i64)| {
            visit(&mut sight.revision);
            let kvs = [&mut sight.document, &mut sight.owner, &mut sight.paused];
            for kv in kvs.into_iter().flatten() {
                visit(&mut kv.created);
                visit(&mut kv.modified);
            }
        };
        of_sight(&mut self.etcd.now, visit);
        for candidate in &mut self.etcd.candidates {
            visit(&mut candidate.created);
        }
        for flight in &mut self.flights {
            flight.revisions(visit);
        }
        for writer in &mut self.writers {
            visit(&mut writer.leader_revision);
            if let Some(known) = &mut writer.known {
                of_sight(known, visit);
            }
            if let Phase::Prepared(flight, _) = &mut writer.phase {
                flight.revisions(visit);
            }
        }
        if let Some(reader) = &mut self.reader {
            let held = reader.held.as_mut().map(|held| &mut held.kv);
            let took = reader.took.as_mut();
            for kv in held.into_iter().chain(took) {
                visit(&mut kv.created);
                visit(&mut kv.modified);
            }
            for (revision, kv) in &mut reader.coming {
                visit(revision);
                if let Some(kv) = kv {
                    visit(&mut kv.created);
                    visit(&mut kv.modified);
                }
            }
        }
        if let Some((document, owner)) = &mut self.person_saw {
            visit(document);
            visit(owner);
        }
        for gone in self.ghost.gone.iter_mut().flatten() {
            visit(gone);
        }
    }
}
