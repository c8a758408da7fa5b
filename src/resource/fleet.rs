//! The fleet at a glance: the custom resource that the leading operator keeps about itself, its etcd and the proxies.

#![allow(
    unreachable_pub,
    reason = "the schema's derive makes a public copy of each struct inside a function"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type of its own"
)]
#![allow(
    clippy::doc_markdown,
    reason = "a field's comment is what `kubectl explain` prints, where backticks stay backticks"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::CustomResourceExt as _;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Proxies;
use super::crd::{PrintError, print};
use super::status::conditions_schema;

/// The most proxies that are named: the worst.
pub const MAX_WORST: usize = 50;

/// Nothing: the resource is written by the operator alone, as a report.
#[derive(
    CustomResource, KubeSchema, Serialize, Deserialize, Clone, Default, PartialEq, Eq, Debug,
)]
#[kube(
    group = "osproxy.io",
    version = "v1alpha1",
    kind = "DiagnosticsFleet",
    plural = "diagnosticsfleets",
    shortname = "diagfleet",
    category = "osproxy",
    namespaced,
    status = "DiagnosticsFleetStatus",
    derive = "PartialEq",
    doc = "The fleet at a glance: one object, named as the release and in its namespace, in which the leading operator reports on itself, etcd and the proxies.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(
        name = "Etcd",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="EtcdReachable")].reason"#
    ),
    printcolumn(
        name = "Key",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="KeyInSync")].reason"#
    ),
    printcolumn(
        name = "Directives",
        type_ = "integer",
        json_path = ".status.directives"
    ),
    printcolumn(name = "Proxies", type_ = "string", json_path = ".status.applied"),
    printcolumn(
        name = "Published",
        type_ = "date",
        json_path = ".status.publicationTime"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosticsFleetSpec {}

/// What the operator reports; written only where it differs, and at most once in a few seconds.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosticsFleetStatus {
    /// Which replica leads; not given while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 253))]
    pub leader: Option<String>,

    /// The version of the replica that reports. Example: "0.1.0".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 64))]
    pub operator_version: Option<String>,

    /// How many directives the document shall hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 0))]
    pub directives: Option<i32>,

    /// The etcd revision of the document; not given while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub revision: Option<i64>,

    /// When the document at the key was published: an RFC 3339 time in UTC, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 35))]
    pub publication_time: Option<String>,

    /// The size of the document at the key, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 0))]
    pub document_bytes: Option<i64>,

    /// What the etcd servers tell of themselves, where they may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EtcdServers")]
    pub etcd: Option<EtcdServers>,

    /// How many proxies are current up to the last publication, of those that report. Example: "3/4".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 24))]
    pub applied: Option<String>,

    /// How many proxies report, and what they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Proxies")]
    pub proxies: Option<Proxies>,

    /// The proxies that are not current, the worst first, fifty at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub worst: Vec<WorstProxy>,

    /// What holds, in detail: Ready, EtcdReachable, KeyInSync, LeaseSound, SpaceLeft, VersionAdvised, ClocksAgree, DefinitionCurrent and
    /// ProxiesCurrent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// What the etcd servers tell of themselves.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct EtcdServers {
    /// The versions of the members that answer. Example: 3.6.16.
    #[schemars(length(max = 16), inner(length(max = 32)))]
    pub versions: Vec<String>,
    /// The largest database of the members that answer, in whole mebibytes.
    #[schemars(range(min = 0))]
    pub database_mebibytes: i64,
    /// The least room for it that a member tells, in whole mebibytes; not given where none tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 0))]
    pub quota_mebibytes: Option<i64>,
}

/// A proxy that is not current.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct WorstProxy {
    /// How it is called.
    #[schemars(length(max = 128))]
    pub instance: String,
    /// How it stands: Rejecting, Unknown or Lagging.
    #[schemars(length(max = 16))]
    pub standing: String,
    /// The version of the store in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub version: String,
    /// Up to which etcd revision it is current.
    pub revision: i64,
    /// When the document was published that it has: an RFC 3339 time in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 35))]
    pub publication_time: Option<String>,
    /// By how many milliseconds its clock is ahead of what etcd says; negative where it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub clock_ahead_milliseconds: Option<i64>,
    /// Why it refused a document, or why nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 64))]
    pub refusal: Option<String>,
}

/// The definition as YAML, as it stands in `crds/diagnosticsfleet.yaml` and as `osproxy-directives crd fleet` prints it.
///
/// # Errors
/// Where the definition cannot be serialized, which no input can cause.
pub fn yaml() -> Result<String, PrintError> {
    print(&DiagnosticsFleet::crd(), "crd fleet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_definition_is_this_one() {
        let shipped = include_str!("../../crds/diagnosticsfleet.yaml");
        assert!(yaml().unwrap() == shipped, "`make crd` writes it anew");
    }

    #[test]
    fn a_status_of_the_largest_size_is_far_below_what_etcd_takes() {
        let worst = WorstProxy {
            instance: "x".repeat(128),
            standing: "Rejecting".into(),
            version: "x".repeat(64),
            revision: i64::MAX,
            publication_time: Some("x".repeat(35)),
            clock_ahead_milliseconds: Some(i64::MIN),
            refusal: Some("x".repeat(64)),
        };
        let status = DiagnosticsFleetStatus {
            worst: vec![worst; MAX_WORST],
            ..DiagnosticsFleetStatus::default()
        };
        let bytes = serde_json::to_vec(&status).unwrap().len();
        assert!(bytes < 32 * 1_024, "{bytes}");
    }
}
