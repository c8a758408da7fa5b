//! The status that a resource should have; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;

use super::proxies::{Fresh, Word, applied};
use super::reason::{ConditionReason, EventReason, FALSE, TRUE};
use crate::etcd::Keys;
use crate::operator::observe::Resource;
use crate::operator::plan::Verdict;
use crate::operator::publish::{Held, Outcome};
use crate::resource::{DiagnosticsDirectiveStatus, State, sample, target_summary};

/// One answer to "does it hold?", with its reason and a sentence for people.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Answer {
    pub(super) fn new(reason: ConditionReason, message: impl Into<String>) -> Self {
        Self {
            status: reason.status(),
            reason: reason.word(),
            message: message.into(),
        }
    }

    /// In the word of whatever keeps it from holding.
    fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: FALSE,
            reason,
            message: message.into(),
        }
    }

    /// That it holds, for the same reason for which something else does not.
    fn because_of(other: &Self) -> Self {
        Self {
            status: TRUE,
            ..other.clone()
        }
    }
}

/// The status of `resource` under `verdict`, where the key stands as `outcome` says and the proxies as `word` does; `None` for either while it is
/// not known yet. What it tells people to do names `keys`.
///
/// A condition keeps its `lastTransitionTime` from the resource's present status as long as it says the same.
#[must_use]
pub fn desired_status(
    resource: &Resource,
    verdict: &Verdict,
    outcome: Option<Outcome>,
    word: Option<&Word>,
    keys: &Keys,
    now_secs: u64,
) -> DiagnosticsDirectiveStatus {
    let accepted = accepted(verdict);
    let published = published(verdict, outcome, keys);
    let is_published = published.status == TRUE;
    let present = resource.status.value();
    let applied = applied(&present, resource.generation, verdict, word, keys);
    let mut ready = ready(verdict, &accepted, &published);
    if ready.status == TRUE && applied.is_refused && !matches!(verdict, Verdict::Expired { .. }) {
        let message = "A proxy refuses the document; the condition Applied says which and why";
        ready = Answer::new(ConditionReason::RefusedByProxies, message);
    }
    let stalled = accepted.status == FALSE;
    let reconciling = !stalled && ready.status != TRUE;
    let mut named = vec![("Accepted", accepted), ("Published", published)];
    if reconciling {
        named.push(("Reconciling", Answer::because_of(&ready)));
    }
    if stalled {
        named.push(("Stalled", Answer::because_of(&ready)));
    }
    named.push(("Ready", ready));
    let mut kept = None;
    match applied.condition {
        Some(Fresh::Kept(condition)) => kept = Some(*condition),
        Some(Fresh::Said(answer)) => named.push(("Applied", answer)),
        None => {}
    }

    let directive = resource.directive.as_ref().ok();
    DiagnosticsDirectiveStatus {
        observed_generation: Some(resource.generation),
        state: Some(state(verdict, is_published)),
        expiration_time: directive.map(|d| rfc3339(d.window.end_secs)),
        target_summary: directive.map(|d| target_summary(&d.entry.selector)),
        sample: directive.map(|d| sample(d.entry.sample_per_mille)),
        applied: applied.column,
        proxies: applied.proxies,
        conditions: named
            .into_iter()
            .map(|(type_, answer)| {
                condition(type_, answer, resource.generation, &present, now_secs)
            })
            .chain(kept)
            .collect(),
    }
}

/// Whether two statuses say the same. Times of transitions do not count: they follow from the rest.
#[must_use]
pub fn says_the_same(present: &Value, desired: &DiagnosticsDirectiveStatus) -> bool {
    let Ok(mut desired) = serde_json::to_value(desired) else {
        return false;
    };
    let mut present = present.clone();
    for status in [&mut present, &mut desired] {
        let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                condition.remove("lastTransitionTime");
            }
        }
        if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.sort_by(|a, b| type_of(a).cmp(type_of(b)));
        }
    }
    present == desired
}

