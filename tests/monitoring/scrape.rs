//! What a real operator's `/metrics` said at one moment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::support::now_secs;

const PREFIX: &str = "osproxy_directives_";
/// The one series that alerts compare with the time of day.
pub(crate) const STAMP: &str = "osproxy_directives_last_in_sync_timestamp_seconds";

/// Every sample of one scrape, and when it was taken.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) samples: BTreeMap<String, i64>,
    families: BTreeSet<String>,
    at_secs: u64,
}

impl Scrape {
    /// Reads an exposition that was just taken.
    pub(crate) fn parse(exposition: &str) -> Result<Self> {
        let mut samples = BTreeMap::new();
        let mut families = BTreeSet::new();
        for line in exposition.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                families.extend(family.split(' ').next().map(str::to_owned));
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
                samples.insert(
                    series.to_owned(),
                    value.parse().with_context(|| line.to_owned())?,
                );
            }
        }
        Ok(Self {
            samples,
            families,
            at_secs: now_secs(),
        })
    }

    /// The value of a series, named without the prefix that all share.
    pub(crate) fn value(&self, series: &str) -> Option<i64> {
        self.samples.get(&format!("{PREFIX}{series}")).copied()
    }

    /// Whether there is a series of this metric.
    pub(crate) fn has(&self, metric: &str) -> bool {
        let begin = format!("{PREFIX}{metric}{{");
        self.samples.keys().any(|series| series.starts_with(&begin))
    }

    /// Whether a metric is exported, with or without a series at the moment.
    pub(crate) fn exports(&self, name: &str) -> bool {
        let of_series = |series: &String| series.split('{').next() == Some(name);
        self.families.contains(name) || self.samples.keys().any(of_series)
    }

    /// The same with one series set to another value.
    pub(crate) fn with(&self, series: &str, value: i64) -> Self {
        let mut edited = self.clone();
        edited.samples.insert(format!("{PREFIX}{series}"), value);
        edited
    }

    /// How long ago the key was in sync when this was taken.
    pub(crate) fn stamp_age_secs(&self) -> i64 {
        let at = i64::try_from(self.at_secs).unwrap_or(i64::MAX);
        at - self.samples.get(STAMP).copied().unwrap_or_default()
    }

    /// That the operator had just found the key in sync, so that its stamp moves while it goes on like that.
    pub(crate) fn is_fresh(&self) -> Result<()> {
        let age = self.stamp_age_secs();
        ensure!((-1..=31).contains(&age), "the key was in sync {age} s ago");
        Ok(())
    }
}
