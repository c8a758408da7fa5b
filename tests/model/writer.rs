//! A writer: one operator's process, from its campaign to its resignation.
//!
//! It never asks how old its lease is: the model lets a writer go on at every step as if it still led, however long it was stopped
//! before. So what is shown of it holds without any of the operator's own watching of time.

use std::cell::RefCell;
use std::rc::Rc;

use osproxy_directives::document::{DatedEntry, Publication};
use osproxy_directives::operator::publish::decision::{Decision, Draft, Standing, decide};
use osproxy_directives::operator::publish::fence::Guard;
use osproxy_directives::operator::publish::owner::{Owner, Ownership};

use crate::etcd::{Candidate, Kv, Lease, Sight, Write, keys, leader_key, names};
use crate::flight::Flight;
use crate::machine::Mutant;
use crate::state::State;
use crate::world::{COUNT, Known, Life, Lives, TICK_SECS, Text, plan_at, remember, secs};

/// One process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Writer {
    /// Which release it is of.
    pub(crate) release: u8,
    /// What it is at.
    pub(crate) phase: Phase,
    /// The number of its present session.
    pub(crate) session: u8,
    /// The revision of its leader key, as its campaign returned it.
    pub(crate) leader_revision: i64,
    /// The resources, as its watch has shown them; nothing before its first list.
    pub(crate) view: Option<Lives>,
    /// The keys, as it last saw them.
    pub(crate) known: Option<Sight>,
    /// Whether the owner key named its release when it last saw it name anybody.
    pub(crate) owned: bool,
}

/// What a writer is at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// It takes no part in the election.
    Idle,
    /// Its key is in the election.
    Campaigning,
    /// It won, and has not looked at the keys yet.
    Won,
    /// It leads, as far as it knows.
    Leading,
    /// It has decided on a write, and has to grant the lease of it first.
    Prepared(Box<Flight>, i64),
    /// It waits for the answer to a transaction.
    Waiting,
    /// It ends its session.
    Ending,
}

impl Writer {
    /// A process that was just started.
    pub(crate) fn new(release: u8) -> Self {
        Self {
            release,
            phase: Phase::Idle,
            session: 0,
            leader_revision: 0,
            view: None,
            known: None,
            owned: false,
        }
    }

    /// Begins anew: a process that was started again.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            session: self.session + 1,
            ..Self::new(self.release)
        };
    }

    /// Goes on after a session. What its watch had shown does not matter, since a winner lists the resources again; whom the owner
    /// key named it remembers.
    fn go_on(&mut self) {
        let owned = self.owned;
        self.restart();
        self.owned = owned;
    }
}

/// A step that a writer takes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    /// Puts its key into the election.
    Campaign,
    /// Learns that its key is the first one, and lists the resources.
    WinAndList,
    /// Reads the keys.
    Read,
    /// Its watch shows the resources as they are now.
    SeeResources,
    /// Its watch shows the keys as they are now.
    SeeKeys,
    /// Plans and decides.
    Decide,
    /// Grants the publication's lease and sends the transaction.
    Grant,
    /// Ends its session: etcd has revoked the lease, or says that it is gone.
    Revoke,
}

/// The owner value of a release.
pub(crate) fn owner_of(release: u8) -> Owner {
    Owner::new("cluster", format!("ns/release-{release}"))
}

impl Writer {
    /// The steps that it can take in its phase.
    pub(crate) fn steps(&self) -> &'static [Step] {
        match self.phase {
            Phase::Idle => &[Step::Campaign],
            Phase::Campaigning => &[Step::WinAndList],
            Phase::Won => &[Step::Read],
            Phase::Leading => &[Step::SeeResources, Step::SeeKeys, Step::Decide],
            Phase::Prepared(..) => &[Step::Grant],
            Phase::Waiting => &[],
            Phase::Ending => &[Step::Revoke],
        }
    }
}

