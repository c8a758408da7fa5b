//! The metrics as a page for people, made of the registry itself, so that it cannot say anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Metrics, PROXIES, STATES, StateLabel};
use crate::operator::observe::Fault;
use crate::operator::publish::Held;

/// All metrics in Markdown.
///
/// # Errors
/// None in practice: it writes into memory.
pub fn page() -> Result<String, std::fmt::Error> {
    let mut page = BEFORE.to_owned();
    for metric in table(&with_every_series().encode()?) {
        let labels = metric.labels.iter().map(|(label, values)| {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            match label.as_str() {
                "version" => format!("`{label}`"),
                _ => format!("`{label}`: {}", values.join(", ")),
            }
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        let Metric {
            name, kind, help, ..
        } = &metric;
        writeln!(page, "| `{name}` | {kind} | {help} | {labels} |")?;
    }
    page.push_str(AFTER);
    Ok(page)
}

/// One row.
struct Metric {
    name: String,
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// A registry in which every series that there can be is there.
fn with_every_series() -> Metrics {
    let metrics = Metrics::default();
    for state in STATES {
        metrics
            .resources
            .get_or_create(&StateLabel { state })
            .set(0);
    }
    for state in PROXIES {
        metrics.proxies.get_or_create(&StateLabel { state }).set(0);
    }
    metrics.held.show_all(Held::slugs());
    metrics.kube_fault.show_all(Fault::ALL.map(Fault::slug));
    metrics.key.show_all();
    metrics
}

/// Reads the exposition: `# HELP name text.`, `# TYPE name kind`, and the series behind them.
fn table(exposition: &str) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    for line in exposition.lines() {
        if let Some((_, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            metrics.push(Metric {
                name: String::new(),
                kind: String::new(),
                help: help.trim_end_matches('.').to_owned(),
                labels: BTreeMap::new(),
            });
            continue;
        }
        let Some(metric) = metrics.last_mut() else {
            continue;
        };
        if let Some((_, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            kind.clone_into(&mut metric.kind);
        } else if let Some((series, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            // With the suffix that the kind gives it, as a query has to spell it.
            name.clone_into(&mut metric.name);
            for (label, value) in labels.trim_end_matches('}').split(',').filter_map(pair) {
                let values = metric.labels.entry(label.to_owned()).or_default();
                values.insert(value.to_owned());
            }
        }
    }
    metrics
}

/// `label="value"`; the values are slugs and need no unescaping.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (label, value) = text.split_once('=')?;
    Some((label, value.trim_matches('"')))
}

const BEFORE: &str = "\
# Metrics

Written by `make metrics` from the operator's own registry; `make lint` fails where it differs.

`GET /metrics` on the operator's HTTP port, in the OpenMetrics text format. A name, its meaning and its labels stay what they are
until the next major version; a minor one may add metrics, and values to the labels `reason` and `state`. No label has a value
that comes from a resource, so that neither resources nor proxies nor people add a series: there are as many as this page shows, and
no more. No metric carries a selector value.

| metric | type | what it says | labels |
|---|---|---|---|
";

const AFTER: &str = "
What concerns the document is the leader's to count; on a replica that does not lead these stand still, and `held` has no series.

## What to be woken for

With `metrics.prometheusRule.enabled` the chart installs an alert for each trouble that these metrics can show, with thresholds to set
and a page for each in `docs/runbooks`. Where something else than the Prometheus operator does it, these are the least to watch:

| when | for | page in `docs/runbooks` |
|---|---|---|
| `absent(osproxy_directives_leader == 1)` | 2 min | `OsproxyDirectivesNoLeader` |
| `max(osproxy_directives_held) > 0` | 5 min | `OsproxyDirectivesNotPublished`; the label `reason` says why |
| `time() - max(osproxy_directives_last_in_sync_timestamp_seconds) > 300` | 5 min | `OsproxyDirectivesOutOfSync` |
| `increase(osproxy_directives_document_foreign_writes_total[10m]) > 3` | at once | `OsproxyDirectivesKeyContested` |
| `increase(osproxy_directives_status_write_failures_total[10m]) > 0` | 10 min | `OsproxyDirectivesStatusWritesFailing` |
| `max(osproxy_directives_etcd_files_refused) > 0` | 10 min | `OsproxyDirectivesEtcdFilesRefused` |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_checked_in_is_what_the_registry_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let checked_in = std::fs::read_to_string(file).unwrap();
        assert!(checked_in == page().unwrap(), "write it anew: make metrics");
    }

    #[test]
    fn every_metric_has_a_name_a_type_and_a_sentence() {
        let rows = table(&with_every_series().encode().unwrap());
        assert!(rows.len() >= 15, "{} rows", rows.len());
        for row in rows {
            let Metric {
                name, kind, help, ..
            } = row;
            assert!(name.starts_with("osproxy_directives_"), "{name}");
            assert!(
                ["counter", "gauge", "info"].contains(&&*kind),
                "{name} {kind}"
            );
            assert!(help.len() > 10, "{name}: {help}");
        }
    }

    #[test]
    fn what_the_page_says_to_be_woken_for_is_on_the_page() {
        let page = page().unwrap();
        let named = AFTER.split(|c: char| !c.is_alphanumeric() && c != '_');
        let named: Vec<_> = named.filter(|word| word.starts_with("osproxy_")).collect();
        assert!(named.len() >= 5);
        for name in named {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
