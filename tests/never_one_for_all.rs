//! Promise 5, never one for all: a resource that is wrong is refused by name, and every other one is published as if it
//! did not exist.
//!
//! Shown on the plan, which is all that decides what is published; on a real API server the table of promise 1 holds
//! its refused rows beside its accepted ones.

mod tables;

use osproxy_directives::operator::observe::{Id, Resource, Shown};
use osproxy_directives::operator::plan::{Limits, Plan, Verdict, plan};
use osproxy_directives::resource;
use serde_json::{Value, json};
use tables::Rng;

const T0: u64 = 1_795_000_000;
const CROWDS: usize = 25_000;

/// Each crowd is planned with its bad ones and without: entries, verdicts and deadline of the good ones are the same,
/// also where the document is too small for all of them.
#[test]
fn good_resources_are_published_the_same_beside_any_bad_ones() {
    let mut rng = Rng::seeded(0x5eed_0007);
    let (mut bad_ones, mut without_room) = (0, 0);
    for _ in 0..CROWDS {
        let crowd = crowd(&mut rng);
        let good: Vec<_> = crowd.iter().filter(|r| r.directive.is_ok()).collect();
        bad_ones += crowd.len() - good.len();
        let limits = limits(&mut rng);
        let now = T0 + rng.next() % 200;

        let with = plan(now, &crowd, &limits);
        let without = plan(now, good.iter().copied(), &limits);
        assert_eq!(with.entries, without.entries);
        assert_eq!(with.next_deadline_secs, without.next_deadline_secs);
        for resource in &crowd {
            let verdict = &with.verdicts[&resource.id];
            match &resource.directive {
                Ok(_) => assert_eq!(Some(verdict), without.verdicts.get(&resource.id)),
                Err(refusal) => assert_eq!(*verdict, Verdict::Refused(refusal.clone())),
            }
            without_room += usize::from(matches!(verdict, Verdict::NoRoom { .. }));
        }
        assert_eq!(with.verdicts.len(), crowd.len(), "a verdict each");
    }
    assert!(bad_ones > CROWDS, "{bad_ones} bad ones");
    assert!(without_room > CROWDS / 10, "{without_room} without room");
}

/// A good one leaves, changes or comes: where there is room for all, nothing changes for any other.
#[test]
fn where_there_is_room_no_resource_changes_what_another_one_gets() {
    let mut rng = Rng::seeded(0x5eed_0008);
    for _ in 0..CROWDS / 5 {
        let mut crowd = crowd(&mut rng);
        let now = T0 + rng.next() % 200;
        let before = plan(now, &crowd, &Limits::default());
        if crowd.is_empty() {
            continue;
        }
        let place = rng.below(crowd.len());
        let changed = crowd[place].id.clone();
        if rng.chance(50) {
            crowd.remove(place);
        } else {
            crowd[place] = resource_of(&mut rng, &changed.namespace, &changed.name);
        }
        let after = plan(now, &crowd, &Limits::default());
        assert_eq!(others(&before, &changed), others(&after, &changed));
    }
}

#[test]
fn the_plan_does_not_depend_on_the_order_of_the_resources() {
    let mut rng = Rng::seeded(0x5eed_0009);
    for _ in 0..CROWDS / 5 {
        let mut crowd = crowd(&mut rng);
        let limits = limits(&mut rng);
        let first = plan(T0 + 50, &crowd, &limits);
        rng.shuffle(&mut crowd);
        assert_eq!(first, plan(T0 + 50, &crowd, &limits));
    }
}

fn others(plan: &Plan, id: &Id) -> (Vec<String>, Vec<(Id, Verdict)>) {
    let text = id.to_string();
    let entries = plan.entries.iter().filter(|e| e.entry.id != text);
    let verdicts = plan.verdicts.iter().filter(|(other, _)| *other != id);
    (
        entries
            .map(|e| format!("{}@{}", e.entry.id, e.end_secs))
            .collect(),
        verdicts.map(|(id, v)| (id.clone(), v.clone())).collect(),
    )
}

/// Room for all, or for some.
fn limits(rng: &mut Rng) -> Limits {
    match rng.below(3) {
        0 => Limits::default(),
        1 => Limits::new(1 + rng.below(6), 100_000),
        _ => Limits::new(1_000, 100 + rng.below(800)),
    }
}

fn crowd(rng: &mut Rng) -> Vec<Resource> {
    (0..rng.below(12))
        .map(|n| {
            let namespace = format!("ns{}", rng.below(3));
            resource_of(rng, &namespace, &format!("r{n}"))
        })
        .collect()
}

/// A resource, good or bad.
fn resource_of(rng: &mut Rng, namespace: &str, name: &str) -> Resource {
    let created_secs = T0 + rng.next() % 100;
    let mut spec = json!({
        "match": [{"key": "tenant", "value": rng.pick(&tables::VALUES)}],
        "level": rng.pick(&["Shape", "ShapeTiming"]),
        "samplePerMille": rng.below(1001),
        "ttl": format!("{}s", 5 + rng.below(200)),
        "suspend": rng.chance(10),
    });
    if rng.chance(40) {
        spoil(rng, &mut spec);
    }
    Resource {
        id: Id {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        uid: format!("{namespace}-{name}"),
        generation: 1,
        resource_version: "1".to_owned(),
        created_secs,
        directive: resource::parse(namespace, name, created_secs, &spec),
        status: Shown::default(),
    }
}

fn spoil(rng: &mut Rng, spec: &mut Value) {
    let junk = [json!(null), json!(5), json!([]), json!({}), json!("")];
    match rng.below(5) {
        0 => *spec = rng.pick(&junk).clone(),
        1 => spec["tenant"] = json!("acme"),
        2 => spec["match"] = rng.pick(&junk).clone(),
        3 => spec["match"][0]["value"] = rng.pick(&junk).clone(),
        _ => {
            let field = *rng.pick(&["ttl", "samplePerMille", "level", "suspend"]);
            spec[field] = rng.pick(&junk[..4]).clone();
        }
    }
}
