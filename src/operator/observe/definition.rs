//! Whether the CRD in the cluster is the one that this operator was made for; pure.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde_json::Value;

use crate::resource::DiagnosticsDirective;

/// What the CRD is called.
pub(super) const NAME: &str = "diagnosticsdirectives.osproxy.io";
const VERSION: &str = "v1alpha1";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";

/// How the CRD in the cluster stands to ours.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Definition {
    /// It could not be looked at: this ServiceAccount may not.
    #[default]
    Unknown,
    /// It has everything that ours has.
    Current,
    /// It lacks a member of ours, which therefore nobody checks at apply time. Nothing is lost on the way.
    Older,
    /// It drops what it does not know. A `suspend` or an `activeFrom` may be missing from an object whose author gave
    /// it, so nothing that passed through it can be trusted.
    Prunes,
}

impl Definition {
    /// Judges a CRD as the API server hands it out.
    #[must_use]
    pub fn judge(theirs: &Value) -> Self {
        static OURS: LazyLock<Value> =
            LazyLock::new(|| serde_json::to_value(DiagnosticsDirective::crd()).unwrap_or_default());
        let (ours, theirs) = (schema(&OURS), schema(theirs));
        let spec = |schema: &'static Value| &schema["properties"]["spec"];
        let their_spec = &theirs["properties"]["spec"];
        // A member that a schema does not name is kept as a whole where the level above it keeps what it does not know.
        let kept_whole = !their_spec.is_object() && keeps(theirs);
        if !kept_whole && prunes(spec(ours), their_spec) {
            Self::Prunes
        } else if lacks(ours, theirs) {
            Self::Older
        } else {
            Self::Current
        }
    }
}

fn schema(definition: &Value) -> &Value {
    let versions = definition["spec"]["versions"].as_array();
    let version = versions
        .into_iter()
        .flatten()
        .find(|version| version["name"] == VERSION);
    version.map_or(
        &Value::Null,
        |version| &version["schema"]["openAPIV3Schema"],
    )
}

/// Whether a level keeps members that it does not know.
fn keeps(schema: &Value) -> bool {
    schema[PRESERVES] == Value::Bool(true)
}

/// Whether some level keeps unknown members in ours and drops them in theirs.
fn prunes(ours: &Value, theirs: &Value) -> bool {
    (keeps(ours) && !keeps(theirs))
        || levels(ours, theirs).any(|(_, ours, theirs)| theirs.is_object() && prunes(ours, theirs))
}

/// Whether theirs has no such member as some member of ours.
fn lacks(ours: &Value, theirs: &Value) -> bool {
    levels(ours, theirs).any(|(_, ours, theirs)| !theirs.is_object() || lacks(ours, theirs))
}

/// The members and items below a schema of ours, each with its counterpart in theirs.
fn levels<'s>(
    ours: &'s Value,
    theirs: &'s Value,
) -> impl Iterator<Item = (&'s str, &'s Value, &'s Value)> {
    let members = ours["properties"].as_object().into_iter().flatten();
    let members = members.map(|(name, ours)| (name.as_str(), ours, &theirs["properties"][name]));
    let items = ours
        .get("items")
        .map(|ours| ("items", ours, &theirs["items"]));
    members.chain(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Value {
        serde_json::to_value(DiagnosticsDirective::crd()).unwrap()
    }

    fn spec(definition: &mut Value) -> &mut Value {
        &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    }

    #[test]
    fn one_that_keeps_everything_and_checks_nothing_drops_nothing() {
        let mut loosened = shipped();
        loosened["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            serde_json::json!({"type": "object", PRESERVES: true});
        assert_eq!(Definition::judge(&loosened), Definition::Older);
        let schema = &mut loosened["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema[PRESERVES] = false.into();
        assert_eq!(Definition::judge(&loosened), Definition::Prunes);
    }

    #[test]
    fn the_definition_that_is_shipped_is_current() {
        assert_eq!(Definition::judge(&shipped()), Definition::Current);
    }

    #[test]
    fn one_that_knows_more_is_current_and_one_that_lacks_a_member_is_older() {
        let mut newer = shipped();
        spec(&mut newer)["properties"]["later"] = serde_json::json!({"type": "string"});
        assert_eq!(Definition::judge(&newer), Definition::Current);
        for at in [
            "/properties/suspend",
            "/properties/match/items/properties/value",
        ] {
            let mut older = shipped();
            let (parent, member) = at.rsplit_once('/').unwrap();
            let parent = spec(&mut older).pointer_mut(parent).unwrap();
            parent.as_object_mut().unwrap().remove(member).unwrap();
            assert_eq!(Definition::judge(&older), Definition::Older, "{at}");
        }
    }

    #[test]
    fn one_that_drops_what_it_does_not_know_prunes() {
        for at in ["", "/properties/match/items"] {
            let mut pruning = shipped();
            let level = spec(&mut pruning).pointer_mut(at).unwrap();
            level.as_object_mut().unwrap().remove(PRESERVES).unwrap();
            assert_eq!(Definition::judge(&pruning), Definition::Prunes, "{at:?}");
        }
        assert_eq!(Definition::judge(&Value::Null), Definition::Prunes);
    }
}
