//! The rights that a chart gives to its ServiceAccount: which they are, taking one away, and waiting until they hold.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ::kube::api::{Api, PostParams};
use anyhow::{Result, bail};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use serde_json::Value;

use crate::deadline::eventually;
use crate::kube::ControlPlane;

/// How long the API server may take to notice a role that was just applied.
const HOLDS_WITHIN: Duration = Duration::from_secs(30);

/// One verb on one resource, as RBAC has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: String,
    /// With its subresource, as in `diagnosticsdirectives/status`.
    pub resource: String,
    /// As in `list`.
    pub verb: String,
}

impl Right {
    /// A verb on a resource of a group.
    #[must_use]
    pub fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
        }
    }

    /// Every right that these manifests give to a ServiceAccount. Roles that are bound to nobody, or to
    /// people, are not meant.
    #[must_use]
    pub fn all(manifests: &[Value]) -> BTreeSet<Self> {
        bound_to_accounts(manifests)
            .flat_map(|(_, rule)| Self::of_rule(rule))
            .collect()
    }

    fn of_rule(rule: &Value) -> Vec<Self> {
        let mut rights = Vec::new();
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.push(Self::new(group, resource, verb));
                }
            }
        }
        rights
    }

    /// Takes this right out of every role that has it; what else the rule gives stays.
    pub(super) fn take_away(&self, manifests: &mut [Value]) {
        for manifest in manifests.iter_mut().filter(|manifest| is_role(manifest)) {
            let Some(rules) = manifest["rules"].as_array_mut() else {
                continue;
            };
            for rule in rules.iter_mut() {
                let has = |list: &str, word: &str| texts(&rule[list]).any(|text| text == word);
                if has("apiGroups", &self.group)
                    && has("resources", &self.resource)
                    && let Some(verbs) = rule["verbs"].as_array_mut()
                {
                    verbs.retain(|verb| verb != &self.verb);
                }
            }
            rules.retain(|rule| texts(&rule["verbs"]).next().is_some());
        }
    }
}

impl fmt::Display for Right {
    /// `list diagnosticsdirectives.osproxy.io`, as kubectl writes a resource and its group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, sub) = match self.resource.split_once('/') {
            Some((resource, sub)) => (resource, format!("/{sub}")),
            None => (self.resource.as_str(), String::new()),
        };
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {resource}{dot}{}{sub}", self.verb, self.group)
    }
}

/// Waits until the API server goes by the roles: it learns of them by a watch of its own, and a Pod that is quicker is
/// refused what is its good right.
pub(super) async fn hold(
    plane: &ControlPlane,
    manifests: &[Value],
    namespace: &str,
    account: &str,
) -> Result<()> {
    let reviews: Api<SubjectAccessReview> = Api::all(plane.client());
    for (binding, rule) in bound_to_accounts(manifests) {
        let home = (binding["kind"] == "RoleBinding").then(|| {
            let own = binding.pointer("/metadata/namespace");
            own.and_then(Value::as_str).unwrap_or(namespace).to_owned()
        });
        for right in Right::of_rule(rule) {
            let (resource, part) = match right.resource.split_once('/') {
                Some((resource, part)) => (resource.to_owned(), Some(part.to_owned())),
                None => (right.resource.clone(), None),
            };
            let asked = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(account.to_owned()),
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(right.group.clone()),
                        name: texts(&rule["resourceNames"]).next().map(str::to_owned),
                        namespace: home.clone(),
                        resource: Some(resource),
                        subresource: part,
                        verb: Some(right.verb.clone()),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            eventually(&format!("the right to {right}"), HOLDS_WITHIN, async || {
                let told = reviews.create(&PostParams::default(), &asked).await?;
                if !told.status.is_some_and(|status| status.allowed) {
                    bail!("{account} may not");
                }
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

/// Each rule that a ServiceAccount has, with the binding that gives it.
fn bound_to_accounts(manifests: &[Value]) -> impl Iterator<Item = (&Value, &Value)> {
    let to_account = |binding: &&Value| {
        let mut subjects = binding["subjects"].as_array().into_iter().flatten();
        subjects.any(|subject| subject["kind"] == "ServiceAccount")
    };
    manifests
        .iter()
        .filter(|manifest| kind(manifest).ends_with("RoleBinding"))
        .filter(to_account)
        .flat_map(move |binding| {
            let role = manifests.iter().find(|role| {
                is_role(role)
                    && role["kind"] == binding["roleRef"]["kind"]
                    && role["metadata"]["name"] == binding["roleRef"]["name"]
                    && (kind(role) == "ClusterRole"
                        || role["metadata"]["namespace"] == binding["metadata"]["namespace"])
            });
            let rules = role.and_then(|role| role["rules"].as_array());
            rules.into_iter().flatten().map(move |rule| (binding, rule))
        })
}

fn is_role(manifest: &Value) -> bool {
    ["ClusterRole", "Role"].contains(&kind(manifest))
}

fn kind(manifest: &Value) -> &str {
    manifest["kind"].as_str().unwrap_or_default()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifests() -> Vec<Value> {
        let role = |kind: &str, name: &str, rules: Value| json!({"kind": kind, "metadata": {"name": name}, "rules": rules});
        let binding = |kind: &str, role: &str, subject: &str| json!({"kind": format!("{kind}Binding"), "roleRef": {"kind": kind, "name": role}, "subjects": [{"kind": subject}]});
        vec![
            role(
                "ClusterRole",
                "own",
                json!([{"apiGroups": ["x.io"], "resources": ["things"], "verbs": ["get", "list"]},
                       {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]),
            ),
            role(
                "ClusterRole",
                "edit",
                json!([{"apiGroups": ["x.io"], "resources": ["things"], "verbs": ["delete"]}]),
            ),
            binding("ClusterRole", "own", "ServiceAccount"),
            binding("ClusterRole", "edit", "Group"),
        ]
    }

    fn named(manifests: &[Value]) -> Vec<String> {
        let rights = Right::all(manifests);
        rights.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_rights_are_those_that_are_bound_to_the_account() {
        assert_eq!(
            named(&manifests()),
            ["get namespaces", "get things.x.io", "list things.x.io"]
        );
    }

    #[test]
    fn one_is_taken_away_and_the_others_stay() {
        let mut all = manifests();
        Right::new("x.io", "things", "get").take_away(&mut all);
        assert_eq!(named(&all), ["get namespaces", "list things.x.io"]);
        Right::new("", "namespaces", "get").take_away(&mut all);
        assert_eq!(named(&all), ["list things.x.io"]);
        assert_eq!(
            Right::new("x.io", "things/status", "patch").to_string(),
            "patch things.x.io/status"
        );
    }
}
