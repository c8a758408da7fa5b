//! What the evidence comes to, line by line.

use serde_json::Value;

use super::line::{Found, Line, Verdict, line, unseen};
use crate::operator::observe::Definition;

/// Everything that was found out.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) version: Found<String>,
    /// By how many seconds the clock here is ahead of the API server's.
    pub(super) clock_ahead_secs: Option<i64>,
    pub(super) directives_definition: Found<Value>,
    pub(super) fleet_definition: Found<Value>,
    /// What the caller may do with directives: verb, and whether.
    pub(super) caller: Vec<(&'static str, Found<bool>)>,
    pub(super) policies: Found<Vec<Value>>,
    pub(super) policy_bindings: Found<Vec<Value>>,
    pub(super) deployments: Found<Vec<Value>>,
    /// What the operator may do: what, and whether.
    pub(super) operator: Vec<(String, Found<bool>)>,
    /// Directives that nobody has looked at for too long, by name.
    pub(super) unanswered: Found<Vec<String>>,
    pub(super) fleets: Found<Vec<Value>>,
}

const API: &str = "API server";
const DEFINITIONS: &str = "Definitions";
const RIGHTS: &str = "Rights";
const POLICY: &str = "Admission policy";
const OPERATOR: &str = "Operator";
const ETCD: &str = "etcd";
const FLEET: &str = "Fleet";
/// In which order they are shown.
const ROOMS: [&str; 7] = [API, DEFINITIONS, RIGHTS, POLICY, OPERATOR, ETCD, FLEET];

/// The oldest minor version of Kubernetes that this is tested with.
const LEAST_MINOR: u64 = 33;
const CLOCK_TOLERANCE_SECS: u64 = 5;

/// The checks before an installation: `may` says what the caller may make.
pub(super) fn before(
    version: &Found<String>,
    clock_ahead_secs: Option<i64>,
    may: &[(String, Found<bool>)],
) -> Vec<Line> {
    let mut lines = api_server(version, clock_ahead_secs);
    lines.push(rights(
        "install-rights",
        may,
        "You may install the chart",
        "ask whoever runs this cluster to install it, or for these rights",
    ));
    lines
}

/// The checks of an installation.
pub(super) fn judge(evidence: &Evidence) -> Vec<Line> {
    let mut lines = api_server(&evidence.version, evidence.clock_ahead_secs);
    if matches!(evidence.version, Found::Failed(_)) {
        // Whatever else was asked had no answer either, and for the same reason.
        return lines;
    }
    lines.push(directives_definition(&evidence.directives_definition));
    lines.push(fleet_definition(&evidence.fleet_definition));
    let caller: Vec<(String, Found<bool>)> = evidence
        .caller
        .iter()
        .map(|(verb, found)| (format!("{verb} diagnosticsdirectives"), found.clone()))
        .collect();
    let (reads, changes): (Vec<_>, Vec<_>) = caller
        .into_iter()
        .partition(|(what, _)| what.starts_with("get") || what.starts_with("list"));
    let hint = "ask whoever runs this cluster for the chart's view or edit role, or choose a namespace with -n";
    lines.push(rights(
        "read-rights",
        &reads,
        "You may read directives",
        hint,
    ));
    let change = rights("change-rights", &changes, "You may change directives", hint);
    // Whoever only looks needs no more.
    lines.push(Line {
        verdict: change.verdict.min(Verdict::Doubtful),
        ..change
    });
    lines.push(policy(&evidence.policies, &evidence.policy_bindings));
    lines.push(deployment(&evidence.deployments));
    lines.push(rights(
        "operator-rights",
        &evidence.operator,
        "The operator may do what it has to",
        "make the chart's roles and bindings again: `helm upgrade` with rbac.create=true; or name a namespace with -n that the operator watches",
    ));
    lines.push(answers(&evidence.unanswered));
    lines.extend(fleet(&evidence.fleets));
    lines.sort_by_key(|line| ROOMS.iter().position(|room| *room == line.room));
    lines
}

fn api_server(version: &Found<String>, clock_ahead_secs: Option<i64>) -> Vec<Line> {
    let Found::Is(version) = version else {
        let why = match version {
            Found::Failed(why) => format!("The API server does not answer: {why}"),
            _ => "The API server does not tell its version".to_owned(),
        };
        let hint = "see whether `kubectl version` gets an answer; --kubeconfig and --context name another server";
        return vec![line(API, "api-server", Verdict::Bad, why, hint)];
    };
    let mut lines = vec![line(
        API,
        "api-server",
        Verdict::Good,
        format!("The API server answers, with {version}"),
        "",
    )];
    let minor = version.trim_start_matches('v').split('.').nth(1);
    let new_enough = minor
        .and_then(|minor| minor.parse::<u64>().ok())
        .is_some_and(|minor| minor >= LEAST_MINOR);
    lines.push(if new_enough {
        line(
            API,
            "api-version",
            Verdict::Good,
            format!("It is 1.{LEAST_MINOR} or newer"),
            "",
        )
    } else {
        let hint = format!("upgrade it to 1.{LEAST_MINOR} at least: older ones are not tested");
        line(
            API,
            "api-version",
            Verdict::Bad,
            format!("It is older than 1.{LEAST_MINOR}"),
            &hint,
        )
    });
    if let Some(secs) = clock_ahead_secs {
        lines.push(if secs.unsigned_abs() > CLOCK_TOLERANCE_SECS {
            let side = if secs > 0 { "ahead of" } else { "behind" };
            let text = format!(
                "The clock here is {} s {side} the API server's",
                secs.unsigned_abs()
            );
            line(
                API,
                "own-clock",
                Verdict::Doubtful,
                text,
                "set both by NTP; these commands count by the API server's",
            )
        } else {
            line(
                API,
                "own-clock",
                Verdict::Good,
                "The clock here and the API server's agree",
                "",
            )
        });
    }
    lines
}

