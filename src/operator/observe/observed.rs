//! What all watches have seen together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch as channel;
use tracing::{info, warn};

use super::{Change, Definition, Fault, Id, Inventory, Resource, Taken};

#[derive(Debug)]
struct ScopeState {
    inventory: Inventory,
    fault: Option<Fault>,
    definition: Definition,
    /// The last request for a list that a list has answered.
    answered: u64,
}

/// What all watches have seen; shared by whoever plans.
#[derive(Debug)]
pub struct Observed {
    scopes: Mutex<Vec<ScopeState>>,
    changes: channel::Sender<u64>,
    /// How often somebody has asked for a list.
    asked: channel::Sender<u64>,
}

impl Observed {
    pub(super) fn new(scopes: usize) -> Self {
        let state = || ScopeState {
            inventory: Inventory::default(),
            fault: Some(Fault::NotListed),
            definition: Definition::Unknown,
            answered: 0,
        };
        Self {
            scopes: Mutex::new(std::iter::repeat_with(state).take(scopes).collect()),
            changes: channel::Sender::new(0),
            asked: channel::Sender::new(0),
        }
    }

    /// Wakes at every change.
    #[must_use]
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The resources of all scopes; `None` before each of them has been listed once.
    #[must_use]
    pub fn resources(&self) -> Option<BTreeMap<Id, Arc<Resource>>> {
        let scopes = self.lock();
        if scopes
            .iter()
            .any(|scope| scope.inventory.completed_lists() == 0)
        {
            return None;
        }
        let mut all = BTreeMap::new();
        for scope in &*scopes {
            let resources = scope.inventory.resources().iter();
            all.extend(resources.map(|(id, resource)| (id.clone(), Arc::clone(resource))));
        }
        Some(all)
    }

    /// How many lists all scopes have completed together.
    #[must_use]
    pub fn completed_lists(&self) -> u64 {
        let scopes = self.lock();
        scopes.iter().map(|s| s.inventory.completed_lists()).sum()
    }

    /// Why a scope cannot be seen at the moment, if one cannot. What was seen before stays.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.lock().iter().find_map(|scope| scope.fault)
    }

    /// How the CRD in the cluster stands to ours, as it was found last.
    #[must_use]
    pub fn definition(&self) -> Definition {
        let scopes = self.lock();
        let found = scopes.iter().map(|scope| scope.definition);
        found.max().unwrap_or_default()
    }

    /// Asks every watch to start over with a list. Returns what [`Observed::has_answered`] takes.
    #[must_use]
    pub fn relist(&self) -> u64 {
        self.asked.send_modify(|asked| *asked += 1);
        *self.asked.borrow()
    }

    /// Whether every scope has completed a list that began after [`Observed::relist`] returned `asked`.
    #[must_use]
    pub fn has_answered(&self, asked: u64) -> bool {
        self.lock().iter().all(|scope| scope.answered >= asked)
    }

    pub(super) fn requests(&self) -> channel::Receiver<u64> {
        self.asked.subscribe()
    }

    /// A list that began when `asked` was the last request, and the definition that was found after it. Both at once: nobody may
    /// take what went through one definition for what went through another. Says whether the list was taken.
    pub(super) fn listed(
        &self,
        scope: usize,
        asked: u64,
        definition: Definition,
        version: Option<u64>,
        resources: Vec<Resource>,
    ) -> Taken {
        let (taken, news) = self.with(scope, |state| {
            let before = std::mem::replace(&mut state.definition, definition);
            let first = state.inventory.completed_lists() == 0;
            let taken = state.inventory.list(version, resources);
            if taken != Taken::Old {
                state.answered = asked;
            }
            (taken, first || before != definition)
        });
        if news {
            tell(definition);
        }
        self.wake(taken)
    }

    pub(super) fn change(&self, scope: usize, version: Option<u64>, change: Change) -> Taken {
        let taken = self.with(scope, |state| state.inventory.apply(version, change));
        self.wake(taken)
    }

    /// The definition that the scope's resources went through.
    pub(super) fn definition_of(&self, scope: usize) -> Definition {
        self.with(scope, |state| state.definition)
    }

    /// The scope can be seen, as far as it is right to believe what is seen.
    pub(super) fn seen(&self, scope: usize) {
        let was = self.with(scope, |state| {
            let fault = match state.definition {
                Definition::Prunes => Some(Fault::DefinitionPrunes),
                _ => None,
            };
            std::mem::replace(&mut state.fault, fault)
        });
        if let Some(was) = was.filter(|was| *was != Fault::DefinitionPrunes) {
            info!(reason = was.slug(), "Sees the resources again");
        }
    }

    /// The scope cannot be seen.
    pub(super) fn failed(&self, scope: usize, fault: Fault) {
        let was = self.with(scope, |state| state.fault.replace(fault));
        if was != Some(fault) {
            warn!(
                reason = fault.slug(),
                "Cannot see the resources; what was seen before stays"
            );
        }
    }

    fn wake(&self, taken: Taken) -> Taken {
        if taken == Taken::Changed {
            self.changes.send_modify(|version| *version += 1);
        }
        taken
    }

    #[allow(
        clippy::indexing_slicing,
        reason = "a scope's number is its place in the list that was made for the scopes"
    )]
    fn with<T>(&self, scope: usize, act: impl FnOnce(&mut ScopeState) -> T) -> T {
        act(&mut self.lock()[scope])
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ScopeState>> {
        // Nothing panics while it holds the lock; and what it guards is valid at every step.
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(definition: Definition) {
    match definition {
        Definition::Unknown => warn!(
            "May not look at the CRD, so an older one would go unnoticed; apply the ClusterRole of this release's chart"
        ),
        Definition::Older => warn!(
            "The CRD in the cluster is older than this operator and checks less; apply the one of this release"
        ),
        Definition::Prunes => warn!(
            "The CRD in the cluster drops fields that it does not know, so every resource is refused; apply the one of this release"
        ),
        Definition::Current => info!("The CRD in the cluster has all that this operator knows"),
    }
}
