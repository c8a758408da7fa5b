//! What the operator tells the person who applied a directive.

#![allow(
    unreachable_pub,
    reason = "the schema's derive makes a public copy of each struct inside a function"
)]
#![allow(
    clippy::doc_markdown,
    reason = "a field's comment is what `kubectl explain` prints, where backticks stay backticks"
)]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::vocabulary::MAX_SAMPLE_PER_MILLE;
use crate::document::{Endpoint, Selector};

/// What became of the directive; written by the operator alone.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosticsDirectiveStatus {
    /// The metadata.generation that this status speaks of. Where it is smaller than the resource's, the operator has
    /// not yet looked at the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub observed_generation: Option<i64>,

    /// Where the directive is in its life: Pending (not looked at yet), Scheduled (before its activeFrom), Active,
    /// Expired, Suspended, or Rejected (see the condition Accepted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "State")]
    pub state: Option<State>,

    /// When the directive ends, or ended: an RFC 3339 time in UTC, whole seconds. Example: "2026-11-22T14:30:00Z".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 35))]
    pub expiration_time: Option<String>,

    /// Which requests it is for, in one line. Example: "tenant=acme, index=orders".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 256))]
    pub target_summary: Option<String>,

    /// The share of those requests that is recorded, in per cent. Example: "5%".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 8))]
    pub sample: Option<String>,

    /// How many of the proxies that report have applied it, as of the condition Applied. Example: "3/4".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 24))]
    pub applied: Option<String>,

    /// How many proxies report, and what they say, as of the condition Applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Proxies")]
    pub proxies: Option<Proxies>,

    /// What holds of the directive, in detail: Accepted, Published, Applied and Ready, and while they are true
    /// Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// Leaves out the target and the conditions' messages: selector values may stand in a resource's own status, whose reader
/// may read its spec as well, and nowhere else.
impl fmt::Debug for DiagnosticsDirectiveStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            observed_generation,
            state,
            expiration_time,
            target_summary: _,
            sample,
            applied,
            proxies,
            conditions,
        } = self;
        let conditions: Vec<_> = conditions
            .iter()
            .map(|c| (&c.type_, &c.status, &c.reason))
            .collect();
        f.debug_struct("DiagnosticsDirectiveStatus")
            .field("observed_generation", observed_generation)
            .field("state", state)
            .field("expiration_time", expiration_time)
            .field("sample", sample)
            .field("applied", applied)
            .field("proxies", proxies)
            .field("conditions", &conditions)
            .finish_non_exhaustive()
    }
}

/// One word for a column. Without comments on the variants, which would break up the schema's enumeration.
#[allow(
    missing_docs,
    reason = "a documented variant becomes a schema of its own, which CRDs do not allow; `state` explains them all"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum State {
    Pending,
    Scheduled,
    Active,
    Expired,
    Suspended,
    Rejected,
}

impl State {
    /// The word as it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Scheduled => "Scheduled",
            Self::Active => "Active",
            Self::Expired => "Expired",
            Self::Suspended => "Suspended",
            Self::Rejected => "Rejected",
        }
    }
}

/// Counts of proxies.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Proxies {
    /// How many proxies report at all.
    #[schemars(range(min = 0))]
    pub reporting: i32,
    /// How many of them are current up to this directive's publication.
    #[schemars(range(min = 0))]
    pub applied: i32,
    /// How many of them refused the document.
    #[schemars(range(min = 0))]
    pub rejecting: i32,
    /// How many of them are behind.
    #[schemars(range(min = 0))]
    pub lagging: i32,
}

/// The schema of a list of `meta/v1` conditions with the bounds that Kubernetes gives its own.
pub(super) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One thing that holds of the directive, or does not.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "What it is about: Accepted, Published, Applied, Ready, Reconciling or Stalled.",
                    "maxLength": 316,
                },
                "status": {
                    "type": "string",
                    "description": "Whether it holds: True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The metadata.generation that it speaks of.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "maxLength": 35,
                    "description": "When its status last changed.",
                },
                "reason": {
                    "type": "string",
                    "description": "Why, in one word for machines. Example: \"EtcdUnavailable\".",
                    "minLength": 1,
                    "maxLength": 1024,
                },
                "message": {
                    "type": "string",
                    "description": "Why, for people, and what to do next.",
                    "maxLength": 32768,
                },
            },
        },
    })
}

/// The most characters of one value that a summary shows. Four of them, with their keys, stay below the 256 characters
/// of `targetSummary`.
const SHOWN_CHARS: usize = 48;

