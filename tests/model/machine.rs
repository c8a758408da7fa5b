//! The machine that the checker explores: every state, every step, and what must hold in each.

use stateright::{Model, Property};

use crate::etcd::Etcd;
use crate::flight;
use crate::healing;
use crate::people;
use crate::reader::{self, Clocks, Reader};
use crate::state::{Ghost, State};
use crate::world::{COUNT, Life};
use crate::writer::{self, Phase, Writer};

/// How far the world may go. Everything within these bounds is explored, in every order.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Which release each writer is of.
    pub(crate) releases: Vec<u8>,
    /// Whether a proxy reads along, and with which clocks.
    pub(crate) reader: Option<Clocks>,
    /// The last tick.
    pub(crate) last_tick: u8,
    /// How many faults of which kinds may happen.
    pub(crate) faults: u8,
    pub(crate) kinds: &'static [Fault],
    /// How often a resource is applied or withdrawn.
    pub(crate) changes: u8,
    /// How often a person meddles with the keys.
    pub(crate) hands: u8,
    /// Whether it starts with a writer that leads and has published, instead of with nothing.
    pub(crate) settled: bool,
    /// Whether the healing of every state is checked.
    pub(crate) heals: bool,
    /// What is wrong with the protocol, on purpose.
    pub(crate) mutant: Option<Mutant>,
}

/// What may go wrong by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fault {
    /// An answer is lost, or late: the transaction is carried out later, or never.
    LostAnswer,
    /// An election lease ends under a living process, which learns nothing of it.
    Expiry,
    /// A process is killed and started again.
    Crash,
    /// etcd changes its leader: every lease has its full time again.
    Stretch,
    /// A reader loses its connection.
    ReaderLoses,
    /// A proxy restarts.
    ReaderRestarts,
}

/// A wrong protocol. The switch is here in the model; the crate has none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Mutant {
    NoLeaderCompare,
    NoDocumentCompare,
    NoOwnerCompare,
    NoPauseCompare,
    DeletesUnfenced,
    LeadsOutOfTurn,
    RetriesAmbiguous,
    SharesItsLease,
    DoesNotList,
    PublishesBeforeTheList,
    DoesNotWatch,
    ClaimsWhatIsForeign,
    AdoptsUnseen,
    CountsEndsAnew,
    LeaseEndsWithTheFirst,
    LeaseIsKeptAlive,
    NeverEnds,
    AgesByLeaseAlone,
    AgesByWallAlone,
    BlanksOnLoss,
    BelievesLowerRevisions,
}

/// What must hold in every state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Promise {
    /// Only the first candidate of the election writes.
    NeverTwoWriters,
    /// Nothing is written while the pause is there.
    PauseHolds,
    /// Nothing is written to a key that another release owns.
    NeverAnothersKey,
    /// Nobody's write is replaced by one who has not seen it.
    NeverUnseen,
    /// A value that stood there before any owner is neither replaced nor claimed before a person who saw it adopts it.
    ForeignUntouched,
    /// What was withdrawn, and said to be gone, is never written again.
    WithdrawnStaysAway,
    /// No reader applies a directive at its end or after it.
    NeverLonger,
    /// No reader applies what nobody asked for, or what was gone as of the revision that it knows.
    NeverWider,
    /// The document goes away only by an empty plan, by a person's hand or at its last end; a reader loses it only so.
    NeverBlank,
}

impl Promise {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NeverTwoWriters => "never two writers",
            Self::PauseHolds => "nothing is written while paused",
            Self::NeverAnothersKey => "never another's key",
            Self::NeverUnseen => "nothing is replaced unseen",
            Self::ForeignUntouched => "a foreign value is untouched until adopted",
            Self::WithdrawnStaysAway => "a withdrawn directive never comes back",
            Self::NeverLonger => "never longer",
            Self::NeverWider => "never wider",
            Self::NeverBlank => "never blank by accident",
        }
    }
}

/// The name of the promise that is checked by letting each state heal.
pub(crate) const EVENTUALLY_RIGHT: &str = "eventually right";

/// What has to come up in some scene, or the promises would be kept for want of trouble.
pub(crate) const SIGHTS: [&str; 5] = [
    "two writers believe to lead",
    "a lost write can still be carried out",
    "a lost write is dead",
    "a reader applies a directive",
    "a reader holds a document that has ended",
];

