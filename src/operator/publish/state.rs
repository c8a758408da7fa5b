//! What stands at the keys; pure.

use std::sync::{Arc, OnceLock};

use crate::document::{Accepted, DatedEntry, Publication};

/// A key's value as etcd holds it.
#[derive(Clone)]
pub struct Stored {
    /// The revision that wrote it.
    pub mod_revision: i64,
    /// The lease that it hangs on; 0 for none.
    pub lease: i64,
    /// The bytes.
    pub value: Vec<u8>,
    /// What the bytes say, once somebody has asked; shared by all clones. The cycle asks at every turn, and for ten thousand
    /// directives the strict parse takes longer than all the rest of a turn.
    said: Arc<OnceLock<Option<Vec<DatedEntry>>>>,
}

/// By what etcd holds; what it says follows from that.
impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        (self.mod_revision, self.lease) == (other.mod_revision, other.lease)
            && self.value == other.value
    }
}

impl Eq for Stored {}

/// Sizes only: the document holds selector values.
impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("mod_revision", &self.mod_revision)
            .field("lease", &self.lease)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// The document, the owner and the pause, as of one revision of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyState {
    /// The store's revision at which all three were read.
    pub revision: i64,
    /// The document; `None` where the key is absent.
    pub document: Option<Stored>,
    /// The owner; `None` where the key is absent.
    pub owner: Option<Stored>,
    /// Whether a person paused the publishing.
    pub paused: bool,
}

impl KeyState {
    /// The revision to compare in a fence: the document's own, or 0 where it is absent.
    #[must_use]
    pub fn document_revision(&self) -> i64 {
        self.document
            .as_ref()
            .map_or(0, |stored| stored.mod_revision)
    }

    /// Whether the key says exactly `entries`: the same ones with the same absolute ends. A document that
    /// no reader can date, or that a strict reader refuses, says nothing.
    #[must_use]
    pub fn says(&self, entries: &[DatedEntry]) -> bool {
        match &self.document {
            None => entries.is_empty(),
            Some(stored) => stored.dated().is_some_and(|dated| {
                // An absent key says nothing; a document without entries says it less well.
                !dated.is_empty() && dated == entries
            }),
        }
    }
}

impl Stored {
    /// A value that was written at `mod_revision`, on a lease or on none (0).
    #[must_use]
    pub fn new(mod_revision: i64, lease: i64, value: Vec<u8>) -> Self {
        Self {
            mod_revision,
            lease,
            value,
            said: Arc::default(),
        }
    }

    /// When the document was written, if its lease says so.
    #[must_use]
    pub fn publication(&self) -> Option<Publication> {
        Publication::from_lease_id(self.lease)
    }

    /// What it says, with absolute ends; `None` where no reader can date it, or a strict one refuses it. Parsed once.
    #[must_use]
    pub fn dated(&self) -> Option<&[DatedEntry]> {
        let read = || {
            let publication = self.publication()?;
            Some(Accepted::from_bytes(&self.value).ok()?.dated(publication))
        };
        self.said.get_or_init(read).as_deref()
    }
}
