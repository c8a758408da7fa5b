//! The chart's admission policy on a real API server: who may change what, and what they are told.
//!
//! [`matrix::ROWS`] is the contract, a row for each attempt. Every switch of the policy is on in a
//! namespace of its own, so that a refusal there can only be its doing; in `everything` all are on.
//! What a row starts from was stored before the policies were there, so it may be anything.

#![cfg(feature = "operator")]

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testbed::{ControlPlane, Output, eventually};
use tokio::sync::OnceCell;

use matrix::{Answer, Policy, ROWS, Row, Verb};

#[path = "policy/matrix.rs"]
mod matrix;

/// A policy bites some seconds after it was stored, when every API server has compiled it.
const UNTIL_A_POLICY_BITES: Duration = Duration::from_mins(1);

/// A test for each policy, and their list, so that none can be left out.
macro_rules! the_matrix_holds {
    ($($name:ident: $policy:literal,)*) => {
        const HELD: &[&str] = &[$($policy),*];
        $(
            #[tokio::test]
            async fn $name() -> Result<()> {
                the_matrix_holds_for($policy).await
            }
        )*
    };
}

the_matrix_holds! {
    an_unknown_field_is_refused_by_name: "fields",
    all_requests_need_their_verb: "fleet",
    capture_needs_its_verb: "bodies",
    a_ttl_has_a_longest: "brief",
    a_comment_has_to_say_something: "reasons",
    an_author_is_who_says_so: "authors",
    a_namespace_targets_its_own_tenants: "tenants",
    what_narrows_passes_all_rules_together: "everything",
}

/// A table that refuses everything, or admits everything, would prove nothing.
#[test]
fn every_switch_has_rows_of_both_kinds() {
    assert!(ROWS.len() >= 40, "{} rows", ROWS.len());
    let policies: Vec<_> = matrix::POLICIES.iter().map(|policy| policy.name).collect();
    assert_eq!(HELD, policies, "each policy has its test");
    for policy in matrix::POLICIES {
        let here = || ROWS.iter().filter(|row| row.namespace == policy.name);
        let refused = here()
            .filter(|row| matches!(row.answer, Answer::Refused(_)))
            .count();
        let allowed = here()
            .filter(|row| matches!(row.answer, Answer::Allowed))
            .count();
        assert!(
            refused >= 1 && allowed >= 1,
            "{}: {refused} refused, {allowed} allowed",
            policy.name
        );
    }
}

