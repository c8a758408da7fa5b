//! Step two, **plan**: what should stand at the key now, and what is to be said of each resource.
//!
//! Pure and total: the same for any order of its input, and with no clock, I/O or memory of its own. A restart or a
//! fail-over therefore plans the same, and the model checker runs this very function.

mod budget;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::document::{DatedEntry, Moment};
use crate::operator::observe::{Id, Resource};
use crate::resource::{Directive, Phase, Refusal};

pub use budget::Limits;

/// What is to be said of one resource.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is wrong; it is not in the document.
    Refused(Refusal),
    /// A person suspended it, and its time is not over.
    Suspended {
        /// The whole second from which on it could not be resumed.
        end_secs: u64,
    },
    /// Its time has not come.
    Scheduled {
        /// The whole second from which on it is active.
        start_secs: u64,
        /// The whole second from which on it is off.
        end_secs: u64,
    },
    /// It is in the document.
    Active {
        /// The whole second from which on it is off.
        end_secs: u64,
    },
    /// Its time is over.
    Expired {
        /// The whole second at which it ended.
        end_secs: u64,
    },
    /// It is valid and in time, and the document has no room for it.
    NoRoom {
        /// The whole second from which on it would be off.
        end_secs: u64,
    },
}

/// What should stand at the key, and why.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The document's entries, sorted by id.
    pub entries: Vec<DatedEntry>,
    /// One verdict a resource.
    pub verdicts: BTreeMap<Id, Verdict>,
    /// The next whole second at which the plan changes by itself.
    pub next_deadline_secs: Option<u64>,
}

impl Plan {
    /// How long after `now` it changes by itself; half a minute where it does not.
    #[must_use]
    pub fn lasts(&self, now: Moment) -> Duration {
        const IDLE: Duration = Duration::from_secs(30);
        self.next_deadline_secs.map_or(IDLE, |deadline| {
            let nanos = deadline
                .saturating_mul(1_000_000_000)
                .saturating_sub(now.wall_nanos);
            Duration::from_nanos(nanos).min(IDLE)
        })
    }
}

/// Plans for the whole second `now_secs` since the Unix epoch.
#[must_use]
pub fn plan<'a>(
    now_secs: u64,
    resources: impl IntoIterator<Item = &'a Resource>,
    limits: &Limits,
) -> Plan {
    let mut verdicts = BTreeMap::new();
    let mut candidates = Vec::new();
    let mut next_deadline_secs: Option<u64> = None;
    let mut deadline = |secs: u64| {
        next_deadline_secs = Some(next_deadline_secs.map_or(secs, |next| next.min(secs)));
    };
    for resource in resources {
        let verdict = match &resource.directive {
            Err(refusal) => Verdict::Refused(refusal.clone()),
            Ok(directive) => {
                let end_secs = directive.window.end_secs;
                match directive.window.phase(now_secs) {
                    Phase::Expired => Verdict::Expired { end_secs },
                    _ if directive.suspend => {
                        deadline(end_secs);
                        Verdict::Suspended { end_secs }
                    }
                    Phase::Scheduled => {
                        let start_secs = directive.window.start;
                        deadline(start_secs);
                        Verdict::Scheduled {
                            start_secs,
                            end_secs,
                        }
                    }
                    Phase::Active => {
                        deadline(end_secs);
                        candidates.push(candidate(resource, directive));
                        Verdict::Active { end_secs }
                    }
                }
            }
        };
        verdicts.insert(resource.id.clone(), verdict);
    }

    let mut entries = Vec::with_capacity(candidates.len());
    for (candidate, fits) in budget::admit(candidates, limits) {
        if fits {
            entries.push(candidate.dated);
        } else if let Some(verdict) = verdicts.get_mut(candidate.id) {
            *verdict = Verdict::NoRoom {
                end_secs: candidate.dated.end_secs,
            };
        }
    }
    entries.sort_by(|a, b| a.entry.id.cmp(&b.entry.id));
    Plan {
        entries,
        verdicts,
        next_deadline_secs,
    }
}

fn candidate<'a>(resource: &'a Resource, directive: &Directive) -> budget::Candidate<'a> {
    budget::Candidate {
        id: &resource.id,
        // What was there first stays: the later of creation and start.
        since_secs: directive.window.start.max(resource.created_secs),
        dated: DatedEntry {
            entry: directive.entry.clone(),
            end_secs: directive.window.end_secs,
        },
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
