use serde_json::json;

use super::super::reason::UNKNOWN;
use super::*;
use crate::fleet::Target;
use crate::operator::observe::{Id, Resource, Shown};
use crate::operator::publish::Outcome;
use crate::operator::report::{desired_status, says_the_same, transitions};
use crate::resource::{self, DiagnosticsDirectiveStatus};

const ACTIVE: Verdict = Verdict::Active { end_secs: 3_600 };
const IN_SYNC: Option<Outcome> = Some(Outcome::InSync {
    revision: 10,
    publication: None,
});

fn with(status: &Value, generation: i64) -> Resource {
    let spec = json!({"match": [{"key": "tenant", "value": "t"}], "level": "Shape", "samplePerMille": 5, "ttl": "1h"});
    Resource {
        id: Id {
            namespace: "ns".into(),
            name: "a".into(),
        },
        uid: "u".into(),
        generation,
        resource_version: "1".into(),
        created_secs: 0,
        directive: resource::parse("ns", "a", 0, &spec),
        status: Shown::from(status),
    }
}

/// What so many of four proxies come to.
fn word(said: Said, applied: usize, named: &[&str]) -> Word {
    Word {
        opinion: Opinion {
            said,
            target: Target::published(10),
            changed: true,
            certain: true,
            again: false,
        },
        counts: Counts {
            reporting: 4,
            applied,
            lagging: 4 - applied,
            ..Counts::default()
        },
        named: named
            .iter()
            .map(|name| ((*name).to_owned(), None))
            .collect(),
    }
}

fn status(
    resource: &Resource,
    verdict: &Verdict,
    word: Option<&Word>,
) -> DiagnosticsDirectiveStatus {
    let keys = Keys::new("fleet/directives").unwrap();
    desired_status(resource, verdict, IN_SYNC, word, &keys, 100)
}

fn json_of(status: &DiagnosticsDirectiveStatus) -> Value {
    serde_json::to_value(status).unwrap()
}

fn of_type<'s>(status: &'s DiagnosticsDirectiveStatus, type_: &str) -> Option<&'s Condition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}

fn applied_is(status: &DiagnosticsDirectiveStatus) -> Option<(&str, &str)> {
    let condition = of_type(status, "Applied")?;
    Some((condition.status.as_str(), condition.reason.as_str()))
}

#[test]
fn counts_are_as_of_the_change_and_cost_no_write_after_it() {
    let fresh = with(&Value::Null, 1);
    let first = status(&fresh, &ACTIVE, Some(&word(Said::Lagging, 3, &["p4"])));
    assert_eq!(applied_is(&first), Some((FALSE, "ProxiesLagging")));
    assert_eq!(first.applied.as_deref(), Some("3/4"));
    let shown = with(&json_of(&first), 1);
    for (applied, named) in [(2, &["p3", "p4"][..]), (3, &[]), (1, &["p1"])] {
        let later = status(&shown, &ACTIVE, Some(&word(Said::Lagging, applied, named)));
        assert!(says_the_same(&shown.status.value(), &later), "{later:?}");
    }
    let done = status(&shown, &ACTIVE, Some(&word(Said::Applied, 4, &[])));
    assert_eq!(done.applied.as_deref(), Some("4/4"));
    assert!(!says_the_same(&shown.status.value(), &done));
}

#[test]
fn the_worst_are_named_and_the_others_counted() {
    let fresh = with(&Value::Null, 1);
    let told = status(&fresh, &ACTIVE, Some(&word(Said::Lagging, 1, &["p4"])));
    let message = &of_type(&told, "Applied").unwrap().message;
    assert!(
        message.starts_with("3 of 4 proxies are behind: p4 and 2 more."),
        "{message}"
    );
}

