//! What `check` says of systems that are broken, each in one way; and that following its hint repairs it.

#![allow(clippy::indexing_slicing, reason = "it is part of a test")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
use serde_json::{Value, json};
use testbed::eventually;

use crate::shell::Shell;
use crate::support::{KEY, Line, SOON, Stopwatch};

/// One way to break a system, the line that has to say so, words of its hint, and what the hint says to do.
struct Case {
    name: &'static str,
    id: &'static str,
    result: &'static str,
    hint: &'static str,
    /// As whom, and before what, it is looked.
    looks: &'static [&'static str],
    /// What is going to be broken, for `kubectl get`, to be given back.
    takes: &'static [&'static str],
    breaks: Act,
    repairs: Act,
}

const CASE: Case = Case {
    name: "",
    id: "",
    result: "fail",
    hint: "",
    looks: &["check"],
    takes: &[],
    breaks: Act::Nothing,
    repairs: Act::GiveBack,
};

/// What a person does.
enum Act {
    Nothing,
    Kubectl(&'static [&'static str]),
    /// Gives back what was taken away, as `helm upgrade` does.
    GiveBack,
    Apply(&'static str),
    /// Applies the definition as this build prints it.
    Definition(&'static str),
    /// Puts a value at `<key>/…`.
    Put(&'static str, &'static str),
    Delete(&'static str),
    /// A document by hand, while the publishing is paused.
    WriteByHand,
    /// Another release takes the key, or ours takes it back.
    Owner(&'static str),
    Alarm(AlarmAction),
    PauseOperator,
    ResumeOperator,
    PauseEtcd,
    ResumeEtcd,
}

const FLEET: &str = "diagnosticsfleets.osproxy.io";
const DIRECTIVES: &str = "diagnosticsdirectives.osproxy.io";
const BINDING: &[&str] = &["validatingadmissionpolicybinding", "over-directives"];
const ROLES: &[&str] = &[
    "-n",
    "osproxy-directives",
    "role",
    "osproxy-directives-fleet",
];
const CLUSTER_ROLE: &[&str] = &["clusterrole", "osproxy-directives:osproxy-directives"];

pub(crate) const POLICY: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "over-directives"}, "spec": {
        "failurePolicy": "Ignore",
        "matchConstraints": {"resourceRules": [{"apiGroups": ["osproxy.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["diagnosticsdirectives"]}]},
        "validations": [{"expression": "true"}]}},
    {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "over-directives"}, "spec": {
        "policyName": "over-directives", "validationActions": ["Deny"]}}]}"#;

const NOBODY: &str = "--as=system:serviceaccount:default:nobody";

fn cases() -> Vec<Case> {
    let mut cases = the_api_servers_part();
    cases.extend(the_operators_part());
    cases.extend(etcds_part());
    cases.extend(the_proxies_part());
    cases
}

fn the_api_servers_part() -> Vec<Case> {
    vec![
        Case {
            name: "there is no admission policy",
            id: "policy",
            hint: "policy.enabled=true",
            repairs: Act::Apply(POLICY),
            ..CASE
        },
        Case {
            name: "the admission policy is bound nowhere",
            id: "policy",
            hint: "policy.enabled=true",
            takes: BINDING,
            breaks: Act::Kubectl(&[
                "delete",
                "validatingadmissionpolicybinding",
                "over-directives",
            ]),
            ..CASE
        },
        Case {
            name: "the admission policy only notes what it would refuse",
            id: "policy",
            hint: "policy.enabled=true",
            takes: BINDING,
            breaks: Act::Kubectl(&[
                "patch",
                "validatingadmissionpolicybinding",
                "over-directives",
                "--type=merge",
                r#"-p={"spec":{"validationActions":["Audit"]}}"#,
            ]),
            ..CASE
        },
        Case {
            name: "whoever asks may read nothing",
            id: "read-rights",
            hint: "the chart's view or edit role",
            looks: &["check", NOBODY],
            repairs: Act::Kubectl(&[
                "create",
                "rolebinding",
                "nobody",
                "--role=reader",
                "--serviceaccount=default:nobody",
            ]),
            ..CASE
        },
        Case {
            name: "whoever asks may only read",
            id: "change-rights",
            result: "warn",
            hint: "the chart's view or edit role",
            looks: &["check", NOBODY],
            repairs: Act::Kubectl(&[
                "patch",
                "role",
                "reader",
                "--type=json",
                r#"-p=[{"op":"replace","path":"/rules/0/verbs","value":["get","list","create","patch","delete"]}]"#,
            ]),
            ..CASE
        },
        Case {
            name: "whoever wants to install may not",
            id: "install-rights",
            hint: "ask whoever runs this cluster to install it",
            looks: &["check", "--pre", NOBODY],
            repairs: Act::Kubectl(&[
                "create",
                "clusterrolebinding",
                "nobody",
                "--clusterrole=cluster-admin",
                "--serviceaccount=default:nobody",
            ]),
            ..CASE
        },
        Case {
            name: "the definition of the fleet is gone",
            id: "fleet-definition",
            hint: "osproxy-directives crd fleet | kubectl apply --server-side --force-conflicts -f -",
            breaks: Act::Kubectl(&["delete", "crd", FLEET]),
            repairs: Act::Definition("fleet"),
            ..CASE
        },
        Case {
            name: "the definition of the directives is gone",
            id: "definition",
            hint: "osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -",
            breaks: Act::Kubectl(&["delete", "crd", DIRECTIVES]),
            repairs: Act::Definition("directive"),
            ..CASE
        },
        Case {
            name: "the definition of the directives lacks a member",
            id: "definition",
            hint: "osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -",
            breaks: Act::Kubectl(&[
                "patch",
                "crd",
                DIRECTIVES,
                "--type=json",
                r#"-p=[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/comment"}]"#,
            ]),
            repairs: Act::Definition("directive"),
            ..CASE
        },
        Case {
            name: "the definition of the directives drops what it does not know",
            id: "definition",
            hint: "osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -",
            breaks: Act::Kubectl(&[
                "patch",
                "crd",
                DIRECTIVES,
                "--type=json",
                r#"-p=[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-preserve-unknown-fields"}]"#,
            ]),
            repairs: Act::Definition("directive"),
            ..CASE
        },
    ]
}

fn the_operators_part() -> Vec<Case> {
    let rights = |name, takes, breaks| Case {
        name,
        id: "operator-rights",
        hint: "rbac.create=true",
        takes,
        breaks: Act::Kubectl(breaks),
        ..CASE
    };
    vec![
        rights(
            "the binding to the operator's own report is gone",
            &[
                "rolebinding",
                "-n",
                "osproxy-directives",
                "osproxy-directives-fleet",
            ],
            &[
                "delete",
                "rolebinding",
                "-n",
                "osproxy-directives",
                "osproxy-directives-fleet",
            ],
        ),
        rights(
            "the role for the operator's own report is gone",
            ROLES,
            &[
                "delete",
                "role",
                "-n",
                "osproxy-directives",
                "osproxy-directives-fleet",
            ],
        ),
        rights(
            "the operator is bound to nothing",
            &[
                "clusterrolebinding",
                "-l",
                "app.kubernetes.io/name=osproxy-directives",
            ],
            &[
                "delete",
                "clusterrolebinding",
                "-l",
                "app.kubernetes.io/name=osproxy-directives",
            ],
        ),
        rights(
            "the operator's role allows nothing",
            CLUSTER_ROLE,
            &[
                "patch",
                "clusterrole",
                "osproxy-directives:osproxy-directives",
                "--type=merge",
                r#"-p={"rules":[]}"#,
            ],
        ),
        Case {
            name: "the operator does not run",
            id: "operator-answers",
            hint: "look whether the operator runs",
            breaks: Act::PauseOperator,
            repairs: Act::ResumeOperator,
            ..CASE
        },
    ]
}

fn etcds_part() -> Vec<Case> {
    vec![
        Case {
            name: "a person paused the publishing",
            id: "key",
            hint: "Delete that key to go on",
            breaks: Act::Put("paused", "a person"),
            repairs: Act::Delete("paused"),
            ..CASE
        },
        Case {
            name: "somebody wrote the document by hand",
            id: "lease",
            hint: "osproxy-directives import",
            breaks: Act::WriteByHand,
            repairs: Act::Delete("paused"),
            ..CASE
        },
        Case {
            name: "another release owns the key",
            id: "key",
            hint: "take this key over with `osproxy-directives adopt`",
            breaks: Act::Owner("elsewhere/osproxy-directives"),
            repairs: Act::Owner("osproxy-directives/osproxy-directives"),
            ..CASE
        },
        Case {
            name: "nobody leads",
            id: "leader",
            hint: "look at the log of each replica",
            breaks: Act::Owner("elsewhere/osproxy-directives"),
            repairs: Act::Owner("osproxy-directives/osproxy-directives"),
            ..CASE
        },
        Case {
            name: "etcd does not answer",
            id: "etcd",
            hint: "see whether etcd runs",
            breaks: Act::PauseEtcd,
            repairs: Act::ResumeEtcd,
            ..CASE
        },
        Case {
            name: "etcd is full",
            id: "space",
            hint: "etcdctl alarm disarm",
            breaks: Act::Alarm(AlarmAction::Activate),
            repairs: Act::Alarm(AlarmAction::Deactivate),
            ..CASE
        },
    ]
}

fn the_proxies_part() -> Vec<Case> {
    let proxy = |name, id, hint, record| Case {
        name,
        id,
        hint,
        breaks: Act::Put("fleet/edge-7f9c", record),
        repairs: Act::Delete("fleet/edge-7f9c"),
        ..CASE
    };
    let names = "`proxies` names them";
    vec![
        proxy(
            "a proxy is behind",
            "proxies",
            names,
            r#"{"version":"0.1.0","revision":1}"#,
        ),
        proxy(
            "a proxy refuses the document",
            "proxies",
            names,
            r#"{"version":"0.1.0","revision":1,"refused":{"reason":"unknown_member","revision":0}}"#,
        ),
        proxy("a proxy says what nobody can read", "proxies", names, "?"),
        proxy(
            "a proxy's clock is off",
            "clocks",
            "set the clocks by NTP",
            r#"{"version":"0.1.0","revision":1,"clock_ahead_ms":60000}"#,
        ),
    ]
}

pub(crate) async fn check_finds_what_is_broken(line: &Line, shell: &Shell) -> Result<()> {
    // Rights are taken away below, on purpose.
    line.plane.expect_refusals();
    // Before anything: what is broken is only what this test has left out.
    // What came last may not have been reported yet.
    eventually("check to find that alone", SOON, async || {
        let said = shell.run(&["check"]).await?;
        said.ended(1)?;
        ensure!(
            said.out
                .contains("fail There is no admission policy over directives\n")
                && said.out.ends_with("1 of 20 is broken.\n"),
            "{said:?}"
        );
        Ok(())
    })
    .await?;
    let watch = Stopwatch::start();
    shell.run(&["check"]).await?.ended(1)?;
    watch.within(Duration::from_secs(3), "check")?;
    shell.run(&["check", "--pre"]).await?.ended(0)?;
    line.plane
        .kubectl(&["create", "serviceaccount", "nobody"])
        .await?
        .success()?;
    for case in cases() {
        let watch = Stopwatch::start();
        one(line, shell, &case).await.with_context(|| case.name)?;
        println!("{:<60} {:>5.1} s", case.name, watch.elapsed().as_secs_f64());
    }
    // A case is over with its own line; another one may still tell of it.
    eventually("check to find nothing", SOON, async || {
        let said = shell.run(&["check"]).await?;
        ensure!(!said.out.contains("\nfail"), "{said:?}");
        said.ended(0)
    })
    .await
}

async fn one(line: &Line, shell: &Shell, case: &Case) -> Result<()> {
    let taken = taken(line, case.takes).await?;
    case.breaks.perform(line, shell, &taken).await?;
    eventually("check to find it", SOON * 3, async || {
        let found = look(shell, case).await?;
        ensure!(found["result"] == case.result, "{found}");
        let hint = found["hint"].as_str().unwrap_or_default();
        ensure!(hint.contains(case.hint), "the hint is {hint:?}");
        Ok(())
    })
    .await?;
    case.repairs.perform(line, shell, &taken).await?;
    eventually("check to find it repaired", SOON * 3, async || {
        let found = look(shell, case).await?;
        let is_good = found["result"] == "ok";
        // Without proxies nobody can say more of them.
        ensure!(
            is_good || (case.id == "proxies" && found["result"] == "warn"),
            "{found}"
        );
        Ok(())
    })
    .await
}

async fn look(shell: &Shell, case: &Case) -> Result<Value> {
    let mut args = case.looks.to_vec();
    args.extend(["-o", "json"]);
    let said = shell.run(&args).await?;
    let whole: Value = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    let checks = whole["checks"].as_array().context("no checks")?;
    let found = checks.iter().find(|check| check["id"] == case.id);
    found
        .cloned()
        .with_context(|| format!("no line {} in {whole}", case.id))
}

/// What is going to be taken away, as it stands there.
async fn taken(line: &Line, which: &[&str]) -> Result<String> {
    if which.is_empty() {
        return Ok(String::new());
    }
    let mut args = vec!["get", "-o", "json"];
    args.extend(which);
    let mut objects: Value = serde_json::from_str(&line.plane.kubectl(&args).await?.success()?)?;
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

impl Act {
    async fn perform(&self, line: &Line, shell: &Shell, taken: &str) -> Result<()> {
        let operator = line.operator.replica(0).process();
        let etcd = line.etcd.member(0);
        match self {
            Self::Nothing => Ok(()),
            Self::Kubectl(args) => line.plane.kubectl(args).await?.success().map(drop),
            Self::GiveBack => {
                let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
                line.plane
                    .kubectl_with_input(&args, taken)
                    .await?
                    .success()
                    .map(drop)
            }
            Self::Apply(manifest) => {
                let args = ["apply", "--server-side", "-f", "-"];
                line.plane
                    .kubectl_with_input(&args, manifest)
                    .await?
                    .success()
                    .map(drop)
            }
            Self::WriteByHand => {
                let mut etcd = line.etcd.client().await?;
                etcd.put(format!("{KEY}/paused"), "a person", None).await?;
                etcd.put(KEY, r#"{"directives":[]}"#, None).await?;
                Ok(())
            }
            Self::Owner(release) => {
                let mut etcd = line.etcd.client().await?;
                let key = format!("{KEY}/owner");
                let stored = etcd.get(key.as_str(), None).await?;
                let stored = stored.kvs().first().context("nobody owns the key")?;
                let mut owner: Value = serde_json::from_slice(stored.value())?;
                owner["release"] = (*release).into();
                etcd.put(key, owner.to_string(), None).await?;
                Ok(())
            }
            Self::Alarm(action) => {
                let mut etcd = line.etcd.client().await?;
                let member = etcd
                    .status()
                    .await?
                    .header()
                    .context("no header")?
                    .member_id();
                let mut options = AlarmOptions::new();
                options.with_member(member);
                etcd.alarm(*action, AlarmType::Nospace, Some(options))
                    .await?;
                Ok(())
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