/// Takes one step; false where it cannot be taken now.
pub(crate) fn step(state: &mut State, at: u8, step: Step, mutant: Option<Mutant>) -> bool {
    let index = usize::from(at);
    let writer = state.writers[index].clone();
    match (step, &writer.phase) {
        (Step::Campaign, Phase::Idle) => {
            let owner = state.etcd.now.owner;
            if !is_entitled(writer.release, owner) {
                return false;
            }
            state.writers[index].owned = is_named(&writer, owner);
            let created = state.etcd.next_revision();
            state.etcd.candidates.push(Candidate {
                writer: at,
                session: writer.session,
                created,
            });
            state.writers[index].leader_revision = created;
            if mutant == Some(Mutant::DoesNotList) {
                state.writers[index].view.get_or_insert(state.lives);
            }
            state.writers[index].phase = Phase::Campaigning;
        }
        (Step::WinAndList, Phase::Campaigning) => win_and_list(state, at, &writer, mutant),
        (Step::Read, Phase::Won) => {
            let writer = &mut state.writers[index];
            writer.known = Some(state.etcd.now.undated());
            writer.phase = Phase::Leading;
        }
        (Step::SeeResources, Phase::Leading) => state.writers[index].view = Some(state.lives),
        (Step::SeeKeys, Phase::Leading) => {
            let same = |known: &Sight| known.says_the_same_as(&state.etcd.now);
            if mutant == Some(Mutant::DoesNotWatch) || writer.known.as_ref().is_some_and(same) {
                return false;
            }
            state.writers[index].known = Some(state.etcd.now.undated());
        }
        (Step::Decide, Phase::Leading) => decides(state, at, mutant),
        (Step::Grant, Phase::Prepared(flight, ttl_secs)) => {
            grant(state, flight, *ttl_secs);
            state.flights.push((**flight).clone());
            state.writers[index].phase = Phase::Waiting;
        }
        (Step::Revoke, Phase::Ending) => {
            state.end_session(at, writer.session, mutant);
            state.writers[index].go_on();
        }
        _ => return false,
    }
    true
}

/// Whether a release may campaign: the crate's own judgement of the owner key.
fn is_entitled(release: u8, owner: Option<Kv>) -> bool {
    thread_local! {
        static KNOWN: Known<(u8, Option<Text>), bool> = RefCell::default();
    }
    remember(&KNOWN, (release, owner.map(|kv| kv.value)), || {
        let stored = owner.map(Kv::stored);
        let judged = owner_of(release).judge(stored.as_ref());
        matches!(judged, Ownership::Ours { .. } | Ownership::Nobody)
    })
}

/// Whether the owner key names a release.
pub(crate) fn owns(release: u8, owner: Option<Kv>) -> bool {
    owner.is_some() && is_entitled(release, owner)
}

/// Whether the owner key named a writer when it last named anybody: the crate's own judgement.
fn is_named(writer: &Writer, owner: Option<Kv>) -> bool {
    thread_local! {
        static KNOWN: Known<(u8, bool, Option<Text>), bool> = RefCell::default();
    }
    let question = (writer.release, writer.owned, owner.map(|kv| kv.value));
    remember(&KNOWN, question, || {
        let stored = owner.map(Kv::stored);
        owner_of(writer.release).is_named(writer.owned, stored.as_ref())
    })
}

fn win_and_list(state: &mut State, at: u8, writer: &Writer, mutant: Option<Mutant>) {
    let leads = state.etcd.leader() == Some((at, writer.session));
    let is_there = state.etcd.candidate(at, writer.session).is_some();
    let won = leads || (is_there && mutant == Some(Mutant::LeadsOutOfTurn));
    let view = match mutant {
        Some(Mutant::DoesNotList) => writer.view.or(Some(state.lives)),
        Some(Mutant::PublishesBeforeTheList) => None,
        _ => Some(state.lives),
    };
    let writer = &mut state.writers[usize::from(at)];
    if won {
        writer.phase = Phase::Won;
        writer.view = view;
    } else if !is_there {
        writer.phase = Phase::Ending;
    }
}

fn decides(state: &mut State, at: u8, mutant: Option<Mutant>) {
    let index = usize::from(at);
    let mut writer = state.writers[index].clone();
    let Some(known) = writer.known else { return };
    writer.owned = is_named(&writer, known.owner);
    state.writers[index].owned = writer.owned;
    let lives = writer.view.unwrap_or([Life::Unborn; COUNT]);
    let entries = plan_at(state.now, lives);
    let decision = decision(&writer, at, &known, state.now, lives, &entries);
    let seen_document = known.document.map_or(0, |kv| kv.modified);
    let flight = |guards, write| Flight {
        writer: at,
        session: writer.session,
        awaited: true,
        guards,
        write,
        seen_document,
        view: writer.view,
    };
    match &*decision {
        Decision::InSync => confirm(state, at, &writer, known),
        Decision::Held(_) => {}
        Decision::End(_) => state.writers[index].phase = Phase::Ending,
        Decision::Claim(claim) => {
            let mut claim = claim.clone();
            claim.document_is_ours |= mutant == Some(Mutant::ClaimsWhatIsForeign);
            let owner = owner_of(writer.release).to_bytes();
            let write = Write::Own(Text::of(&owner));
            state.flights.push(flight(claim.guards(keys()), write));
            state.writers[index].phase = Phase::Waiting;
        }
        Decision::Write(fence) => {
            let guards: Vec<Guard> = fence.guards(keys()).into();
            let Some((value, lease, ttl_secs)) = draft(state, &entries, mutant) else {
                let mut guards = without(guards, mutant);
                if mutant == Some(Mutant::DeletesUnfenced) {
                    guards.clear();
                }
                state.flights.push(flight(guards, Write::Delete));
                state.writers[index].phase = Phase::Waiting;
                return;
            };
            let flight = flight(without(guards, mutant), Write::Put { value, lease });
            state.writers[index].phase = Phase::Prepared(Box::new(flight), ttl_secs);
        }
    }
}

