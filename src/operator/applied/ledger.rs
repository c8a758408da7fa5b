//! Since which publication each directive stands as it does; pure.
//!
//! What a proxy must have seen for one directive is the publication in which *its* entry last changed, and not the newest one: a
//! neighbour's change asks nothing of it. What is equal, entry and absolute end, keeps its publication over any number of later ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use osproxy_core::Instant;

use crate::document::DatedEntry;
use crate::fleet::Target;
use crate::operator::plan::{Plan, Verdict};

/// The publications, by the directives' ids.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    directives: BTreeMap<Arc<str>, Noted>,
    /// Whether a former leader may have taken something out that nobody has noted yet.
    inherits: bool,
    revision: i64,
    foreign_writes: u64,
    serial: u64,
}

#[derive(Clone, Debug)]
struct Noted {
    /// `None` where it was taken out of the document.
    entry: Option<DatedEntry>,
    since: Since,
}

/// Since when a directive stands as it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Since {
    /// What a proxy must have seen.
    pub target: Target,
    /// When that was published, or found.
    pub at: Instant,
    /// Whether the directive changed then, by this leader's own doing.
    pub changed: bool,
    /// Whether it is known that it changed then, or was put back after somebody else's write or a restore. Otherwise it was found so by a new
    /// leader, and may stand there since an earlier publication.
    pub certain: bool,
    /// Another one for each.
    pub serial: u64,
}

impl Ledger {
    /// What a new leader finds: the document's entries, which may stand there since any earlier publication.
    #[must_use]
    pub fn found(now: Instant, entries: Vec<DatedEntry>, revision: i64) -> Self {
        let mut ledger = Self {
            revision,
            inherits: true,
            ..Self::default()
        };
        for entry in entries {
            let since = ledger.since(now, Target::published(revision), false, false);
            let id = entry.entry.id.as_str().into();
            let entry = Some(entry);
            ledger.directives.insert(id, Noted { entry, since });
        }
        ledger
    }

    /// Notes that the key says what `plan` says. `revision` is the document's, or where it is rightly absent one as of which it was;
    /// `foreign_writes` counts what somebody else has written in this term.
    pub fn settled(&mut self, now: Instant, plan: &Plan, revision: i64, foreign_writes: u64) {
        let put_back = revision < self.revision || foreign_writes > self.foreign_writes;
        self.revision = revision;
        self.foreign_writes = foreign_writes;
        for entry in &plan.entries {
            let id = entry.entry.id.as_str();
            let known = self.directives.get(id);
            let same = known.is_some_and(|known| known.entry.as_ref() == Some(entry));
            if !same || put_back {
                let since = self.since(now, Target::published(revision), !same, true);
                let noted = Noted {
                    entry: Some(entry.clone()),
                    since,
                };
                self.directives.insert(id.into(), noted);
            }
        }
        self.withdraw(now, plan, revision, put_back);
    }

    /// What is no longer in the document: noted for as long as its resource waits to be in it, and forgotten otherwise. An end needs no
    /// proxy's word, and neither does a resource that is gone.
    fn withdraw(&mut self, now: Instant, plan: &Plan, revision: i64, put_back: bool) {
        let waits: BTreeMap<String, bool> = plan
            .verdicts
            .iter()
            .filter_map(|(id, verdict)| match verdict {
                Verdict::Active { .. } => Some((id.to_string(), false)),
                Verdict::Suspended { .. } | Verdict::Scheduled { .. } | Verdict::NoRoom { .. } => {
                    Some((id.to_string(), true))
                }
                Verdict::Refused(_) | Verdict::Expired { .. } => None,
            })
            .collect();
        self.directives.retain(|id, _| waits.contains_key(&**id));
        let withdrawn: Vec<(Arc<str>, bool)> = self
            .directives
            .iter()
            .filter(|(id, _)| waits.get(&***id) == Some(&true))
            .filter(|(_, noted)| noted.entry.is_some() || put_back)
            .map(|(id, noted)| (Arc::clone(id), noted.entry.is_some()))
            .collect();
        for (id, changed) in withdrawn {
            let since = self.since(now, Target::withdrawn(revision), changed, true);
            self.directives.insert(id, Noted { entry: None, since });
        }
        if std::mem::take(&mut self.inherits) {
            // Whether it ever was in the document, its status tells.
            for (id, _) in waits.into_iter().filter(|(_, waits)| *waits) {
                if !self.directives.contains_key(id.as_str()) {
                    let since = self.since(now, Target::withdrawn(revision), false, false);
                    let noted = Noted { entry: None, since };
                    self.directives.insert(id.into(), noted);
                }
            }
        }
    }

    fn since(&mut self, at: Instant, target: Target, changed: bool, certain: bool) -> Since {
        self.serial += 1;
        Since {
            target,
            at,
            changed,
            certain,
            serial: self.serial,
        }
    }

    /// Every directive that is noted, by its id `namespace/name`.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Since)> {
        self.directives.iter().map(|(id, noted)| (id, noted.since))
    }

    /// Since when one directive stands as it does.
    #[must_use]
    pub fn since_of(&self, id: &str) -> Option<Since> {
        self.directives.get(id).map(|noted| noted.since)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
