use std::sync::LazyLock;

use super::*;
use crate::document::Publication;
use crate::fleet::FleetView;
use crate::operator::publish::{Held, Stored};

const NOW: u64 = 1_795_356_000;
static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new("fleet/directives").unwrap());

fn keys(lease: i64) -> KeyState {
    KeyState {
        revision: 9,
        document: Some(Stored::new(7, lease, b"{}".to_vec())),
        owner: None,
        paused: false,
    }
}

fn our_lease() -> i64 {
    Publication::new(NOW, 1).unwrap().lease_id()
}

fn server(version: &str) -> Server {
    Server {
        version: version.to_owned(),
        database_bytes: 20 * MEBIBYTE,
        quota_bytes: Some(100 * MEBIBYTE),
        is_full: false,
    }
}

fn in_sync() -> Settled {
    Settled {
        outcome: Outcome::InSync {
            revision: 7,
            publication: None,
        },
        entries: 3,
    }
}

fn facts<'f>(keys: &'f KeyState, servers: &'f [Result<Server, Fault>]) -> Facts<'f> {
    Facts {
        leader: Some("operator-1"),
        seen: Ok(keys),
        settled: Some(in_sync()),
        release: "ns/ours",
        keys: &KEYS,
        servers,
        clock_ahead_secs: None,
        definition: Definition::Current,
        unseen: None,
        fleet: None,
        now_secs: NOW,
    }
}

