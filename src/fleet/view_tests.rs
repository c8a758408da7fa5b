use super::*;
use crate::fleet::Refused;

fn record(revision: i64, refused: Option<i64>) -> Record {
    Record {
        version: "1".into(),
        revision,
        refused: refused.map(|revision| Refused {
            reason: "unknown_member".into(),
            revision,
        }),
        ..Record::default()
    }
}

fn put(view: &mut FleetView, name: &str, record: &Record) -> bool {
    view.set(name, &record.to_bytes(), 1, 1_000)
}

fn counts(view: &FleetView, revision: i64) -> [usize; 5] {
    let Counts {
        reporting,
        applied,
        rejecting,
        lagging,
        unknown,
    } = view.counts(Target::published(revision));
    [reporting, applied, rejecting, lagging, unknown]
}

#[test]
fn a_proxy_stands_to_each_publication_as_it_is_current() {
    let mut view = FleetView::default();
    put(&mut view, "current", &record(20, None));
    put(&mut view, "behind", &record(10, None));
    put(&mut view, "refuses", &record(10, Some(20)));
    put(
        &mut view,
        "refuses-what-it-cannot-receive",
        &record(10, Some(0)),
    );
    view.set("unreadable", b"?", 1, 1_000);
    assert_eq!(counts(&view, 20), [5, 1, 2, 1, 1]);
    // The same for what a neighbour's change did not touch: it is in force in all of them.
    assert_eq!(counts(&view, 10), [5, 4, 0, 0, 1]);
    // What was refused was not this one, which nobody has seen yet.
    assert_eq!(counts(&view, 21), [5, 0, 1, 3, 1]);
}

#[test]
fn what_was_taken_out_is_gone_where_the_key_was_seen_absent() {
    let mut view = FleetView::default();
    let absent = Record {
        absent: true,
        ..record(5, None)
    };
    put(&mut view, "empty", &absent);
    assert_eq!(view.counts(Target::withdrawn(20)).applied, 1);
    assert_eq!(view.counts(Target::published(20)).lagging, 1);
}

#[test]
fn a_record_of_another_history_is_not_believed() {
    let mut view = FleetView::default();
    view.set("restored", &record(500, None).to_bytes(), 1, 40);
    assert_eq!(counts(&view, 30), [1, 0, 0, 0, 1]);
}

#[test]
fn the_worst_come_first_and_are_bounded() {
    let mut view = FleetView::default();
    for n in 0..200 {
        put(&mut view, &format!("behind-{n:03}"), &record(300 - n, None));
    }
    put(&mut view, "refuses", &record(10, Some(900)));
    view.set("unreadable", b"?", 1, 1_000);
    put(&mut view, "current", &record(900, None));
    let worst = view.worst(Target::published(900), WORST);
    let names: Vec<_> = worst.iter().map(|proxy| proxy.instance.as_str()).collect();
    assert_eq!(names.len(), WORST);
    assert_eq!(
        names[..4],
        ["refuses", "unreadable", "behind-199", "behind-198"]
    );
    assert!(
        view.worst(Target::published(1), WORST).len() == 1,
        "the unreadable one"
    );
}

#[test]
fn a_name_that_no_proxy_has_breaks_nothing_and_is_shown_without_harm() {
    let mut view = FleetView::default();
    put(&mut view, "a/\u{1b}[2J", &record(900, None));
    assert_eq!(counts(&view, 1), [1, 0, 0, 0, 1]);
    assert_eq!(view.proxies().next().unwrap().instance, "a???2J");
    assert!(view.remove("a/\u{1b}[2J"));
    assert_eq!(view.reporting(), 0);
}

/// The roll-up is kept by changes, so it must be what a count from scratch would say.
#[test]
fn counts_that_are_kept_are_counts_from_scratch() {
    let mut chance = fastrand::Rng::with_seed(7);
    let mut view = FleetView::default();
    for _ in 0..20_000 {
        let name = format!("p{}", chance.u8(..40));
        match chance.u8(..10) {
            0 | 1 => {
                view.remove(&name);
            }
            2 => {
                view.set(&name, b"?", 1, 1_000);
            }
            _ => {
                let refused = chance.bool().then(|| chance.i64(0..12));
                let record = Record {
                    absent: chance.bool(),
                    ..record(chance.i64(0..10), refused)
                };
                put(&mut view, &name, &record);
            }
        }
        let target = Target {
            revision: chance.i64(0..12),
            absence_will_do: chance.bool(),
        };
        let mut scratch = Counts::default();
        for proxy in view.proxies() {
            scratch.reporting += 1;
            *match proxy.standing(target) {
                Standing::Applied => &mut scratch.applied,
                Standing::Rejecting => &mut scratch.rejecting,
                Standing::Lagging => &mut scratch.lagging,
                Standing::Unknown => &mut scratch.unknown,
            } += 1;
        }
        assert_eq!(view.counts(target), scratch);
        let not_applied = scratch.reporting - scratch.applied;
        assert_eq!(view.worst(target, WORST).len(), not_applied.min(WORST));
    }
}

#[test]
fn a_list_replaces_what_was_known() {
    let mut view = FleetView::default();
    put(&mut view, "gone", &record(5, None));
    let (value, worse) = (record(5, None).to_bytes(), record(4, None).to_bytes());
    let same = [("other", value.as_slice(), 1, 9)];
    assert!(!view.replace(same), "no count is another one");
    assert_eq!(view.proxies().next().unwrap().instance, "other");
    assert!(view.replace([("other", worse.as_slice(), 1, 9)]));
    assert!(!put(&mut view, "other", &record(4, None)));
    assert!(view.replace([]) && view.reporting() == 0);
}
