use std::collections::BTreeSet;

use kube::CustomResourceExt as _;
use serde_json::json;

use super::*;
use crate::cli::check::operator::CONDITIONS;
use crate::resource::DiagnosticsDirective;

fn fleet() -> Value {
    let conditions: Vec<Value> = CONDITIONS
        .iter()
        .map(|(type_, ..)| json!({"type": type_, "status": "True", "reason": "Good", "message": "as it should be"}))
        .collect();
    json!({"status": {"leader": "operator-1", "conditions": conditions}})
}

fn sound() -> Evidence {
    Evidence {
        version: Found::Is("v1.36.3".into()),
        clock_ahead_secs: Some(0),
        directives_definition: Found::Is(
            serde_json::to_value(DiagnosticsDirective::crd()).unwrap(),
        ),
        fleet_definition: Found::Is(json!({})),
        caller: ["get", "list", "create", "patch", "delete"]
            .map(|verb| (verb, Found::Is(true)))
            .to_vec(),
        policies: Found::Is(vec![json!({
            "metadata": {"name": "ours"},
            "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["osproxy.io"]}]}},
        })]),
        policy_bindings: Found::Is(vec![
            json!({"spec": {"policyName": "ours", "validationActions": ["Deny"]}}),
        ]),
        deployments: Found::Is(vec![
            json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"replicas": 2}, "status": {"availableReplicas": 2}}),
        ]),
        operator: vec![("list diagnosticsdirectives".into(), Found::Is(true))],
        unanswered: Found::Is(vec![]),
        fleets: Found::Is(vec![fleet()]),
    }
}

fn not_good(evidence: &Evidence) -> Vec<(&'static str, Verdict)> {
    let lines = judge(evidence).into_iter();
    lines
        .filter(|line| line.verdict != Verdict::Good)
        .map(|line| (line.id, line.verdict))
        .collect()
}

fn condition(type_: &str, status: &str, reason: &str) -> Evidence {
    let mut fleet = fleet();
    for condition in fleet["status"]["conditions"].as_array_mut().unwrap() {
        if condition["type"] == type_ {
            condition["status"] = status.into();
            condition["reason"] = reason.into();
        }
    }
    Evidence {
        fleets: Found::Is(vec![fleet]),
        ..sound()
    }
}

