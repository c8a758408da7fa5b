//! What a request gets, found without looking at every directive.
//!
//! The index only *narrows*: it finds the few directives whose target can be the request's, and the shared code
//! (`DiagnosticsDirective::level_if_applies`) decides on each of them. A hash that collides or a shape that is looked
//! up in vain costs time and can change no answer. Two directives with one target are both kept unless one of
//! them gives nothing that the other does not: no more verbose, no larger sample, no later end.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use foldhash::fast::RandomState;
use osproxy_core::{Instant, RequestId};
use osproxy_observe::{DiagLevel, DiagnosticsDirective, DirectiveMatch, RequestAttrs};

/// The three answers for one request.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// How verbosely to record it: the highest level of those that apply.
    pub level: DiagLevel,
    /// Whether any that applies asks for the local ring buffer.
    pub ring_buffer: bool,
    /// Whether any that applies asks for capture.
    pub capture: bool,
}

impl Decision {
    /// Whether `directive` would change anything here if it applied.
    fn lacks(self, directive: &DiagnosticsDirective) -> bool {
        self.lacks_any_of(Self {
            level: directive.level,
            ring_buffer: directive.ring_buffer,
            capture: directive.capture,
        })
    }

    fn lacks_any_of(self, other: Self) -> bool {
        other.level > self.level
            || (other.ring_buffer && !self.ring_buffer)
            || (other.capture && !self.capture)
    }

    fn add(&mut self, level: DiagLevel, directive: &DiagnosticsDirective) {
        self.level = self.level.max(level);
        self.ring_buffer |= directive.ring_buffer;
        self.capture |= directive.capture;
    }
}

/// Directives by what they select.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Fast rather than proof against chosen values: a request's values are only looked up, and whose directives collide has more
    /// candidates looked at, and no other answer.
    random: RandomState,
    /// Which shapes occur, one bit each.
    shapes: u16,
    /// The most that a directive of each shape can give: a shape with nothing new is not looked at.
    most: [Decision; SHAPES],
    /// For each member of a selector: which shapes occur with this value of it, by the value's hash.
    values: [Map<u16>; MEMBERS],
    /// Who selects exactly these values, by the hash of them together with the shape.
    targets: Map<Vec<DiagnosticsDirective>>,
}

/// tenant, index, principal, endpoint.
const MEMBERS: usize = 4;
const SHAPES: usize = 1 << MEMBERS;

/// Which members a selector sets, one bit each: `0..16`.
type Shape = u8;

/// The shapes that set the member, one bit each.
const SHAPES_WITH: [u16; MEMBERS] = [0xaaaa, 0xcccc, 0xf0f0, 0xff00];

impl Index {
    /// An index of `directives`. Costs a few hashes each, and a sort of those that share a target.
    pub(super) fn new(directives: &[DiagnosticsDirective]) -> Self {
        let mut index = Self::default();
        for directive in directives {
            let hashes = index.hashes_of(&directive.match_);
            let shape = shape_of(&hashes);
            index.shapes |= 1 << shape;
            index.most[usize::from(shape)].add(directive.level, directive);
            for (values, hash) in index.values.iter_mut().zip(hashes) {
                if let Some(hash) = hash {
                    *values.entry(hash).or_default() |= 1 << shape;
                }
            }
            index
                .targets
                .entry(together(shape, &hashes.map(Option::unwrap_or_default)))
                .or_default()
                .push(directive.clone());
        }
        for target in index.targets.values_mut() {
            keep_what_counts(target);
        }
        index
    }

