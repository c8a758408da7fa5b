use osproxy_core::{Clock, ManualClock};

use super::*;
use crate::document::{Entry, Selector};
use crate::operator::observe::Id;

fn entry(name: &str, end_secs: u64) -> DatedEntry {
    DatedEntry {
        entry: Entry {
            id: format!("ns/{name}"),
            selector: Selector::default(),
            level: osproxy_observe::DiagLevel::Shape,
            sample_per_mille: 5,
            ring_buffer: false,
            capture: false,
        },
        end_secs,
    }
}

/// A plan with these directives in the document, and these suspended.
fn plan(active: &[(&str, u64)], suspended: &[&str]) -> Plan {
    let id = |name: &str| Id {
        namespace: "ns".into(),
        name: name.into(),
    };
    let on = active.iter().map(|(name, end_secs)| {
        let end_secs = *end_secs;
        (id(name), Verdict::Active { end_secs })
    });
    let off = suspended
        .iter()
        .map(|name| (id(name), Verdict::Suspended { end_secs: 9 }));
    Plan {
        entries: active.iter().map(|(name, end)| entry(name, *end)).collect(),
        verdicts: on.chain(off).collect(),
        next_deadline_secs: None,
    }
}

fn told(ledger: &Ledger, name: &str) -> Option<(i64, bool)> {
    let since = ledger.since_of(&format!("ns/{name}"))?;
    Some((since.target.revision, since.changed))
}

#[test]
fn a_neighbours_change_asks_nothing_of_a_directive() {
    let now = ManualClock::new().now();
    let mut ledger = Ledger::default();
    ledger.settled(now, &plan(&[("a", 60)], &[]), 10, 0);
    ledger.settled(now, &plan(&[("a", 60), ("b", 60)], &[]), 20, 0);
    let serial = ledger.since_of("ns/a").unwrap().serial;
    ledger.settled(now, &plan(&[("a", 60), ("b", 90)], &[]), 30, 0);
    assert_eq!(told(&ledger, "a"), Some((10, true)));
    assert_eq!(told(&ledger, "b"), Some((30, true)), "it ends later now");
    assert_eq!(ledger.since_of("ns/a").unwrap().serial, serial);
    ledger.settled(now, &plan(&[("b", 90)], &[]), 40, 0);
    assert_eq!(told(&ledger, "a"), None, "its resource is gone");
}

#[test]
fn what_is_taken_out_waits_for_the_publication_without_it() {
    let now = ManualClock::new().now();
    let mut ledger = Ledger::default();
    ledger.settled(now, &plan(&[("a", 60), ("b", 60)], &["never"]), 10, 0);
    ledger.settled(now, &plan(&[("b", 60)], &["a", "never"]), 20, 0);
    let since = ledger.since_of("ns/a").unwrap();
    assert_eq!(since.target, Target::withdrawn(20));
    assert_eq!(told(&ledger, "never"), None, "no proxy ever had it");
    ledger.settled(now, &plan(&[("b", 61)], &["a"]), 30, 0);
    assert_eq!(told(&ledger, "a"), Some((20, true)));
    ledger.settled(now, &plan(&[("a", 60), ("b", 61)], &[]), 40, 0);
    assert_eq!(told(&ledger, "a"), Some((40, true)), "resumed");
}

#[test]
fn a_new_leader_takes_what_it_finds_for_unchanged() {
    let now = ManualClock::new().now();
    let mut ledger = Ledger::found(now, vec![entry("a", 60), entry("b", 60)], 10);
    ledger.settled(now, &plan(&[("a", 60), ("b", 60)], &["off"]), 10, 0);
    // It may have been taken out by a leader that did not come to say so.
    assert_eq!(told(&ledger, "off"), Some((10, false)));
    assert_eq!(told(&ledger, "a"), Some((10, false)));
    assert!(!ledger.since_of("ns/a").unwrap().certain);
    ledger.settled(now, &plan(&[("a", 60)], &["b", "new"]), 20, 0);
    assert_eq!(told(&ledger, "a"), Some((10, false)));
    assert_eq!(told(&ledger, "new"), None);
    assert_eq!(told(&ledger, "b"), Some((20, true)));
}

#[test]
fn what_was_put_back_is_asked_of_every_proxy_again() {
    let now = ManualClock::new().now();
    let mut ledger = Ledger::default();
    ledger.settled(now, &plan(&[("a", 60)], &[]), 10, 0);
    // Somebody else wrote at 15, and it was put right.
    ledger.settled(now, &plan(&[("a", 60)], &[]), 20, 1);
    assert_eq!(told(&ledger, "a"), Some((20, false)));
    assert!(ledger.since_of("ns/a").unwrap().certain);
    ledger.settled(now, &plan(&[("a", 60)], &[]), 20, 1);
    assert_eq!(told(&ledger, "a"), Some((20, false)));
    // etcd was restored.
    ledger.settled(now, &plan(&[("a", 60)], &[]), 4, 1);
    assert_eq!(told(&ledger, "a"), Some((4, false)));
}
