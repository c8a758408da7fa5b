//! The page of the operator's metrics, which is made from its registry with every series that there can be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use testbed::command;
use testbed::process::Launch;

use crate::scrape::Scrape;
use crate::support::binary;

const PREFIX: &str = "osproxy_directives_";
/// What the scraping adds to every series.
const TARGET: [&str; 4] = ["namespace", "job", "instance", "pod"];

/// Each metric, with its labels and their values; a label whose values are not listed may have any.
pub(crate) struct Page {
    /// Metrics that have a series only while something is wrong, by their own word.
    at_times: BTreeSet<String>,
    metrics: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Page {
    /// As the operator's own binary prints it.
    pub(crate) async fn read() -> Result<Self> {
        let text = command::run(&Launch::new(binary()).arg("metrics"), None)
            .await?
            .success()?;
        let mut metrics = BTreeMap::new();
        let mut at_times = BTreeSet::new();
        for line in text
            .lines()
            .filter(|line| line.starts_with(&format!("| `{PREFIX}")))
        {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = columns.get(1).context("no name")?.trim_matches('`');
            let labels = columns
                .get(4)
                .context("no labels")?
                .split(';')
                .map(str::trim);
            let labels = labels.filter(|label| !label.is_empty()).map(|label| {
                let (name, values) = label.split_once(": ").unwrap_or((label, ""));
                let values = values
                    .split(", ")
                    .map(|value| value.trim_matches('`').to_owned());
                (
                    name.trim_matches('`').to_owned(),
                    values.filter(|value| !value.is_empty()).collect(),
                )
            });
            metrics.insert(name.to_owned(), labels.collect());
            let help = columns.get(3).context("no help")?;
            at_times.extend(help.contains("no series while").then(|| name.to_owned()));
        }
        ensure!(metrics.len() >= 20, "{} metrics", metrics.len());
        Ok(Self { at_times, metrics })
    }

    /// That a series, named without the prefix, is one of the registry's.
    pub(crate) fn knows(&self, series: &str) -> Result<()> {
        self.check(&format!("{PREFIX}{series}"))
    }

    /// That each metric in these expressions is exported by the operator that was scraped, if not by a healthy one, and that each label and each
    /// value that is asked for is one that there can be.
    pub(crate) fn knows_all<'e>(
        &self,
        scrape: &Scrape,
        expressions: impl Iterator<Item = &'e str>,
    ) -> Result<()> {
        let mut asked = 0;
        for expression in expressions {
            for name in names(expression) {
                asked += 1;
                ensure!(
                    scrape.exports(name) || self.at_times.contains(name),
                    "{name} is not exported: {expression}"
                );
                ensure!(
                    self.metrics.contains_key(name),
                    "{name} is not on the page: {expression}"
                );
            }
            self.check(expression)?;
            for list in ["by (", "on ("]
                .iter()
                .flat_map(|word| expression.split(word).skip(1))
            {
                let list = list.split(')').next().unwrap_or_default();
                for label in list
                    .split(',')
                    .map(str::trim)
                    .filter(|label| !label.is_empty())
                {
                    let known = self
                        .metrics
                        .values()
                        .any(|labels| labels.contains_key(label));
                    ensure!(
                        known || TARGET.contains(&label),
                        "no label {label}: {expression}"
                    );
                }
            }
        }
        ensure!(asked > 0, "no metric is asked for");
        Ok(())
    }

    /// The matchers of every selector in `expression`.
    fn check(&self, expression: &str) -> Result<()> {
        for (at, name) in positions(expression) {
            let labels = self
                .metrics
                .get(name)
                .with_context(|| format!("no {name} on the page"))?;
            let Some(matchers) = expression[at + name.len()..].strip_prefix('{') else {
                continue;
            };
            let matchers = matchers.split('}').next().unwrap_or_default();
            for matcher in matchers
                .split(',')
                .map(str::trim)
                .filter(|matcher| !matcher.is_empty())
            {
                let (label, value) = matcher
                    .split_once('"')
                    .context("a matcher without a value")?;
                let label = label.trim_end_matches(['=', '!', '~']);
                if TARGET.contains(&label) {
                    continue;
                }
                let values = labels
                    .get(label)
                    .with_context(|| format!("{name} has no label {label}"))?;
                for value in value.trim_end_matches('"').split('|') {
                    ensure!(values.contains(value), "{name} is never {label}={value:?}");
                }
            }
        }
        Ok(())
    }
}

fn names(expression: &str) -> impl Iterator<Item = &str> {
    positions(expression).map(|(_, name)| name)
}

fn positions(expression: &str) -> impl Iterator<Item = (usize, &str)> {
    expression.match_indices(PREFIX).map(|(at, _)| {
        let rest = &expression[at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        (at, &rest[..end])
    })
}
