//! The projection of one object.

use std::fmt;

use kube::core::DynamicObject;
use serde_json::Value;

use crate::resource::{self, Directive, Refusal};

/// `namespace/name`: what a resource is called in the document, in logs and in Events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One `DiagnosticsDirective` as the operator keeps it: parsed once, and what it needs to report back.
#[derive(Clone, PartialEq)]
pub struct Resource {
    /// What it is called.
    pub id: Id,
    /// Which incarnation: a recreated object of the same name has another one.
    pub uid: String,
    /// The generation of `spec` that `directive` was parsed from.
    pub generation: i64,
    /// The version of the object.
    pub resource_version: String,
    /// `metadata.creationTimestamp`, whole seconds since the Unix epoch.
    pub created_secs: u64,
    /// What it says, or why that is refused.
    pub directive: Result<Directive, Refusal>,
    /// The status as it stands on the API server; `Null` where there is none.
    pub status: Value,
}

/// Without the status, whose `targetSummary` shows selector values.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("id", &self.id)
            .field("uid", &self.uid)
            .field("generation", &self.generation)
            .field("resource_version", &self.resource_version)
            .field("created_secs", &self.created_secs)
            .field("directive", &self.directive)
            .finish_non_exhaustive()
    }
}

/// Projects an object; `None` for one without a namespace or name, which the API server does not hand out, and for one that is being deleted:
/// a person said it should go, whatever a finalizer still waits for.
#[must_use]
pub fn project(object: &DynamicObject) -> Option<Resource> {
    let meta = &object.metadata;
    if meta.deletion_timestamp.is_some() {
        return None;
    }
    let id = Id {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
    };
    let created_secs = meta
        .creation_timestamp
        .as_ref()
        .and_then(|time| u64::try_from(time.0.as_second()).ok())
        .unwrap_or_default();
    Some(Resource {
        directive: resource::parse_object(&id.namespace, &id.name, created_secs, &object.data),
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        created_secs,
        status: object.data.get("status").cloned().unwrap_or(Value::Null),
        id,
    })
}
