//! Events about the release itself: what concerns no single resource.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter as Source};
use tracing::debug;

use super::reason::EventReason;
use crate::etcd::Keys;
use crate::operator::answers::Answers;
use crate::operator::observe::Definition;
use crate::operator::publish::{Held, KeyState, Outcome, Tally};

/// Something that the people who look after the release should see.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Somebody else wrote or deleted the document; it is put right.
    DocumentChanged,
    /// The key holds something that is not ours, and nobody adopted it.
    ForeignValue {
        /// The revision to adopt.
        revision: i64,
    },
    /// Another release owns the key.
    OwnedByAnother {
        /// That release.
        release: String,
        /// Its cluster.
        cluster: String,
    },
    /// A person paused the publishing.
    Paused,
    /// The pause is over.
    Resumed,
    /// The own clock and the API server's differ.
    ClocksDiffer {
        /// By how many seconds the own one is ahead; negative where it is behind.
        ahead_secs: i64,
    },
    /// The CRD in the cluster lacks something that this operator knows.
    DefinitionOutdated {
        /// Whether it drops fields too, so that every resource is refused.
        prunes: bool,
    },
}

impl Notice {
    /// The Event's reason.
    #[must_use]
    pub fn reason(&self) -> EventReason {
        match self {
            Self::DocumentChanged => EventReason::DocumentChanged,
            Self::ForeignValue { .. } => EventReason::ForeignValue,
            Self::OwnedByAnother { .. } => EventReason::OwnedByAnother,
            Self::Paused => EventReason::Paused,
            Self::Resumed => EventReason::Resumed,
            Self::ClocksDiffer { .. } => EventReason::ClocksDiffer,
            Self::DefinitionOutdated { .. } => EventReason::DefinitionOutdated,
        }
    }

    /// What is the matter with `keys`, and what to do about it.
    #[must_use]
    pub fn note(&self, keys: &Keys) -> String {
        match self {
            Self::DocumentChanged => format!(
                "Somebody else wrote or deleted the document; it is put right. To write by hand, \
                 pause the operator first: etcdctl put {} 1",
                keys.paused()
            ),
            Self::ForeignValue { revision } => format!(
                "The key holds a document that this release did not write, at etcd revision {revision}. Nothing is published. \
                 Look at it with `osproxy-directives import`, then take it over with `osproxy-directives adopt --revision {revision}`"
            ),
            Self::OwnedByAnother { release, cluster } => format!(
                "The key belongs to release {release} of cluster {cluster}. Nothing is published. Give this release another key, \
                 or take the key over with `osproxy-directives adopt`"
            ),
            Self::Paused => format!(
                "A person paused the publishing. Delete the key {} to go on",
                keys.paused()
            ),
            Self::Resumed => "The pause is over; the operator publishes again".to_owned(),
            Self::ClocksDiffer { ahead_secs } => format!(
                "The operator's clock is {} s {} the API server's. Directives start and end by the operator's and the proxies' \
                 clocks. Set the clocks of all nodes by NTP",
                ahead_secs.unsigned_abs(),
                if *ahead_secs < 0 { "behind" } else { "ahead of" },
            ),
            Self::DefinitionOutdated { prunes: false } => {
                "The CRD in the cluster is older than the operator, so less is checked at apply time. Apply the CRD of this \
                 release: osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -"
                    .to_owned()
            }
            Self::DefinitionOutdated { prunes: true } => {
                "The CRD in the cluster drops fields that it does not know, so every resource is refused. Apply the CRD of this \
                 release: osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -"
                    .to_owned()
            }
        }
    }
}

/// Sends notices as Events about the release's Deployment.
#[derive(Clone)]
pub struct Announcer {
    recorder: Recorder,
    regarding: ObjectReference,
    keys: Keys,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

impl Announcer {
    /// An announcer for `release`, `namespace/name`, that publishes at `keys` and signs as `instance`.
    #[must_use]
    pub fn new(client: Client, release: &str, instance: &str, keys: &Keys) -> Self {
        let (namespace, name) = release.split_once('/').unwrap_or(("default", release));
        let source = Source {
            controller: super::FIELD_MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, source),
            regarding: ObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: Some("Deployment".to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ObjectReference::default()
            },
            keys: keys.clone(),
        }
    }

    /// Sends one notice, beside whatever else goes on: nothing waits for it and nothing depends on it.
    pub fn announce(&self, notice: &Notice) {
        let event = Event {
            type_: if notice.reason().is_warning() {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: notice.reason().word().to_owned(),
            note: Some(notice.note(&self.keys)),
            action: notice.reason().word().to_owned(),
            secondary: None,
        };
        let (recorder, regarding) = (self.recorder.clone(), self.regarding.clone());
        tokio::runtime::Handle::current().spawn(async move {
            let call = recorder.publish(&event, &regarding);
            let sent = tokio::time::timeout(Duration::from_secs(5), call).await;
            if !matches!(sent, Ok(Ok(()))) {
                debug!(reason = %event.reason, "An Event was not taken");
            }
        });
    }
}

/// What the people who look after the release have been told already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    held: Option<Held>,
    foreign_writes: u64,
    definition: Definition,
    clocks_differ: bool,
}

impl Told {
    /// What is new to them.
    pub fn news(&mut self, outcome: Outcome, tally: Tally, state: &KeyState) -> Vec<Notice> {
        let mut news = Vec::new();
        if tally.foreign_writes > self.foreign_writes {
            self.foreign_writes = tally.foreign_writes;
            news.push(Notice::DocumentChanged);
        }
        let held = match outcome {
            Outcome::InSync { .. } => None,
            Outcome::Held(held) => Some(held),
        };
        let was = std::mem::replace(&mut self.held, held);
        match held {
            _ if held == was => {}
            Some(Held::Paused) => news.push(Notice::Paused),
            Some(Held::ForeignValue) => news.push(Notice::ForeignValue {
                revision: state.document_revision(),
            }),
            _ if was == Some(Held::Paused) => news.push(Notice::Resumed),
            _ => {}
        }
        news
    }

    /// What is new to them about the API server.
    pub fn of_the_server(&mut self, definition: Definition, answers: &Answers) -> Vec<Notice> {
        let mut news = Vec::new();
        if std::mem::replace(&mut self.definition, definition) != definition
            && definition >= Definition::Older
        {
            let prunes = definition == Definition::Prunes;
            news.push(Notice::DefinitionOutdated { prunes });
        }
        let differ = answers.clocks_differ();
        if !std::mem::replace(&mut self.clocks_differ, differ) && differ {
            let ahead_secs = answers.clock_ahead_secs();
            news.push(Notice::ClocksDiffer { ahead_secs });
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_is_told_to_type_names_the_real_key() {
        let keys = Keys::new("fleet/directives").unwrap();
        for notice in [Notice::DocumentChanged, Notice::Paused] {
            let note = notice.note(&keys);
            assert!(note.contains(" fleet/directives/paused "), "{note}");
        }
    }
}
