//! Who gets into a document that has not room for all; pure.
//!
//! Shares are max-min fair between namespaces: the namespace that uses least so far is served next, so one
//! that asks for much takes room only from itself once everybody else is served. Within a namespace what was there first
//! stays, and between namespaces that use equally much what was there first goes first. What does not fit does not block
//! what is smaller. Nothing is ever truncated.
//!
//! The choice has no memory, so that a restart or a fail-over makes the same one. Hence when something ends, an older
//! entry that was too large before can take the room of a younger one that fitted; the younger one's verdict says so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::document::{DatedEntry, MAX_TTL_SECS, rendered_len};
use crate::operator::observe::Id;

/// How large a document may become.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most directives.
    pub max_directives: usize,
    /// The most bytes.
    pub max_document_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_directives: 1_000,
            max_document_bytes: 256 * 1_024,
        }
    }
}

impl Limits {
    /// Limits of `max_directives` directives and `max_document_bytes` bytes.
    #[must_use]
    pub fn new(max_directives: usize, max_document_bytes: usize) -> Self {
        Self {
            max_directives,
            max_document_bytes,
        }
    }
}

/// An entry that wants into the document.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: &'a Id,
    /// Since when it has a claim: what is older goes first.
    pub(super) since_secs: u64,
    pub(super) dated: DatedEntry,
}

/// `{"directives":[]}`, with which every document begins and ends.
const FRAME_BYTES: usize = 17;

/// Says of each candidate whether it fits, in no particular order.
pub(super) fn admit<'a>(
    mut candidates: Vec<Candidate<'a>>,
    limits: &Limits,
) -> Vec<(Candidate<'a>, bool)> {
    candidates.sort_by(|a, b| (a.since_secs, a.id).cmp(&(b.since_secs, b.id)));
    // The size counts with the longest `ttl_secs`, so that it does not change with the time: nothing flaps.
    let sized = |candidate: &Candidate<'_>| rendered_len(&candidate.dated, MAX_TTL_SECS);
    let mut bytes_left = limits.max_document_bytes.saturating_sub(FRAME_BYTES);
    let mut count_left = limits.max_directives;

    let mut queues: BTreeMap<&'a str, VecDeque<Candidate<'a>>> = BTreeMap::new();
    for candidate in candidates {
        let queue = queues.entry(candidate.id.namespace.as_str()).or_default();
        queue.push_back(candidate);
    }
    // Between equals age decides, not the name: a newcomer does not push out what was there.
    let turn = |used: u64, name: &'a str, queue: &VecDeque<Candidate<'a>>| {
        let next = queue.front()?;
        Some(Reverse((used, next.since_secs, name)))
    };
    let mut turns: BinaryHeap<_> = queues
        .iter()
        .filter_map(|(name, queue)| turn(0, name, queue))
        .collect();
    let mut admitted = Vec::new();
    while let Some(Reverse((used, _, namespace))) = turns.pop() {
        let Some(queue) = queues.get_mut(namespace) else {
            continue;
        };
        let Some(candidate) = queue.pop_front() else {
            continue;
        };
        let bytes = sized(&candidate);
        let fits = count_left > 0 && bytes <= bytes_left;
        let mut share = used;
        if fits {
            count_left -= 1;
            bytes_left -= bytes;
            share += cost(bytes, limits);
        }
        turns.extend(turn(share, namespace, queue));
        admitted.push((candidate, fits));
    }
    admitted
}

/// What one entry takes of the document, in billionths of it: of the bytes or of the count, whichever is scarcer for it.
fn cost(bytes: usize, limits: &Limits) -> u64 {
    let part = |of: usize, all: usize| {
        let billionths = (of as u128) * 1_000_000_000 / (all.max(1) as u128);
        u64::try_from(billionths).unwrap_or(u64::MAX / 4)
    };
    part(bytes, limits.max_document_bytes).max(part(1, limits.max_directives))
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
