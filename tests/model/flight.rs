//! Transactions on their way: sent, perhaps given up by their sender, and carried out when etcd gets to them.

use osproxy_directives::operator::publish::fence::Guard;

use crate::etcd::{Answer, Write};
use crate::machine::Promise;
use crate::state::State;
use crate::world::{COUNT, Lives, ids_of};
use crate::writer::{Phase, owns};

/// A transaction that was sent and is not carried out yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Flight {
    /// Which writer sent it.
    pub(crate) writer: u8,
    /// In which session.
    pub(crate) session: u8,
    /// Whether the writer still waits for the answer.
    pub(crate) awaited: bool,
    /// The compares.
    pub(crate) guards: Vec<Guard>,
    /// What it writes.
    pub(crate) write: Write,
    /// For the promises alone: the document's revision that the writer had seen.
    pub(crate) seen_document: i64,
    /// For the promises alone: the resources that the writer had seen.
    pub(crate) view: Option<Lives>,
}

impl Flight {
    /// Every revision in it, to be renumbered.
    pub(crate) fn revisions(&mut self, visit: &mut impl FnMut(&mut i64)) {
        for guard in &mut self.guards {
            let (Guard::CreateRevision { revision, .. } | Guard::ModRevision { revision, .. }) =
                guard;
            visit(revision);
        }
        visit(&mut self.seen_document);
    }
}

/// A transaction is carried out, or refused. Whoever still waits for the answer gets it.
pub(crate) fn commit(state: &mut State, flight: usize) {
    let flight = state.flights.remove(flight);
    let answer = if state.etcd.holds(&flight.guards) {
        let before = state.clone();
        let answer = state.etcd.carry_out(flight.write);
        if let Answer::Done = answer {
            check(state, &before, &flight);
            carried_out(state, &flight);
        }
        answer
    } else {
        Answer::Fenced {
            leading: state
                .etcd
                .candidate(flight.writer, flight.session)
                .is_some(),
            sight: state.etcd.now,
        }
    };
    if flight.awaited {
        answered(state, &flight, answer);
    }
}

/// What must hold whenever a write is carried out, whatever the compares said.
fn check(state: &mut State, before: &State, flight: &Flight) {
    let now = before.etcd.now;
    if before.etcd.leader() != Some((flight.writer, flight.session)) {
        state.broken(Promise::NeverTwoWriters);
    }
    if state.ghost.foreign {
        state.broken(Promise::ForeignUntouched);
    }
    if let Write::Own(_) = flight.write {
        return;
    }
    if now.paused.is_some() {
        state.broken(Promise::PauseHolds);
    }
    let release = state.writers[usize::from(flight.writer)].release;
    if !owns(release, now.owner) {
        state.broken(Promise::NeverAnothersKey);
    }
    if now.document.map_or(0, |kv| kv.modified) != flight.seen_document {
        state.broken(Promise::NeverUnseen);
    }
    match flight.write {
        Write::Put { value, .. } => {
            let ids = ids_of(value);
            if (0..COUNT).any(|which| ids.has(which) && state.ghost.gone[which].is_some()) {
                state.broken(Promise::WithdrawnStaysAway);
            }
        }
        // An empty plan is one of resources that were listed.
        Write::Delete if flight.view.is_none() => state.broken(Promise::NeverBlank),
        Write::Delete | Write::Own(_) => {}
    }
}

fn carried_out(state: &mut State, flight: &Flight) {
    match flight.write {
        Write::Own(_) => state.ghost.ever_owned = true,
        Write::Put { .. } | Write::Delete => {
            state.ghost.written_by = Some((flight.writer, flight.session));
            state.document_changed();
            if let Some(view) = flight.view {
                state.note_withdrawn(view);
            }
        }
    }
}

fn answered(state: &mut State, flight: &Flight, answer: Answer) {
    let now = state.etcd.now;
    let writer = &mut state.writers[usize::from(flight.writer)];
    writer.phase = Phase::Leading;
    match (answer, flight.write) {
        (Answer::Done, Write::Put { .. } | Write::Delete) => {
            if let Some(known) = &mut writer.known {
                known.document = now.document;
            }
        }
        // After a claim it reads the keys again; a step of its own.
        (Answer::Done, Write::Own(_)) => {
            writer.owned = true;
            writer.known = Some(now.undated());
        }
        (
            Answer::Fenced {
                leading: true,
                sight,
            },
            _,
        ) => writer.known = Some(sight.undated()),
        (Answer::Fenced { leading: false, .. }, _) => writer.phase = Phase::Ending,
        (Answer::LeaseNotFound, _) => {}
    }
}
