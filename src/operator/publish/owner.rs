//! Which cluster and release publish at a key; pure.

use serde::{Deserialize, Serialize};

/// The value of `<key>/owner`. Versioned, and unknown fields are tolerated, so that operators of two versions can
/// share a key during an upgrade.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The version of this value's form; 1 today.
    #[serde(default)]
    pub version: u32,
    /// The uid of the cluster's `kube-system` namespace.
    pub cluster: String,
    /// `namespace/name` of the release.
    pub release: String,
}

/// What the owner key means to us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ownership {
    /// It names us.
    Ours {
        /// Its `mod_revision`, for the fence.
        revision: i64,
    },
    /// It names another release, or another cluster. Never put right by us.
    Theirs(Owner),
    /// It cannot be read. Whoever wrote it, it was not us.
    Unreadable,
    /// Nobody owns the key yet.
    Nobody,
}

impl Owner {
    /// The owner value of this process.
    #[must_use]
    pub fn new(cluster: impl Into<String>, release: impl Into<String>) -> Self {
        Self {
            version: 1,
            cluster: cluster.into(),
            release: release.into(),
        }
    }

    /// What stands at the owner key, seen from `self`.
    #[must_use]
    pub fn judge(&self, stored: Option<&super::Stored>) -> Ownership {
        let Some(stored) = stored else {
            return Ownership::Nobody;
        };
        match serde_json::from_slice::<Self>(&stored.value) {
            Ok(owner) if owner.cluster == self.cluster && owner.release == self.release => {
                Ownership::Ours {
                    revision: stored.mod_revision,
                }
            }
            Ok(owner) => Ownership::Theirs(owner),
            Err(_) => Ownership::Unreadable,
        }
    }

    /// Whether the owner key named us when it was last seen to name anybody, given whether it had `before` and what stands there now.
    ///
    /// Kept for as long as the process lives, and not for a term: an owner that is deleted while nobody leads is created again as well.
    #[must_use]
    pub fn is_named(&self, before: bool, stored: Option<&super::Stored>) -> bool {
        match self.judge(stored) {
            Ownership::Ours { .. } => true,
            Ownership::Theirs(_) | Ownership::Unreadable => false,
            Ownership::Nobody => before,
        }
    }

    /// The bytes for the key.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::publish::Stored;

    fn stored(value: &str) -> Stored {
        Stored::new(4, 0, value.into())
    }

    #[test]
    fn an_owner_of_a_later_version_is_still_recognised() {
        let us = Owner::new("c1", "ns/name");
        let later = r#"{"version":9,"cluster":"c1","release":"ns/name","colour":"blue"}"#;
        assert_eq!(
            us.judge(Some(&stored(later))),
            Ownership::Ours { revision: 4 }
        );
    }

    #[test]
    fn another_release_and_another_cluster_are_others() {
        let us = Owner::new("c1", "ns/name");
        for other in [Owner::new("c2", "ns/name"), Owner::new("c1", "ns/other")] {
            let value = String::from_utf8(other.to_bytes()).unwrap();
            assert_eq!(us.judge(Some(&stored(&value))), Ownership::Theirs(other));
        }
        assert_eq!(us.judge(Some(&stored("?"))), Ownership::Unreadable);
        assert_eq!(us.judge(None), Ownership::Nobody);
    }

    #[test]
    fn a_deleted_owner_is_still_whoever_it_named_last() {
        let us = Owner::new("c1", "ns/name");
        let named =
            |owner: &Owner| stored(&String::from_utf8(owner.to_bytes()).unwrap_or_default());
        let (ours, theirs) = (named(&us), named(&Owner::new("c1", "ns/other")));
        let last = |sights: &[Option<&Stored>]| {
            let each = sights.iter();
            each.fold(false, |before, sight| us.is_named(before, *sight))
        };
        assert!(!last(&[None]), "never seen: foreign");
        assert!(last(&[Some(&ours), None, None]));
        assert!(!last(&[Some(&ours), Some(&theirs), None]));
        assert!(!last(&[Some(&ours), Some(&stored("?")), None]));
        assert!(last(&[Some(&theirs), Some(&ours), None]));
    }
}
