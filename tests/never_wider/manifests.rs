//! The table of manifests, through every way in which a person or a controller hands one to a real API server, with a
//! real operator behind it. The admission policy is off: nothing but schema and operator stands in the way.
//!
//! One control plane for the whole table, one namespace a way. What came of a row is read from where it counts: the
//! document in etcd, and the resource's status.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osproxy_core::{Clock, ManualClock};
use osproxy_directives::document::{Accepted, DatedEntry, Publication, render};
use osproxy_directives::store::EtcdDirectiveStore;
use serde_json::{Value, json};
use testbed::EtcdOptions;
use testbed::deadline::eventually;

use crate::client::{ALL_WAYS, CHANGES, CREATIONS, Way, send};
use crate::support::{Line, binary, condition, options};
use crate::tables::manifests::{By, ROWS, Row, Verdict};
use crate::tables::{On, Request, Rng, Said, oracle, requests};

const REQUESTS: usize = 1_000;
const SETTLED_WITHIN: Duration = Duration::from_mins(3);

#[test]
fn the_table_is_as_large_as_it_has_to_be() {
    let refused = |row: &&Row| matches!(row.verdict, Verdict::Refused(..));
    let refused = ROWS.iter().filter(refused).count();
    assert!(refused >= 70, "{refused} refused");
    assert!(
        ROWS.len() - refused >= 30,
        "{} accepted",
        ROWS.len() - refused
    );
    let by_operator = |row: &&Row| matches!(row.verdict, Verdict::Refused(By::Operator, _));
    assert!(ROWS.iter().filter(by_operator).count() >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_manifest_reaches_more_requests_than_it_says() -> Result<()> {
    let line = start().await?;
    judge_all(&line, Definition::Shipped).await
}

/// A definition that somebody loosened hides nothing any more: what is refused now, the operator refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_alone_refuses_what_a_loosened_definition_lets_pass() -> Result<()> {
    let line = start().await?;
    loosen(&line).await?;
    judge_all(&line, Definition::Loosened).await
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Definition {
    Shipped,
    /// It preserves everything from the root on and checks nothing.
    Loosened,
}

async fn start() -> Result<Line> {
    let values = json!({
        "policy": { "enabled": false },
        // The table is larger than what a fleet needs.
        "extraArgs": ["--max-directives=5000", "--max-document-bytes=1400000"],
    });
    Line::start_with(EtcdOptions::new(), options().values(values)).await
}

async fn judge_all(line: &Line, definition: Definition) -> Result<()> {
    for way in ALL_WAYS {
        let name = way.namespace();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        line.apply(&namespace).await?;
    }
    for way in CREATIONS {
        send(line, *way, &manifests(*way, Row::manifest)).await?;
    }
    for way in CHANGES {
        let bases: Vec<_> = changeable(*way)
            .map(|(name, row)| (name.clone(), base(row, &name).to_string()))
            .collect();
        send(line, way.of_the_base(), &bases).await?;
    }
    // The operator has to have seen the good ones, or there would be nothing to change.
    let before = settled(line).await?;
    for way in CHANGES {
        send(line, *way, &manifests(*way, Row::manifest)).await?;
    }
    let after = settled(line).await?;

    let mut faults = String::new();
    if definition == Definition::Shipped {
        faults = disagreements_with_validate(&after)?;
    }
    for (index, row) in ROWS.iter().enumerate() {
        let name = row.object_name(&row_name(index));
        let judge = Judge::new(row, definition, index);
        for way in CREATIONS.iter().filter(|way| way.takes(row)) {
            let seen = after.of(*way, &name);
            if let Err(fault) = judge.creation(*way, &seen) {
                writeln!(faults, "{} by {way:?}: {fault:#}", row.name)?;
            }
        }
        for way in CHANGES.iter().filter(|way| way.takes(row) && has_base(row)) {
            let was = before.of(*way, &name);
            let seen = after.of(*way, &name);
            if let Err(fault) = judge.change(*way, &was, &seen) {
                writeln!(faults, "{} as a change by {way:?}: {fault:#}", row.name)?;
            }
        }
    }
    ensure!(faults.is_empty(), "{definition:?}:\n{faults}");
    Ok(())
}

/// `validate` without a cluster says the same as this one with its operator.
fn disagreements_with_validate(after: &Seen) -> Result<String> {
    let mut faults = String::new();
    for (index, (row, verdict)) in ROWS.iter().zip(validated()?).enumerate() {
        let seen = after.of(Way::Post, &row.object_name(&row_name(index)));
        let accepted = seen.object.is_some_and(|object| {
            condition(&object["status"], "Accepted").is_ok_and(|word| word.starts_with("True/"))
        });
        if accepted != (verdict == "accepted") {
            writeln!(faults, "{}: validate says {verdict}", row.name)?;
        }
    }
    Ok(faults)
}

#[test]
fn validate_says_of_each_manifest_what_the_table_says() -> Result<()> {
    for (row, said) in ROWS.iter().zip(validated()?) {
        let expected = match row.verdict {
            Verdict::Accepted(_) | Verdict::Idle => "accepted",
            Verdict::Refused(_, slug) => slug,
        };
        assert_eq!(said, expected, "{}", row.name);
    }
    Ok(())
}

/// What `validate` says of each row: its slug, or that it is accepted. Each is on a line of its own.
fn validated() -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("table.yaml");
    let mut text = String::new();
    for (index, row) in ROWS.iter().enumerate() {
        writeln!(text, "---\n{}", row.manifest(&row_name(index)))?;
    }
    std::fs::write(&file, text)?;
    let done = Command::new(binary())
        .args(["validate", "-o", "json", "-f"])
        .arg(&file)
        .output()?;
    ensure!(done.status.code() == Some(1), "some are refused: {done:?}");
    let report: Value = serde_json::from_slice(&done.stdout)?;
    let said = report["resources"].as_array().context("no resources")?;
    ensure!(said.len() == ROWS.len(), "{} of {}", said.len(), ROWS.len());
    for (index, line) in said.iter().enumerate() {
        ensure!(line["line"] == 2 * index + 2, "{line} in place {index}");
    }
    let word = |line: &Value| line["reason"].as_str().unwrap_or("accepted").to_owned();
    Ok(said.iter().map(word).collect())
}

/// The rows that `way` takes, each under its name and in its text.
fn manifests(way: Way, text: impl Fn(&Row, &str) -> String) -> Vec<(String, String)> {
    let rows = ROWS.iter().enumerate().filter(|(_, row)| way.takes(row));
    rows.map(|(index, row)| {
        let name = row_name(index);
        (row.object_name(&name), text(row, &name))
    })
    .collect()
}

fn changeable(way: Way) -> impl Iterator<Item = (String, &'static Row)> {
    let rows = ROWS.iter().enumerate();
    rows.filter(move |(_, row)| way.takes(row) && has_base(row))
        .map(|(index, row)| (row.object_name(&row_name(index)), row))
}

fn row_name(index: usize) -> String {
    format!("r{index:03}")
}

/// There is no good one of a name that no resource can have.
fn has_base(row: &Row) -> bool {
    !matches!(
        row.verdict,
        Verdict::Refused(_, "name_too_long" | "invalid_name")
    )
}

/// A good directive with the target of `row`, or for tenant acme where it has none: what the row is a change of.
fn base(row: &Row, name: &str) -> Value {
    let items = base_column(row).target_items();
    let items: Vec<_> = items
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    let mut spec = json!({"level": "Shape", "samplePerMille": 500, "ttl": "12h"});
    if items.is_empty() {
        spec["allRequests"] = json!(true);
    } else {
        spec["match"] = json!(items);
    }
    json!({
        "apiVersion": "osproxy.io/v1alpha1",
        "kind": "DiagnosticsDirective",
        "metadata": { "name": name },
        "spec": spec,
    })
}

fn base_column(row: &Row) -> On {
    match row.verdict {
        Verdict::Accepted([on]) => on.target_alone().sample(500),
        _ => On::of_acme().sample(500),
    }
}

/// Takes everything out of the definition that could refuse something.
async fn loosen(line: &Line) -> Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": schema,
    }]);
    let crd = "crd/diagnosticsdirectives.osproxy.io";
    let args = ["patch", crd, "--type=json", "-p", &patch.to_string()];
    line.plane.kubectl(&args).await?.success()?;
    // The API server takes a moment to serve the new schema.
    let bad = r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"probe"},"spec":5}"#;
    eventually("the loosened definition", SETTLED_WITHIN, async || {
        let args = ["create", "--dry-run=server", "-f", "-"];
        let done = line.plane.kubectl_with_input(&args, bad).await?;
        done.success().map(drop)
    })
    .await
}

