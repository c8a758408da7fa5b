//! A Pod's status, from what its containers are doing.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::unit::{Ended, State, Unit};

/// This second, as Kubernetes writes times.
pub(super) fn now() -> String {
    let second = Timestamp::now().as_second();
    Timestamp::from_second(second)
        .unwrap_or_default()
        .to_string()
}

/// What a status is made from.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    pub(super) inits: &'a [Unit],
    pub(super) units: &'a [Unit],
    pub(super) ip: String,
    pub(super) started: &'a str,
    /// As in the Pod's `restartPolicy`.
    pub(super) policy: &'a str,
    pub(super) terminating: bool,
}

/// When each condition became what it is.
pub(super) type Since = BTreeMap<&'static str, (bool, String)>;

impl Picture<'_> {
    /// All of the status; `since` remembers the conditions from one status to the next.
    pub(super) fn status(&self, since: &mut Since) -> Value {
        let initialized = self.inits.iter().all(Unit::has_succeeded);
        let phase = self.phase();
        let ready = self.is_ready();
        let mut condition = |name: &'static str, holds: bool| {
            let known = since.entry(name).or_insert_with(|| (holds, now()));
            if known.0 != holds {
                *known = (holds, now());
            }
            let reason = match (holds, phase) {
                (true, _) => None,
                (false, "Succeeded") => Some("PodCompleted"),
                (false, _) if name == "Initialized" => Some("ContainersNotInitialized"),
                (false, _) => Some("ContainersNotReady"),
            };
            let mut condition = json!({
                "type": name,
                "status": if holds { "True" } else { "False" },
                "lastTransitionTime": known.1,
            });
            // A strategic merge would leave an old reason where none is said.
            condition["reason"] = json!(reason);
            condition
        };
        let conditions = [
            condition("Initialized", initialized),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ];
        let containers = |units: &[Unit]| units.iter().map(container).collect::<Vec<_>>();
        json!({
            "phase": phase,
            "conditions": conditions,
            "hostIP": "127.0.0.1",
            "hostIPs": [{ "ip": "127.0.0.1" }],
            "podIP": self.ip,
            "podIPs": [{ "ip": self.ip }],
            "startTime": self.started,
            "initContainerStatuses": containers(self.inits),
            "containerStatuses": containers(self.units),
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.terminating && self.units.iter().all(Unit::is_ready)
    }

    pub(super) fn phase(&self) -> &'static str {
        let failed = |unit: &Unit| unit.has_ended() && !unit.has_succeeded();
        if self.policy == "Never" && self.inits.iter().any(failed) {
            return "Failed";
        }
        if !self.inits.iter().all(Unit::has_succeeded) {
            return "Pending";
        }
        let stays = |unit: &Unit| match self.policy {
            "Never" => unit.has_ended(),
            "OnFailure" => unit.has_succeeded(),
            _ => false,
        };
        if self.units.iter().all(stays) {
            return if self.units.iter().any(failed) {
                "Failed"
            } else {
                "Succeeded"
            };
        }
        let was_started = |unit: &Unit| !unit.logs.is_empty();
        if self.units.iter().all(was_started) {
            "Running"
        } else {
            "Pending"
        }
    }
}

fn container(unit: &Unit) -> Value {
    let image = unit.spec.image.as_deref().unwrap_or_default();
    let state = match &unit.state {
        State::Waiting {
            reason, message, ..
        } => json!({ "waiting": { "reason": reason, "message": message } }),
        State::Running(run) => json!({ "running": { "startedAt": run.since } }),
        State::Ended(ended) => json!({ "terminated": terminated(ended) }),
    };
    let last = unit.last.as_ref();
    let last = last.map_or(
        json!({}),
        |ended| json!({ "terminated": terminated(ended) }),
    );
    json!({
        "name": unit.spec.name,
        "image": image,
        "imageID": image,
        "containerID": "",
        "ready": unit.is_ready() || unit.has_succeeded(),
        "started": unit.verdict().started,
        "restartCount": unit.restarts(),
        "state": state,
        "lastState": last,
    })
}

fn terminated(ended: &Ended) -> Value {
    json!({
        "exitCode": ended.code,
        "signal": ended.signal,
        "reason": if ended.code == 0 { "Completed" } else { "Error" },
        "startedAt": ended.since,
        "finishedAt": ended.until,
    })
}
