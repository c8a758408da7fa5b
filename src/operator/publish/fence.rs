//! The fence: what must hold at the moment of a write; pure.
//!
//! A lock in etcd is a belief, not a fact: its holder may have been stopped past its lease. So no write of the document rests on
//! belief. Each is one transaction that compares, inside etcd and at the moment of the write, everything that entitles us to it. A
//! timed-out transaction may still commit long after reads have said "absent"; it carries its leader key's create revision, and so it is dead once that key is gone.

use crate::etcd::Keys;

/// One compare of the transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Guard {
    /// `create_revision(key) == revision`; 0 means that the key is absent.
    CreateRevision {
        /// The key.
        key: Vec<u8>,
        /// What it must be.
        revision: i64,
    },
    /// `mod_revision(key) == revision`; 0 means that the key is absent.
    ModRevision {
        /// The key.
        key: Vec<u8>,
        /// What it must be.
        revision: i64,
    },
}

/// What entitles this process to write the document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// The leader key that our campaign returned.
    pub leader_key: Vec<u8>,
    /// The revision at which that key was created.
    pub leader_revision: i64,
    /// The document's `mod_revision` as last seen; 0 for absent.
    pub document_revision: i64,
    /// The owner's `mod_revision` as last seen, when it named us.
    pub owner_revision: i64,
}

impl Fence {
    /// The four compares: we still lead, nobody else wrote the document, the owner is still us, and no person said stop.
    #[must_use]
    pub fn guards(&self, keys: &Keys) -> [Guard; 4] {
        let Self {
            leader_key,
            leader_revision,
            document_revision,
            owner_revision,
        } = self;
        [
            Guard::CreateRevision {
                key: leader_key.clone(),
                revision: *leader_revision,
            },
            Guard::ModRevision {
                key: keys.document().into(),
                revision: *document_revision,
            },
            Guard::ModRevision {
                key: keys.owner().into(),
                revision: *owner_revision,
            },
            Guard::CreateRevision {
                key: keys.paused().into(),
                revision: 0,
            },
        ]
    }
}

/// What entitles a leader to put its name on the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The leader key that our campaign returned.
    pub leader_key: Vec<u8>,
    /// The revision at which that key was created.
    pub leader_revision: i64,
    /// Whether the owner key named us when it was last seen to name anybody. A document that stands there is foreign otherwise.
    pub document_is_ours: bool,
}

impl Claim {
    /// We still lead, nobody owns the key, and what stands there is not foreign.
    #[must_use]
    pub fn guards(&self, keys: &Keys) -> Vec<Guard> {
        let absent = |key: &str| Guard::CreateRevision {
            key: key.into(),
            revision: 0,
        };
        let mut guards = vec![
            Guard::CreateRevision {
                key: self.leader_key.clone(),
                revision: self.leader_revision,
            },
            absent(&keys.owner()),
        ];
        if !self.document_is_ours {
            guards.push(absent(keys.document()));
        }
        guards
    }
}

/// What entitles a person to put our name on a key that says something foreign, or that another release owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adoption {
    /// The document's `mod_revision` as the person saw it; 0 for absent.
    pub document_revision: i64,
    /// The owner's `mod_revision` as the person saw it; 0 for absent.
    pub owner_revision: i64,
}

impl Adoption {
    /// Neither the document nor the owner has moved since.
    #[must_use]
    pub fn guards(&self, keys: &Keys) -> [Guard; 2] {
        [
            Guard::ModRevision {
                key: keys.document().into(),
                revision: self.document_revision,
            },
            Guard::ModRevision {
                key: keys.owner().into(),
                revision: self.owner_revision,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_compares_leader_document_owner_and_pause() {
        let keys = Keys::new("k").unwrap();
        let fence = Fence {
            leader_key: b"k/leader/1".to_vec(),
            leader_revision: 7,
            document_revision: 0,
            owner_revision: 3,
        };
        let [leader, document, owner, paused] = fence.guards(&keys);
        let create = |key: &str, revision| Guard::CreateRevision {
            key: key.into(),
            revision,
        };
        let modified = |key: &str, revision| Guard::ModRevision {
            key: key.into(),
            revision,
        };
        assert_eq!(leader, create("k/leader/1", 7));
        assert_eq!(document, modified("k", 0));
        assert_eq!(owner, modified("k/owner", 3));
        assert_eq!(paused, create("k/paused", 0));
    }
}
