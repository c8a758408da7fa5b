//! A CRD that is older than the operator, deleted under it, and an end that nothing holds up: K10, K12, K14.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::eventually;
use testbed::gateway::Asked;

use super::stage::{HEALED, Stage, fault};
use super::support::{SOON, Stopwatch, directive};

const CRD: &str = "diagnosticsdirectives.osproxy.io";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";

/// The CRD in the cluster, changed by `change` at its schema of `spec`.
async fn redefine(stage: &Stage, change: impl FnOnce(&mut Value)) -> Result<()> {
    let plane = &stage.line.plane;
    let definition = plane
        .kubectl(&["get", "crd", CRD, "-o", "json"])
        .await?
        .success()?;
    let mut definition: Value = serde_json::from_str(&definition)?;
    change(
        &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
    );
    let input = definition.to_string();
    plane
        .kubectl_with_input(&["replace", "-f", "-"], &input)
        .await?
        .success()?;
    Ok(())
}

/// An older one as it would be: without what came later, and with nothing that speaks of it.
fn without(schema: &mut Value, members: &[&str]) {
    let all = members.iter().map(|member| format!("/properties/{member}"));
    for path in all.chain(["/x-kubernetes-validations".to_owned()]) {
        take(schema, &path);
    }
}

fn take(schema: &mut Value, path: &str) {
    let (parent, member) = path.rsplit_once('/').unwrap_or_default();
    let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut);
    let taken = parent.and_then(|parent| parent.remove(member));
    assert!(taken.is_some(), "the CRD has no {path}");
}

#[tokio::test]
async fn k10_a_definition_that_drops_what_narrows_widens_nothing() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let mut suspended = directive("suspended", "1h");
    suspended["spec"]["suspend"] = true.into();
    stage.line.apply(&suspended).await?;
    stage.line.state("suspended", "Suspended").await?;
    let whole = stage
        .line
        .plane
        .kubectl(&["get", "crd", CRD, "-o", "json"])
        .await?
        .success()?;

    // From now on nobody can see that it is suspended.
    redefine(&stage, |schema| {
        without(schema, &["suspend", "activeFrom"]);
        take(schema, &format!("/{PRESERVES}"));
    })
    .await?;
    let watch = Stopwatch::start();
    stage.line.ids(&[]).await?;
    fault(
        "K10",
        "a CRD that drops what narrows: all is off",
        HEALED,
        watch.elapsed(),
    );
    watch.within(HEALED, "its being noticed")?;
    // The server itself goes by a definition a moment after it has taken it.
    eventually("the server to show it no more", SOON, async || {
        let shown = stage
            .line
            .plane
            .kubectl(&["get", "diag", "suspended", "-o", "json"]);
        let shown: Value = serde_json::from_str(&shown.await?.success()?)?;
        ensure!(
            shown["spec"].get("suspend").is_none(),
            "the server still shows it: {shown}"
        );
        Ok(())
    })
    .await?;
    stage.says("kube_definition_prunes").await?;
    // Nothing is written through such a definition: the server would store the directive without what it drops.
    let statuses = stage.gateway.asked(Asked::is_status).len();
    stage.apply("b").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(
        stage.gateway.asked(Asked::is_status).len() == statuses,
        "it wrote a status"
    );
    eventually("the Event", SOON, async || {
        let args = ["get", "events", "-n", "osproxy-directives"];
        let events = stage.line.plane.kubectl(&args).await?.success()?;
        ensure!(events.contains("DefinitionOutdated"), "{events}");
        Ok(())
    })
    .await?;

    // When it is right again, the server goes on for a moment with what it had.
    let moment = stage.view().await?;
    let late = stage.gateway.when(Asked::is_list).answer(200, moment).arm();
    let mut whole: Value = serde_json::from_str(&whole)?;
    whole["metadata"]
        .as_object_mut()
        .context("metadata")?
        .remove("resourceVersion");
    let replace = ["replace", "-f", "-"];
    stage
        .line
        .plane
        .kubectl_with_input(&replace, &whole.to_string())
        .await?
        .success()?;
    stage
        .right_within("K10", "the right CRD again", &["a", "b"], HEALED)
        .await?;
    ensure!(late.hits() == 1);
    stage.line.state("suspended", "Suspended").await?;
    let history = stage.history().await?;
    ensure!(
        !history.concat().contains(&"default/suspended".to_owned()),
        "{history:?}"
    );
    Ok(())
}