fn directives_definition(found: &Found<Value>) -> Line {
    let id = "definition";
    let again = "apply crds/diagnosticsdirective.yaml of this release: `osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -`";
    match found {
        Found::Is(theirs) => match Definition::judge(theirs) {
            Definition::Current => line(
                DEFINITIONS,
                id,
                Verdict::Good,
                "The CRD of DiagnosticsDirective has all that this build knows",
                "",
            ),
            Definition::Prunes => line(
                DEFINITIONS,
                id,
                Verdict::Bad,
                "The CRD of DiagnosticsDirective drops what it does not know, so that nothing is published",
                again,
            ),
            _ => line(
                DEFINITIONS,
                id,
                Verdict::Bad,
                "The CRD of DiagnosticsDirective is older than this build",
                again,
            ),
        },
        Found::Absent => line(
            DEFINITIONS,
            id,
            Verdict::Bad,
            "The CRD of DiagnosticsDirective is missing",
            again,
        ),
        other => unseen(DEFINITIONS, id, "The CRD of DiagnosticsDirective", other),
    }
}

fn fleet_definition(found: &Found<Value>) -> Line {
    let id = "fleet-definition";
    match found {
        Found::Is(_) => line(
            DEFINITIONS,
            id,
            Verdict::Good,
            "The CRD of DiagnosticsFleet is there",
            "",
        ),
        Found::Absent => line(
            DEFINITIONS,
            id,
            Verdict::Bad,
            "The CRD of DiagnosticsFleet is missing, so that nobody sees the fleet at a glance",
            "apply crds/diagnosticsfleet.yaml of this release: `osproxy-directives crd fleet | kubectl apply --server-side --force-conflicts -f -`",
        ),
        other => unseen(DEFINITIONS, id, "The CRD of DiagnosticsFleet", other),
    }
}

fn rights(id: &'static str, may: &[(String, Found<bool>)], good: &str, hint: &str) -> Line {
    let room = if id == "operator-rights" {
        OPERATOR
    } else {
        RIGHTS
    };
    let missing: Vec<&str> = may
        .iter()
        .filter(|(_, found)| matches!(found, Found::Is(false)))
        .map(|(what, _)| what.as_str())
        .collect();
    if !missing.is_empty() {
        let not = good.replacen(" may ", " may not ", 1);
        let text = format!("{not}: missing is the right to {}", missing.join(", "));
        return line(room, id, Verdict::Bad, text, hint);
    }
    match may.iter().find(|(_, found)| !matches!(found, Found::Is(_))) {
        Some((_, found)) => unseen(room, id, &format!("Whether \"{good}\""), found),
        None if may.is_empty() => unseen(
            room,
            id,
            &format!("Whether \"{good}\""),
            &Found::<()>::Forbidden,
        ),
        None => line(room, id, Verdict::Good, good, ""),
    }
}

/// Whether a `ValidatingAdmissionPolicy` over directives is there, and bound so that it denies.
fn policy(policies: &Found<Vec<Value>>, bindings: &Found<Vec<Value>>) -> Line {
    let id = "policy";
    let hint = "install it again: `helm upgrade` with policy.enabled=true. Without it a mistyped field is refused only after it was stored";
    let (policies, bindings) = match (policies, bindings) {
        (Found::Is(policies), Found::Is(bindings)) => (policies, bindings),
        (Found::Is(_), other) | (other, _) => {
            return unseen(POLICY, id, "The admission policy", other);
        }
    };
    let ours = |policy: &&Value| {
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array();
        rules.into_iter().flatten().any(|rule| {
            let groups = rule["apiGroups"].as_array();
            groups.is_some_and(|groups| groups.iter().any(|group| group == "osproxy.io"))
        })
    };
    let names: Vec<&Value> = policies
        .iter()
        .filter(ours)
        .map(|policy| &policy["metadata"]["name"])
        .collect();
    if names.is_empty() {
        return line(
            POLICY,
            id,
            Verdict::Bad,
            "There is no admission policy over directives",
            hint,
        );
    }
    let denies = |binding: &Value| {
        let actions = binding["spec"]["validationActions"].as_array();
        names.contains(&&binding["spec"]["policyName"])
            && actions.is_some_and(|actions| actions.iter().any(|action| action == "Deny"))
    };
    if bindings.iter().any(denies) {
        line(
            POLICY,
            id,
            Verdict::Good,
            "The admission policy over directives is there, and denies",
            "",
        )
    } else {
        line(
            POLICY,
            id,
            Verdict::Bad,
            "The admission policy over directives is bound nowhere, and so denies nothing",
            hint,
        )
    }
}

fn deployment(found: &Found<Vec<Value>>) -> Line {
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

fn answers(found: &Found<Vec<String>>) -> Line {
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
const CONDITIONS: [(&str, &str, &str, &str); 8] = [
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

fn fleet(found: &Found<Vec<Value>>) -> Vec<Line> {
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

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
