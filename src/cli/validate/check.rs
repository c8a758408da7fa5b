//! One manifest: what the API server and the operator would say to its creation.

use serde_json::{Map, Value};

use super::text::{Kind, Node, Twice};
use crate::resource;
use crate::resource::vocabulary::{MATCH_FIELDS, SPEC_FIELDS};

/// A resource of a file, and what becomes of it.
#[derive(Debug)]
pub(super) struct Checked {
    /// `namespace/name`, as far as they are given.
    pub(super) name: String,
    /// The line of the fault, or else the first of the resource.
    pub(super) line: usize,
    pub(super) outcome: Outcome,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Accepted,
    Refused {
        /// The stable slug.
        reason: &'static str,
        /// What is wrong, where, what is allowed and what to do.
        message: String,
    },
    /// Something that is not ours.
    Skipped,
}

const API_VERSION: &str = "osproxy.io/v1alpha1";
const GROUP: &str = "osproxy.io/";
const KIND: &str = "DiagnosticsDirective";

const ROOT_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const METADATA_FIELDS: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Checks a document: one resource, or as many as a list holds.
pub(super) fn check(document: &Node) -> Vec<Checked> {
    let kind = document.get("kind").and_then(Node::text);
    match document.get("items").map(|items| &items.kind) {
        Some(Kind::List(items)) if matches!(kind, Some("List" | "DiagnosticsDirectiveList")) => {
            items.iter().flat_map(check).collect()
        }
        _ => vec![check_one(document)],
    }
}

fn check_one(object: &Node) -> Checked {
    let (namespace, name) = names(object);
    let judged = judge(object, namespace, name);
    Checked {
        name: format!("{}/{}", shown(namespace), shown(name)),
        line: judged
            .as_ref()
            .err()
            .map_or(object.line, |fault| fault.line),
        outcome: match judged {
            Ok(None) => Outcome::Skipped,
            Ok(Some(())) => Outcome::Accepted,
            Err(Fault {
                reason, message, ..
            }) => Outcome::Refused { reason, message },
        },
    }
}

/// Namespace and name, as kubectl would fill them in.
fn names(object: &Node) -> (&str, &str) {
    let metadata = object.get("metadata");
    let text = |name| metadata.and_then(|m| m.get(name)).and_then(Node::text);
    (
        text("namespace").unwrap_or("default"),
        text("name")
            .or_else(|| text("generateName"))
            .unwrap_or_default(),
    )
}

/// A name that is safe to print.
fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name
    } else {
        "?"
    }
}

struct Fault {
    line: usize,
    reason: &'static str,
    message: String,
}

fn refuse<T>(
    at: &Node,
    path: &str,
    reason: &'static str,
    message: impl Into<String>,
) -> Result<T, Fault> {
    Err(Fault {
        line: at.line_of(path),
        reason,
        message: message.into(),
    })
}

/// `None` where the object is none of ours.
fn judge(object: &Node, namespace: &str, name: &str) -> Result<Option<()>, Fault> {
    if !matches!(object.kind, Kind::Map { .. }) {
        return refuse(
            object,
            "",
            "not_an_object",
            "this is no resource: give an object with apiVersion, kind, metadata and spec",
        );
    }
    if !is_ours(object)? {
        return Ok(None);
    }
    if let Some(Twice { first, second }) = object.twice() {
        return Err(Fault {
            line: second,
            reason: "duplicate_field",
            message: format!(
                "a member stands in line {first} and again in line {second}, where the last one would win in silence: \
                 keep the one that is meant"
            ),
        });
    }
    closed(object, object, "", &ROOT_FIELDS)?;
    metadata(object, namespace)?;
    let Some(spec) = object.get("spec").filter(|spec| !spec.is_null()) else {
        return refuse(
            object,
            "spec",
            "missing_field",
            "`spec` is required: give what the directive is for, its samplePerMille and its ttl",
        );
    };
    resource::parse(namespace, name, 0, &as_stored(spec.to_value())).map_err(|refusal| Fault {
        line: object.line_of(refusal.field().unwrap_or("spec")),
        reason: refusal.reason.slug(),
        message: refusal.message,
    })?;
    Ok(Some(()))
}

/// Whether the object means to be a directive. One with a mistyped version or kind does, and the API server does not know it.
fn is_ours(object: &Node) -> Result<bool, Fault> {
    let text = |name| object.get(name).and_then(Node::text).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.is_empty() || kind.is_empty() {
        let missing = if version.is_empty() {
            "apiVersion"
        } else {
            "kind"
        };
        let message = format!(
            "`{missing}` is required: a directive has apiVersion: {API_VERSION} and kind: {KIND}"
        );
        return refuse(object, missing, "missing_field", message);
    }
    if version == API_VERSION && kind == KIND {
        return Ok(true);
    }
    if version.starts_with(GROUP) || kind == KIND {
        let wrong = if kind == KIND { "apiVersion" } else { "kind" };
        let message = format!(
            "`{wrong}` names nothing that an API server knows: give apiVersion: {API_VERSION} and kind: {KIND}"
        );
        return refuse(object, wrong, "unknown_kind", message);
    }
    Ok(false)
}