/// An Event to go with a change of status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// Of what.
    pub reason: EventReason,
    /// A sentence.
    pub note: String,
}

/// What to say in Events when `present` becomes `desired`: at most one thing about the directive, and one about its proxies. `again` says that all
/// proxies have had it before.
#[must_use]
pub fn transitions(
    resource: &Resource,
    desired: &DiagnosticsDirectiveStatus,
    outcome: Option<Outcome>,
    again: bool,
) -> Vec<Transition> {
    let state = state_transition(resource, desired, outcome);
    let applied = applied_transition(resource, desired).filter(|_| !again);
    state.into_iter().chain(applied).collect()
}

fn state_transition(
    resource: &Resource,
    desired: &DiagnosticsDirectiveStatus,
    outcome: Option<Outcome>,
) -> Option<Transition> {
    let present = resource.status.value();
    let was = present.get("state").and_then(Value::as_str);
    let of_this_generation =
        present.get("observedGeneration").and_then(Value::as_i64) == Some(resource.generation);
    let is = desired.state?;
    if was == Some(is.as_str()) && (of_this_generation || is != State::Rejected) {
        return None;
    }
    let find = |type_: &str| desired.conditions.iter().find(|c| c.type_ == type_);
    match is {
        State::Rejected => Some(Transition {
            reason: EventReason::Rejected,
            note: find("Accepted")?.message.clone(),
        }),
        State::Active => Some(Transition {
            reason: EventReason::Published,
            note: match outcome {
                Some(Outcome::InSync { revision, .. }) => format!(
                    "Published at etcd revision {revision}; ends {}",
                    desired.expiration_time.as_deref().unwrap_or_default()
                ),
                _ => return None,
            },
        }),
        State::Expired => Some(Transition {
            reason: EventReason::Expired,
            note: find("Ready")?.message.clone(),
        }),
        State::Pending | State::Scheduled | State::Suspended => None,
    }
}

fn applied_transition(
    resource: &Resource,
    desired: &DiagnosticsDirectiveStatus,
) -> Option<Transition> {
    let is_true = |condition: &&Condition| condition.type_ == "Applied" && condition.status == TRUE;
    desired.conditions.iter().find(is_true)?;
    let present = resource.status.value();
    let present = present_condition(&present, "Applied");
    let was = present.and_then(|present| present.get("status")?.as_str());
    let of_this_generation = present
        .and_then(|present| present.get("observedGeneration")?.as_i64())
        == Some(resource.generation);
    let is_news =
        desired.state == Some(State::Active) && (was != Some(TRUE) || !of_this_generation);
    is_news.then(|| Transition {
        reason: EventReason::Applied,
        note: format!(
            "Every proxy that reports has it: {}",
            desired.applied.as_deref().unwrap_or_default()
        ),
    })
}

/// One condition of a status as it stands on the API server.
pub(super) fn present_condition<'s>(status: &'s Value, type_: &str) -> Option<&'s Value> {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let mut all = conditions.into_iter().flatten();
    all.find(|condition| type_of(condition) == type_)
}

