//! What the proxies' word comes to for each directive; pure.
//!
//! An answer is written into a status only where it changes, so it must not change for what passes by itself:
//!
//! * A proxy that is behind is named after a [grace](grace): the window over which a healthy fleet says so, and some seconds.
//! * What every proxy has had stays so where none of them reports any more: a fleet that restarts as a whole has lost nothing.
//! * Who goes back and forth is believed later each time, so that no proxy can make a status flap.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use osproxy_core::Instant;

use super::ledger::{Ledger, Since};
use crate::fleet::{Counts, FleetView, Target};

/// The answer for one directive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Said {
    /// Whatever was said before; a new leader cannot know better yet.
    AsBefore,
    /// The proxies have not all said so yet.
    Pending,
    /// No proxy reports.
    Nobody,
    /// All that report have it.
    Applied,
    /// One refused it.
    Rejecting,
    /// One has been behind for longer than it should.
    Lagging,
    /// The record of one cannot be read, and all others have it.
    Unreadable,
}

/// The answer, and what it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opinion {
    /// The answer.
    pub said: Said,
    /// What a proxy must have seen.
    pub target: Target,
    /// Whether the directive changed in that publication, by this leader's own doing.
    pub changed: bool,
    /// Whether a proxy that is behind certainly lacks the directive, as this leader saw the publication.
    pub certain: bool,
    /// Whether all proxies that report have had it before, since the same publication.
    pub again: bool,
}

/// Keeps the answers.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    cases: BTreeMap<Arc<str>, Case>,
    look_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    since: Since,
    said: Said,
    /// Since when another answer would be right than the one that was given.
    differs: Option<(Said, Instant)>,
    /// How often it has turned bad.
    falls: u32,
    /// Whether all have had it before.
    was_applied: bool,
}

/// What a record takes from the publication to the leader, beside the window.
const SLACK: Duration = Duration::from_secs(7);
/// Nobody is named before that.
const LEAST_GRACE: Duration = Duration::from_secs(10);
/// How long the second change for the worse, and from then on each change for the better, has to last; twice that for each further one.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_PATIENCE: Duration = Duration::from_hours(1);

/// How long after a publication a proxy may be behind without being named.
#[must_use]
pub fn grace(window_ms: u64) -> Duration {
    Duration::from_millis(window_ms)
        .saturating_add(SLACK)
        .max(LEAST_GRACE)
}

impl Judge {
    /// Looks at all directives at `now`. `view` is `None` while the records are not known. Returns whose answer is another one.
    pub fn look(
        &mut self,
        now: Instant,
        ledger: &Ledger,
        view: Option<&FleetView>,
        window_ms: u64,
    ) -> Vec<Arc<str>> {
        let grace = grace(window_ms);
        let mut counted: HashMap<Target, Counts> = HashMap::new();
        let mut news = Vec::new();
        let mut cases = BTreeMap::new();
        self.look_at = None;
        for (id, since) in ledger.iter() {
            let known = self.cases.get(id).copied();
            let mut case = known
                .filter(|case| case.since.serial == since.serial)
                .unwrap_or_else(|| Case::new(since, known));
            if let Some(view) = view {
                let counts = counted
                    .entry(since.target)
                    .or_insert_with(|| view.counts(since.target));
                if let Some(at) = case.look(now, *counts, grace) {
                    self.look_at = Some(self.look_at.map_or(at, |other| other.min(at)));
                }
            }
            if known.is_none_or(|known| known.said != case.said || known.since != since) {
                news.push(Arc::clone(id));
            }
            cases.insert(Arc::clone(id), case);
        }
        self.cases = cases;
        news
    }

    /// When to look again, if nothing changes before.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// The answer for one directive; `None` where there is nothing to answer.
    #[must_use]
    pub fn opinion(&self, id: &str) -> Option<Opinion> {
        self.cases.get(id).map(|case| Opinion {
            said: case.said,
            target: case.since.target,
            changed: case.since.changed,
            certain: case.since.certain,
            again: case.was_applied,
        })
    }
}

impl Case {
    fn new(since: Since, before: Option<Self>) -> Self {
        let said = match before {
            _ if since.changed => Said::Pending,
            // Put back: nothing new was asked of anybody.
            Some(before) => before.said,
            None => Said::AsBefore,
        };
        let same = before.filter(|_| !since.changed);
        Self {
            since,
            said,
            differs: None,
            falls: same.map_or(0, |before| before.falls),
            was_applied: same.is_some_and(|before| before.was_applied),
        }
    }

    /// Takes the counts in; says when to look again, where an answer waits for its time.
    fn look(&mut self, now: Instant, counts: Counts, grace: Duration) -> Option<Instant> {
        let right = self.right(counts);
        if right == self.said {
            self.differs = None;
            return None;
        }
        let since = match self.differs {
            Some((differs, since)) if differs == right => since,
            // From the publication on, where this is the first look at it.
            None if self.said == Said::Pending && right == Said::Lagging => self.since.at,
            _ => now,
        };
        self.differs = Some((right, since));
        let at = since.saturating_add(self.patience(right, grace));
        if now < at {
            return Some(at);
        }
        if is_bad(right) && !is_bad(self.said) {
            self.falls += 1;
        }
        self.was_applied |= self.said == Said::Applied;
        self.said = right;
        self.differs = None;
        None
    }

    /// What would be right to say at this moment.
    fn right(&self, counts: Counts) -> Said {
        let Counts {
            reporting,
            applied,
            rejecting,
            lagging,
            unknown: _,
        } = counts;
        if reporting == 0 {
            return match self.said {
                Said::Applied => Said::Applied,
                _ => Said::Nobody,
            };
        }
        if applied == reporting {
            Said::Applied
        } else if rejecting > 0 {
            Said::Rejecting
        } else if lagging > 0 {
            Said::Lagging
        } else {
            Said::Unreadable
        }
    }

    /// How long another answer has to be right before it is given.
    fn patience(&self, right: Said, grace: Duration) -> Duration {
        let longer = |times: u32| {
            let longer = PATIENCE.saturating_mul(2_u32.saturating_pow(times.min(16)));
            longer.min(LONGEST_PATIENCE)
        };
        match (right, self.falls) {
            (Said::Rejecting, 0) => Duration::ZERO,
            (Said::Rejecting, falls) => longer(falls - 1),
            (Said::Lagging | Said::Unreadable, 0) => grace,
            (Said::Lagging | Said::Unreadable, falls) => grace.max(longer(falls - 1)),
            (_, 0 | 1) => Duration::ZERO,
            (_, falls) => longer(falls - 2),
        }
    }
}

fn is_bad(said: Said) -> bool {
    matches!(said, Said::Rejecting | Said::Lagging | Said::Unreadable)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
