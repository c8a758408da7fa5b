//! What a real API server makes of the chart. One control plane serves all of it, for it takes seconds to start.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{ControlPlane, eventually};

use crate::golden;
use crate::helm::{CHART, pod, render};
use crate::metadata::annotation;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
/// Long enough for anything that should take seconds, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);
/// What the file has for a person to replace.
const PLACEHOLDER: &str = "http://etcd.invalid:2379";

#[tokio::test]
async fn a_release_installs_upgrades_and_leaves_the_directives_behind() -> Result<()> {
    let plane = ControlPlane::start().await?;
    every_example_of_values_is_admitted(&plane).await?;
    let endpoints = "etcd.endpoints={http://etcd:2379}";
    let to = ["--namespace", "diagnostics"];

    let install = [
        "install",
        "osd",
        CHART,
        "--create-namespace",
        "--set",
        endpoints,
    ];
    let notes = plane.helm(&[&install[..], &to].concat()).await?.success()?;
    ensure!(
        notes.contains("kubectl -n diagnostics rollout status deployment/osd-osproxy-directives"),
        "{notes}"
    );
    the_pods_meet_the_restricted_level(&plane).await?;
    the_service_account_has_its_rights_and_no_more(&plane).await?;
    the_example_for_artifact_hub_is_admitted(&plane).await?;

    // The notes promise a first directive that works as it stands.
    let first = notes
        .split_once("<<'EOF'\n")
        .and_then(|(_, rest)| rest.split_once("EOF"))
        .context("no example")?
        .0;
    plane
        .kubectl_with_input(&["create", "-f", "-"], &unindent(first))
        .await?
        .success()?;

    let upgrade = [
        "upgrade",
        "osd",
        CHART,
        "--set",
        endpoints,
        "--set",
        "policy.maxTtl=4h",
        "--set",
        "rbac.aggregateToEdit=true",
    ];
    let notes = plane.helm(&[&upgrade[..], &to].concat()).await?.success()?;
    ensure!(
        notes.contains("WARNING: whoever has Kubernetes' role edit in any namespace"),
        "{notes}"
    );
    whoever_may_edit_may_not_widen(&plane).await?;
    plane
        .helm(&[&["uninstall", "osd"][..], &to].concat())
        .await?
        .success()?;
    plane
        .kubectl(&["get", "diag", "first", "--namespace", "default"])
        .await?
        .success()?;
    plane.helm(&[&install[..], &to].concat()).await?.success()?;
    the_manifest_installs_without_helm(&plane).await?;
    Ok(())
}

/// `deploy/install.yaml` as its first lines say, beside the release: only the definition is shared.
async fn the_manifest_installs_without_helm(plane: &ControlPlane) -> Result<()> {
    let manifest = fs::read_to_string(MANIFEST)?;
    ensure!(
        manifest.contains(&format!("sed 's|{PLACEHOLDER}|")),
        "the first lines do not say what to replace"
    );
    let manifest = manifest.replace(PLACEHOLDER, "http://etcd:2379");
    let apply = ["apply", "--server-side", "-f", "-"];
    // Twice: an upgrade is the same command.
    for _ in 0..2 {
        plane
            .kubectl_with_input(&apply, &manifest)
            .await?
            .success()?;
    }
    let arguments = plane
        .kubectl(&[
            "get",
            "deployment/osproxy-directives",
            "--namespace=osproxy",
            "--output=jsonpath={.spec.template.spec.containers[0].args}",
        ])
        .await?
        .success()?;
    ensure!(
        arguments.contains("--etcd-endpoints=http://etcd:2379")
            && arguments.contains("--release=osproxy/osproxy-directives"),
        "{arguments}"
    );
    let watch = [
        "auth",
        "can-i",
        "watch",
        "diagnosticsdirectives.osproxy.io",
        "--all-namespaces",
        "--as=system:serviceaccount:osproxy:osproxy-directives",
    ];
    // The API server learns of a role by a watch of its own.
    eventually("the role to hold", SOON, async || {
        plane.kubectl(&watch).await?.success()
    })
    .await?;
    Ok(())
}

/// The API server's own word on each field of each example; nothing is stored.
async fn every_example_of_values_is_admitted(plane: &ControlPlane) -> Result<()> {
    for namespace in ["diagnostics", "checkout", "search", "diagnostics-system"] {
        plane
            .kubectl(&["create", "namespace", namespace])
            .await?
            .success()?;
    }
    for (name, values) in golden::examples()? {
        let known: Vec<Value> = golden::manifests(&values)
            .await?
            .into_iter()
            .filter(is_of_kubernetes)
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": known}).to_string();
        let apply = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        plane
            .kubectl_with_input(&apply, &list)
            .await?
            .success()
            .with_context(|| format!("ci/{name}-values.yaml"))?;
    }
    Ok(())
}

