//! The custom resource: its Rust type, its schema and the rules that the API server enforces.
//!
//! What clients and the API server drop in silence must never leave something wider behind. A structural schema prunes
//! a mistyped field, and kubectl strips a null before it sends it. Hence: nothing optional narrows (`match` is a list
//! whose items need both members, the sample and the `ttl` are required), nothing in `spec` is nullable, the target is
//! immutable, `suspend` and `activeFrom` cannot be removed once given, and what the schema does not know is kept for
//! the admission policy and the operator to refuse by name.

#![allow(
    unreachable_pub,
    reason = "the schema's derive makes a public copy of each struct inside a function"
)]
#![allow(
    clippy::doc_markdown,
    reason = "a field's comment is what `kubectl explain` prints, where backticks stay backticks"
)]

use std::fmt;

use kube::core::{CustomResourceExt, Reason, Rule};
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::vocabulary::{ENDPOINTS, LEVELS, MATCH_KEYS};

/// What the author of a directive wants: which requests proxies record, how verbosely, which share of them and for how
/// long. Fields that are not listed here are refused.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, PartialEq)]
#[kube(
    group = "osproxy.io",
    version = "v1alpha1",
    kind = "DiagnosticsDirective",
    plural = "diagnosticsdirectives",
    shortname = "diag",
    category = "osproxy",
    namespaced,
    status = "super::DiagnosticsDirectiveStatus",
    derive = "PartialEq",
    doc = "A diagnostics directive: for a limited time, it has every osproxy proxy of the fleet record some of the requests that it names.",
    validation = name_fits_an_event(),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(name = "Sample", type_ = "string", json_path = ".status.sample"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.targetSummary"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Applied", type_ = "string", json_path = ".status.applied"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        priority = 1
    ),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.createdBy", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[x_kube(
    validation = has_a_target(),
    validation = has_one_target(),
    validation = does_something(),
    validation = keeps_its_target(),
    validation = keeps_suspend(),
    validation = keeps_active_from()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DiagnosticsDirectiveSpec {
    /// Which requests the directive is for: those for which every item holds. At least one item, each key once; cannot
    /// be changed later. Give allRequests instead to mean every request. Example: [{key: tenant, value: acme}].
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<MatchItem>",
        length(min = 1, max = 4),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub match_: Option<Vec<MatchItem>>,

    /// Says that the directive is for every request of every tenant, instead of match. The one value allowed is true;
    /// cannot be changed later. Default: not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    #[x_kube(validation = Rule::new("self")
        .message("must be true; to select requests, leave it out and give `match`")
        .reason(Reason::FieldValueInvalid))]
    pub all_requests: Option<bool>,

    /// How verbosely the requests are recorded: Off, Shape, ShapeTiming or ShapeRewriteDiff, each including the one
    /// before. Default: Off, for a directive that only wants ringBuffer or capture; quote it, since YAML reads Off as
    /// false.
    #[serde(default = "off")]
    #[schemars(schema_with = "level_schema")]
    pub level: String,

    /// How many of a thousand matching requests are recorded; the same request is decided alike by every proxy.
    /// Required; 0 (none) to 1000 (all). Example: 50, which is 5%.
    #[schemars(with = "i32", range(min = 0, max = 1000))]
    pub sample_per_mille: u16,

    /// How long the directive is active, counted from activeFrom or else from its creation. Required; whole numbers
    /// with the units h, m, s and ms, from 5s to 168h. Example: 30m, or 1h30m.
    #[schemars(
        length(min = 1, max = 28),
        regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
    )]
    #[x_kube(validation = ttl_in_bounds())]
    pub ttl: String,

    /// Whether each proxy also keeps the matching requests in its own ring buffer. Default: false.
    #[serde(default)]
    pub ring_buffer: bool,

    /// Whether the traffic of the matching requests is captured, bodies included, where the proxies have a sink for it.
    /// Default: false.
    #[serde(default)]
    pub capture: bool,

    /// When the directive starts, as an RFC 3339 time; in the past, it shortens what is left, in the future, the
    /// directive waits. Can be changed, and not removed. Default: when the resource was created. Example:
    /// "2026-11-22T14:00:00Z".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 35))]
    #[x_kube(validation = active_from_is_a_time())]
    pub active_from: Option<String>,

    /// Whether the directive is held back; its time goes on running meanwhile. Can be changed, and not removed.
    /// Default: not given, which is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub suspend: Option<bool>,

    /// Who made the directive; for people, and never sent to proxies. Example: ana.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 256))]
    pub created_by: Option<String>,

    /// Why the directive was made; for people, and never sent to proxies. Example: "INC-4711, slow searches".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 1024))]
    pub comment: Option<String>,
}

/// One condition on a request: what is compared, and with which value.
#[derive(Serialize, Deserialize, KubeSchema, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[x_kube(validation = names_an_endpoint())]
pub struct MatchItem {
    /// What of the request is compared: tenant (the resolved tenant), index (the logical index of the path), principal
    /// (who is authenticated) or endpoint (the class of the request). Required. Example: tenant.
    #[schemars(schema_with = "key_schema")]
    pub key: String,

    /// The value that it must have, exactly and in full; there are no patterns. Required, not empty. For endpoint, one
    /// of IngestDoc, IngestBulk, Search, MultiSearch, Count, GetById, MultiGet, DeleteById, DeleteByQuery, Cursor,
    /// Admin and Unknown. Example: acme.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
}