/// What stands in the API server and in etcd, once they are at rest.
struct Seen {
    objects: BTreeMap<String, Value>,
    entries: BTreeMap<String, DatedEntry>,
}

/// One row's part of it.
#[derive(Debug)]
struct Trace<'a> {
    object: Option<&'a Value>,
    entry: Option<&'a DatedEntry>,
}

impl Seen {
    fn of(&self, way: Way, name: &str) -> Trace<'_> {
        let id = format!("{}/{name}", way.namespace());
        Trace {
            object: self.objects.get(&id),
            entry: self.entries.get(&id),
        }
    }
}

/// Waits until the operator has said its last word on every resource.
async fn settled(line: &Line) -> Result<Seen> {
    let objects = eventually("a verdict on every resource", SETTLED_WITHIN, async || {
        let path = "/apis/osproxy.io/v1alpha1/diagnosticsdirectives";
        let list: Value = serde_json::from_str(&line.plane.get(path).await?)?;
        let items = list["items"].as_array().context("no list")?;
        let mut objects = BTreeMap::new();
        for item in items {
            let meta = &item["metadata"];
            let id = format!(
                "{}/{}",
                meta["namespace"].as_str().unwrap_or_default(),
                meta["name"].as_str().unwrap_or_default()
            );
            let current = item["status"]["observedGeneration"] == meta["generation"];
            ensure!(current, "{id} has not been looked at");
            let accepted = condition(&item["status"], "Accepted")?;
            let published = condition(&item["status"], "Published")?;
            let done = accepted.starts_with("False/") || published.starts_with("True/");
            ensure!(done, "{id} is {accepted} and {published}");
            objects.insert(id, item.clone());
        }
        Ok(objects)
    })
    .await?;
    let mut entries = BTreeMap::new();
    if let Some(document) = line.document().await? {
        // The reference and the strict reader alike have to take the document with all of these beside each other.
        Accepted::from_bytes(&document.bytes).context("the document is refused")?;
        for dated in document.dated() {
            entries.insert(dated.entry.id.clone(), dated);
        }
    }
    Ok(Seen { objects, entries })
}

