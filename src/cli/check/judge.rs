//! What the evidence comes to, line by line.

use serde_json::Value;

use super::line::{Found, Line, Verdict, line, unseen};
use super::operator::{answers, deployment, fleet};
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
pub(super) const OPERATOR: &str = "Operator";
pub(super) const ETCD: &str = "etcd";
pub(super) const FLEET: &str = "Fleet";
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

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