fn told(facts: &Facts<'_>, type_: &str) -> String {
    let status = status(facts, &DiagnosticsFleetStatus::default());
    let found = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
    format!("{}/{}", found.status, found.reason)
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table, a row a trouble")]
fn each_trouble_shows_in_its_own_condition() {
    let (good, bare) = (keys(our_lease()), keys(0));
    let servers = [Ok(server("3.7.3"))];
    let fine = facts(&good, &servers);
    let held = |held| {
        Some(Settled {
            outcome: Outcome::Held(held),
            entries: 3,
        })
    };
    let full = [Ok(Server {
        is_full: true,
        ..server("3.7.3")
    })];
    let tight = [Ok(Server {
        database_bytes: 80 * MEBIBYTE,
        ..server("3.7.3")
    })];
    let untold = [Ok(Server {
        quota_bytes: None,
        ..server("3.5.33")
    })];
    let old = [Ok(server("3.7.3")), Ok(server("3.6.13"))];
    let refused = [Err(Fault::PermissionDenied)];
    for (facts, type_, expected) in [
        (fine, "Ready", "True/InSync"),
        (fine, "EtcdReachable", "True/Reachable"),
        (
            Facts {
                seen: Err(Fault::Unavailable),
                settled: None,
                ..fine
            },
            "EtcdReachable",
            "False/EtcdUnavailable",
        ),
        (
            Facts {
                seen: Err(Fault::Unavailable),
                settled: None,
                ..fine
            },
            "Ready",
            "False/EtcdUnavailable",
        ),
        (
            Facts {
                settled: held(Held::Paused),
                ..fine
            },
            "KeyInSync",
            "False/Paused",
        ),
        (
            Facts {
                settled: held(Held::Paused),
                ..fine
            },
            "Ready",
            "False/Paused",
        ),
        (
            Facts {
                unseen: Some(observe::Fault::Forbidden),
                ..fine
            },
            "KeyInSync",
            "False/DirectivesUnseen",
        ),
        (fine, "LeaseSound", "True/OnItsLease"),
        (facts(&bare, &servers), "LeaseSound", "False/NotOnALease"),
        (fine, "SpaceLeft", "True/Enough"),
        (facts(&good, &tight), "SpaceLeft", "False/AlmostFull"),
        (facts(&good, &full), "SpaceLeft", "False/NoSpace"),
        (facts(&good, &untold), "SpaceLeft", "Unknown/NotTold"),
        (facts(&good, &untold), "VersionAdvised", "True/Advised"),
        (facts(&good, &old), "VersionAdvised", "False/Outdated"),
        (facts(&good, &refused), "VersionAdvised", "Unknown/NotTold"),
        (
            Facts {
                clock_ahead_secs: Some(-9),
                ..fine
            },
            "ClocksAgree",
            "False/OperatorsClock",
        ),
        (
            Facts {
                definition: Definition::Prunes,
                ..fine
            },
            "DefinitionCurrent",
            "False/Prunes",
        ),
        (fine, "ProxiesCurrent", "Unknown/NoProxiesReporting"),
    ] {
        assert_eq!(told(&facts, type_), expected);
    }
}

#[test]
fn the_fifty_worst_proxies_are_named_and_no_more() {
    let mut view = FleetView::default();
    for index in 0..70 {
        let record = format!(r#"{{"version":"0.1.0","revision":{index}}}"#);
        view.set(&format!("edge-{index:02}"), record.as_bytes(), 1, 100);
    }
    let target = Target::published(60);
    let fleet = Fleet::of(&view, target, false);
    let keys = keys(our_lease());
    let facts = Facts {
        fleet: Some(&fleet),
        ..facts(&keys, &[])
    };
    let status = status(&facts, &DiagnosticsFleetStatus::default());
    assert_eq!(status.applied.as_deref(), Some("10/70"));
    assert_eq!(status.worst.len(), MAX_WORST);
    assert_eq!(
        (
            status.worst[0].instance.as_str(),
            status.worst[0].standing.as_str()
        ),
        ("edge-00", "Lagging")
    );
    assert_eq!(told(&facts, "ProxiesCurrent"), "False/ProxiesLagging");
    // Nobody is blamed who may still be in time.
    let fleet = Fleet::of(&view, target, true);
    let facts = Facts {
        fleet: Some(&fleet),
        ..facts
    };
    assert_eq!(told(&facts, "ProxiesCurrent"), "Unknown/Pending");
}

#[test]
fn a_key_that_is_anothers_is_told_where_nobody_leads() {
    let owned = |value: &str| KeyState {
        owner: Some(Stored::new(3, 0, value.into())),
        ..keys(our_lease())
    };
    for (value, expected) in [
        (
            r#"{"version":1,"cluster":"c","release":"ns/theirs"}"#,
            "False/OwnedByAnother",
        ),
        (
            r#"{"version":1,"cluster":"c","release":"ns/ours"}"#,
            "Unknown/Pending",
        ),
        ("?", "False/OwnerUnreadable"),
    ] {
        let keys = owned(value);
        let facts = Facts {
            leader: None,
            settled: None,
            ..facts(&keys, &[])
        };
        assert_eq!(told(&facts, "KeyInSync"), expected, "{value}");
    }
}

#[test]
fn a_clock_is_told_also_of_a_proxy_that_is_current() {
    let mut view = FleetView::default();
    let record = br#"{"version":"0.1.0","revision":7,"clock_ahead_ms":-6000}"#;
    view.set("edge-1", record, 1, 9);
    let fleet = Fleet::of(&view, Target::published(7), true);
    let keys = keys(our_lease());
    let facts = Facts {
        fleet: Some(&fleet),
        ..facts(&keys, &[])
    };
    assert_eq!(told(&facts, "ClocksAgree"), "False/ProxysClock");
    assert_eq!(told(&facts, "ProxiesCurrent"), "True/Current");
}

#[test]
fn nothing_is_new_when_only_time_has_passed() {
    let (keys, servers) = (keys(our_lease()), [Ok(server("3.7.3"))]);
    let first = status(&facts(&keys, &servers), &DiagnosticsFleetStatus::default());
    let later = Facts {
        now_secs: NOW + 600,
        ..facts(&keys, &servers)
    };
    let second = status(&later, &first);
    assert!(says_the_same(&first, &second));
    assert_eq!(first, second, "a condition keeps its time");
    let lost = Facts {
        seen: Err(Fault::Timeout),
        settled: None,
        ..later
    };
    assert!(!says_the_same(&first, &status(&lost, &first)));
}

#[test]
fn a_pause_is_told_with_the_key_that_ends_it() {
    let keys = keys(our_lease());
    let paused = Facts {
        settled: Some(Settled {
            outcome: Outcome::Held(Held::Paused),
            entries: 3,
        }),
        ..facts(&keys, &[])
    };
    let status = status(&paused, &DiagnosticsFleetStatus::default());
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    let message = &ready.unwrap().message;
    assert!(message.contains("`fleet/directives/paused`"), "{message}");
}