/// The crate's decision.
fn decision(
    writer: &Writer,
    at: u8,
    known: &Sight,
    now: u8,
    lives: Lives,
    entries: &[DatedEntry],
) -> Rc<Decision> {
    type Question = (u8, u8, u8, i64, bool, Sight, u8, Lives);
    thread_local! {
        static KNOWN: Known<Question, Rc<Decision>> = RefCell::default();
    }
    let (session, leader_revision) = (writer.session, writer.leader_revision);
    let (release, owned) = (writer.release, writer.owned);
    let question = (
        at,
        session,
        release,
        leader_revision,
        owned,
        *known,
        now,
        lives,
    );
    remember(&KNOWN, question, || {
        let standing = Standing {
            leader_key: leader_key(at, session),
            leader_revision,
            owner: &owner_of(release),
            owned,
            state: &known.key_state(),
        };
        Rc::new(decide(standing, entries))
    })
}

/// The crate's document under a free lease id, and the seconds of its lease; `None` where there is nothing to say.
fn draft(
    state: &State,
    entries: &[DatedEntry],
    mutant: Option<Mutant>,
) -> Option<(Text, i64, i64)> {
    let second = secs(state.now);
    let publication = (0..=u16::MAX)
        .filter_map(|random| Publication::new(second, random))
        .find(|publication| !state.names_lease(publication.lease_id()))?;
    let draft = Draft::new(entries, publication)?;
    let ends = entries.iter().map(|dated| dated.end_secs);
    let (value, ttl_secs) = match mutant {
        Some(Mutant::CountsEndsAnew) if state.now > 0 => {
            let earlier = Publication::new(secs(state.now - 1), 0)?;
            (Draft::new(entries, earlier)?.value, draft.ttl_secs)
        }
        Some(Mutant::LeaseEndsWithTheFirst) => {
            let first = ends.min()?.saturating_sub(second);
            (draft.value, i64::try_from(first).unwrap_or(i64::MAX))
        }
        _ => (draft.value, draft.ttl_secs),
    };
    Some((Text::of(&value), draft.lease, ttl_secs))
}

/// The fence with a compare left out.
fn without(guards: Vec<Guard>, mutant: Option<Mutant>) -> Vec<Guard> {
    let [document, owner, paused] = names();
    let is_kept = |guard: &Guard| {
        let (Guard::CreateRevision { key, .. } | Guard::ModRevision { key, .. }) = guard;
        match mutant {
            Some(Mutant::NoLeaderCompare) => [document, owner, paused].contains(&key),
            Some(Mutant::NoDocumentCompare) => key != document,
            Some(Mutant::NoOwnerCompare) => key != owner,
            Some(Mutant::NoPauseCompare) => key != paused,
            _ => true,
        }
    };
    guards.into_iter().filter(is_kept).collect()
}

/// The leader reports that the key says the plan: what was withdrawn must not come back from now on.
fn confirm(state: &mut State, at: u8, writer: &Writer, known: Sight) {
    let leads = state.etcd.leader() == Some((at, writer.session));
    if let Some(view) = writer.view
        && leads
        && known.document == state.etcd.now.document
    {
        state.note_withdrawn(view);
    }
}

fn grant(state: &mut State, flight: &Flight, ttl_secs: i64) {
    if let Write::Put { lease, .. } = flight.write {
        let ticks = u64::try_from(ttl_secs).unwrap_or(0).div_ceil(TICK_SECS);
        let granted = u8::try_from(ticks).unwrap_or(u8::MAX);
        state.etcd.leases.push(Lease {
            id: lease,
            granted,
            left: granted,
            granted_at: state.now,
        });
    }
}
