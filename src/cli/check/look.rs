//! Asks for all that `check` judges by, at once.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::CustomResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use serde_json::Value;

use super::judge::{self, Evidence};
use super::line::{Found, Line};
use crate::cli::kube::Cluster;
use crate::cli::terminal::plain;
use crate::operator::observe::{Projected, project};
use crate::resource::{DiagnosticsDirective, DiagnosticsFleet};

/// How many seconds a directive may be without an answer.
const PATIENCE_SECS: u64 = 15;
/// The label that the chart gives to all that is its own.
const LABEL: &str = "app.kubernetes.io/name=osproxy-directives";

pub(super) async fn before(cluster: &Cluster) -> Vec<Line> {
    let version = version(cluster).await;
    let namespace = cluster.namespace.as_str();
    let asked = [
        ("", "apiextensions.k8s.io", "customresourcedefinitions"),
        ("", "rbac.authorization.k8s.io", "clusterroles"),
        ("", "rbac.authorization.k8s.io", "clusterrolebindings"),
        (
            "",
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies",
        ),
        (
            "",
            "admissionregistration.k8s.io",
            "validatingadmissionpolicybindings",
        ),
        (namespace, "", "serviceaccounts"),
        (namespace, "apps", "deployments"),
        (namespace, "rbac.authorization.k8s.io", "roles"),
    ];
    let reviews = asked.map(|(namespace, group, resource)| async move {
        let attributes = attributes(namespace, "create", group, resource, "");
        (
            format!("create {resource}"),
            own_right(cluster, attributes).await,
        )
    });
    let may = futures::future::join_all(reviews).await;
    judge::before(&version, cluster.clock_ahead_secs(), &may)
}

/// Asks everything at once: the slowest answer is what it takes.
pub(super) async fn evidence(cluster: &Cluster, namespace: Option<&str>) -> Evidence {
    let (group, crds) = ("apiextensions.k8s.io", "customresourcedefinitions");
    let definitions: Api<DynamicObject> = Api::all_with(
        cluster.client(),
        &kind(group, "v1", "CustomResourceDefinition", crds),
    );
    let (directives_name, fleet_name) = (
        DiagnosticsDirective::crd_name(),
        DiagnosticsFleet::crd_name(),
    );
    let own = ["get", "list", "create", "patch", "delete"];
    let caller = own.map(|verb| async move {
        let namespace = namespace.unwrap_or(&cluster.namespace);
        let attributes = attributes(namespace, verb, "osproxy.io", "diagnosticsdirectives", "");
        (verb, own_right(cluster, attributes).await)
    });
    let admission = "admissionregistration.k8s.io";
    let (policy, binding) = (
        kind(
            admission,
            "v1",
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
        ),
        kind(
            admission,
            "v1",
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
        ),
    );
    let deployment = kind("apps", "v1", "Deployment", "deployments");
    let (
        version,
        directives_definition,
        fleet_definition,
        caller,
        policies,
        policy_bindings,
        deployments,
        operator,
        unanswered,
        fleets,
    ) = tokio::join!(
        version(cluster),
        found(cluster, definitions.get(directives_name)),
        found(cluster, definitions.get(fleet_name)),
        futures::future::join_all(caller),
        list(cluster, &policy, None, ""),
        list(cluster, &binding, None, ""),
        of_the_chart(cluster, &deployment, namespace),
        operators_rights(cluster, namespace),
        unanswered(cluster, namespace),
        fleets(cluster, namespace),
    );
    Evidence {
        version,
        clock_ahead_secs: cluster.clock_ahead_secs(),
        directives_definition: directives_definition.map(|object| value(&object)),
        fleet_definition: fleet_definition.map(|object| value(&object)),
        caller,
        policies,
        policy_bindings,
        deployments,
        operator,
        unanswered,
        fleets,
    }
}

async fn version(cluster: &Cluster) -> Found<String> {
    let client = cluster.client();
    let asked = client.apiserver_version();
    found(cluster, asked)
        .await
        .map(|version| version.git_version)
}

/// What the chart's ServiceAccount may do; nothing where there is none to be seen.
async fn operators_rights(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Vec<(String, Found<bool>)> {
    let account = kind("", "v1", "ServiceAccount", "serviceaccounts");
    let accounts = of_the_chart(cluster, &account, namespace).await;
    let Found::Is(accounts) = accounts else {
        return Vec::new();
    };
    let Some(meta) = accounts.first().map(|account| &account["metadata"]) else {
        return Vec::new();
    };
    let text = |member: &str| meta[member].as_str().unwrap_or_default().to_owned();
    let (home, name) = (text("namespace"), text("name"));
    let user = format!("system:serviceaccount:{home}:{name}");
    let release = meta["labels"]["app.kubernetes.io/instance"]
        .as_str()
        .unwrap_or_default();
    let directives = "diagnosticsdirectives";
    let asked = [
        ("", "list", "osproxy.io", directives, ""),
        ("", "watch", "osproxy.io", directives, ""),
        (
            "",
            "patch",
            "osproxy.io",
            "diagnosticsdirectives/status",
            "",
        ),
        ("", "create", "events.k8s.io", "events", ""),
        ("", "get", "", "namespaces", "kube-system"),
        (&home, "create", "osproxy.io", "diagnosticsfleets", ""),
        (
            &home,
            "patch",
            "osproxy.io",
            "diagnosticsfleets/status",
            release,
        ),
    ];
    let here = namespace.unwrap_or(&cluster.namespace);
    let reviews = asked.map(|(namespace, verb, group, resource, name)| {
        let user = &user;
        async move {
            let mut allowed = right_of(
                cluster,
                user,
                attributes(namespace, verb, group, resource, name),
            )
            .await;
            // An operator of some namespaces has its rights there, and not everywhere.
            if namespace.is_empty() && matches!(allowed, Found::Is(false)) {
                allowed =
                    right_of(cluster, user, attributes(here, verb, group, resource, name)).await;
            }
            (format!("{verb} {resource}"), allowed)
        }
    });
    futures::future::join_all(reviews).await
}

/// What a ServiceAccount may do.
async fn right_of(cluster: &Cluster, user: &str, attributes: ResourceAttributes) -> Found<bool> {
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.client());
    let groups = ["system:serviceaccounts", "system:authenticated"];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            user: Some(user.to_owned()),
            groups: Some(groups.map(str::to_owned).to_vec()),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = found(cluster, reviews.create(&params, &review)).await;
    answer.map(|review| review.status.is_some_and(|status| status.allowed))
}