fn type_of(condition: &Value) -> &str {
    condition
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn accepted(verdict: &Verdict) -> Answer {
    match verdict {
        Verdict::Refused(refusal) => {
            Answer::no(refusal.reason.condition_reason(), refusal.message.clone())
        }
        _ => Answer::new(ConditionReason::Valid, "The directive is valid"),
    }
}

fn published(verdict: &Verdict, outcome: Option<Outcome>, keys: &Keys) -> Answer {
    if let Verdict::Refused(_) = verdict {
        return Answer::new(
            ConditionReason::NotAccepted,
            "A refused directive is not published",
        );
    }
    match outcome {
        None => Answer::new(
            ConditionReason::NotCompared,
            "The document has not been compared with etcd yet",
        ),
        Some(Outcome::Held(held)) => Answer::no(held.condition_reason(), held_message(held, keys)),
        Some(Outcome::InSync { .. }) => match verdict {
            Verdict::NoRoom { .. } => Answer::new(
                ConditionReason::NoRoom,
                "The document has no room for it: delete or suspend other directives, or raise the operator's limits \
                 (--max-directives, --max-document-bytes)",
            ),
            // Without the revision: it moves with every neighbour, and no status is written for that.
            Verdict::Active { .. } => {
                Answer::new(ConditionReason::InTheDocument, "In the document at the key")
            }
            _ => Answer::new(ConditionReason::NotNeeded, "Rightly not in the document"),
        },
    }
}

fn ready(verdict: &Verdict, accepted: &Answer, published: &Answer) -> Answer {
    for gate in [accepted, published] {
        if gate.status != TRUE {
            return gate.clone();
        }
    }
    match verdict {
        Verdict::Scheduled { start_secs, .. } => Answer::new(
            ConditionReason::Scheduled,
            format!("Starts {}", rfc3339(*start_secs)),
        ),
        Verdict::Expired { end_secs } => Answer::new(
            ConditionReason::Expired,
            format!(
                "Expired {}. To run it again, set activeFrom or delete and apply",
                rfc3339(*end_secs)
            ),
        ),
        Verdict::Suspended { .. } => Answer::new(
            ConditionReason::Suspended,
            "Suspended. To resume it, set suspend to false",
        ),
        _ => Answer::new(ConditionReason::InForce, published.message.clone()),
    }
}

fn state(verdict: &Verdict, published: bool) -> State {
    match verdict {
        Verdict::Refused(_) => State::Rejected,
        Verdict::Scheduled { .. } => State::Scheduled,
        Verdict::Expired { .. } => State::Expired,
        // While the document still says otherwise, it is not suspended where it matters.
        Verdict::Suspended { .. } if published => State::Suspended,
        Verdict::Active { .. } if published => State::Active,
        Verdict::Suspended { .. } | Verdict::Active { .. } | Verdict::NoRoom { .. } => {
            State::Pending
        }
    }
}

/// Why the key does not say what the plan says, for people, and what to do.
pub(in crate::operator) fn held_message(held: Held, keys: &Keys) -> String {
    match held {
        Held::TooLarge => "etcd refuses the document as too large. Delete or suspend directives, lower the operator's --max-document-bytes below \
             etcd's --max-request-bytes, or raise that; proxies keep what they have until it ends"
            .to_owned(),
        Held::Etcd(fault) => format!("Not written: {fault}. The operator keeps trying; proxies keep what they have until it ends"),
        Held::ForeignValue => "The key holds a document that this release did not write. Look at it with `osproxy-directives import`, \
             then take the key over with `osproxy-directives adopt`"
            .to_owned(),
        Held::NoSpace => "etcd's storage is full and refuses the document. Compact and defragment etcd, then disarm its alarm; \
             what is published ends by its own time"
            .to_owned(),
        Held::Paused => format!("A person paused the publishing with the key `{}`. Delete that key to go on", keys.paused()),
    }
}

fn condition(
    type_: &str,
    answer: Answer,
    generation: i64,
    present: &Value,
    now_secs: u64,
) -> Condition {
    let Answer {
        status,
        reason,
        message,
    } = answer;
    let present = present_condition(present, type_);
    let unchanged = present.filter(|c| c.get("status").and_then(Value::as_str) == Some(status));
    let since = unchanged
        .and_then(|c| c.get("lastTransitionTime")?.as_str()?.parse().ok())
        .unwrap_or_else(|| timestamp(now_secs));
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: Time(since),
    }
}

/// A whole second as an RFC 3339 time in UTC.
#[must_use]
pub fn rfc3339(secs: u64) -> String {
    timestamp(secs).to_string()
}

fn timestamp(secs: u64) -> Timestamp {
    i64::try_from(secs)
        .ok()
        .and_then(|secs| Timestamp::from_second(secs).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
