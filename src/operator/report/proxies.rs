//! The condition Applied, and the counts beside it; pure.
//!
//! Both are written where the condition's status or reason changes, and are left as they are otherwise: counts are as of then. So neither a proxy that
//! comes or goes nor ten thousand of them cost a write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use super::reason::{ConditionReason, FALSE, TRUE};
use super::status::{Answer, present_condition};
use crate::etcd::Keys;
use crate::fleet::{Counts, FleetView, Standing, WORST};
use crate::operator::applied::{Opinion, Said};
use crate::operator::plan::Verdict;
use crate::resource::Proxies;

/// How many proxies a message names.
const NAMED: usize = 5;

/// What the proxies say of one directive, as of now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// What it comes to.
    pub opinion: Opinion,
    /// How many stand how.
    pub counts: Counts,
    /// Those that the message names: each with why it refused, where it did.
    pub named: Vec<(String, Option<String>)>,
}

/// The condition Applied as it should be, and the counts that go with it.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) condition: Option<Fresh>,
    pub(super) column: Option<String>,
    pub(super) proxies: Option<Proxies>,
    /// Whether a proxy refuses it.
    pub(super) is_refused: bool,
}

/// The condition Applied.
#[derive(Debug)]
pub(super) enum Fresh {
    /// As it stands, generation and all.
    Kept(Box<Condition>),
    /// What the proxies say of this generation.
    Said(Answer),
}

impl Word {
    /// What `view` says of one directive. The worst are looked up only where they are to be told: `present` is the reason that
    /// stands in the status.
    #[must_use]
    pub fn of(opinion: Opinion, view: Option<&FleetView>, present: Option<&str>) -> Self {
        let reason = condition(opinion.said);
        let told = view.filter(|_| reason.status() == FALSE || opinion.said == Said::Unreadable);
        let told = told.filter(|_| present != Some(reason.word()));
        let wanted = match opinion.said {
            Said::Rejecting => Standing::Rejecting,
            Said::Unreadable => Standing::Unknown,
            _ => Standing::Lagging,
        };
        let worst = told.map(|view| view.worst(opinion.target, WORST));
        let worst = worst.into_iter().flatten();
        let named = worst.filter(|proxy| proxy.standing(opinion.target) == wanted);
        let named = named.take(NAMED).map(|proxy| {
            let record = proxy.record.as_ref().ok();
            let refused = record.and_then(|record| record.refused.as_ref());
            let refused = refused.filter(|_| wanted == Standing::Rejecting);
            let reason = refused.map(|refused| refused.reason.clone());
            (proxy.instance.clone(), reason)
        });
        Self {
            named: named.collect(),
            counts: view.map_or_else(Counts::default, |view| view.counts(opinion.target)),
            opinion,
        }
    }
}

/// What the status should say of the proxies, where it says `status_now`.
pub(super) fn applied(
    status_now: &Value,
    generation: i64,
    verdict: &Verdict,
    word: Option<&Word>,
    keys: &Keys,
) -> Applied {
    let present = present_condition(status_now, "Applied");
    let word = match verdict {
        // Nothing of it was published, or nothing is any more.
        Verdict::Refused(_) => return Applied::default(),
        // An end needs no proxy's word: what was true of it stays written.
        Verdict::Expired { .. } => return kept(status_now, present),
        Verdict::Active { .. }
        | Verdict::Suspended { .. }
        | Verdict::Scheduled { .. }
        | Verdict::NoRoom { .. } => word,
    };
    let is_active = matches!(verdict, Verdict::Active { .. });
    let word = word.filter(|word| {
        // What no leader has seen in the document, and of which no status speaks, was never in it.
        let was_published = is_active || word.opinion.changed || present.is_some();
        was_published && !is_less_than(word.opinion, present, generation)
    });
    let Some(word) = word else {
        return kept(status_now, present);
    };
    let reason = condition(word.opinion.said);
    let text = |member| present.and_then(|present| present.get(member)?.as_str());
    let is_the_same =
        text("status") == Some(reason.status()) && text("reason") == Some(reason.word());
    let (message, column, proxies) = if is_the_same {
        let kept = kept(status_now, present);
        (
            text("message").unwrap_or_default().to_owned(),
            kept.column,
            kept.proxies,
        )
    } else {
        let counted = Some(word.counts).filter(|counts| counts.reporting > 0);
        (
            message(word, !is_active, keys),
            counted.map(|counts| format!("{}/{}", counts.applied, counts.reporting)),
            counted.map(told),
        )
    };
    Applied {
        is_refused: reason == ConditionReason::ProxiesRejecting,
        condition: Some(Fresh::Said(Answer::new(reason, message))),
        column,
        proxies,
    }
}

