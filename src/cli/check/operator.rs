//! What is found of the operator, of etcd and of the proxies, which the operator tells of; pure.

use serde_json::Value;

use super::judge::{ETCD, FLEET, OPERATOR};
use super::line::{Found, Line, Verdict, line, unseen};

pub(super) fn deployment(found: &Found<Vec<Value>>) -> Line {
    let id = "operator-pods";
    let deployments = match found {
        Found::Is(deployments) => deployments,
        other => return unseen(OPERATOR, id, "The operator's Deployment", other),
    };
    let Some(first) = deployments.first() else {
        let hint = "install the chart, or name the operator's namespace with -n";
        return line(
            OPERATOR,
            id,
            Verdict::Doubtful,
            "No Deployment of the operator can be found",
            hint,
        );
    };
    let count = |member: &Value| member.as_i64().unwrap_or_default();
    let (wanted, available) = (
        count(&first["spec"]["replicas"]),
        count(&first["status"]["availableReplicas"]),
    );
    let text = format!("{available} of {wanted} replicas of the operator are available");
    let meta = &first["metadata"];
    let namespace = meta["namespace"].as_str().unwrap_or_default();
    // Whoever gave the Deployment another name than the release's still finds its Pods.
    let release = meta["labels"]["app.kubernetes.io/instance"].as_str();
    let pods = format!(
        "-n {namespace} -l app.kubernetes.io/instance={}",
        release.unwrap_or_default()
    );
    let hint = format!(
        "look why: `kubectl logs {pods} --tail=20`; where nothing has started, `kubectl describe pods {pods}`"
    );
    let verdict = match available {
        0 => Verdict::Bad,
        some if some < wanted => Verdict::Doubtful,
        _ => Verdict::Good,
    };
    line(OPERATOR, id, verdict, text, &hint)
}

pub(super) fn answers(found: &Found<Vec<String>>) -> Line {
    let id = "operator-answers";
    match found {
        Found::Is(unanswered) if unanswered.is_empty() => line(
            OPERATOR,
            id,
            Verdict::Good,
            "Every directive has the operator's answer",
            "",
        ),
        Found::Is(unanswered) => {
            let some = unanswered
                .iter()
                .take(3)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            let text = format!(
                "{} directives have no answer from the operator, such as {some}",
                unanswered.len()
            );
            let hint = "look whether the operator runs, which namespaces it watches (--watch-namespaces), and what its log says";
            line(OPERATOR, id, Verdict::Bad, text, hint)
        }
        other => unseen(OPERATOR, id, "The answers of the operator", other),
    }
}

/// What a condition of the `DiagnosticsFleet` is to `check`: its type, where it belongs, what it is called here, and what repairs it.
pub(super) const CONDITIONS: [(&str, &str, &str, &str); 8] = [
    (
        "DefinitionCurrent",
        OPERATOR,
        "operator-definition",
        "apply the CRD of the operator's release, or give the operator the right to look at it",
    ),
    (
        "EtcdReachable",
        ETCD,
        "etcd",
        "see whether etcd runs, and whether the operator's endpoints, certificates and password are right",
    ),
    ("KeyInSync", ETCD, "key", ""),
    (
        "LeaseSound",
        ETCD,
        "lease",
        "look at the key with `osproxy-directives import`; where the operator does not put it right, take it over with `adopt`",
    ),
    (
        "SpaceLeft",
        ETCD,
        "space",
        "compact and defragment etcd, then `etcdctl alarm disarm`; or raise its --quota-backend-bytes",
    ),
    ("VersionAdvised", ETCD, "etcd-version", "upgrade etcd"),
    ("ClocksAgree", FLEET, "clocks", "set the clocks by NTP"),
    (
        "ProxiesCurrent",
        FLEET,
        "proxies",
        "`proxies` names them; look at the log of the first",
    ),
];

/// Whoever starts out has no proxy that reports, and nobody has to have one.
const NOBODY_REPORTS: &str = "give each proxy an instance name and the rights for its record; one with a reference reader never reports";

pub(super) fn fleet(found: &Found<Vec<Value>>) -> Vec<Line> {
    let fleets = match found {
        Found::Is(fleets) => fleets,
        Found::Absent => return vec![],
        other => return vec![unseen(OPERATOR, "leader", "The DiagnosticsFleet", other)],
    };
    let Some(fleet) = fleets.first() else {
        let hint =
            "look whether the operator runs, and whether it may write it: its log says so once";
        return vec![line(
            OPERATOR,
            "leader",
            Verdict::Bad,
            "There is no DiagnosticsFleet: the operator has reported nothing",
            hint,
        )];
    };
    let status = &fleet["status"];
    let mut lines = vec![match status["leader"].as_str() {
        Some(leader) => line(
            OPERATOR,
            "leader",
            Verdict::Good,
            format!("{leader} leads"),
            "",
        ),
        None => line(
            OPERATOR,
            "leader",
            Verdict::Bad,
            "No replica of the operator leads, so that nothing is published",
            "a leader needs etcd: see the line about it. Otherwise look at the log of each replica",
        ),
    }];
    for (type_, room, id, hint) in CONDITIONS {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let Some(condition) = conditions
            .into_iter()
            .find(|condition| condition["type"] == type_)
        else {
            continue;
        };
        let word = |member: &str| condition[member].as_str().unwrap_or_default();
        let verdict = match (word("status"), word("reason")) {
            ("True", _) => Verdict::Good,
            ("False", "AlmostFull" | "Outdated") | ("Unknown", _) => Verdict::Doubtful,
            _ => Verdict::Bad,
        };
        let hint = match word("reason") {
            "NoProxiesReporting" => NOBODY_REPORTS,
            "DirectivesUnseen" => {
                "see the lines about definitions and about what the operator may do"
            }
            "Pending" | "EtcdUnavailable" if type_ == "KeyInSync" => {
                "see the lines about etcd and the leader, and look again in half a minute"
            }
            "Pending" if type_ == "ProxiesCurrent" => "look again in half a minute",
            _ => hint,
        };
        let (text, hint) = match (hint, word("message").split_once(". ")) {
            // The message says what to do by itself.
            ("", Some((text, remedy))) => (text, remedy),
            ("", None) => (word("message"), ""),
            (hint, _) => (word("message"), hint),
        };
        lines.push(line(room, id, verdict, text, hint));
    }
    lines
}
