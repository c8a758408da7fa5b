//! What `check` says of systems that are broken, each in one way; and that following its hint repairs it.

#![allow(clippy::indexing_slicing, reason = "it is part of a test")]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::eventually;

use crate::shell::Shell;
use crate::support::{KEY, Line, SOON};

/// One way to break a system, the line that has to say so, words of its hint, and what the hint says to do.
struct Case {
    name: &'static str,
    id: &'static str,
    result: &'static str,
    hint: &'static str,
    breaks: Act,
    repairs: Act,
}

/// What a person does.
enum Act {
    Kubectl(&'static [&'static str]),
    /// Gives a manifest that was taken away back, as `helm upgrade` does.
    GiveBack,
    /// Applies the definition as this build prints it.
    Definition(&'static str),
    Put(&'static str, &'static str),
    Delete(&'static str),
    /// Stops the operator's process, and starts it again.
    PauseOperator,
    ResumeOperator,
    /// Stops etcd, and lets it go on.
    PauseEtcd,
    ResumeEtcd,
}

const FLEET: &str = "diagnosticsfleets.osproxy.io";
const DIRECTIVES: &str = "diagnosticsdirectives.osproxy.io";

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a person paused the publishing",
            id: "key",
            result: "fail",
            hint: "Delete that key to go on",
            breaks: Act::Put("paused", "a person"),
            repairs: Act::Delete("paused"),
        },
        Case {
            name: "the definition of the fleet is gone",
            id: "fleet-definition",
            result: "fail",
            hint: "osproxy-directives crd fleet | kubectl apply --server-side -f -",
            breaks: Act::Kubectl(&["delete", "crd", FLEET]),
            repairs: Act::Definition("fleet"),
        },
        Case {
            name: "the definition of the directives lacks a member",
            id: "definition",
            result: "fail",
            hint: "osproxy-directives crd | kubectl apply --server-side -f -",
            breaks: Act::Kubectl(&[
                "patch",
                "crd",
                DIRECTIVES,
                "--type=json",
                r#"-p=[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/comment"}]"#,
            ]),
            repairs: Act::Definition("directive"),
        },
        Case {
            name: "the definition of the directives drops what it does not know",
            id: "definition",
            result: "fail",
            hint: "osproxy-directives crd | kubectl apply --server-side -f -",
            breaks: Act::Kubectl(&[
                "patch",
                "crd",
                DIRECTIVES,
                "--type=json",
                r#"-p=[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-preserve-unknown-fields"}]"#,
            ]),
            repairs: Act::Definition("directive"),
        },
        Case {
            name: "the operator's binding to its report is gone",
            id: "operator-rights",
            result: "fail",
            hint: "rbac.create=true",
            breaks: Act::Kubectl(&[
                "delete",
                "rolebinding",
                "-n",
                "osproxy-directives",
                "osproxy-directives-fleet",
            ]),
            repairs: Act::GiveBack,
        },
        Case {
            name: "the operator may not write statuses any more",
            id: "operator-rights",
            result: "fail",
            hint: "rbac.create=true",
            breaks: Act::Kubectl(&[
                "delete",
                "clusterrolebinding",
                "-l",
                "app.kubernetes.io/name=osproxy-directives",
            ]),
            repairs: Act::GiveBack,
        },
        Case {
            name: "the operator does not run",
            id: "operator-answers",
            result: "fail",
            hint: "look whether the operator runs",
            breaks: Act::PauseOperator,
            repairs: Act::ResumeOperator,
        },
        Case {
            name: "etcd does not answer",
            id: "etcd",
            result: "fail",
            hint: "see whether etcd runs",
            breaks: Act::PauseEtcd,
            repairs: Act::ResumeEtcd,
        },
    ]
}

pub(crate) async fn check_finds_what_is_broken(line: &Line, shell: &Shell) -> Result<()> {
    // Before anything: what is broken is only what this test has left out.
    let said = shell.run(&["check"]).await?;
    said.ended(1)?;
    ensure!(
        said.out
            .contains("fail There is no admission policy over directives\n")
            && said.out.ends_with("1 of 20 are broken.\n"),
        "{said:?}"
    );
    shell.run(&["check", "--pre"]).await?.ended(0)?;
    for case in cases() {
        one(line, shell, &case).await.with_context(|| case.name)?;
    }
    Ok(())
}