#[tokio::test]
async fn k10_a_definition_that_is_older_and_keeps_everything_is_said_to_be() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let mut suspended = directive("suspended", "1h");
    suspended["spec"]["suspend"] = true.into();
    stage.line.apply(&suspended).await?;
    let watch = Stopwatch::start();
    redefine(&stage, |schema| without(schema, &["suspend", "activeFrom"])).await?;
    stage
        .metric("osproxy_directives_kube_definition_outdated 1")
        .await?;
    fault(
        "K10",
        "an older CRD is said to be one",
        SOON,
        watch.elapsed(),
    );
    let log = stage.log()?;
    ensure!(log.contains("older than this operator"), "{log}");
    stage.apply("b").await?;
    stage.holds(&["a", "b"]).await?;
    eventually("the Event", SOON, async || {
        let args = ["get", "events", "-n", "osproxy-directives"];
        let events = stage.line.plane.kubectl(&args).await?.success()?;
        ensure!(events.contains("DefinitionOutdated"), "{events}");
        Ok(())
    })
    .await?;
    ensure!(
        !stage
            .history()
            .await?
            .concat()
            .contains(&"default/suspended".to_owned())
    );
    stage.never_lost("a").await
}

#[tokio::test]
async fn k12_nothing_waits_for_an_operator_that_is_dead() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let plane = &stage.line.plane;
    plane
        .kubectl(&["create", "namespace", "checkout"])
        .await?
        .success()?;
    let mut manifest = directive("b", "1h");
    manifest["metadata"]["namespace"] = "checkout".into();
    stage.line.apply(&manifest).await?;
    stage.line.ids(&["checkout/b", "default/a"]).await?;
    let replica = stage.line.operator.replica(0);
    replica.kill()?;

    let watch = Stopwatch::start();
    for (kind, name) in [("namespace", "checkout"), ("crd", CRD)] {
        let args = ["delete", kind, name, "--wait=true", "--timeout=30s"];
        plane.kubectl(&args).await?.success()?;
    }
    fault(
        "K12",
        "namespace and CRD deleted, operator dead",
        SOON * 2,
        watch.elapsed(),
    );
    // What is there no more is not published when it comes back, and not before.
    stage.line.ids(&["checkout/b", "default/a"]).await?;
    let text = osproxy_directives::resource::crd_yaml()?;
    plane
        .kubectl_with_input(&["create", "-f", "-"], &text)
        .await?
        .success()?;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
        CRD,
    ];
    plane.kubectl(&established).await?.success()?;
    // The server serves a new kind a moment after it is established.
    eventually("the kind to be served", SOON, async || {
        stage.apply("c").await
    })
    .await?;
    stage.comes_back().await?;
    stage
        .right_within("K12", "what went meanwhile goes", &["c"], SOON)
        .await
}

#[tokio::test]
async fn k14_a_definition_that_is_deleted_under_the_operator() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let plane = &stage.line.plane;
    plane
        .kubectl(&["delete", "crd", CRD, "--timeout=30s"])
        .await?
        .success()?;
    // Its resources are gone with it, and that was said for each of them.
    stage
        .right_within("K14", "a CRD that is deleted", &[], HEALED)
        .await?;
    stage.says("kube_resource_unknown").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let lists = stage.lists();
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(
        stage.lists() - lists <= 5,
        "{} lists in five seconds",
        stage.lists() - lists
    );
    let text = osproxy_directives::resource::crd_yaml()?;
    plane
        .kubectl_with_input(&["create", "-f", "-"], &text)
        .await?
        .success()?;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
        CRD,
    ];
    plane.kubectl(&established).await?.success()?;
    // The server serves a new kind a moment after it is established.
    eventually("the kind to be served", SOON, async || {
        stage.apply("b").await
    })
    .await?;
    stage
        .right_within("K14", "a CRD that comes back", &["b"], HEALED)
        .await?;
    stage.line.state("b", "Active").await?;
    Ok(())
}