#[test]
fn where_no_proxy_says_anything_the_message_names_what_they_have_to_write() {
    let mut nobody = word(Said::Nobody, 0, &[]);
    nobody.counts = Counts::default();
    let status = status(&with(&Value::Null, 1), &ACTIVE, Some(&nobody));
    let message = &of_type(&status, "Applied").unwrap().message;
    for key in ["`fleet/directives/fleet/`", "`fleet/directives/window`"] {
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn a_refusal_by_a_proxy_is_not_ready_and_one_that_is_behind_is() {
    let fresh = with(&Value::Null, 1);
    for (said, ready) in [
        (Said::Rejecting, (FALSE, "ProxiesRejecting")),
        (Said::Lagging, (TRUE, "Published")),
        (Said::Nobody, (TRUE, "Published")),
        (Said::Pending, (TRUE, "Published")),
    ] {
        let told = status(&fresh, &ACTIVE, Some(&word(said, 3, &[])));
        let condition = of_type(&told, "Ready").unwrap();
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ready
        );
        assert_eq!(told.state, Some(crate::resource::State::Active), "{said:?}");
    }
}

#[test]
fn a_leader_that_did_not_see_the_publication_takes_nothing_back() {
    let fresh = with(&Value::Null, 1);
    let done = status(&fresh, &ACTIVE, Some(&word(Said::Applied, 4, &[])));
    let shown = with(&json_of(&done), 1);
    for said in [
        Said::AsBefore,
        Said::Nobody,
        Said::Pending,
        Said::Lagging,
        Said::Rejecting,
    ] {
        let mut word = word(said, 1, &["p4"]);
        (word.opinion.changed, word.opinion.certain) = (false, false);
        let later = status(&shown, &ACTIVE, Some(&word));
        assert!(says_the_same(&shown.status.value(), &later), "{said:?}");
    }
    assert!(says_the_same(
        &shown.status.value(),
        &status(&shown, &ACTIVE, None)
    ));
    // It speaks of an earlier generation: what was put into the document since, nobody has seen applied.
    let edited = with(&json_of(&done), 2);
    let mut word = word(Said::Nobody, 0, &[]);
    (word.opinion.changed, word.opinion.certain) = (false, false);
    let later = status(&edited, &ACTIVE, Some(&word));
    assert_eq!(applied_is(&later), Some((UNKNOWN, "NoProxiesReporting")));
}

#[test]
fn a_leader_that_did_not_see_the_publication_ends_what_waits() {
    let fresh = with(&Value::Null, 1);
    for before in [Said::Pending, Said::Lagging, Said::Rejecting] {
        let shown = status(&fresh, &ACTIVE, Some(&word(before, 3, &["p4"])));
        let mut nobody = word(Said::Nobody, 0, &[]);
        (nobody.opinion.changed, nobody.opinion.certain) = (false, false);
        let later = status(&with(&json_of(&shown), 1), &ACTIVE, Some(&nobody));
        let expected = Some((UNKNOWN, "NoProxiesReporting"));
        assert_eq!(applied_is(&later), expected, "{before:?}");
    }
}

#[test]
fn what_was_never_in_the_document_has_nothing_to_be_applied() {
    let suspended = Verdict::Suspended { end_secs: 3_600 };
    let mut word = word(Said::Applied, 4, &[]);
    (word.opinion.changed, word.opinion.certain) = (false, false);
    let fresh = status(&with(&Value::Null, 1), &suspended, Some(&word));
    assert_eq!(applied_is(&fresh), None);
    // Taken out by a leader that did not come to say so.
    let on = status(&with(&Value::Null, 1), &ACTIVE, Some(&word));
    let off = status(&with(&json_of(&on), 2), &suspended, Some(&word));
    assert_eq!(
        of_type(&off, "Applied").unwrap().observed_generation,
        Some(2)
    );
}

#[test]
fn an_end_leaves_what_was_said_and_a_refused_resource_says_nothing() {
    let fresh = with(&Value::Null, 1);
    let done = status(&fresh, &ACTIVE, Some(&word(Said::Applied, 4, &[])));
    let shown = with(&json_of(&done), 1);
    let over = status(&shown, &Verdict::Expired { end_secs: 50 }, None);
    assert_eq!(applied_is(&over), Some((TRUE, "Applied")));
    assert_eq!(over.applied.as_deref(), Some("4/4"));
    let refused = Verdict::Refused(resource::parse("ns", "a", 0, &Value::Null).unwrap_err());
    let refused = status(&shown, &refused, None);
    assert_eq!(
        (applied_is(&refused), refused.applied.as_deref()),
        (None, None)
    );
}

#[test]
fn an_edit_is_applied_anew() {
    let fresh = with(&Value::Null, 1);
    let done = status(&fresh, &ACTIVE, Some(&word(Said::Applied, 4, &[])));
    let edited = with(&json_of(&done), 2);
    let pending = status(&edited, &ACTIVE, Some(&word(Said::Pending, 0, &[])));
    assert_eq!(applied_is(&pending), Some((UNKNOWN, "Pending")));
    assert_eq!(
        of_type(&pending, "Applied").unwrap().observed_generation,
        Some(2)
    );
}

#[test]
fn an_event_says_once_that_all_have_it() {
    let fresh = with(&Value::Null, 1);
    let pending = status(&fresh, &ACTIVE, Some(&word(Said::Pending, 0, &[])));
    let reasons = |resource: &Resource, said, again| -> Vec<_> {
        let desired = status(resource, &ACTIVE, Some(&word(said, 4, &[])));
        let events = transitions(resource, &desired, IN_SYNC, again);
        events
            .into_iter()
            .map(|event| event.reason.word())
            .collect()
    };
    assert_eq!(reasons(&fresh, Said::Pending, false), ["Published"]);
    let shown = with(&json_of(&pending), 1);
    assert_eq!(reasons(&shown, Said::Applied, false), ["Applied"]);
    assert!(reasons(&shown, Said::Applied, true).is_empty());
    let done = status(&shown, &ACTIVE, Some(&word(Said::Applied, 4, &[])));
    assert!(reasons(&with(&json_of(&done), 1), Said::Applied, false).is_empty());
}