/// The target in one line, for the column TARGET: `tenant=acme, index=orders`, or `all requests`.
///
/// The values in it are for the resource's own status, whose reader can read the spec as well; not for a log, a metric
/// or an Event. Long ones are cut, and what a terminal would act on is shown as `?`.
#[must_use]
pub fn target_summary(selector: &Selector) -> String {
    let Selector {
        tenant,
        index,
        principal,
        endpoint,
    } = selector;
    let members = [
        ("tenant", tenant.as_deref()),
        ("index", index.as_deref()),
        ("principal", principal.as_deref()),
        ("endpoint", endpoint.map(Endpoint::as_str)),
    ];
    let given: Vec<String> = members
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", cut(value?))))
        .collect();
    if given.is_empty() {
        return "all requests".to_owned();
    }
    given.join(", ")
}

fn cut(value: &str) -> String {
    let mut chars = value.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// The sample in per cent, exactly: `5%`, `0.5%`, `100%`. What is above a thousand is every request, as it is for the proxy.
#[must_use]
pub fn sample(per_mille: u16) -> String {
    let per_mille = per_mille.min(MAX_SAMPLE_PER_MILLE);
    match (per_mille / 10, per_mille % 10) {
        (whole, 0) => format!("{whole}%"),
        (whole, tenth) => format!("{whole}.{tenth}%"),
    }
}

/// Reads a sample as [`sample`] tells it, `5%` or `0.5%`, and returns how many of a thousand that is; `None` where `text` is no such share.
#[must_use]
pub fn parse_sample(text: &str) -> Option<u16> {
    let number = text.strip_suffix('%')?;
    let (whole, tenth) = match number.split_once('.') {
        None => (number, 0),
        Some((whole, tenth)) if tenth.len() == 1 => (whole, tenth.parse::<u8>().ok()?),
        Some(_) => return None,
    };
    let digits = (1..=3).contains(&whole.len()) && whole.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u16 = digits.then(|| whole.parse().ok()).flatten()?;
    Some(whole * 10 + u16::from(tenth)).filter(|per_mille| *per_mille <= MAX_SAMPLE_PER_MILLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use osproxy_core::EndpointKind;

    #[test]
    fn a_sample_is_told_exactly() {
        let told = [
            (0, "0%"),
            (1, "0.1%"),
            (5, "0.5%"),
            (10, "1%"),
            (50, "5%"),
            (123, "12.3%"),
            (999, "99.9%"),
            (1000, "100%"),
        ];
        for (per_mille, expected) in told {
            assert_eq!(sample(per_mille), expected);
            assert_eq!(parse_sample(expected), Some(per_mille));
        }
    }

    #[test]
    fn a_sample_that_is_none_is_not_guessed_at() {
        for text in [
            "", "%", "5", "0.05", "5.%", ".5%", "5.55%", "-5%", "+5%", "100.1%", "101%", "1000%",
            "5.-%", "5 %", "1e1%",
        ] {
            assert_eq!(parse_sample(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_target_is_told_in_one_line() {
        let selector = Selector {
            tenant: Some("acme".into()),
            index: Some("orders".into()),
            principal: None,
            endpoint: Some(Endpoint(EndpointKind::Search)),
        };
        assert_eq!(
            target_summary(&selector),
            "tenant=acme, index=orders, endpoint=Search"
        );
    }

    #[test]
    fn every_request_is_said_so() {
        assert_eq!(target_summary(&Selector::default()), "all requests");
    }

    #[test]
    fn the_longest_target_fits_its_field_and_cannot_move_a_cursor() {
        let long = Some("\u{1b}[2J".repeat(64));
        let selector = Selector {
            tenant: long.clone(),
            index: long.clone(),
            principal: long,
            endpoint: Some(Endpoint(EndpointKind::DeleteByQuery)),
        };
        let summary = target_summary(&selector);
        assert!(summary.chars().count() <= 256, "{summary}");
        assert!(!summary.chars().any(char::is_control));
        assert!(summary.contains('…'));
    }

    #[test]
    fn a_state_is_the_word_that_is_serialized() {
        for state in [
            State::Pending,
            State::Scheduled,
            State::Active,
            State::Expired,
            State::Suspended,
            State::Rejected,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn a_status_does_not_tell_its_target_to_a_log() {
        let status = DiagnosticsDirectiveStatus {
            target_summary: Some("tenant=canary".into()),
            ..DiagnosticsDirectiveStatus::default()
        };
        assert!(!format!("{status:?}").contains("canary"));
    }
}