fn metadata(object: &Node, namespace: &str) -> Result<(), Fault> {
    let Some(metadata) = object.get("metadata").filter(|node| !node.is_null()) else {
        return refuse(
            object,
            "metadata",
            "missing_field",
            "`metadata.name` is required: give the directive a name",
        );
    };
    closed(object, metadata, "metadata", &METADATA_FIELDS)?;
    for field in ["name", "generateName", "namespace"] {
        let given = metadata.get(field).filter(|node| !node.is_null());
        if given.is_some_and(|node| node.text().is_none()) {
            let message = format!("`metadata.{field}` is no string: put it in quotes");
            return refuse(object, &format!("metadata.{field}"), "wrong_type", message);
        }
    }
    for field in ["labels", "annotations"] {
        texts(object, metadata, field)?;
    }
    let text = |field| metadata.get(field).and_then(Node::text).unwrap_or_default();
    let (name, prefix) = (text("name"), text("generateName"));
    if name.is_empty() && prefix.is_empty() {
        return refuse(
            object,
            "metadata",
            "missing_field",
            "`metadata.name` is required: give the directive a name",
        );
    }
    let whole = if name.is_empty() {
        // The API server puts five characters behind it.
        format!("{prefix}00000")
    } else {
        name.to_owned()
    };
    if !is_subdomain(&whole) {
        let message = "`metadata.name` is no name: it has lower-case letters, digits, `-` and `.`, at most 253, and begins and ends \
                       with a letter or digit";
        return refuse(object, "metadata.name", "invalid_name", message);
    }
    if !is_label(namespace) {
        let message = "`metadata.namespace` is no namespace: it has lower-case letters, digits and `-`, at most 63, and begins and \
                       ends with a letter or digit";
        return refuse(object, "metadata.namespace", "invalid_name", message);
    }
    Ok(())
}

/// Labels and annotations are strings; a number among them is refused, not turned into one.
fn texts(object: &Node, metadata: &Node, field: &str) -> Result<(), Fault> {
    let path = format!("metadata.{field}");
    match metadata.get(field).map(|node| &node.kind) {
        None | Some(Kind::Scalar(Value::Null)) => Ok(()),
        Some(Kind::Map { members, .. }) => match members
            .iter()
            .find(|(_, node)| node.text().is_none() && !node.is_null())
        {
            None => Ok(()),
            Some((_, node)) => Err(Fault {
                line: node.line,
                reason: "wrong_type",
                message: format!("`{path}` has a value that is no string: put it in quotes"),
            }),
        },
        Some(_) => refuse(
            object,
            &path,
            "wrong_type",
            format!("`{path}` is no object of strings"),
        ),
    }
}

/// Refuses members that `node`, at `path`, does not have. The API server does so when asked for strict field
/// validation, as kubectl does.
fn closed(object: &Node, node: &Node, path: &str, allowed: &[&str]) -> Result<(), Fault> {
    let what = if path.is_empty() {
        "the resource"
    } else {
        path
    };
    let Kind::Map { members, .. } = &node.kind else {
        return refuse(object, path, "wrong_type", format!("`{what}` is no object"));
    };
    match members
        .iter()
        .find(|(name, _)| !allowed.contains(&name.as_str()))
    {
        None => Ok(()),
        Some((name, node)) => Err(Fault {
            line: node.line,
            reason: "unknown_field",
            message: format!(
                "`{}` is not a field of {what}; allowed are {}: correct its name or take it away",
                shown(name),
                allowed.join(", ")
            ),
        }),
    }
}

/// The spec as the API server stores it: a null is dropped where the schema knows the field, since none is nullable,
/// and a number without a fraction is an integer, however it was written.
fn as_stored(mut spec: Value) -> Value {
    if let Value::Object(members) = &mut spec {
        drop_nulls(members, &SPEC_FIELDS);
        if let Some(Value::Array(items)) = members.get_mut("match") {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                drop_nulls(item, &MATCH_FIELDS);
            }
        }
        members.values_mut().for_each(make_whole);
    }
    spec
}

fn drop_nulls(members: &mut Map<String, Value>, known: &[&str]) {
    members.retain(|name, value| !(value.is_null() && known.contains(&name.as_str())));
}

fn make_whole(value: &mut Value) {
    let Some(float) = value.as_f64().filter(|_| value.is_f64()) else {
        return;
    };
    // Exact within these bounds, and beyond them nothing is in bounds.
    let bound = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() <= bound {
        #[allow(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        let whole = float as i64;
        *value = whole.into();
    }
}

/// RFC 1123, as Kubernetes reads it: labels with dots between them.
fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label_of_any_length)
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_label_of_any_length(name)
}

fn is_label_of_any_length(label: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}
