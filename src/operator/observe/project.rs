//! The projection of one object.

use std::fmt;

use serde_json::Value;

use crate::resource::{self, Directive, Reason, Refusal};

/// `namespace/name`: what a resource is called in the document, in logs and in Events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Id {
    /// Reads it back from what it is shown as.
    #[must_use]
    pub fn parse(shown: &str) -> Option<Self> {
        let (namespace, name) = shown.split_once('/')?;
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One `DiagnosticsDirective` as the operator keeps it: parsed once, and what it needs to report back.
#[derive(Clone, PartialEq, Debug)]
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
    /// The status as it stands on the API server.
    pub status: Shown,
}

/// A status as the API server shows it, kept as text: as trees of values, ten thousand of them would be most of what the
/// operator holds.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Shown(Box<str>);

impl Shown {
    /// What it says; `Null` where there is none.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<&Value> for Shown {
    fn from(status: &Value) -> Self {
        Self(match status {
            Value::Null => Box::default(),
            status => status.to_string().into(),
        })
    }
}

/// Without its text: its `targetSummary` shows selector values.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({} bytes)", self.0.len())
    }
}

/// What an object of the API server is to the plan.
#[derive(Clone, PartialEq, Debug)]
pub enum Projected {
    /// A resource, good or refused.
    Present(Box<Resource>),
    /// One that is being deleted counts as absent: a person said that it should go, whatever a finalizer still waits for.
    Leaving(Id),
    /// Nothing that could be called by a name. The API server hands out none.
    Nameless,
}

/// Projects an object as the API server sent it.
///
/// Total: of an object that is not what the API server promises, the name is kept and the rest refused, so that one such
/// object hides no other.
#[must_use]
pub fn project(mut object: Value) -> Projected {
    let take = |object: &mut Value, member: &str| {
        let members = object.as_object_mut();
        members.and_then(|members| members.remove(member))
    };
    let meta = take(&mut object, "metadata").unwrap_or_default();
    let text = |member: &str| meta.get(member).and_then(Value::as_str).map(str::to_owned);
    let (Some(namespace), Some(name)) = (text("namespace"), text("name")) else {
        return Projected::Nameless;
    };
    let id = Id { namespace, name };
    if meta
        .get("deletionTimestamp")
        .is_some_and(|at| !at.is_null())
    {
        return Projected::Leaving(id);
    }
    let created = text("creationTimestamp").and_then(|at| seconds(&at));
    let created_secs = created.unwrap_or_default();
    let generation = meta.get("generation").and_then(Value::as_i64);
    let uid = text("uid");
    let status = take(&mut object, "status").unwrap_or_default();
    for ours in ["apiVersion", "kind"] {
        take(&mut object, ours);
    }
    let broken = [
        ("uid", uid.is_none()),
        ("generation", generation.is_none()),
        ("creationTimestamp", created.is_none()),
    ];
    let directive = match broken.iter().find(|(_, broken)| *broken) {
        Some((member, _)) => Err(Refusal::undecodable(&format!("metadata.{member}"))),
        None => resource::parse_object(&id.namespace, &id.name, created_secs, &object),
    };
    Projected::Present(Box::new(Resource {
        directive,
        uid: uid.unwrap_or_default(),
        generation: generation.unwrap_or_default(),
        resource_version: text("resourceVersion").unwrap_or_default(),
        created_secs,
        status: Shown::from(&status),
        id,
    }))
}

fn seconds(time: &str) -> Option<u64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

/// The version of an object, a list or a bookmark. Versions of one resource are whole numbers that grow
/// (KEP-5504); of anything else the order is not known.
#[must_use]
pub(super) fn version_of(meta: &Value) -> Option<u64> {
    meta.get("resourceVersion")?.as_str()?.parse().ok()
}

impl Resource {
    /// The same, refused: it passed through a definition that drops what it does not know.
    #[must_use]
    pub(super) fn pruned(self) -> Self {
        Self {
            directive: Err(Refusal::pruned()),
            ..self
        }
    }

    /// Whether it was refused because it could not be read at all.
    #[must_use]
    pub fn is_undecodable(&self) -> bool {
        matches!(&self.directive, Err(refusal) if refusal.reason == Reason::Undecodable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object() -> Value {
        json!({
            "apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective",
            "metadata": {"namespace": "ns", "name": "a", "uid": "u", "generation": 3, "resourceVersion": "17", "creationTimestamp": "2026-11-22T14:00:00Z"},
            "spec": {"match": [{"key": "tenant", "value": "t"}], "level": "Shape", "samplePerMille": 5, "ttl": "1m"},
            "status": {"state": "Active"},
        })
    }

    fn present(object: Value) -> Resource {
        match project(object) {
            Projected::Present(resource) => *resource,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_object_keeps_what_the_plan_and_the_report_need() {
        let resource = present(object());
        assert!(resource.directive.is_ok(), "{:?}", resource.directive);
        assert_eq!((resource.generation, resource.uid.as_str()), (3, "u"));
        assert_eq!(resource.created_secs, 1_795_356_000);
        assert_eq!(resource.resource_version, "17");
        assert_eq!(resource.status.value()["state"], "Active");
    }

    #[test]
    fn an_object_that_cannot_be_read_is_refused_by_its_name() {
        for (member, value) in [
            ("creationTimestamp", json!("yesterday")),
            ("creationTimestamp", json!(null)),
            ("generation", json!("3")),
            ("uid", json!(7)),
        ] {
            let mut broken = object();
            broken["metadata"][member] = value;
            let resource = present(broken);
            let refusal = resource.directive.clone().unwrap_err();
            assert!(resource.is_undecodable());
            assert_eq!(refusal.field(), Some(format!("metadata.{member}").as_str()));
            assert_eq!(resource.id.to_string(), "ns/a");
        }
    }

    #[test]
    fn what_is_being_deleted_is_absent_and_what_has_no_name_is_nothing() {
        let mut leaving = object();
        leaving["metadata"]["deletionTimestamp"] = "2026-11-22T14:00:00Z".into();
        assert!(matches!(project(leaving), Projected::Leaving(id) if id.name == "a"));
        for nameless in [json!({}), json!(5), json!({"metadata": {"name": "a"}})] {
            assert_eq!(project(nameless), Projected::Nameless);
        }
    }

    #[test]
    fn under_a_definition_that_prunes_every_resource_is_refused() {
        let refusal = present(object()).pruned().directive.unwrap_err();
        assert_eq!(refusal.reason, Reason::DefinitionPrunes);
    }
}