/// What may happen next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Action {
    /// A writer takes a step.
    Writer(u8, writer::Step),
    /// etcd gets to a transaction.
    Commit(usize),
    /// The reader takes a step.
    Reader(reader::Step),
    /// A tick passes.
    Tick,
    /// A publication's lease that has no time left ends.
    Lapse(usize),
    /// The election key of a process that is gone ends with its lease.
    Orphan(usize),
    /// A writer waits no longer for its answer.
    LostAnswer(u8),
    /// An election lease ends under a writer that believes to lead.
    Expiry(u8),
    /// A writer is killed and started again.
    Crash(u8),
    /// Every lease has its full time again.
    Stretch,
    /// A resource is applied.
    Apply(usize),
    /// A resource is withdrawn.
    Withdraw(usize),
    /// Somebody puts a document by hand.
    PutByHand,
    /// Somebody deletes the document.
    DeleteByHand,
    /// Somebody deletes the owner.
    DeleteOwner,
    /// Somebody says stop.
    Pause,
    /// Somebody takes that back.
    Resume,
    /// Somebody looks at a document that has no owner, to adopt it.
    Look,
    /// Somebody adopts what they looked at, for the first release.
    Adopt,
}

impl Machine {
    /// The state that everything starts from: one resource, and the key without or with its document.
    fn start(&self) -> State {
        let mut lives = [Life::Unborn; COUNT];
        lives[0] = Life::Live { since: 0 };
        let mut state = State {
            now: 0,
            lives,
            etcd: Etcd::new(),
            flights: Vec::new(),
            writers: self.releases.iter().copied().map(Writer::new).collect(),
            reader: self.reader.map(|_| Reader::new()),
            person_saw: None,
            faults_left: 0,
            changes_left: 0,
            hands_left: 0,
            ghost: Ghost::default(),
        };
        if self.settled {
            healing::settle(self, &mut state);
        }
        state.faults_left = self.faults;
        state.changes_left = self.changes;
        state.hands_left = self.hands;
        state
    }

    /// Takes one action; false where it cannot be taken now.
    pub(crate) fn act(&self, state: &mut State, action: Action) -> bool {
        let done = match action {
            Action::Writer(at, step) => writer::step(state, at, step, self.mutant),
            Action::Commit(flight) => {
                flight::commit(state, flight);
                true
            }
            Action::Reader(step) => self.reads(state, step),
            Action::Tick => {
                self.tick(state);
                true
            }
            Action::Lapse(lease) => state.lapse(lease),
            Action::Orphan(candidate) => {
                let gone = state.etcd.candidates[candidate];
                state.end_session(gone.writer, gone.session, self.mutant);
                true
            }
            Action::LostAnswer(_) | Action::Expiry(_) | Action::Crash(_) | Action::Stretch => {
                self.fails(state, action)
            }
            Action::Apply(_) | Action::Withdraw(_) => state.change(action),
            _ => self.meddle(state, action),
        };
        if done {
            state.forget_what_no_longer_matters();
            if let (Some(reader), Some(clocks)) = (state.reader.clone(), self.reader) {
                reader.check(state, clocks, self.mutant);
            }
            state.renumber();
        }
        done
    }

    fn reads(&self, state: &mut State, step: reader::Step) -> bool {
        let Some(mut reader) = state.reader.take() else {
            return false;
        };
        let done = reader.step(step, &state.etcd, state.now, self.mutant);
        state.reader = Some(reader);
        if matches!(step, reader::Step::Lose | reader::Step::Restart) {
            state.faults_left = state.faults_left.saturating_sub(1);
        }
        done
    }

    fn tick(&self, state: &mut State) {
        if self.reader == Some(Clocks::Behind) {
            // Where only the lease tells the age, etcd has to end leases within their tick.
            while (0..state.etcd.leases.len()).any(|lease| state.lapse(lease)) {}
        }
        state.now += 1;
        let document = state.etcd.now.document.map(|kv| kv.lease);
        for lease in &mut state.etcd.leases {
            if self.mutant == Some(Mutant::LeaseIsKeptAlive) && document == Some(lease.id) {
                continue;
            }
            lease.left = lease.left.saturating_sub(1);
        }
    }