async fn one(line: &Line, shell: &Shell, case: &Case) -> Result<()> {
    let taken = case.breaks.taken(line).await?;
    case.breaks.perform(line, shell, &taken).await?;
    eventually("check to find it", SOON * 2, async || {
        let found = look(shell, case.id).await?;
        ensure!(found["result"] == case.result, "{found}");
        let hint = found["hint"].as_str().unwrap_or_default();
        ensure!(hint.contains(case.hint), "the hint is {hint:?}");
        Ok(())
    })
    .await?;
    case.repairs.perform(line, shell, &taken).await?;
    eventually("check to find it repaired", SOON * 2, async || {
        let found = look(shell, case.id).await?;
        ensure!(found["result"] == "ok", "{found}");
        Ok(())
    })
    .await
}

async fn look(shell: &Shell, id: &str) -> Result<Value> {
    let said = shell.run(&["check", "-o", "json"]).await?;
    let whole: Value = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    let checks = whole["checks"].as_array().context("no checks")?;
    let found = checks.iter().find(|check| check["id"] == id);
    found
        .cloned()
        .with_context(|| format!("no line {id} in {whole}"))
}

impl Act {
    /// What is going to be taken away, as it stands there.
    async fn taken(&self, line: &Line) -> Result<String> {
        let Self::Kubectl(["delete", rest @ ..]) = self else {
            return Ok(String::new());
        };
        let mut args = vec!["get", "-o", "json"];
        args.extend(rest.iter().copied());
        let mut objects: Value =
            serde_json::from_str(&line.plane.kubectl(&args).await?.success()?)?;
        let strip = |object: &mut Value| {
            if let Some(meta) = object["metadata"].as_object_mut() {
                meta.retain(|name, _| ["name", "namespace", "labels"].contains(&name.as_str()));
            }
        };
        match objects.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) => items.iter_mut().for_each(strip),
            None => strip(&mut objects),
        }
        Ok(objects.to_string())
    }

    async fn perform(&self, line: &Line, shell: &Shell, taken: &str) -> Result<()> {
        let operator = line.operator.replica(0).process();
        let etcd = line.etcd.member(0);
        match self {
            Self::Kubectl(args) => line.plane.kubectl(args).await?.success().map(drop),
            Self::GiveBack => {
                let args = ["create", "-f", "-"];
                line.plane
                    .kubectl_with_input(&args, taken)
                    .await?
                    .success()
                    .map(drop)
            }
            Self::Definition(which) => {
                let printed = shell.run(&["crd", which]).await?.out;
                let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
                line.plane
                    .kubectl_with_input(&args, &printed)
                    .await?
                    .success()
                    .map(drop)
            }
            Self::Put(key, value) => {
                let key = format!("{KEY}/{key}");
                line.etcd.client().await?.put(key, *value, None).await?;
                Ok(())
            }
            Self::Delete(key) => {
                let key = format!("{KEY}/{key}");
                line.etcd.client().await?.delete(key, None).await?;
                Ok(())
            }
            Self::PauseOperator => {
                operator.pause()?;
                let manifest = json!({
                    "apiVersion": "osproxy.io/v1alpha1",
                    "kind": "DiagnosticsDirective",
                    "metadata": {"name": "unanswered", "namespace": "default"},
                    "spec": {"match": [{"key": "tenant", "value": "acme"}], "level": "Shape", "samplePerMille": 1, "ttl": "1h"},
                });
                line.apply(&manifest).await.map(drop)
            }
            Self::ResumeOperator => {
                operator.resume()?;
                line.state("unanswered", "Active").await?;
                line.delete("unanswered").await.map(drop)
            }
            Self::PauseEtcd => etcd.pause(),
            Self::ResumeEtcd => etcd.resume(),
        }
    }
}
