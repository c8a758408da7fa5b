use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::operator::observe::{Projected, Resource, project};
use crate::operator::plan::{Limits, plan};
use crate::operator::publish::Held;

const CREATED: u64 = 1_795_356_000;

/// So many resources of each state, as the API server would hand them out.
fn resources(many: usize) -> Vec<Resource> {
    let specs = [
        json!({ "ttl": "1h" }),
        json!({ "ttl": "1h", "suspend": true }),
        json!({ "ttl": "1h", "activeFrom": "2036-11-22T14:00:00Z" }),
        json!({ "ttl": "10s" }),
        json!({ "ttl": "1h", "supend": true }),
    ];
    (0..many)
        .flat_map(|n| specs.iter().enumerate().map(move |(kind, spec)| (n, kind, spec)))
        .map(|(n, kind, spec)| {
            let mut spec = spec.clone();
            spec["match"] = json!([{ "key": "tenant", "value": format!("tenant-{n}") }]);
            spec["level"] = "Shape".into();
            spec["samplePerMille"] = 5.into();
            let object = json!({
                "metadata": {
                    "namespace": format!("ns-{n}"), "name": format!("d-{kind}"), "uid": format!("{n}-{kind}"),
                    "generation": 1, "creationTimestamp": "2026-11-22T14:00:00Z",
                },
                "spec": spec,
            });
            match project(object) {
                Projected::Present(resource) => *resource,
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

fn series(exposition: &str) -> BTreeSet<&str> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn a_thousand_resources_add_no_series() {
    let state = KeyState {
        revision: 1,
        document: None,
        owner: None,
        paused: false,
    };
    let exposed = |many: usize| {
        let resources = resources(many);
        let limits = Limits::new(100, 1_000_000);
        let plan = plan(CREATED + 60, &resources, &limits);
        let metrics = Metrics::default();
        metrics.settled(CREATED + 60, &plan, Outcome::Held(Held::Paused), &state);
        metrics.encode().unwrap()
    };
    let (few, many) = (exposed(1), exposed(1_000));
    assert_eq!(series(&few), series(&many));
    assert!(!many.contains("tenant-"), "{many}");
    for line in [
        r#"resources{state="no_room"} 900"#,
        r#"resources{state="refused"} 1000"#,
        r#"resources{state="suspended"} 1000"#,
        r#"resources{state="scheduled"} 1000"#,
        r#"resources{state="expired"} 1000"#,
    ] {
        assert!(many.contains(line), "no {line} in {many}");
    }
}

#[test]
fn a_reason_is_there_while_it_holds_and_no_longer() {
    let state = KeyState {
        revision: 1,
        document: None,
        owner: None,
        paused: false,
    };
    let plan = plan(CREATED, &[], &Limits::default());
    let metrics = Metrics::default();
    for held in [Held::Paused, Held::NoSpace] {
        metrics.settled(CREATED, &plan, Outcome::Held(held), &state);
        let text = metrics.encode().unwrap();
        let shown: Vec<_> = text.lines().filter(|line| line.contains("held{")).collect();
        assert_eq!(
            shown,
            [format!(
                r#"osproxy_directives_held{{reason="{}"}} 1"#,
                held.slug()
            )]
        );
    }
    let in_sync = Outcome::InSync {
        revision: 0,
        publication: None,
    };
    metrics.settled(CREATED, &plan, in_sync, &state);
    assert!(!metrics.encode().unwrap().contains("held{"));
}

#[test]
fn a_new_term_counts_on_where_the_last_one_stopped() {
    let metrics = Metrics::default();
    let tally = |puts| Tally {
        puts,
        ..Tally::default()
    };
    for puts in [1, 5, 5, 0, 2] {
        metrics.published(tally(puts));
    }
    let text = metrics.encode().unwrap();
    assert!(text.contains("document_puts_total 7"), "{text}");
}

#[test]
fn only_a_key_that_says_what_the_plan_says_was_in_sync() {
    let state = KeyState {
        revision: 1,
        document: None,
        owner: None,
        paused: false,
    };
    let plan = plan(CREATED, &[], &Limits::default());
    let metrics = Metrics::default();
    let stamp = || {
        let text = metrics.encode().unwrap();
        let name = "osproxy_directives_last_in_sync_timestamp_seconds ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().parse::<u64>().unwrap()
    };
    let in_sync = Outcome::InSync {
        revision: 0,
        publication: None,
    };
    metrics.settled(CREATED, &plan, Outcome::Held(Held::Paused), &state);
    assert_eq!(stamp(), 0, "never yet");
    metrics.settled(CREATED + 1, &plan, in_sync, &state);
    metrics.settled(CREATED + 2, &plan, Outcome::Held(Held::Paused), &state);
    assert_eq!(stamp(), CREATED + 1);
}

#[test]
fn who_leads_no_longer_says_no_longer_what_holds_the_document() {
    let state = KeyState {
        revision: 1,
        document: None,
        owner: None,
        paused: true,
    };
    let plan = plan(CREATED, &[], &Limits::default());
    let metrics = Metrics::default();
    metrics.leader.set(1);
    metrics.settled(CREATED, &plan, Outcome::Held(Held::Paused), &state);
    metrics.stops_leading();
    let text = metrics.encode().unwrap();
    assert!(!text.contains("held{"), "{text}");
    assert!(text.contains("osproxy_directives_leader 0"), "{text}");
}