#[test]
fn a_sound_system_has_no_line_that_is_not_good() {
    assert_eq!(not_good(&sound()), []);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table, a row a thing that breaks")]
fn each_thing_that_breaks_has_a_line_of_its_own_and_a_hint() {
    use Verdict::{Bad, Doubtful};
    let mut pruning = serde_json::to_value(DiagnosticsDirective::crd()).unwrap();
    pruning["spec"]["versions"] = json!([]);
    let mut older = serde_json::to_value(DiagnosticsDirective::crd()).unwrap();
    let spec = &mut older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]
        .as_object_mut()
        .unwrap()
        .remove("suspend");
    let leaderless = json!({"status": {"conditions": []}});
    let denied = |verb: &'static str| {
        let rights = sound().caller.into_iter();
        let with = rights.map(|(v, found)| {
            if v == verb {
                (v, Found::Is(false))
            } else {
                (v, found)
            }
        });
        Evidence {
            caller: with.collect(),
            ..sound()
        }
    };
    let auditing = vec![json!({"spec": {"policyName": "ours", "validationActions": ["Audit"]}})];
    for (evidence, id, verdict) in [
        (
            Evidence {
                version: Found::Is("v1.32.9".into()),
                ..sound()
            },
            "api-version",
            Bad,
        ),
        (
            Evidence {
                clock_ahead_secs: Some(-9),
                ..sound()
            },
            "own-clock",
            Doubtful,
        ),
        (
            Evidence {
                directives_definition: Found::Absent,
                ..sound()
            },
            "definition",
            Bad,
        ),
        (
            Evidence {
                directives_definition: Found::Is(pruning),
                ..sound()
            },
            "definition",
            Bad,
        ),
        (
            Evidence {
                directives_definition: Found::Is(older),
                ..sound()
            },
            "definition",
            Bad,
        ),
        (
            Evidence {
                directives_definition: Found::Forbidden,
                ..sound()
            },
            "definition",
            Doubtful,
        ),
        (
            Evidence {
                fleet_definition: Found::Absent,
                ..sound()
            },
            "fleet-definition",
            Bad,
        ),
        (denied("list"), "read-rights", Bad),
        (denied("patch"), "change-rights", Doubtful),
        (
            Evidence {
                policies: Found::Is(vec![]),
                ..sound()
            },
            "policy",
            Bad,
        ),
        (
            Evidence {
                policy_bindings: Found::Is(vec![]),
                ..sound()
            },
            "policy",
            Bad,
        ),
        (
            Evidence {
                policy_bindings: Found::Is(auditing),
                ..sound()
            },
            "policy",
            Bad,
        ),
        (
            Evidence {
                policies: Found::Forbidden,
                ..sound()
            },
            "policy",
            Doubtful,
        ),
        (
            Evidence {
                deployments: Found::Is(vec![json!({"spec": {"replicas": 2}, "status": {}})]),
                ..sound()
            },
            "operator-pods",
            Bad,
        ),
        (
            Evidence {
                deployments: Found::Is(vec![]),
                ..sound()
            },
            "operator-pods",
            Doubtful,
        ),
        (
            Evidence {
                operator: vec![("watch diagnosticsdirectives".into(), Found::Is(false))],
                ..sound()
            },
            "operator-rights",
            Bad,
        ),
        (
            Evidence {
                unanswered: Found::Is(vec!["default/a".into()]),
                ..sound()
            },
            "operator-answers",
            Bad,
        ),
        (
            Evidence {
                fleets: Found::Is(vec![]),
                ..sound()
            },
            "leader",
            Bad,
        ),
        (
            Evidence {
                fleets: Found::Is(vec![leaderless]),
                ..sound()
            },
            "leader",
            Bad,
        ),
        (
            condition("EtcdReachable", "False", "EtcdUnavailable"),
            "etcd",
            Bad,
        ),
        (condition("KeyInSync", "False", "Paused"), "key", Bad),
        (
            condition("LeaseSound", "False", "NotOnALease"),
            "lease",
            Bad,
        ),
        (condition("SpaceLeft", "False", "NoSpace"), "space", Bad),
        (
            condition("SpaceLeft", "False", "AlmostFull"),
            "space",
            Doubtful,
        ),
        (
            condition("SpaceLeft", "Unknown", "NotTold"),
            "space",
            Doubtful,
        ),
        (
            condition("VersionAdvised", "False", "Outdated"),
            "etcd-version",
            Doubtful,
        ),
        (
            condition("ClocksAgree", "False", "OperatorsClock"),
            "clocks",
            Bad,
        ),
        (
            condition("DefinitionCurrent", "False", "Older"),
            "operator-definition",
            Bad,
        ),
        (
            condition("ProxiesCurrent", "False", "ProxiesLagging"),
            "proxies",
            Bad,
        ),
        (
            condition("ProxiesCurrent", "Unknown", "NoProxiesReporting"),
            "proxies",
            Doubtful,
        ),
    ] {
        assert_eq!(not_good(&evidence), [(id, verdict)], "{id}");
    }
    let gone = Evidence {
        version: Found::Failed("no route".into()),
        ..sound()
    };
    assert_eq!(not_good(&gone), [("api-server", Bad)]);
}

#[test]
fn what_is_paused_by_a_person_says_what_to_do_in_its_own_words() {
    let mut fleet = fleet();
    fleet["status"]["conditions"][1] = json!({
        "type": "KeyInSync", "status": "False", "reason": "Paused", "message": "A person paused the publishing. Delete that key to go on",
    });
    let lines = judge(&Evidence {
        fleets: Found::Is(vec![fleet]),
        ..sound()
    });
    let key = lines.iter().find(|line| line.id == "key").unwrap();
    assert_eq!(key.text, "A person paused the publishing");
    assert_eq!(key.hint.as_deref(), Some("Delete that key to go on"));
}

#[test]
fn every_check_is_described_where_its_link_leads() {
    let page = include_str!("../../../docs/checks.md");
    let headings: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let mut lines = judge(&sound());
    lines.extend(before(&sound().version, Some(0), &[]));
    for line in lines {
        assert!(
            headings.contains(line.id),
            "docs/checks.md has no heading `## {}`",
            line.id
        );
    }
}