/// Whether the status that stands there knows more of this generation: a leader that did not see the publication cannot take back what another
/// one saw.
fn is_less_than(opinion: Opinion, present: Option<&Value>, generation: i64) -> bool {
    let Some(present) = present else {
        return opinion.said == Said::AsBefore;
    };
    let of = present.get("observedGeneration").and_then(Value::as_i64);
    if opinion.changed || of != Some(generation) {
        return false;
    }
    let is_true = present.get("status").and_then(Value::as_str) == Some(TRUE);
    match opinion.said {
        Said::AsBefore => true,
        // Whom a False was about is gone.
        Said::Pending | Said::Nobody => is_true,
        Said::Rejecting | Said::Lagging | Said::Unreadable => is_true && !opinion.certain,
        Said::Applied => false,
    }
}

fn kept(status_now: &Value, present: Option<&Value>) -> Applied {
    let condition = present.and_then(|present| serde_json::from_value(present.clone()).ok());
    let column = status_now.get("applied").and_then(Value::as_str);
    let proxies = status_now.get("proxies").cloned();
    Applied {
        is_refused: present.and_then(|present| present.get("reason")?.as_str())
            == Some(ConditionReason::ProxiesRejecting.word()),
        condition: condition.map(|condition| Fresh::Kept(Box::new(condition))),
        column: column.map(str::to_owned),
        proxies: proxies.and_then(|proxies| serde_json::from_value(proxies).ok()),
    }
}

fn condition(said: Said) -> ConditionReason {
    match said {
        Said::AsBefore | Said::Pending => ConditionReason::ProxiesPending,
        Said::Nobody => ConditionReason::NoProxiesReporting,
        Said::Unreadable => ConditionReason::ProxiesUnreadable,
        Said::Applied => ConditionReason::Applied,
        Said::Rejecting => ConditionReason::ProxiesRejecting,
        Said::Lagging => ConditionReason::ProxiesLagging,
    }
}

fn message(word: &Word, withdrawn: bool, keys: &Keys) -> String {
    let Counts {
        reporting,
        rejecting,
        lagging,
        unknown,
        ..
    } = word.counts;
    let have = if withdrawn { "dropped it" } else { "it" };
    let names = |many: usize| names(word, many);
    match word.opinion.said {
        Said::AsBefore | Said::Pending => {
            format!("The proxies have not all said yet that they have {have}")
        }
        Said::Nobody => format!(
            "No proxy says what it has. One does where its store was given an instance name and its login may write below \
             `{}` and read `{}`; the reference reader, osproxy-etcd, never does",
            keys.fleet(),
            keys.window(),
        ),
        Said::Applied => format!("Every proxy that reports has {have}"),
        Said::Rejecting => format!(
            "{rejecting} of {reporting} proxies refused the document: {}. They go on with the last one that they took. Look at their versions \
             and their logs",
            names(rejecting)
        ),
        Said::Lagging => format!(
            "{lagging} of {reporting} proxies are behind: {}. Look at their logs and their way to etcd. One that is gone is \
             forgotten within a minute",
            names(lagging)
        ),
        Said::Unreadable => format!(
            "The records of {unknown} of {reporting} proxies cannot be read: {}. They may be of a later version than the operator",
            names(unknown)
        ),
    }
}

fn names(word: &Word, many: usize) -> String {
    let each = word.named.iter().map(|(name, reason)| match reason {
        Some(reason) => format!("{name} ({reason})"),
        None => name.clone(),
    });
    let mut names = each.collect::<Vec<_>>().join(", ");
    let others = many.saturating_sub(word.named.len());
    if others > 0 {
        names = format!("{names} and {others} more");
    }
    names
}

fn told(counts: Counts) -> Proxies {
    let number = |many: usize| i32::try_from(many).unwrap_or(i32::MAX);
    Proxies {
        reporting: number(counts.reporting),
        applied: number(counts.applied),
        rejecting: number(counts.rejecting),
        lagging: number(counts.lagging),
    }
}

#[cfg(test)]
#[path = "proxies_tests.rs"]
mod tests;