/// What has to come of one row.
struct Judge<'a> {
    row: &'a Row,
    definition: Definition,
    base: On,
    requests: Vec<Request>,
}

impl<'a> Judge<'a> {
    fn new(row: &'a Row, definition: Definition, seed: usize) -> Self {
        let base = base_column(row);
        let mut columns = vec![base];
        if let Verdict::Accepted(column) = row.verdict {
            columns.extend(column);
        }
        let mut rng = Rng::new(0x5eed_1000 + seed as u64);
        Self {
            row,
            definition,
            base,
            requests: requests(&mut rng, &columns, REQUESTS),
        }
    }

    fn verdict(&self, way: Way) -> Verdict {
        let row = self.row;
        let verdict = match self.definition {
            Definition::Shipped if way.is_server_side_apply() => {
                row.server_side.unwrap_or(row.verdict)
            }
            Definition::Shipped => row.verdict,
            Definition::Loosened => row.alone(),
        };
        if !way.strips_nulls() {
            return verdict;
        }
        // Without its null it is what the shipped definition makes of it.
        let null = matches!(verdict, Verdict::Refused(_, "null_value"));
        let rest = if null { row.verdict } else { verdict };
        row.stripped.unwrap_or(rest)
    }

    fn creation(&self, way: Way, seen: &Trace<'_>) -> Result<()> {
        match self.verdict(way) {
            Verdict::Accepted(column) => {
                Self::is_accepted(seen)?;
                self.decides(seen.entry, column)
            }
            Verdict::Idle => {
                Self::is_accepted(seen)?;
                ensure!(seen.entry.is_none(), "it is published");
                Ok(())
            }
            Verdict::Refused(by, slug) => {
                ensure!(seen.entry.is_none(), "it is published: {seen:?}");
                let stored = match (by, self.definition) {
                    (By::Client, _) | (By::Schema, Definition::Shipped) => false,
                    (By::Operator, _) | (By::Schema, Definition::Loosened) => true,
                };
                ensure!(seen.object.is_some() == stored, "stored: {}", !stored);
                if stored {
                    Self::is_refused(seen, slug)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn change(&self, way: Way, was: &Trace<'_>, seen: &Trace<'_>) -> Result<()> {
        ensure!(was.entry.is_some(), "there was nothing to change");
        ensure!(seen.object.is_some(), "it is gone");
        let verdict = self.verdict(way);
        if way == Way::MergePatch {
            return self.stays_in_its_targets(seen, verdict);
        }
        match verdict {
            Verdict::Accepted(column) => {
                Self::is_accepted(seen)?;
                self.decides(seen.entry, column)
            }
            Verdict::Idle => {
                Self::is_accepted(seen)?;
                ensure!(seen.entry.is_none(), "it is published");
                Ok(())
            }
            // What it was, or off.
            // An apply of nothing leaves no spec at all, so the reason may be another one there.
            Verdict::Refused(..) if seen.entry.is_none() && way.is_server_side_apply() => {
                let state = &seen.object.context("it is gone")?["status"]["state"];
                ensure!(state == "Rejected", "it is {state}");
                Ok(())
            }
            Verdict::Refused(_, slug) if seen.entry.is_none() => Self::is_refused(seen, slug),
            Verdict::Refused(..) => {
                ensure!(
                    seen.object == was.object || same_spec(was, seen),
                    "it was changed"
                );
                self.decides(seen.entry, &[self.base])
            }
        }
    }

    /// A merge leaves what it does not name, so that a row without a `ttl` is whole there. Whatever comes of it is for
    /// requests that the good one was for, or that the row names.
    fn stays_in_its_targets(&self, seen: &Trace<'_>, verdict: Verdict) -> Result<()> {
        let mut column = vec![self.base.target_alone()];
        if let Verdict::Accepted(named) = verdict {
            column.extend(named.iter().map(On::target_alone));
        }
        for (request, said) in self.answers(seen.entry)? {
            let inside = oracle(&column, request) != Said::NOTHING;
            ensure!(inside || said == Said::NOTHING, "{said:?} for {request:?}");
        }
        Ok(())
    }

    fn is_accepted(seen: &Trace<'_>) -> Result<()> {
        let status = &seen.object.context("it was not stored")?["status"];
        let accepted = condition(status, "Accepted")?;
        ensure!(accepted.starts_with("True/"), "it is {status}");
        Ok(())
    }

    fn is_refused(seen: &Trace<'_>, slug: &str) -> Result<()> {
        let status = &seen.object.context("it was not stored")?["status"];
        let accepted = condition(status, "Accepted")?;
        let word = |text: &str| text.replace('_', "").to_ascii_lowercase();
        let expected = format!("false/{}", word(slug));
        ensure!(word(&accepted) == expected, "it is {accepted}, not {slug}");
        ensure!(status["state"] == "Rejected", "it is {status}");
        Ok(())
    }

    fn decides(&self, entry: Option<&DatedEntry>, column: &[On]) -> Result<()> {
        ensure!(entry.is_some(), "it is not published");
        for (request, said) in self.answers(entry)? {
            let expected = oracle(column, request);
            ensure!(
                said == expected,
                "{said:?} and not {expected:?} for {request:?}"
            );
        }
        Ok(())
    }

    /// What our store answers to each request, with this entry alone in its document.
    fn answers(&self, entry: Option<&DatedEntry>) -> Result<Vec<(&Request, Said)>> {
        let Some(dated) = entry else {
            return Ok(self.requests.iter().map(|r| (r, Said::NOTHING)).collect());
        };
        let second = dated.end_secs.saturating_sub(60);
        let publication = Publication::new(second, 1).context("no such second")?;
        let bytes = render(std::slice::from_ref(dated), publication).context("it is over")?;
        let clock = Arc::new(ManualClock::new());
        let store = EtcdDirectiveStore::from_document(&bytes, clock.clone())?;
        let answer = |request: &Request| {
            let decision = store.decide(&request.attrs(), clock.now(), &request.id);
            Said {
                level: decision.level,
                ring_buffer: decision.ring_buffer,
                capture: decision.capture,
            }
        };
        Ok(self.requests.iter().map(|r| (r, answer(r))).collect())
    }
}

fn same_spec(was: &Trace<'_>, seen: &Trace<'_>) -> bool {
    let spec = |trace: &Trace<'_>| trace.object.map(|object| object["spec"].clone());
    spec(was) == spec(seen)
}
