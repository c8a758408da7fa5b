//! How one directive stands: a pure function of the object that the API server hands out and of the time there.
//!
//! The object's own words come first; where the operator has not answered to them yet, or answered to an earlier generation, that
//! is what is said. What a window says needs no operator: a directive whose end has come is over.

use serde_json::Value;

use super::terminal::plain;
use crate::operator::observe::{Projected, Resource, project};
use crate::resource::{Phase, sample, target_summary};

/// What a directive does at the moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Standing {
    /// In the document, and within its time.
    On,
    /// To be on, or to be taken off, and not yet so.
    Pending,
    /// Its time has not begun.
    Scheduled,
    /// Held back.
    Suspended,
    /// Refused by the operator.
    Refused,
    /// Its time is over.
    Ended,
}

impl Standing {
    /// One word for people and machines.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::On => "On",
            Self::Pending => "Pending",
            Self::Scheduled => "Scheduled",
            Self::Suspended => "Suspended",
            Self::Refused => "Refused",
            Self::Ended => "Ended",
        }
    }
}

/// One directive as it stands.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) standing: Standing,
    /// When its time begins and ends, in whole seconds since the Unix epoch; none where it could not be read.
    pub(super) window: Option<(u64, u64)>,
    pub(super) level: String,
    pub(super) sample: String,
    pub(super) target: String,
    pub(super) ring_buffer: bool,
    pub(super) capture: bool,
    /// `applied n of m`, as of the condition Applied; none where no proxy reports.
    pub(super) applied: Option<String>,
    pub(super) created_by: String,
    pub(super) comment: String,
    /// Whether each proxy that reports has what the document says of it.
    pub(super) proxies: Told,
    /// Why it stands so, where that is not plain: reason and message.
    pub(super) why: Option<(String, String)>,
}

/// What the condition Applied says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// Every proxy that reports is current.
    Applied,
    /// No proxy reports.
    NobodyReports,
    /// Nothing is said of it: it has been in no document, or nobody has asked the proxies yet.
    Nothing,
    /// Some are behind, or not counted yet; reason and message.
    Behind(String, String),
    /// Some refused the document; reason and message.
    Rejecting(String, String),
}

/// How an object stands at `now_secs`; `None` for one that is being deleted, or is none.
pub(super) fn judge(object: &Value, now_secs: u64) -> Option<Seen> {
    match project(object.clone()) {
        Projected::Present(resource) => Some(seen(&resource, now_secs)),
        Projected::Leaving(_) | Projected::Nameless => None,
    }
}

fn seen(resource: &Resource, now_secs: u64) -> Seen {
    let Resource { id, directive, .. } = resource;
    let (standing, why) = standing(resource, now_secs);
    let read = directive.as_ref().ok();
    let text = |text: Option<&String>| text.map(|text| plain(text)).unwrap_or_default();
    let proxies = told(resource);
    let status = resource.status.value();
    let applied = status.get("applied").and_then(Value::as_str);
    let counts = !matches!(proxies, Told::NobodyReports | Told::Nothing);
    let trouble = match &proxies {
        Told::Behind(reason, message) | Told::Rejecting(reason, message) => {
            Some((reason.clone(), message.clone()))
        }
        Told::Applied | Told::NobodyReports | Told::Nothing => None,
    };
    Seen {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        standing,
        window: read.map(|read| (read.window.start, read.window.end_secs)),
        level: read.map_or("", |read| read.entry.level.as_str()).to_owned(),
        sample: read
            .map(|read| sample(read.entry.sample_per_mille))
            .unwrap_or_default(),
        target: read
            .map(|read| plain(&target_summary(&read.entry.selector)))
            .unwrap_or_default(),
        ring_buffer: read.is_some_and(|read| read.entry.ring_buffer),
        capture: read.is_some_and(|read| read.entry.capture),
        applied: applied
            .filter(|_| counts && standing == Standing::On)
            .map(plain),
        created_by: text(read.and_then(|read| read.created_by.as_ref())),
        comment: text(read.and_then(|read| read.comment.as_ref())),
        why: why.or(
            // What proxies have not dropped is on there.
            trouble.filter(|_| matches!(standing, Standing::On | Standing::Suspended)),
        ),
        proxies,
    }
}

fn standing(resource: &Resource, now_secs: u64) -> (Standing, Option<(String, String)>) {
    let directive = match &resource.directive {
        Ok(directive) => directive,
        Err(refusal) => {
            let why = (
                refusal.reason.condition_reason().to_owned(),
                plain(&refusal.message),
            );
            return (Standing::Refused, Some(why));
        }
    };
    let answered = answered(resource);
    if answered
        && let Some(accepted) = condition(resource, "Accepted")
        && accepted.status == "False"
    {
        return (Standing::Refused, Some(accepted.why()));
    }
    let wants = match directive.window.phase(now_secs) {
        Phase::Expired => return (Standing::Ended, None),
        Phase::Scheduled => Standing::Scheduled,
        Phase::Active if directive.suspend => Standing::Suspended,
        Phase::Active => Standing::On,
    };
    let published = condition(resource, "Published");
    match published {
        // Before its time it is in no document, whether somebody has looked or not.
        _ if wants == Standing::Scheduled && !directive.suspend => (wants, None),
        _ if wants == Standing::Scheduled => (Standing::Suspended, None),
        Some(published) if answered && published.status == "True" => (wants, None),
        Some(published) if answered => (Standing::Pending, Some(published.why())),
        _ => {
            let message = "The operator has not looked at it yet";
            let why = ("NotLookedAt".to_owned(), message.to_owned());
            (Standing::Pending, Some(why))
        }
    }
}

fn told(resource: &Resource) -> Told {
    let Some(applied) = condition(resource, "Applied") else {
        return Told::Nothing;
    };
    let (reason, message) = applied.why();
    match (applied.status.as_str(), reason.as_str()) {
        _ if !answered(resource) => Told::Behind("NotLookedAt".to_owned(), message),
        ("True", _) => Told::Applied,
        ("False", "ProxiesRejecting") => Told::Rejecting(reason, message),
        (_, "NoProxiesReporting") => Told::NobodyReports,
        _ => Told::Behind(reason, message),
    }
}

/// Whether the status speaks of what the object says now.
fn answered(resource: &Resource) -> bool {
    resource.status.value()["observedGeneration"].as_i64() == Some(resource.generation)
}

struct Condition {
    status: String,
    reason: String,
    message: String,
}

impl Condition {
    fn why(&self) -> (String, String) {
        (plain(&self.reason), plain(&self.message))
    }
}

fn condition(resource: &Resource, type_: &str) -> Option<Condition> {
    let status = resource.status.value();
    let conditions = status.get("conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == type_)?;
    let text = |member: &str| {
        found
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Some(Condition {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    })
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
