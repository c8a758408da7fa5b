use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::operator::observe::Shown;
use crate::resource;

const T0: u64 = 1_795_000_000;

/// A resource of namespace `ns`, created at [`T0`], that names one tenant.
fn resource_of(ns: &str, name: &str, change: impl FnOnce(&mut Value)) -> Resource {
    let mut spec = json!({
        "match": [{"key": "tenant", "value": "acme"}],
        "level": "Shape", "samplePerMille": 50, "ttl": "1m",
    });
    change(&mut spec);
    Resource {
        id: Id {
            namespace: ns.into(),
            name: name.into(),
        },
        uid: format!("uid-{ns}-{name}"),
        generation: 1,
        resource_version: "1".into(),
        created_secs: T0,
        directive: resource::parse(ns, name, T0, &spec),
        status: Shown::default(),
    }
}

fn simple(name: &str) -> Resource {
    resource_of("ns", name, |_| {})
}

fn verdict_of(plan: &Plan, name: &str) -> Verdict {
    let id = |id: &&Id| id.name == name;
    plan.verdicts[plan.verdicts.keys().find(id).unwrap()].clone()
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.entries.iter().map(|e| e.entry.id.as_str()).collect()
}

#[test]
fn a_directive_is_in_the_document_from_its_start_until_its_end_and_not_a_second_longer() {
    let one = simple("a");
    for (now, there) in [
        (T0 - 9, true),
        (T0, true),
        (T0 + 59, true),
        (T0 + 60, false),
    ] {
        let plan = plan(now, [&one], &Limits::default());
        assert_eq!(!plan.entries.is_empty(), there, "at {}", now - T0 + 9);
        assert_eq!(plan.next_deadline_secs, there.then_some(T0 + 60));
    }
}

#[test]
fn a_start_in_the_future_waits_and_is_the_next_deadline() {
    let one = resource_of("ns", "a", |spec| {
        spec["activeFrom"] = json!("2026-11-18T11:06:49.5Z");
    });
    // T0 is 11:06:40 of that day; half a second is rounded up, for a start is never early.
    let start = T0 + 10;
    let before = plan(start - 1, [&one], &Limits::default());
    assert!(before.entries.is_empty());
    let Verdict::Scheduled { start_secs, .. } = verdict_of(&before, "a") else {
        panic!("{before:?}")
    };
    assert_eq!(
        (start_secs, before.next_deadline_secs),
        (start, Some(start))
    );
    assert_eq!(plan(start, [&one], &Limits::default()).entries.len(), 1);
}

#[test]
fn a_suspended_directive_is_out_and_an_ended_one_stays_ended() {
    let one = resource_of("ns", "a", |spec| spec["suspend"] = json!(true));
    let end_secs = T0 + 60;
    let during = plan(T0, [&one], &Limits::default());
    assert_eq!(verdict_of(&during, "a"), Verdict::Suspended { end_secs });
    assert_eq!(during.next_deadline_secs, Some(end_secs));
    let after = plan(end_secs, [&one], &Limits::default());
    assert_eq!(verdict_of(&after, "a"), Verdict::Expired { end_secs });
}

#[test]
fn a_wrong_resource_is_refused_by_name_and_its_neighbours_are_published() {
    let wrong = resource_of("ns", "wrong", |spec| spec["tenant"] = json!("acme"));
    let (a, b) = (simple("a"), simple("b"));
    let with = plan(T0, [&a, &wrong, &b], &Limits::default());
    let without = plan(T0, [&a, &b], &Limits::default());
    assert!(matches!(verdict_of(&with, "wrong"), Verdict::Refused(_)));
    assert_eq!(with.entries, without.entries);
}

#[test]
fn the_plan_is_the_same_for_any_order() {
    let all: Vec<Resource> = (0..20)
        .map(|n| resource_of(["x", "y", "z"][n % 3], &format!("r{n}"), |_| {}))
        .collect();
    let limits = Limits::new(7, 10_000);
    let forward = plan(T0, &all, &limits);
    assert_eq!(forward, plan(T0, all.iter().rev(), &limits));
    assert!(ids(&forward).is_sorted());
}

#[test]
fn a_full_document_keeps_what_was_there_first() {
    let older = Resource {
        created_secs: T0 - 5,
        directive: simple("z-older").directive,
        ..simple("z-older")
    };
    let mut directive = older.directive.clone().unwrap();
    directive.window.start = T0 - 5;
    let older = Resource {
        directive: Ok(directive),
        ..older
    };
    let newer = simple("a-newer");
    let plan = plan(T0, [&newer, &older], &Limits::new(1, 10_000));
    assert_eq!(ids(&plan), ["ns/z-older"]);
    assert!(matches!(
        verdict_of(&plan, "a-newer"),
        Verdict::NoRoom { .. }
    ));
}

#[test]
fn a_namespace_that_asks_for_much_takes_room_only_from_itself() {
    let mut all: Vec<Resource> = (0..50)
        .map(|n| resource_of("greedy", &format!("g{n}"), |_| {}))
        .collect();
    all.push(resource_of("modest", "m0", |_| {}));
    all.push(resource_of("modest", "m1", |_| {}));
    let plan = plan(T0, &all, &Limits::new(10, 100_000));
    let modest = plan
        .entries
        .iter()
        .filter(|e| e.entry.id.starts_with("modest/"));
    assert_eq!(modest.count(), 2);
    assert_eq!(plan.entries.len(), 10);
}

#[test]
fn what_does_not_fit_does_not_block_what_is_smaller() {
    let long = |spec: &mut Value| spec["match"][0]["value"] = json!("x".repeat(250));
    let large = resource_of("ns", "a-large", long);
    let small = simple("b-small");
    let plan = plan(T0, [&large, &small], &Limits::new(10, 250));
    assert_eq!(ids(&plan), ["ns/b-small"]);
}

#[test]
fn a_document_never_outgrows_its_limit() {
    let all: Vec<Arc<Resource>> = (0..300)
        .map(|n| Arc::new(simple(&format!("r{n}"))))
        .collect();
    for limit in [100, 1_024, 4_000, 40_000] {
        let plan = plan(T0, all.iter().map(Arc::as_ref), &Limits::new(1_000, limit));
        let publication = crate::document::Publication::new(T0, 1).unwrap();
        let bytes = crate::document::render(&plan.entries, publication);
        assert!(bytes.map_or(0, |b| b.len()) <= limit, "{limit}");
    }
}
