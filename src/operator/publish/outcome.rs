//! What publishing comes to, in the words that conditions, metrics and logs share; pure.

use std::time::Duration;

use super::owner::Owner;
use crate::document::Publication;
use crate::etcd::Fault;

/// What the key says, compared with the plan.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The key says what the plan says, as of this revision.
    InSync {
        /// The document's `mod_revision`; 0 where it is rightly absent.
        revision: i64,
        /// When it was written.
        publication: Option<Publication>,
    },
    /// It does not, for this reason.
    Held(Held),
}

/// Why the key does not say what the plan says.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Held {
    /// etcd cannot be used at the moment.
    Etcd(Fault),
    /// The key holds something that is not ours, and nobody adopted it.
    ForeignValue,
    /// etcd's storage is full.
    NoSpace,
    /// A person paused the publishing.
    Paused,
    /// etcd's own limit for a request is below the document's size.
    TooLarge,
}

impl Held {
    /// One of each kind.
    pub const EACH: [Self; 5] = [
        Self::Etcd(Fault::Other),
        Self::ForeignValue,
        Self::NoSpace,
        Self::Paused,
        Self::TooLarge,
    ];

    /// Every slug that there is.
    pub fn slugs() -> impl Iterator<Item = &'static str> {
        let ours = [Self::ForeignValue, Self::Paused].map(Self::slug);
        Fault::ALL.into_iter().map(Fault::slug).chain(ours)
    }

    /// The stable slug that metrics and logs share.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Etcd(fault) => fault.slug(),
            Self::ForeignValue => "foreign_value",
            Self::NoSpace => Fault::NoSpace.slug(),
            Self::Paused => "paused",
            Self::TooLarge => Fault::TooLarge.slug(),
        }
    }

    /// The reason of the condition `Published`: one CamelCase word.
    #[must_use]
    pub fn condition_reason(self) -> &'static str {
        match self {
            Self::Etcd(_) => "EtcdUnavailable",
            Self::ForeignValue => "ForeignValue",
            Self::NoSpace => "NoSpace",
            Self::Paused => "Paused",
            // Beyond a limit, and whoever's limit it is, people can do the same about it.
            Self::TooLarge => "DocumentFull",
        }
    }
}

impl From<Fault> for Held {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSpace => Self::NoSpace,
            Fault::TooLarge => Self::TooLarge,
            other => Self::Etcd(other),
        }
    }
}

/// Why a term of leadership ends.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TermEnded {
    /// A write whose answer never came: it may still be carried out for as long as our leader key is there.
    AmbiguousWrite(Fault),
    /// The leader key is gone.
    Deposed,
    /// The key is owned by another release.
    OwnedBy(Owner),
    /// The owner cannot be read.
    OwnerUnreadable,
}

impl TermEnded {
    /// The stable slug that metrics and logs share.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::AmbiguousWrite(_) => "ambiguous_write",
            Self::Deposed => "deposed",
            Self::OwnedBy(_) => "owned_by_another",
            Self::OwnerUnreadable => "owner_unreadable",
        }
    }
}

/// What one call of [`Publisher::publish`](super::Publisher::publish) came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// This is how it stands.
    Settled(Outcome),
    /// Plan again after this long: spacing, or a state that moved meanwhile.
    Again(Duration),
}

/// What to do when etcd is full and refuses a document that grew smaller or otherwise different.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnNoSpace {
    /// Keep the document that stands there; what was withdrawn ends by its own time.
    #[default]
    Keep,
    /// Delete it, which a full etcd still takes: every directive is off rather than one too long.
    Delete,
}

/// What a publisher has done, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Documents written.
    pub puts: u64,
    /// Documents deleted.
    pub deletions: u64,
    /// Writes that the fence kept out.
    pub fenced: u64,
    /// Foreign writes of the document that were noticed.
    pub foreign_writes: u64,
    /// Writes that failed.
    pub failures: u64,
}