    /// The three answers for a request. Borrows; neither allocates nor locks.
    ///
    /// Costs at most four hashes and one look-up per shape that can match, and then the candidates' own checks.
    pub(super) fn decide(
        &self,
        attrs: &RequestAttrs<'_>,
        now: Instant,
        request: &RequestId,
    ) -> Decision {
        let mut decision = Decision::default();
        if self.shapes == 0 {
            return decision;
        }
        let mut possible = self.shapes;
        let mut hashes = [0; MEMBERS];
        for member in 0..MEMBERS {
            if possible & SHAPES_WITH[member] == 0 {
                continue; // nobody who can still match sets it
            }
            let seen = self.hash_of(member, attrs).map_or(0, |hash| {
                hashes[member] = hash;
                self.values[member].get(&hash).copied().unwrap_or(0)
            });
            possible &= seen | !SHAPES_WITH[member];
        }
        while possible != 0 {
            let shape = possible.trailing_zeros();
            possible &= possible - 1;
            // A shape is less than 16.
            let Ok(shape) = Shape::try_from(shape) else {
                break;
            };
            if !decision.lacks_any_of(self.most[usize::from(shape)]) {
                continue;
            }
            let mut selected = hashes;
            for (member, hash) in selected.iter_mut().enumerate() {
                if SHAPES_WITH[member] & (1 << shape) == 0 {
                    *hash = 0;
                }
            }
            for directive in self
                .targets
                .get(&together(shape, &selected))
                .into_iter()
                .flatten()
            {
                if decision.lacks(directive)
                    && let Some(level) = directive.level_if_applies(attrs, now, request)
                {
                    decision.add(level, directive);
                }
            }
        }
        decision
    }

    fn hash_of(&self, member: usize, attrs: &RequestAttrs<'_>) -> Option<u64> {
        match member {
            0 => attrs.tenant.map(|tenant| self.hash(tenant.as_str())),
            1 => Some(self.hash(attrs.index)),
            2 => Some(self.hash(attrs.principal.as_str())),
            _ => Some(self.hash(&attrs.endpoint)),
        }
    }

    fn hashes_of(&self, selector: &DirectiveMatch) -> [Option<u64>; MEMBERS] {
        let DirectiveMatch {
            tenant,
            index,
            principal,
            endpoint,
        } = selector;
        [
            tenant.as_ref().map(|value| self.hash(value.as_str())),
            index.as_ref().map(|value| self.hash(value.as_str())),
            principal.as_ref().map(|value| self.hash(value.as_str())),
            endpoint.as_ref().map(|value| self.hash(value)),
        ]
    }

    fn hash<T: Hash + ?Sized>(&self, value: &T) -> u64 {
        self.random.hash_one(value)
    }
}

fn shape_of(hashes: &[Option<u64>; MEMBERS]) -> Shape {
    (0..MEMBERS).fold(0, |shape, member| {
        shape | (Shape::from(hashes[member].is_some()) << member)
    })
}

/// One hash of several; the members that the shape leaves out are 0.
fn together(shape: Shape, hashes: &[u64; MEMBERS]) -> u64 {
    hashes.iter().fold(u64::from(shape) + 1, |mixed, hash| {
        (mixed ^ hash)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

/// Drops every directive that another one of the same target and effect makes useless, and puts the most verbose
/// first, so that the rest is passed over once they apply.
///
/// Useless is one whose sample is no larger and whose end is no later: a request that it samples is in every larger
/// sample as well, because the shared code draws from the request's id alone.
fn keep_what_counts(target: &mut Vec<DiagnosticsDirective>) {
    target.sort_by_key(|directive| {
        std::cmp::Reverse((
            effect_of(directive),
            directive.sample_per_mille,
            directive.expires_at,
        ))
    });
    let mut kept: Vec<DiagnosticsDirective> = Vec::new();
    for directive in target.drain(..) {
        // The last one kept of the same effect has the larger sample, and the latest end so far.
        let useless = kept.last().is_some_and(|other| {
            effect_of(other) == effect_of(&directive)
                && other.expires_at >= directive.expires_at
                && other.match_ == directive.match_
        });
        if !useless && effect_of(&directive) > 0 {
            kept.push(directive);
        }
    }
    *target = kept;
}

/// What a directive does, as a number that grows with the level; 0 for nothing.
fn effect_of(directive: &DiagnosticsDirective) -> u8 {
    (directive.level as u8) << 2
        | u8::from(directive.ring_buffer) << 1
        | u8::from(directive.capture)
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are hashed; this keeps the answer right for any other.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