    fn fails(&self, state: &mut State, action: Action) -> bool {
        state.faults_left = state.faults_left.saturating_sub(1);
        match action {
            Action::LostAnswer(at) => {
                for flight in state
                    .flights
                    .iter_mut()
                    .filter(|flight| flight.writer == at)
                {
                    flight.awaited = false;
                }
                let retries = self.mutant == Some(Mutant::RetriesAmbiguous);
                state.writers[usize::from(at)].phase = if retries {
                    Phase::Leading
                } else {
                    Phase::Ending
                };
            }
            Action::Expiry(at) => {
                let session = state.writers[usize::from(at)].session;
                state.end_session(at, session, self.mutant);
            }
            Action::Crash(at) => {
                for flight in state
                    .flights
                    .iter_mut()
                    .filter(|flight| flight.writer == at)
                {
                    flight.awaited = false;
                }
                state.writers[usize::from(at)].restart();
            }
            _ => {
                for lease in &mut state.etcd.leases {
                    lease.left = lease.granted;
                }
            }
        }
        true
    }

    /// Whether the reader holds a document, and whether any of it applies.
    fn serves(&self, state: &State) -> (bool, bool) {
        let (Some(reader), Some(clocks)) = (&state.reader, self.reader) else {
            return (false, false);
        };
        let applies = reader.applies(state.now, clocks, self.mutant);
        (reader.held.is_some(), !applies.is_empty())
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        if state.faults_left == 0 {
            return;
        }
        let may = |fault| self.kinds.contains(&fault);
        for (at, writer) in (0..).zip(&state.writers) {
            if may(Fault::LostAnswer) && writer.phase == Phase::Waiting {
                actions.push(Action::LostAnswer(at));
            }
            let has_key = state.etcd.candidate(at, writer.session).is_some();
            if may(Fault::Expiry) && has_key && writer.phase != Phase::Ending {
                actions.push(Action::Expiry(at));
            }
            if may(Fault::Crash) && writer.phase != Phase::Idle {
                actions.push(Action::Crash(at));
            }
        }
        if may(Fault::Stretch) && state.etcd.leases.iter().any(|l| l.left < l.granted) {
            actions.push(Action::Stretch);
        }
        if may(Fault::ReaderLoses) {
            actions.push(Action::Reader(reader::Step::Lose));
        }
        if may(Fault::ReaderRestarts) && state.reader.as_ref().is_some_and(|r| *r != Reader::new())
        {
            actions.push(Action::Reader(reader::Step::Restart));
        }
    }
}

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.ghost.broken != 0 {
            return;
        }
        actions.extend((0..state.flights.len()).map(Action::Commit));
        for (at, writer) in (0..).zip(&state.writers) {
            let steps = writer.steps().iter();
            actions.extend(steps.map(|step| Action::Writer(at, *step)));
        }
        let leases = state.etcd.leases.iter().enumerate();
        let run_out = leases.filter(|(_, lease)| lease.left == 0);
        actions.extend(run_out.map(|(index, _)| Action::Lapse(index)));
        actions.extend(state.orphans());
        if state.reader.is_some() {
            actions.extend([reader::Step::Next, reader::Step::Read].map(Action::Reader));
        }
        if state.now < self.last_tick {
            actions.push(Action::Tick);
        }
        people::may_do(state, actions);
        self.faults(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        (self.act(&mut state, action) && state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! kept {
            ($promise:ident) => {
                Property::always(Promise::$promise.name(), |_, state: &State| {
                    state.keeps(Promise::$promise)
                })
            };
        }
        vec![
            kept!(NeverTwoWriters),
            kept!(PauseHolds),
            kept!(NeverAnothersKey),
            kept!(NeverUnseen),
            kept!(ForeignUntouched),
            kept!(WithdrawnStaysAway),
            kept!(NeverLonger),
            kept!(NeverWider),
            kept!(NeverBlank),
            Property::always(EVENTUALLY_RIGHT, |machine: &Self, state| {
                !machine.heals || healing::heals(machine, state)
            }),
            Property::sometimes(SIGHTS[0], |_, state: &State| state.believers() > 1),
            Property::sometimes(SIGHTS[1], |_, state: &State| state.has_lost_write(true)),
            Property::sometimes(SIGHTS[2], |_, state: &State| state.has_lost_write(false)),
            Property::sometimes(SIGHTS[3], |machine: &Self, state| {
                machine.serves(state) == (true, true)
            }),
            Property::sometimes(SIGHTS[4], |machine: &Self, state| {
                machine.serves(state) == (true, false)
            }),
        ]
    }
}
