//! The page about conditions: what each can say, with what the code says of it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};
use osproxy_directives::operator::overview::FleetReason;
use osproxy_directives::operator::publish::Held;
use osproxy_directives::operator::report::ConditionReason;

use crate::comments::comments;

pub(crate) fn page() -> Result<String> {
    let mut page = String::from(BEFORE);
    let about = comments("src/operator/report/reason.rs", "ConditionReason")?;
    let mut rows = Vec::new();
    for reason in ConditionReason::ALL {
        let word = format!("`{}`", reason.word());
        rows.push((
            reason.condition(),
            reason.status(),
            word,
            about.of(&reason)?,
        ));
    }
    let refused = "one of [these](reasons.md#why-a-resource-is-refused)";
    let about = "It is refused; the message says what is wrong, where, and what is allowed.";
    let accepted = ConditionReason::Valid.condition();
    rows.push((accepted, "False", refused.to_owned(), about.to_owned()));
    held(&mut rows, ConditionReason::InTheDocument.condition())?;
    table(&mut page, rows)?;
    page.push_str(AFTER);

    let about = comments("src/operator/overview/reason.rs", "FleetReason")?;
    let mut rows = Vec::new();
    for reason in FleetReason::ALL {
        let word = format!("`{}`", reason.word());
        rows.push((
            reason.condition(),
            reason.status(),
            word,
            about.of(&reason)?,
        ));
    }
    held(&mut rows, FleetReason::InSync.condition())?;
    table(&mut page, rows)?;
    page.push_str(READY);
    Ok(page)
}

/// Condition, status, reason, what it means.
type Row = (&'static str, &'static str, String, String);

/// Why the key does not say what it should: of either resource the same.
fn held(rows: &mut Vec<Row>, condition: &'static str) -> Result<()> {
    let about = comments("src/operator/publish/outcome.rs", "Held")?;
    for held in Held::EACH {
        let word = format!("`{}`", held.condition_reason());
        rows.push((condition, "False", word, about.of(&held)?));
    }
    Ok(())
}

/// Those of a condition together.
fn table(page: &mut String, rows: Vec<Row>) -> Result<()> {
    page.push_str("| condition | status | reason | what it means |\n|---|---|---|---|\n");
    let mut conditions: Vec<&str> = rows.iter().map(|row| row.0).collect();
    conditions.dedup();
    let mut rows = rows;
    rows.sort_by_key(|row| conditions.iter().position(|condition| *condition == row.0));
    for (condition, status, word, about) in rows {
        writeln!(page, "| `{condition}` | {status} | {word} | {about} |")?;
    }
    Ok(())
}

const BEFORE: &str = "# Conditions

What the statuses of both resources say, for machines by type, status and reason, for people by the message beside them. A reason stays what it
is until the next major version; a minor one may add some. This page is made from the code.

## Of a DiagnosticsDirective

A condition keeps its `lastTransitionTime` for as long as its status is the same. `kubectl wait --for=condition=Ready` waits for what most people mean.

";

const AFTER: &str = "
`Ready` is True where `Accepted` and `Published` are, and no proxy refuses; where one of them is not, it has that one's status, reason and message. While
`Ready` is not True, one of two more stands beside it, for tools that know them (kstatus, Argo CD, Flux): `Stalled` is True where the directive is refused,
so that waiting is of no use, and `Reconciling` is True otherwise. Both have the reason of `Ready`.

`Applied` and the counts beside it are as of the last change of its status or reason, so that proxies that come and go write nothing.

## Of the DiagnosticsFleet

";

const READY: &str = "
`Ready` is True where `EtcdReachable` and `KeyInSync` are; where one of them is not, it has that one's status, reason and message. The others are advice, or the
proxies', and keep nothing from being published. [What `check` checks](../checks.md) says what to do about each.
";

/// A word that stands in the code alone would be on no page.
#[test]
fn no_condition_says_a_word_that_is_in_no_table() -> Result<()> {
    for file in [
        "report/status.rs",
        "report/proxies.rs",
        "overview/conditions.rs",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operator");
        let source = std::fs::read_to_string(path.join(file))?;
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for said in ["reason: \"", "Answer::new(\"", "Answer::no(\""] {
            let code = code.replace(char::is_whitespace, "");
            let said = said.replace(' ', "");
            ensure!(
                !code.contains(&said),
                "{file} has a word of its own: `{said}…`"
            );
        }
    }
    Ok(())
}
