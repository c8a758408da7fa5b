use serde_json::json;

use super::*;

/// 2026-11-22T14:00:00Z, when every object here was created, to last half an hour.
const CREATED: u64 = 1_795_356_000;

/// An object as the API server hands it out, with the conditions `type=status/reason`.
fn object(spec: &Value, observed: i64, conditions: &[&str]) -> Value {
    let mut whole = json!({
        "match": [{"key": "tenant", "value": "acme"}], "level": "Shape", "samplePerMille": 50, "ttl": "30m",
    });
    for (name, value) in spec.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|text| {
            let (type_, rest) = text.split_once('=').unwrap();
            let (status, reason) = rest.split_once('/').unwrap();
            json!({"type": type_, "status": status, "reason": reason, "message": "as it is"})
        })
        .collect();
    json!({
        "metadata": {"namespace": "ns", "name": "a", "uid": "u", "generation": 2, "resourceVersion": "17", "creationTimestamp": "2026-11-22T14:00:00Z"},
        "spec": whole,
        "status": {"observedGeneration": observed, "applied": "3/4", "conditions": conditions},
    })
}

fn standing(spec: &Value, observed: i64, conditions: &[&str], now_secs: u64) -> String {
    let seen = judge(&object(spec, observed, conditions), now_secs).unwrap();
    let why = seen
        .why
        .map(|(reason, _)| format!(" {reason}"))
        .unwrap_or_default();
    format!("{}{why}", seen.standing.word())
}

#[test]
fn the_standing_follows_from_the_object_and_the_time() {
    let published: &[&str] = &["Accepted=True/Valid", "Published=True/Published"];
    let held: &[&str] = &["Accepted=True/Valid", "Published=False/EtcdUnavailable"];
    let (none, suspended) = (json!({}), json!({"suspend": true}));
    let later = json!({"activeFrom": "2026-11-22T15:00:00Z"});
    for (spec, observed, conditions, at, expected) in [
        (&none, 2, published, 0, "On"),
        (&none, 2, held, 0, "Pending EtcdUnavailable"),
        (&none, 1, published, 0, "Pending NotLookedAt"),
        (&none, 2, &[][..], 0, "Pending NotLookedAt"),
        (&none, 2, published, 1_799, "On"),
        (&none, 2, published, 1_800, "Ended"),
        (&none, 0, &[][..], 1_800, "Ended"),
        (&suspended, 2, published, 0, "Suspended"),
        (&suspended, 2, held, 0, "Pending EtcdUnavailable"),
        (&suspended, 1, published, 0, "Pending NotLookedAt"),
        (&later, 2, published, 0, "Scheduled"),
        (&later, 0, &[][..], 0, "Scheduled"),
        (
            &none,
            2,
            &["Accepted=False/SpecTooNew"][..],
            0,
            "Refused SpecTooNew",
        ),
        (
            &json!({"supend": true}),
            0,
            &[][..],
            0,
            "Refused UnknownField",
        ),
    ] {
        let told = standing(spec, observed, conditions, CREATED + at);
        assert_eq!(told, expected, "{spec} {observed} {conditions:?} +{at}");
    }
}

#[test]
fn what_the_proxies_say_counts_only_for_what_the_object_says_now() {
    for (observed, applied, expected) in [
        (2, "Applied=True/AllApplied", Told::Applied),
        (2, "Applied=Unknown/NoProxiesReporting", Told::NobodyReports),
        (
            2,
            "Applied=False/ProxiesLagging",
            Told::Behind("ProxiesLagging".into(), "as it is".into()),
        ),
        (
            2,
            "Applied=Unknown/Pending",
            Told::Behind("Pending".into(), "as it is".into()),
        ),
        (
            2,
            "Applied=False/ProxiesRejecting",
            Told::Rejecting("ProxiesRejecting".into(), "as it is".into()),
        ),
        (
            1,
            "Applied=True/AllApplied",
            Told::Behind("NotLookedAt".into(), "as it is".into()),
        ),
    ] {
        let conditions = ["Published=True/Published", applied];
        let seen = judge(&object(&json!({}), observed, &conditions), CREATED).unwrap();
        assert_eq!(seen.proxies, expected, "{applied}");
    }
}

#[test]
fn what_somebody_wrote_cannot_move_a_cursor() {
    let spec = json!({"comment": "a\u{1b}[2J\nb", "createdBy": "\u{7}ana"});
    let seen = judge(&object(&spec, 0, &[]), CREATED).unwrap();
    assert_eq!(
        (seen.comment.as_str(), seen.created_by.as_str()),
        ("a?[2J b", "?ana")
    );
}
