//! What one watch has told so far; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Id, Resource};

/// One thing that a watch tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A list begins. It may begin again without having been completed: a list that failed half-way is started anew.
    ListStarted,
    /// A resource of the list that is under way.
    Listed(Box<Resource>),
    /// The list is complete: what it did not name is gone.
    ListCompleted,
    /// A resource was created or changed.
    Applied(Box<Resource>),
    /// A resource is gone, or is being deleted.
    Deleted(Id),
}

/// The resources of one watch.
#[derive(Clone, Default, Debug)]
pub struct Inventory {
    live: BTreeMap<Id, Arc<Resource>>,
    /// The list under way, kept apart until it is complete.
    listing: Option<BTreeMap<Id, Arc<Resource>>>,
    completed_lists: u64,
}

impl Inventory {
    /// Takes one change in. Returns whether the resources may be different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::ListStarted => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Change::Listed(resource) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(resource.id.clone(), Arc::new(*resource));
                }
                false
            }
            Change::ListCompleted => {
                if let Some(listing) = self.listing.take() {
                    self.live = listing;
                    self.completed_lists += 1;
                }
                true
            }
            Change::Applied(resource) => {
                self.live.insert(resource.id.clone(), Arc::new(*resource));
                true
            }
            Change::Deleted(id) => self.live.remove(&id).is_some(),
        }
    }

    /// How many lists have been completed; 0 means that nothing is known yet, not that there is nothing.
    #[must_use]
    pub fn completed_lists(&self) -> u64 {
        self.completed_lists
    }

    /// The resources, by id.
    #[must_use]
    pub fn resources(&self) -> &BTreeMap<Id, Arc<Resource>> {
        &self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::{Value, json};

    fn named(name: &str) -> Box<Resource> {
        let spec = json!({"match": [{"key": "tenant", "value": "t"}], "level": "Shape", "samplePerMille": 5, "ttl": "1m"});
        Box::new(Resource {
            id: Id {
                namespace: "ns".into(),
                name: name.into(),
            },
            uid: format!("uid-{name}"),
            generation: 1,
            resource_version: "1".into(),
            created_secs: 10,
            directive: resource::parse("ns", name, 10, &spec),
            status: Value::Null,
        })
    }

    fn names(inventory: &Inventory) -> Vec<&str> {
        inventory
            .resources()
            .keys()
            .map(|id| id.name.as_str())
            .collect()
    }

    fn listed(names: &[&str]) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.apply(Change::ListStarted);
        for name in names {
            inventory.apply(Change::Listed(named(name)));
        }
        inventory.apply(Change::ListCompleted);
        inventory
    }

    #[test]
    fn nothing_is_known_before_the_first_list_is_complete() {
        let mut inventory = Inventory::default();
        inventory.apply(Change::ListStarted);
        inventory.apply(Change::Listed(named("a")));
        assert_eq!(inventory.completed_lists(), 0);
        assert!(inventory.resources().is_empty());
        assert!(inventory.apply(Change::ListCompleted));
        assert_eq!(inventory.completed_lists(), 1);
        assert_eq!(names(&inventory), ["a"]);
    }

    #[test]
    fn what_vanished_during_a_gap_is_dropped_when_the_list_completes_and_not_before() {
        let mut inventory = listed(&["a", "b"]);
        inventory.apply(Change::ListStarted);
        inventory.apply(Change::Listed(named("b")));
        assert_eq!(
            names(&inventory),
            ["a", "b"],
            "kept while the list is under way"
        );
        inventory.apply(Change::ListCompleted);
        assert_eq!(names(&inventory), ["b"]);
    }

    #[test]
    fn a_list_that_starts_over_keeps_nothing_of_its_first_try() {
        let mut inventory = listed(&["a", "b"]);
        inventory.apply(Change::ListStarted);
        inventory.apply(Change::Listed(named("a")));
        inventory.apply(Change::ListStarted);
        inventory.apply(Change::Listed(named("b")));
        inventory.apply(Change::ListCompleted);
        assert_eq!(names(&inventory), ["b"]);
    }

    #[test]
    fn a_completion_without_a_list_empties_nothing() {
        let mut inventory = listed(&["a"]);
        inventory.apply(Change::ListCompleted);
        assert_eq!(names(&inventory), ["a"]);
    }
}