async fn the_example_for_artifact_hub_is_admitted(plane: &ControlPlane) -> Result<()> {
    let example = annotation("crdsExamples")?[0].to_string();
    let create = ["create", "--dry-run=server", "-f", "-"];
    plane
        .kubectl_with_input(&create, &example)
        .await?
        .success()?;
    Ok(())
}

/// Not of Prometheus or Grafana, whose definitions this cluster does not have; nor a hook of Helm.
fn is_of_kubernetes(manifest: &Value) -> bool {
    let version = manifest["apiVersion"].as_str().unwrap_or_default();
    let hook = &manifest["metadata"]["annotations"]["helm.sh/hook"];
    hook.is_null() && !version.contains("coreos.com") && !version.contains("grafana")
}

/// With `rbac.aggregateToEdit`, Kubernetes' own `edit` writes directives, and no more than that.
async fn whoever_may_edit_may_not_widen(plane: &ControlPlane) -> Result<()> {
    for role in ["view", "edit"] {
        let (name, role) = (format!("test-{role}"), format!("--clusterrole={role}"));
        let user = format!("--user={name}");
        plane
            .kubectl(&["create", "rolebinding", &name, &role, &user])
            .await?
            .success()?;
    }
    let may = async |user: &str, verb: &str| -> Result<bool> {
        let user = format!("--as=test-{user}");
        let what = "diagnosticsdirectives.osproxy.io";
        let said = plane.kubectl(&["auth", "can-i", verb, what, &user]).await?;
        Ok(said.status.success())
    };
    // A controller puts the rules together.
    eventually("Kubernetes' roles to take ours in", SOON, async || {
        ensure!(may("view", "watch").await?, "view may not watch");
        ensure!(may("edit", "create").await?, "edit may not create");
        Ok(())
    })
    .await?;
    for (user, verb) in [
        ("view", "create"),
        ("view", "capture"),
        ("edit", "target-all-requests"),
        ("edit", "capture"),
    ] {
        ensure!(!may(user, verb).await?, "{user} may {verb}");
    }
    Ok(())
}

/// Pod Security's "restricted" level, as the API server itself sees it.
async fn the_pods_meet_the_restricted_level(plane: &ControlPlane) -> Result<()> {
    let level = "pod-security.kubernetes.io/enforce=restricted";
    plane
        .kubectl(&["label", "namespace", "diagnostics", level])
        .await?
        .success()?;
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": "diagnostics"},
        "spec": pod(&render(json!({})).await?)?,
    });
    let create = ["create", "--dry-run=server", "-f", "-"];
    let good = pod.to_string();
    // The level is really enforced, from a moment after the label on: the same Pod with root is refused.
    pod["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    eventually("the level to be enforced", SOON, async || {
        let refused = plane
            .kubectl_with_input(&create, &pod.to_string())
            .await?
            .failure()?;
        ensure!(refused.contains("violates PodSecurity"), "{refused}");
        Ok(())
    })
    .await?;
    plane.kubectl_with_input(&create, &good).await?.success()?;
    Ok(())
}

async fn the_service_account_has_its_rights_and_no_more(plane: &ControlPlane) -> Result<()> {
    let account = "--as=system:serviceaccount:diagnostics:osd-osproxy-directives";
    for (verb, what, allowed) in [
        ("watch", "diagnosticsdirectives.osproxy.io", true),
        ("patch", "diagnosticsdirectives.osproxy.io/status", true),
        ("create", "events.events.k8s.io", true),
        ("get", "namespaces/kube-system", true),
        ("get", "namespaces/default", false),
        ("patch", "diagnosticsdirectives.osproxy.io", false),
        ("delete", "diagnosticsdirectives.osproxy.io", false),
        ("get", "secrets", false),
        ("create", "leases.coordination.k8s.io", false),
    ] {
        let (resource, subresource) = match what.split_once('/') {
            Some((resource, "status")) => (resource.to_owned(), "--subresource=status"),
            _ => (what.to_owned(), "--subresource="),
        };
        // The API server learns of a role by a watch of its own.
        eventually("the role to hold", SOON, async || {
            let said = plane
                .kubectl(&[
                    "auth",
                    "can-i",
                    verb,
                    &resource,
                    subresource,
                    "--all-namespaces",
                    account,
                ])
                .await?;
            ensure!(
                said.status.success() == allowed,
                "{verb} {what}: {}{}",
                said.stdout,
                said.stderr
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

fn unindent(text: &str) -> String {
    text.lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n")
}
