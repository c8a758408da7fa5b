//! People: they apply and withdraw resources, and some lay hands on the keys.

use osproxy_directives::operator::publish::fence::Adoption;

use crate::etcd::{Kv, Write, keys};
use crate::machine::{Action, Machine, Mutant, Promise};
use crate::state::State;
use crate::world::{Life, Text, by_hand};
use crate::writer::{self, owner_of};

/// What people may do now.
pub(crate) fn may_do(state: &State, actions: &mut Vec<Action>) {
    if state.changes_left > 0 {
        for (which, life) in state.lives.iter().enumerate() {
            match life {
                Life::Unborn => actions.push(Action::Apply(which)),
                Life::Live { .. } => actions.push(Action::Withdraw(which)),
                Life::Withdrawn { .. } => {}
            }
        }
    }
    let now = &state.etcd.now;
    if now.paused.is_some() {
        actions.push(Action::Resume);
    }
    if state.hands_left == 0 {
        return;
    }
    actions.push(Action::PutByHand);
    if now.document.is_some() {
        actions.push(Action::DeleteByHand);
    }
    if now.owner.is_some() {
        actions.push(Action::DeleteOwner);
    }
    if now.paused.is_none() {
        actions.push(Action::Pause);
    }
    if now.document.is_some() && !writer::owns(0, now.owner) {
        actions.push(Action::Look);
    }
    if state.person_saw.is_some() {
        actions.push(Action::Adopt);
    }
}

impl Machine {
    /// Somebody lays hands on the keys; false where that cannot be now.
    pub(crate) fn meddle(&self, state: &mut State, action: Action) -> bool {
        if !matches!(action, Action::Resume | Action::Look) {
            state.hands_left = state.hands_left.saturating_sub(1);
        }
        match action {
            Action::PutByHand => {
                let revision = state.etcd.next_revision();
                state.etcd.put_document(revision, by_hand(), 0);
                let nobodys = state.etcd.now.owner.is_none() && !state.ghost.ever_owned;
                state.document_changed();
                state.ghost.foreign = nobodys;
            }
            Action::DeleteByHand => state.delete_document(),
            Action::DeleteOwner => {
                state.etcd.next_revision();
                state.etcd.now.owner = None;
            }
            Action::Pause => state.etcd.set_paused(true),
            Action::Resume => state.etcd.set_paused(false),
            Action::Look => {
                let revision = |kv: Option<Kv>| kv.map_or(0, |kv| kv.modified);
                let now = state.etcd.now;
                state.person_saw = Some((revision(now.document), revision(now.owner)));
            }
            Action::Adopt => self.adopts(state),
            _ => return false,
        }
        true
    }

    fn adopts(&self, state: &mut State) {
        let Some((document_revision, owner_revision)) = state.person_saw.take() else {
            return;
        };
        let guards = Adoption {
            document_revision,
            owner_revision,
        }
        .guards(keys());
        let as_seen = state.etcd.holds(&guards);
        if !as_seen && self.mutant != Some(Mutant::AdoptsUnseen) {
            return;
        }
        if state.etcd.now.document.map_or(0, |kv| kv.modified) != document_revision {
            state.broken(Promise::ForeignUntouched);
        }
        state
            .etcd
            .carry_out(Write::Own(Text::of(&owner_of(0).to_bytes())));
        state.ghost.ever_owned = true;
        state.ghost.foreign = false;
    }
}
