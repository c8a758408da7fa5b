//! What the API server's audit log says of ServiceAccounts: who asked for what, and what was refused.
//!
//! The log is on in every control plane, so whatever an operator is made to do, a right that its chart forgot fails the
//! test that needed it, by name (see [`super::ControlPlane::watch_over`]).

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// Every answered request of a ServiceAccount, without bodies; not those of Kubernetes' own controllers.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: None
    userGroups: ['system:serviceaccounts:kube-system']
  - level: Metadata
    userGroups: ['system:serviceaccounts']
  - level: None
";

/// One answered request of a ServiceAccount.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Audited {
    /// `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// As RBAC has it: `list`, `patch`.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// With its subresource, as RBAC writes it: `diagnosticsdirectives/status`.
    pub resource: String,
    /// The namespace; empty for what has none, and for a request over all of them.
    pub namespace: String,
    /// The HTTP status.
    pub code: u64,
    /// Whether RBAC refused it. Admission's refusals are 403 too, and are not meant.
    pub forbidden: bool,
    /// When it came in; none where the log does not tell.
    pub received: Option<Timestamp>,
}

impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            verb,
            group,
            resource,
            namespace,
            code,
            ..
        } = self;
        write!(
            f,
            "{user}: {verb} {resource} of group {group:?} in {namespace:?} ({code})"
        )
    }
}

/// Whom RBAC must not refuse anything.
#[derive(Debug, Default)]
pub(super) struct WatchedOver {
    users: BTreeSet<String>,
    starts: Vec<RangeInclusive<Timestamp>>,
}

impl WatchedOver {
    pub(super) fn add(&mut self, user: &str) {
        self.users.insert(user.to_owned());
    }

    /// Refusals are no failure any more, to anybody who is watched over so far.
    pub(super) fn clear(&mut self) {
        self.users.clear();
    }

    /// Excuses what came in while a server started: it answers before it has read the roles, and refuses until then what they allow.
    pub(super) fn excuse(&mut self, start: RangeInclusive<Timestamp>) {
        self.starts.push(start);
    }

    /// What was refused to them in spite of it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn refusals(&self, log: &Path) -> Result<Vec<Audited>> {
        let mut refusals = Vec::new();
        for user in &self.users {
            let asked = read(log, user)?;
            refusals.extend(asked.into_iter().filter(|asked| self.is_a_failure(asked)));
        }
        Ok(refusals)
    }

    fn is_a_failure(&self, asked: &Audited) -> bool {
        let in_a_start = |at| self.starts.iter().any(|start| start.contains(at));
        asked.forbidden && !asked.received.as_ref().is_some_and(in_a_start)
    }
}

/// The requests of one user, in the order of their ends; all users' where `user` is empty.
pub(super) fn read(log: &Path, user: &str) -> Result<Vec<Audited>> {
    let text = match fs::read_to_string(log) {
        Ok(text) => text,
        // It is made with the first request that is worth a line.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", log.display())),
    };
    Ok(text
        .lines()
        .filter(|line| line.contains(user))
        // The last line of a server that was killed may be half a line.
        .filter_map(|line| serde_json::from_str(line).ok())
        .map(|event: Value| audited(&event))
        .filter(|audited| user.is_empty() || audited.user == user)
        .collect())
}

fn audited(event: &Value) -> Audited {
    let at = |pointer: &str| {
        let found = event.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let (resource, sub) = (at("/objectRef/resource"), at("/objectRef/subresource"));
    Audited {
        user: at("/user/username"),
        verb: at("/verb"),
        group: at("/objectRef/apiGroup"),
        resource: if sub.is_empty() {
            resource
        } else {
            format!("{resource}/{sub}")
        },
        namespace: at("/objectRef/namespace"),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        forbidden: at("/annotations/authorization.k8s.io~1decision") == "forbid",
        received: at("/requestReceivedTimestamp").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"verb":"patch","user":{"username":"system:serviceaccount:a:b"},
        "objectRef":{"resource":"things","subresource":"status","apiGroup":"x.io","namespace":"n"},
        "requestReceivedTimestamp":"2026-11-28T12:00:00.5Z","responseStatus":{"code":403},"annotations":{"authorization.k8s.io/decision":"forbid"}}"#;

    #[test]
    fn a_refusal_is_told_from_what_rbac_let_pass_and_half_a_line_is_left_out() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let refused = LINE.replace('\n', "");
        let allowed = refused.replace("forbid", "allow");
        fs::write(log.path(), format!("{refused}\n{allowed}\n{{\"verb\":")).unwrap();
        let found = read(log.path(), "system:serviceaccount:a:b").unwrap();
        let told: Vec<(&str, bool)> = found
            .iter()
            .map(|audited| (audited.resource.as_str(), audited.forbidden))
            .collect();
        assert_eq!(told, [("things/status", true), ("things/status", false)]);
        assert_eq!(read(log.path(), "system:serviceaccount:a:bb").unwrap(), []);
        assert_eq!(read(log.path(), "system:serviceaccount:a").unwrap(), []);
    }

    #[test]
    fn a_refusal_is_a_failure_but_while_a_server_starts() {
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), LINE.replace('\n', "")).unwrap();
        let at = |second: u32| -> Timestamp {
            format!("2026-11-28T12:00:{second:02}Z").parse().unwrap()
        };
        let mut watched = WatchedOver::default();
        watched.add("system:serviceaccount:a:other");
        assert!(watched.refusals(log.path()).unwrap().is_empty());
        watched.add("system:serviceaccount:a:b");
        watched.excuse(at(1)..=at(2));
        assert_eq!(watched.refusals(log.path()).unwrap().len(), 1);
        watched.excuse(at(0)..=at(1));
        assert!(watched.refusals(log.path()).unwrap().is_empty());
    }
}
