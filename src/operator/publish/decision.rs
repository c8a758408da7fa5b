//! What a leader does about the key, given what it knows; pure.
//!
//! The shell around it keeps the time (pacing, the proof of the lease), grants leases and sends transactions. What to send is decided
//! here, so that the model of the key explores this very code.

use super::fence::{Claim, Fence};
use super::owner::{Owner, Ownership};
use super::{Held, KeyState, TermEnded};
use crate::document::{DatedEntry, Publication, render};

/// What a leader knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The leader key that its campaign returned.
    pub leader_key: &'a [u8],
    /// The revision at which that key was created.
    pub leader_revision: i64,
    /// Who it is.
    pub owner: &'a Owner,
    /// Whether the owner key [named it](Owner::is_named) when it was last seen to name anybody, so that a deleted one is created again.
    pub owned: bool,
    /// The keys as it last saw them.
    pub state: &'a KeyState,
}

/// What a leader does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Nothing: the key says what the plan says.
    InSync,
    /// Nothing: it must not, for this reason.
    Held(Held),
    /// It puts its name on the key.
    Claim(Claim),
    /// It writes the document, behind this fence.
    Write(Fence),
    /// It stops leading.
    End(TermEnded),
}

/// Decides what to do so that the key says `entries`. Costs a strict parse of the document that stands there, the first time.
#[must_use]
pub fn decide(standing: Standing<'_>, entries: &[DatedEntry]) -> Decision {
    let Standing {
        leader_key,
        leader_revision,
        owner,
        owned,
        state,
    } = standing;
    let owner_revision = match owner.judge(state.owner.as_ref()) {
        Ownership::Ours { revision } => revision,
        Ownership::Theirs(owner) => return Decision::End(TermEnded::OwnedBy(owner)),
        Ownership::Unreadable => return Decision::End(TermEnded::OwnerUnreadable),
        Ownership::Nobody if owned || state.document.is_none() => {
            return Decision::Claim(Claim {
                leader_key: leader_key.to_vec(),
                leader_revision,
                document_is_ours: owned,
            });
        }
        Ownership::Nobody => return Decision::Held(Held::ForeignValue),
    };
    if state.paused {
        return Decision::Held(Held::Paused);
    }
    if state.says(entries) {
        return Decision::InSync;
    }
    Decision::Write(Fence {
        leader_key: leader_key.to_vec(),
        leader_revision,
        document_revision: state.document_revision(),
        owner_revision,
    })
}

/// A document that is ready to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// The bytes.
    pub value: Vec<u8>,
    /// The lease of its publication.
    pub lease: i64,
    /// How long that lease is granted for, in seconds: it ends with the last directive and is never kept alive.
    pub ttl_secs: i64,
}

/// Sizes only: the document holds selector values.
impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            value,
            lease,
            ttl_secs,
        } = self;
        write!(f, "Draft({} bytes, {lease:x}, {ttl_secs} s)", value.len())
    }
}

impl Draft {
    /// The document for `entries` as of `publication`; `None` where there is nothing to say, which is a deletion.
    #[must_use]
    pub fn new(entries: &[DatedEntry], publication: Publication) -> Option<Self> {
        let value = render(entries, publication)?;
        let last_end = entries.iter().map(|dated| dated.end_secs).max()?;
        Some(Self {
            value,
            lease: publication.lease_id(),
            ttl_secs: i64::try_from(last_end.saturating_sub(publication.second()))
                .unwrap_or(i64::MAX),
        })
    }
}