/// Makes every attempt in the namespaces of one policy.
async fn the_matrix_holds_for(policy: &str) -> Result<()> {
    let policy = matrix::POLICIES
        .iter()
        .find(|known| known.name == policy)
        .context("no such policy")?;
    let plane = plane().await?;
    let rows: Vec<_> = ROWS
        .iter()
        .enumerate()
        .filter(|(_, row)| {
            policy
                .namespaces()
                .any(|namespace| namespace == row.namespace)
        })
        .collect();
    store_what_rows_start_from(plane, &rows).await?;
    let installed = install(plane, policy).await?;

    let mut wrong = Vec::new();
    for (number, row) in &rows {
        if let Err(error) = attempt(plane, *number, row).await {
            wrong.push(format!(
                "row {number}, {}/{}: {error:#}",
                row.namespace, row.says
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    every_expression_is_well_typed(plane, &installed).await
}

/// The control plane that the tests of this file share, for starting one takes longer than most of
/// them. It ends with the process.
async fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_try_init(async || {
            let plane = ControlPlane::start().await?;
            make_the_resource(&plane).await?;
            make_namespaces_and_users(&plane).await?;
            Ok(plane)
        })
        .await
}

/// Makes the row's attempt, and judges what came of it.
async fn attempt(plane: &ControlPlane, number: usize, row: &Row) -> Result<()> {
    let name = name_of(number);
    let manifest = manifest(row.namespace, &name, row.change);
    let patch = |kind: &str| format!("--type={kind}");
    let (merge, json) = (patch("merge"), patch("json"));
    let change = format!("--patch={}", row.change);
    let (mut args, input): (Vec<&str>, Option<&str>) = match row.verb {
        Verb::Create => (vec!["create", "-f", "-"], Some(&manifest)),
        Verb::Apply => (vec!["apply", "-f", "-"], Some(&manifest)),
        Verb::ServerSideApply => (
            vec!["apply", "--server-side", "--force-conflicts", "-f", "-"],
            Some(&manifest),
        ),
        Verb::Replace => (vec!["replace", "-f", "-"], Some(&manifest)),
        Verb::MergePatch => (vec!["patch", "diag", &name, &merge, &change], None),
        Verb::JsonPatch => (vec!["patch", "diag", &name, &json, &change], None),
        Verb::StatusPatch => (
            vec![
                "patch",
                "diag",
                &name,
                &merge,
                &change,
                "--subresource=status",
            ],
            None,
        ),
        Verb::Label => (vec!["label", "diag", &name, row.change], None),
        Verb::Delete => (vec!["delete", "diag", &name, "--wait=false"], None),
    };
    args.extend(["--namespace", row.namespace]);
    if row.who != matrix::ADMIN {
        args.extend(["--as", row.who]);
    }
    let output = match input {
        Some(input) => plane.kubectl_with_input(&args, input).await?,
        None => plane.kubectl(&args).await?,
    };
    judge(plane, row, &name, output).await
}

/// Compares what came of an attempt with the row's answer.
async fn judge(plane: &ControlPlane, row: &Row, name: &str, output: Output) -> Result<()> {
    match row.answer {
        Answer::Allowed => {
            let said = output.success()?;
            ensure!(
                !said.contains("unchanged") && !said.contains("no change"),
                "nothing was changed: {said}"
            );
        }
        Answer::Refused(because) => {
            let said = output.failure()?;
            // What stands before it is kubectl's own, and repeats the manifest.
            let Some((_, message)) = said.split_once("denied request: ") else {
                bail!("not refused by the policy: {said}")
            };
            ensure!(
                message.contains(because),
                "should say `{because}`, says `{message}`"
            );
            ensure!(
                !message.contains(matrix::SECRET),
                "tells a selector value: {message}"
            );
        }
        Answer::RefusedBySchema(because) => {
            let said = output.failure()?;
            ensure!(
                said.contains(because),
                "should say `{because}`, says `{said}`"
            );
        }
        Answer::WithoutEffect => {
            let before = row
                .stored
                .context("a row without effect starts from something")?;
            output.success()?;
            let jsonpath = "jsonpath={.metadata.generation}";
            let generation = plane
                .kubectl(&[
                    "get",
                    "diag",
                    name,
                    "--namespace",
                    row.namespace,
                    "-o",
                    jsonpath,
                ])
                .await?
                .success()?;
            ensure!(generation == "1", "`{before}` was changed");
        }
    }
    Ok(())
}

/// The chart's definition of the resource, established.
async fn make_the_resource(plane: &ControlPlane) -> Result<()> {
    let definition = render(plane, "crd", "templates/crd.yaml", &[]).await?;
    apply(plane, &definition).await?;
    let established = [
        "wait",
        "--for=condition=Established",
        "crd/diagnosticsdirectives.osproxy.io",
        "--timeout=30s",
    ];
    plane.kubectl(&established).await?.success()?;
    // The server serves a new kind a moment after it is established.
    eventually(
        "the kind to be served",
        Duration::from_secs(30),
        async || plane.kubectl(&["get", "diag"]).await?.success().map(drop),
    )
    .await
}

/// A namespace for each policy, with the annotations of the matrix, and its users with their roles.
async fn make_namespaces_and_users(plane: &ControlPlane) -> Result<()> {
    let mut all = String::new();
    for namespace in matrix::namespaces() {
        let annotations = matrix::ANNOTATIONS
            .iter()
            .find(|(of, _)| *of == namespace)
            .map_or("{}", |(_, given)| given);
        writeln!(
            all,
            "---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, annotations: {annotations}}}}}"
        )?;
    }
    for (role, rules) in matrix::ROLES {
        writeln!(
            all,
            "---\n{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {role}}}, rules: [{rules}]}}"
        )?;
    }
    for (index, (user, role, namespace)) in matrix::GRANTS.iter().enumerate() {
        let (binding, scope) = match namespace {
            Some(namespace) => ("RoleBinding", format!("namespace: {namespace}, ")),
            None => ("ClusterRoleBinding", String::new()),
        };
        writeln!(
            all,
            "---\n{{apiVersion: rbac.authorization.k8s.io/v1, kind: {binding}, metadata: {{{scope}name: grant-{index}}}, \
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}, \
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: '{user}'}}]}}"
        )?;
    }
    apply(plane, &all).await
}

async fn store_what_rows_start_from(plane: &ControlPlane, rows: &[(usize, &Row)]) -> Result<()> {
    let mut all = String::new();
    for (number, row) in rows {
        if let Some(stored) = row.stored {
            writeln!(
                all,
                "---\n{}",
                manifest(row.namespace, &name_of(*number), stored)
            )?;
        }
    }
    plane
        .kubectl_with_input(&["create", "-f", "-"], &all)
        .await?
        .success()?;
    Ok(())
}

/// Installs a policy as a release of its own, waits until it refuses its probe, and returns its manifest.
async fn install(plane: &ControlPlane, policy: &Policy) -> Result<String> {
    let rendered = render(plane, policy.name, "templates/policy.yaml", policy.values).await?;
    apply(plane, &rendered).await?;
    let probe = manifest(policy.name, "probe", policy.probe);
    eventually(
        &format!("the policy of {}", policy.name),
        UNTIL_A_POLICY_BITES,
        async || {
            let create = ["create", "--dry-run=server", "--as", matrix::DEV, "-f", "-"];
            let said = plane.kubectl_with_input(&create, &probe).await?.failure()?;
            // Somebody else may refuse it before, such as a server that has not seen the roles yet.
            ensure!(said.contains("denied request: "), "{said}");
            Ok(())
        },
    )
    .await?;
    Ok(rendered)
}

/// The controller manager checks a policy's expressions against the schemas that they meet.
async fn every_expression_is_well_typed(plane: &ControlPlane, installed: &str) -> Result<()> {
    let jsonpath = "jsonpath={range .items[?(@.kind=='ValidatingAdmissionPolicy')]}{.status.observedGeneration} {.status.typeChecking.expressionWarnings}{end}";
    eventually(
        "the types of all expressions",
        UNTIL_A_POLICY_BITES,
        async || {
            let said = plane
                .kubectl_with_input(&["get", "-f", "-", "-o", jsonpath], installed)
                .await?
                .success()?;
            let (generation, warnings) = said.split_once(' ').unwrap_or((&said, ""));
            ensure!(generation == "1", "not looked at yet: {said}");
            ensure!(warnings.is_empty(), "{warnings}");
            Ok(())
        },
    )
    .await
}

async fn render(
    plane: &ControlPlane,
    release: &str,
    template: &str,
    values: &[&str],
) -> Result<String> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/osproxy-directives");
    let mut args = vec!["template", release, chart, "--show-only", template];
    args.extend(["--set", "etcd.endpoints={http://etcd:2379}"]);
    args.extend(values.iter().flat_map(|value| ["--set-json", value]));
    plane.helm(&args).await?.success()
}

async fn apply(plane: &ControlPlane, manifests: &str) -> Result<()> {
    plane
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifests)
        .await?
        .success()?;
    Ok(())
}

fn name_of(number: usize) -> String {
    format!("row-{number}")
}

fn manifest(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, \
         metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}"
    )
}
