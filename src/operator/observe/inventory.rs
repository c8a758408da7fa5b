//! What one watch has told so far; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Id, Resource};

/// One thing that a watch tells, with the version at which it happened where that is a number.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A resource was created or changed.
    Applied(Box<Resource>),
    /// A resource is gone, or is being deleted.
    Deleted(Id),
    /// Everything up to here has been told.
    Progress,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The resources may be different now.
    Changed,
    /// They are as before.
    Unchanged,
    /// It is older than what was told before, and was not taken.
    Old,
}

/// The resources of one watch.
#[derive(Clone, Default, Debug)]
pub struct Inventory {
    live: BTreeMap<Id, Arc<Resource>>,
    lists: u64,
    /// The latest version that anything told.
    newest: Option<u64>,
    /// Whether the last list was older than that.
    doubted: bool,
}

impl Inventory {
    /// Takes a complete list in: what it does not name is gone.
    ///
    /// A list that is older than what was told before is not believed: a server that lags must not bring back what was
    /// deleted, nor take away what was created. The second such list in a row is: then the cluster was restored from a backup
    /// (kubernetes/kubernetes#107457).
    pub fn list(&mut self, version: Option<u64>, resources: Vec<Resource>) -> Taken {
        if version < self.newest && version.is_some() && !self.doubted {
            self.doubted = true;
            return Taken::Old;
        }
        self.doubted = false;
        self.newest = version;
        self.lists += 1;
        let mut before = std::mem::take(&mut self.live);
        // What is as it was stays the very same one: of ten thousand then nobody has to look at any.
        let mut kept = |resource: Resource| match before.remove(&resource.id) {
            Some(known) if *known == resource => known,
            _ => Arc::new(resource),
        };
        self.live = resources
            .into_iter()
            .map(|resource| (resource.id.clone(), kept(resource)))
            .collect();
        Taken::Changed
    }

    /// Takes one change in.
    pub fn apply(&mut self, version: Option<u64>, change: Change) -> Taken {
        if version.is_some() && version < self.newest {
            return Taken::Old;
        }
        self.newest = self.newest.max(version);
        match change {
            Change::Applied(resource) => {
                self.live.insert(resource.id.clone(), Arc::new(*resource));
                Taken::Changed
            }
            Change::Deleted(id) => match self.live.remove(&id) {
                Some(_) => Taken::Changed,
                None => Taken::Unchanged,
            },
            Change::Progress => Taken::Unchanged,
        }
    }

    /// How many lists have been taken; 0 means that nothing is known yet, not that there is nothing.
    #[must_use]
    pub fn completed_lists(&self) -> u64 {
        self.lists
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
    use crate::operator::observe::Shown;
    use crate::resource;
    use serde_json::json;

    fn named(name: &str) -> Resource {
        let spec = json!({"match": [{"key": "tenant", "value": "t"}], "level": "Shape", "samplePerMille": 5, "ttl": "1m"});
        Resource {
            id: id(name),
            uid: format!("uid-{name}"),
            generation: 1,
            resource_version: "1".into(),
            created_secs: 10,
            directive: resource::parse("ns", name, 10, &spec),
            status: Shown::default(),
        }
    }

    fn id(name: &str) -> Id {
        Id {
            namespace: "ns".into(),
            name: name.into(),
        }
    }

    fn applied(name: &str) -> Change {
        Change::Applied(Box::new(named(name)))
    }

    fn names(inventory: &Inventory) -> Vec<&str> {
        let ids = inventory.resources().keys();
        ids.map(|id| id.name.as_str()).collect()
    }

    fn list(inventory: &mut Inventory, version: u64, names: &[&str]) -> Taken {
        let resources = names.iter().map(|name| named(name)).collect();
        inventory.list(Some(version), resources)
    }

    fn listed(version: u64, names: &[&str]) -> Inventory {
        let mut inventory = Inventory::default();
        assert_eq!(list(&mut inventory, version, names), Taken::Changed);
        inventory
    }

    #[test]
    fn what_vanished_during_a_gap_is_dropped_by_the_next_list() {
        let mut inventory = listed(10, &["a", "b"]);
        assert_eq!(list(&mut inventory, 10, &["b"]), Taken::Changed);
        assert_eq!(names(&inventory), ["b"]);
        assert_eq!(inventory.completed_lists(), 2);
    }

    #[test]
    fn what_a_list_shows_unchanged_stays_the_very_same_one() {
        let mut inventory = listed(10, &["a", "b"]);
        let known = |inventory: &Inventory, name| Arc::clone(&inventory.resources()[&id(name)]);
        let (a, b) = (known(&inventory, "a"), known(&inventory, "b"));
        let changed = Resource {
            resource_version: "11".into(),
            ..named("b")
        };
        inventory.list(Some(11), vec![named("a"), changed]);
        assert!(Arc::ptr_eq(&a, &known(&inventory, "a")));
        assert!(!Arc::ptr_eq(&b, &known(&inventory, "b")));
        assert_eq!(known(&inventory, "b").resource_version, "11");
    }

    #[test]
    fn an_older_list_is_not_believed_until_the_next_one_says_the_same() {
        let mut inventory = listed(10, &["a"]);
        assert_eq!(inventory.apply(Some(12), applied("b")), Taken::Changed);
        assert_eq!(list(&mut inventory, 11, &["a"]), Taken::Old);
        assert_eq!(names(&inventory), ["a", "b"]);
        assert_eq!(inventory.completed_lists(), 1, "it does not count");
        // A good one between two of them: the doubt begins anew.
        assert_eq!(list(&mut inventory, 12, &["a", "b"]), Taken::Changed);
        assert_eq!(list(&mut inventory, 5, &[]), Taken::Old);
        assert_eq!(list(&mut inventory, 6, &["c"]), Taken::Changed);
        assert_eq!(names(&inventory), ["c"]);
        assert_eq!(inventory.apply(Some(7), applied("d")), Taken::Changed);
    }

    #[test]
    fn an_older_event_changes_nothing() {
        let mut inventory = listed(10, &["a"]);
        assert_eq!(
            inventory.apply(Some(9), Change::Deleted(id("a"))),
            Taken::Old
        );
        assert_eq!(inventory.apply(Some(9), applied("b")), Taken::Old);
        assert_eq!(
            inventory.apply(Some(20), Change::Progress),
            Taken::Unchanged
        );
        assert_eq!(inventory.apply(Some(19), applied("b")), Taken::Old);
        assert_eq!(names(&inventory), ["a"]);
    }

    #[test]
    fn a_version_that_is_no_number_is_taken_as_it_comes() {
        let mut inventory = listed(10, &["a"]);
        assert_eq!(inventory.apply(None, applied("b")), Taken::Changed);
        assert_eq!(inventory.list(None, vec![named("c")]), Taken::Changed);
        assert_eq!(
            inventory.apply(Some(3), Change::Deleted(id("c"))),
            Taken::Changed
        );
        assert_eq!(
            inventory.apply(Some(3), Change::Deleted(id("c"))),
            Taken::Unchanged
        );
    }
}