async fn own_right(cluster: &Cluster, attributes: ResourceAttributes) -> Found<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = found(cluster, reviews.create(&params, &review)).await;
    answer.map(|review| review.status.is_some_and(|status| status.allowed))
}

/// Directives whose present generation nobody has looked at although it has been there for a while.
async fn unanswered(cluster: &Cluster, namespace: Option<&str>) -> Found<Vec<String>> {
    let api = cluster.directives(namespace);
    let params = ListParams::default();
    let listed = found(cluster, api.list(&params)).await;
    let now_secs = cluster.now_secs();
    listed.map(|list| {
        let unanswered = list.items.iter().filter_map(|object| {
            let changed = object
                .metadata
                .managed_fields
                .iter()
                .flatten()
                .filter(|field| field.subresource.is_none())
                .filter_map(|field| field.time.as_ref())
                .map(|time| time.0.as_second())
                .max();
            let changed = changed.and_then(|secs| u64::try_from(secs).ok());
            let Projected::Present(resource) = project(value(object)) else {
                return None;
            };
            let observed = resource.status.value()["observedGeneration"].as_i64();
            let waits = now_secs.saturating_sub(changed.unwrap_or(resource.created_secs));
            (observed != Some(resource.generation) && waits > PATIENCE_SECS)
                .then(|| plain(&resource.id.to_string()))
        });
        unanswered.collect()
    })
}

/// The reports of the operators that may be seen.
pub(in crate::cli) async fn fleets(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Found<Vec<Value>> {
    let resource = DiagnosticsFleet::api_resource();
    match list(cluster, &resource, None, "").await {
        // Whoever may not look everywhere may look here.
        Found::Forbidden => {
            let here = namespace.unwrap_or(&cluster.namespace);
            list(cluster, &resource, Some(here), "").await
        }
        // Of several operators the one that lives in the namespace is meant; an operator lives in another one than most directives.
        Found::Is(mut all) => {
            let is_here = |fleet: &Value| fleet["metadata"]["namespace"].as_str() == namespace;
            if all.iter().any(is_here) {
                all.retain(is_here);
            }
            Found::Is(all)
        }
        other => other,
    }
}

/// What the chart has made of this kind: in the namespace, or else in any.
async fn of_the_chart(
    cluster: &Cluster,
    resource: &ApiResource,
    namespace: Option<&str>,
) -> Found<Vec<Value>> {
    let here = list(cluster, resource, namespace, LABEL).await;
    match (&here, namespace) {
        (Found::Is(none), Some(_)) if none.is_empty() => {
            match list(cluster, resource, None, LABEL).await {
                Found::Is(all) => Found::Is(all),
                // Whoever may not look everywhere has at least looked here.
                _ => here,
            }
        }
        _ => here,
    }
}

async fn list(
    cluster: &Cluster,
    resource: &ApiResource,
    namespace: Option<&str>,
    labels: &str,
) -> Found<Vec<Value>> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, resource),
        None => Api::all_with(cluster.client(), resource),
    };
    let params = ListParams::default().labels(labels);
    let listed = found(cluster, api.list(&params)).await;
    listed.map(|list| list.items.iter().map(value).collect())
}

async fn found<T>(cluster: &Cluster, call: impl Future<Output = kube::Result<T>>) -> Found<T> {
    let missing = async {
        match call.await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            answer => answer.map(Some),
        }
    };
    match cluster.ask("look", missing).await {
        Ok(Some(answer)) => Found::Is(answer),
        Ok(None) => Found::Absent,
        Err(failure) if failure.is_forbidden => Found::Forbidden,
        Err(failure) => {
            let text = failure.to_string();
            let first = text.lines().next().unwrap_or_default();
            // The line that it becomes part of says what could not be looked at.
            let why = first.strip_prefix("cannot look: ").unwrap_or(first);
            Found::Failed(plain(why))
        }
    }
}

fn kind(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn attributes(
    namespace: &str,
    verb: &str,
    group: &str,
    resource: &str,
    name: &str,
) -> ResourceAttributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ResourceAttributes {
        namespace: given(namespace),
        verb: given(verb),
        group: given(group),
        resource: given(resource),
        subresource: given(subresource),
        name: given(name),
        ..ResourceAttributes::default()
    }
}

fn value<T: serde::Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
