//! **Eventually right**: from every state, once nothing goes wrong any more, the key comes to say the plan and stays with it.
//!
//! Faults stop, people keep their hands off, and everybody takes the steps that are theirs, in one fixed order. Where a value stands
//! that nobody adopted, a person adopts it; where a pause stands, a person takes it away. What was lost on its way arrives after all,
//! and must change nothing. Then time passes until every directive has ended.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Model;

use crate::machine::{Action, Machine};
use crate::reader::{Clocks, Step};
use crate::state::State;
use crate::world::{Ids, plan_at};
use crate::writer::{self, Writer};

/// An undisturbed way to rest is a few dozen steps; more is a livelock.
const MANY: usize = 200;
/// By this tick every directive has ended.
const LONG: u8 = 8;

thread_local! {
    /// The states that are known to heal, so that no way is gone twice.
    static HEALED: RefCell<HashSet<u64>> = RefCell::default();
}

/// How a way ended before its end.
enum Met {
    /// In a state that is known to heal.
    KnownToHeal,
    /// In one that does not.
    Wrong,
}

/// Whether `state` heals.
pub(crate) fn heals(machine: &Machine, state: &State) -> bool {
    let mut state = state.clone();
    (state.faults_left, state.changes_left, state.hands_left) = (0, 0, 0);
    let mut passed = Vec::new();
    let healed = !matches!(heal(machine, state, &mut passed), Err(Met::Wrong));
    if healed {
        HEALED.with_borrow_mut(|healed| healed.extend(passed));
    }
    healed
}

fn heal(machine: &Machine, mut state: State, passed: &mut Vec<u64>) -> Result<(), Met> {
    go_on(machine, &mut state, passed)?;
    if state.etcd.now.paused.is_some() {
        machine.act(&mut state, Action::Resume);
        go_on(machine, &mut state, passed)?;
    }
    if state.etcd.now.owner.is_none() && state.etcd.now.document.is_some() {
        machine.act(&mut state, Action::Look);
        machine.act(&mut state, Action::Adopt);
        go_on(machine, &mut state, passed)?;
    }
    is_right(machine, &state)?;
    while !state.flights.is_empty() {
        machine.act(&mut state, Action::Commit(0));
        is_right(machine, &state)?;
    }
    while state.now < LONG {
        machine.act(&mut state, Action::Tick);
        go_on(machine, &mut state, passed)?;
        is_right(machine, &state)?;
    }
    Ok(())
}

/// Lets everybody take their steps until nobody has one left.
pub(crate) fn settle(machine: &Machine, state: &mut State) {
    for _ in 0..MANY {
        match next(machine, state) {
            Some(next) => *state = next,
            None => return,
        }
    }
}

/// The same, along a way that may be known.
fn go_on(machine: &Machine, state: &mut State, passed: &mut Vec<u64>) -> Result<(), Met> {
    for _ in 0..MANY {
        pass(machine, state, passed)?;
        match next(machine, state) {
            Some(next) => *state = next,
            None => return Ok(()),
        }
    }
    Err(Met::Wrong)
}

/// The next undisturbed step.
fn next(machine: &Machine, state: &State) -> Option<State> {
    let mut actions = Vec::new();
    machine.actions(state, &mut actions);
    actions
        .into_iter()
        .filter(|action| is_undisturbed(*action, state))
        .find_map(|action| machine.next_state(state, action))
}

/// Notes that the way leads through `state`; ends it where another one has led on from there.
fn pass(machine: &Machine, state: &State, passed: &mut Vec<u64>) -> Result<(), Met> {
    let mut hasher = DefaultHasher::new();
    (state, machine.mutant, machine.reader).hash(&mut hasher);
    let fingerprint = hasher.finish();
    if HEALED.with_borrow(|healed| healed.contains(&fingerprint)) {
        return Err(Met::KnownToHeal);
    }
    passed.push(fingerprint);
    Ok(())
}

fn is_undisturbed(action: Action, state: &State) -> bool {
    match action {
        Action::Commit(flight) => state.flights[flight].awaited,
        Action::Writer(..) | Action::Lapse(_) | Action::Orphan(_) => true,
        Action::Reader(step) => matches!(step, Step::Next | Step::Read),
        _ => false,
    }
}

fn is_right(machine: &Machine, state: &State) -> Result<(), Met> {
    let plan = plan_at(state.now, state.lives);
    let says = state.etcd.now.key_state().says(&plan);
    let planned = Ids::of(plan.iter().map(|dated| dated.entry.id.as_str()));
    let applied = match (&state.reader, machine.reader) {
        (Some(reader), Some(clocks @ Clocks::Agree)) => {
            reader.applies(state.now, clocks, machine.mutant) == planned
        }
        _ => true,
    };
    let owner = state.etcd.now.owner;
    let is_owner = |writer: &Writer| writer::owns(writer.release, owner);
    if says && applied && state.writers.iter().any(is_owner) {
        Ok(())
    } else {
        Err(Met::Wrong)
    }
}
