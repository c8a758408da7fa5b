//! The roll-up: what the records of a fleet come to.

use std::collections::BTreeMap;

use super::{Record, Unreadable, is_instance};

/// How many proxies are named where not all can be.
pub const WORST: usize = 50;

/// One proxy that reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxy {
    /// How it is called; of a name that no proxy of ours has, what can be shown.
    pub instance: String,
    /// What it says, or why that cannot be read.
    pub record: Result<Record, Unreadable>,
    /// The lease of its session.
    pub lease: i64,
    /// The revision that wrote the record.
    pub mod_revision: i64,
}

/// What a proxy must have seen to be current.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// The revision of the publication.
    pub revision: i64,
    /// Whether an absent key does as well, seen whenever: so for what was taken out of the document.
    pub absence_will_do: bool,
}

/// How a proxy stands to a target. In the order in which people want to know, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// It refused the publication, or a later one without having applied this one.
    Rejecting,
    /// Its record cannot be read.
    Unknown,
    /// It is behind.
    Lagging,
    /// It is current.
    Applied,
}

/// How many proxies stand how to a target. The four last make up the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Counts {
    /// How many report.
    pub reporting: usize,
    /// How many are current.
    pub applied: usize,
    /// How many refused it.
    pub rejecting: usize,
    /// How many are behind.
    pub lagging: usize,
    /// Of how many nothing is known but that they report.
    pub unknown: usize,
}

/// The records of a fleet, kept so that a count costs as much as the proxies' answers differ, and not as there are proxies.
#[derive(Clone, Debug, Default)]
pub struct FleetView {
    proxies: BTreeMap<String, Proxy>,
    classes: BTreeMap<Option<Class>, usize>,
}

/// All that counts depend on; `None` for a record that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Class {
    revision: i64,
    absent: bool,
    refused: Option<i64>,
}

impl Target {
    /// What stands in the document since the publication at `revision`.
    #[must_use]
    pub fn published(revision: i64) -> Self {
        Self {
            revision,
            absence_will_do: false,
        }
    }

    /// What was taken out of the document, or out of it by a deletion, at `revision`.
    #[must_use]
    pub fn withdrawn(revision: i64) -> Self {
        Self {
            revision,
            absence_will_do: true,
        }
    }
}

impl Proxy {
    /// A proxy as its key shows it: what stands below `<key>/fleet/`, the value, its lease and the revision that wrote it. Total: what
    /// cannot be read is a proxy of which nothing is known.
    #[must_use]
    pub fn read(name: &str, value: &[u8], lease: i64, mod_revision: i64) -> Self {
        let record = Record::from_bytes(value).and_then(|record| {
            if !is_instance(name) {
                Err(Unreadable::Bounds)
            } else if record.revision > mod_revision {
                Err(Unreadable::AnotherHistory)
            } else {
                Ok(record)
            }
        });
        Self {
            instance: shown(name),
            record,
            lease,
            mod_revision,
        }
    }

    /// How it stands to `target`.
    #[must_use]
    pub fn standing(&self, target: Target) -> Standing {
        standing(self.class(), target)
    }

    fn class(&self) -> Option<Class> {
        self.record.as_ref().ok().map(|record| Class {
            revision: record.revision,
            absent: record.absent,
            refused: record.refused.as_ref().map(|refused| refused.revision),
        })
    }
}

impl FleetView {
    /// Takes in what stands at `<key>/fleet/<name>` now. Says whether any count may be another one.
    pub fn set(&mut self, name: &str, value: &[u8], lease: i64, mod_revision: i64) -> bool {
        let proxy = Proxy::read(name, value, lease, mod_revision);
        let class = proxy.class();
        let was = self.proxies.insert(name.to_owned(), proxy);
        let was = was.map(|was| was.class());
        if was == Some(class) {
            return false;
        }
        if let Some(was) = was {
            self.uncount(was);
        }
        *self.classes.entry(class).or_default() += 1;
        true
    }

    /// The record is gone. Says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(was) = self.proxies.remove(name) else {
            return false;
        };
        self.uncount(was.class());
        true
    }

    /// Takes in a complete list, as name, value, lease and revision: what it does not name is gone. Says whether any count may be another one.
    pub fn replace<'l>(
        &mut self,
        list: impl IntoIterator<Item = (&'l str, &'l [u8], i64, i64)>,
    ) -> bool {
        let mut listed = Self::default();
        for (name, value, lease, mod_revision) in list {
            listed.set(name, value, lease, mod_revision);
        }
        let changed = listed.classes != self.classes;
        *self = listed;
        changed
    }

    /// How many proxies report.
    #[must_use]
    pub fn reporting(&self) -> usize {
        self.proxies.len()
    }

    /// Every proxy, by name.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values()
    }

    /// How many proxies stand how to `target`.
    #[must_use]
    pub fn counts(&self, target: Target) -> Counts {
        let mut counts = Counts::default();
        for (class, many) in &self.classes {
            counts.reporting += many;
            *match standing(*class, target) {
                Standing::Applied => &mut counts.applied,
                Standing::Rejecting => &mut counts.rejecting,
                Standing::Lagging => &mut counts.lagging,
                Standing::Unknown => &mut counts.unknown,
            } += many;
        }
        counts
    }

    /// At most `limit` proxies that are not current up to `target`, the worst first: those that refused, those that cannot be
    /// read, and those that are behind, the one that is furthest behind first. Costs a look at every proxy.
    #[must_use]
    pub fn worst(&self, target: Target, limit: usize) -> Vec<&Proxy> {
        let mut worst: Vec<_> = self
            .proxies
            .values()
            .filter_map(|proxy| {
                let standing = proxy.standing(target);
                let revision = proxy.record.as_ref().map_or(0, |record| record.revision);
                let order = (standing, revision, proxy.instance.as_str());
                (standing != Standing::Applied).then_some((order, proxy))
            })
            .collect();
        if worst.len() > limit {
            worst.select_nth_unstable_by(limit, |a, b| a.0.cmp(&b.0));
            worst.truncate(limit);
        }
        worst.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        worst.into_iter().map(|(_, proxy)| proxy).collect()
    }

    fn uncount(&mut self, class: Option<Class>) {
        if let Some(many) = self.classes.get_mut(&class) {
            *many -= 1;
            if *many == 0 {
                self.classes.remove(&class);
            }
        }
    }
}

fn standing(class: Option<Class>, target: Target) -> Standing {
    let Some(class) = class else {
        return Standing::Unknown;
    };
    // Whoever has it in force has it, also where it refused something later.
    if class.revision >= target.revision || (target.absence_will_do && class.absent) {
        return Standing::Applied;
    }
    match class.refused {
        // What was too large to be received has no revision.
        Some(revision) if revision == 0 || revision >= target.revision => Standing::Rejecting,
        _ => Standing::Lagging,
    }
}

fn shown(name: &str) -> String {
    if is_instance(name) {
        return name.to_owned();
    }
    let chars = name.chars().take(128);
    chars
        .map(|c| {
            let mut bytes = [0; 4];
            if is_instance(c.encode_utf8(&mut bytes)) {
                c
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