/// Tells the key and never the value: selector values are tenants' data and stay out of logs and panics.
impl fmt::Debug for MatchItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchItem")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Leaves out what people wrote, which may well name a tenant.
impl fmt::Debug for DiagnosticsDirectiveSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            match_,
            all_requests,
            level,
            sample_per_mille,
            ttl,
            ring_buffer,
            capture,
            active_from,
            suspend,
            created_by: _,
            comment: _,
        } = self;
        f.debug_struct("DiagnosticsDirectiveSpec")
            .field("match", match_)
            .field("all_requests", all_requests)
            .field("level", level)
            .field("sample_per_mille", sample_per_mille)
            .field("ttl", ttl)
            .field("ring_buffer", ring_buffer)
            .field("capture", capture)
            .field("active_from", active_from)
            .field("suspend", suspend)
            .finish_non_exhaustive()
    }
}

fn off() -> String {
    "Off".to_owned()
}

fn level_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": LEVELS, "maxLength": 16 })
}

fn key_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": MATCH_KEYS, "maxLength": 9 })
}

/// Without a field path, since the API server knows no schema of the metadata; hence the name in the message.
fn name_fits_an_event() -> Rule {
    Rule::new("self.metadata.name.size() <= 200")
        .message(
            "metadata.name must have at most 200 characters, so that Events can be named after it",
        )
        .reason(Reason::FieldValueInvalid)
}

fn has_a_target() -> Rule {
    Rule::new("has(self.match) || has(self.allRequests)")
        .message("there is no target: give `match` with at least one item, such as {key: tenant, value: acme}, or say `allRequests: true`")
        .reason(Reason::FieldValueRequired)
        .field_path(".match")
}

fn has_one_target() -> Rule {
    Rule::new("!has(self.match) || !has(self.allRequests)")
        .message("`match` and `allRequests` exclude each other: keep the one that is meant")
        .reason(Reason::FieldValueForbidden)
        .field_path(".allRequests")
}

fn does_something() -> Rule {
    Rule::new("self.level != 'Off' || self.ringBuffer || self.capture")
        .message("this directive does nothing: set `level` to Shape, ShapeTiming or ShapeRewriteDiff, or `ringBuffer` or `capture` to true")
        .reason(Reason::FieldValueInvalid)
        .field_path(".level")
}

fn keeps_its_target() -> Rule {
    Rule::new(
        "has(self.match) == has(oldSelf.match) && has(self.allRequests) == has(oldSelf.allRequests) \
         && (!has(self.match) || self.match == oldSelf.match)",
    )
    .message("the target of a directive cannot be changed: another target is another directive; apply it under another name, or delete this one first")
    .reason(Reason::FieldValueForbidden)
    .field_path(".match")
}

fn keeps_suspend() -> Rule {
    Rule::new("!has(oldSelf.suspend) || has(self.suspend)")
        .message("`suspend` cannot be taken away once given, since that would resume the directive: set it to true or false")
        .reason(Reason::FieldValueForbidden)
        .field_path(".suspend")
}

fn keeps_active_from() -> Rule {
    Rule::new("!has(oldSelf.activeFrom) || has(self.activeFrom)")
        .message("`activeFrom` cannot be taken away once given, since that would move the window: change it instead")
        .reason(Reason::FieldValueForbidden)
        .field_path(".activeFrom")
}

fn ttl_in_bounds() -> Rule {
    Rule::new(
        "self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') \
         && duration(self) >= duration('5s') && duration(self) <= duration('168h')",
    )
    .message("must be a duration from 5s to 168h, such as 30m or 1h30m")
    .reason(Reason::FieldValueInvalid)
}

/// Without the format `date-time`, under which the API server takes a comma before the fraction and an offset of 25 hours.
fn active_from_is_a_time() -> Rule {
    Rule::new(
        "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') \
         && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('2200-01-01T00:00:00Z')",
    )
    .message("must be an RFC 3339 time from 1970 to 2199, such as 2026-11-22T14:00:00Z or 2026-11-22T15:00:00+01:00")
    .reason(Reason::FieldValueInvalid)
}

fn names_an_endpoint() -> Rule {
    let quoted: Vec<String> = ENDPOINTS.iter().map(|name| format!("'{name}'")).collect();
    Rule::new(format!(
        "self.key != 'endpoint' || self.value in [{}]",
        quoted.join(", ")
    ))
    .message(
        format!(
            "must be one of {} where `key` is endpoint",
            ENDPOINTS.join(", ")
        )
        .as_str(),
    )
    .reason(Reason::FieldValueInvalid)
    .field_path(".value")
}

/// The definition could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot print the custom resource definition as YAML: {0}")]
pub struct PrintError(String);

/// The definition as YAML, as it stands in `crds/diagnosticsdirective.yaml` and as `osproxy-directives crd` prints it.
///
/// # Errors
/// Where the definition cannot be serialized, which no input can cause.
pub fn yaml() -> Result<String, PrintError> {
    print(&DiagnosticsDirective::crd(), "crd")
}

/// A definition as YAML, with the command in its first line that prints it.
pub(super) fn print(definition: &impl Serialize, command: &str) -> Result<String, PrintError> {
    let mut definition =
        serde_json::to_value(definition).map_err(|error| PrintError(error.to_string()))?;
    tidy(&mut definition);
    let body =
        serde_saphyr::to_string(&definition).map_err(|error| PrintError(error.to_string()))?;
    Ok(format!(
        "# Generated from the Rust type by `osproxy-directives {command}`; not edited by hand.\n{}\n",
        body.trim_end()
    ))
}

/// Makes the definition readable: bounds, which are floating-point numbers in its type, become whole again, and
/// descriptions, which are wrapped as in the source, one line, for `kubectl explain` to wrap.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => *text = text.replace('\n', " "),
                    other => tidy(other),
                }
            }
        }
        Value::Number(number) => {
            // Exact: the bounds are small, and a float prints a whole number with ".0".
            let text = number.to_string();
            if let Some(whole) = text.strip_suffix(".0").and_then(|w| w.parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
#[path = "crd_tests.rs"]
mod tests;
