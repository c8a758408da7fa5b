//! Single steps, by hand.

use std::time::Duration;

use osproxy_core::{Clock, ManualClock};

use super::*;

const CLUSTER: u64 = 7;

fn at(revision: i64) -> Header {
    Header {
        cluster: CLUSTER,
        revision,
    }
}

fn value(mod_revision: i64) -> Value {
    Value {
        lease: 0,
        mod_revision,
        bytes: mod_revision.to_string().into_bytes().into(),
    }
}

fn leased(mod_revision: i64, lease: i64) -> Value {
    Value {
        lease,
        ..value(mod_revision)
    }
}

fn event(value: &Value) -> Event {
    Event {
        ours: true,
        mod_revision: value.mod_revision,
        value: Some(value.clone()),
    }
}

fn message(revision: i64, events: Vec<Event>) -> Happened {
    Happened::Watch(Message {
        header: at(revision),
        created: false,
        cancelled: None,
        events,
    })
}

fn created(revision: i64) -> Happened {
    Happened::Watch(Message {
        header: at(revision),
        created: true,
        cancelled: None,
        events: vec![],
    })
}

fn cancelled(fault: Fault) -> Happened {
    Happened::Watch(Message {
        header: at(9),
        created: true,
        cancelled: Some(fault),
        events: vec![],
    })
}

fn takes(value: Option<Value>, revision: i64) -> Next {
    Next::Take {
        value,
        revision,
        reading: None,
    }
}

/// A protocol and its clock.
struct Bench {
    clock: ManualClock,
    protocol: Protocol,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new();
        let mut protocol = Protocol::new(Pace::default(), 1, clock.now());
        assert_eq!(
            protocol.step(clock.now(), Happened::TimePassed),
            [Next::Read]
        );
        Self { clock, protocol }
    }

    /// One that has read `value` at `revision` and watches.
    fn watching(value: Option<Value>, revision: i64) -> Self {
        let mut bench = Self::new();
        bench.step(Happened::Read(at(revision), value));
        bench.step(created(revision));
        bench
    }

    fn step(&mut self, happened: Happened) -> Vec<Next> {
        self.protocol.step(self.clock.now(), happened)
    }

    fn pass(&mut self, time: Duration) -> Vec<Next> {
        self.clock.advance(time);
        self.step(Happened::TimePassed)
    }

    /// Lets time pass until the next read is sent; how long that took.
    fn until_read(&mut self) -> Duration {
        let began = self.clock.now();
        for _ in 0..20 {
            let now = self.clock.now();
            let wake = self.protocol.wake_at().unwrap();
            if self
                .pass(wake.saturating_duration_since(now))
                .contains(&Next::Read)
            {
                return self.clock.now().saturating_duration_since(began);
            }
        }
        panic!("no read was sent");
    }
}

#[test]
fn it_watches_from_the_revision_of_its_read() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.step(Happened::Read(at(9), Some(value(4)))),
        [takes(Some(value(4)), 9), Next::Watch(9)]
    );
}

#[test]
fn an_absent_key_is_taken_as_absence() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.step(Happened::Read(at(9), None)),
        [takes(None, 9), Next::Watch(9)]
    );
}

#[test]
fn an_event_that_the_read_contained_is_ignored() {
    let mut bench = Bench::watching(Some(value(9)), 9);
    assert_eq!(bench.step(message(9, vec![event(&value(9))])), []);
    assert_eq!(bench.protocol.counters().repeated_events, 1);
}

#[test]
fn of_several_events_the_newest_counts() {
    let mut bench = Bench::watching(None, 9);
    let events = vec![event(&value(10)), event(&value(12)), event(&value(11))];
    assert_eq!(
        bench.step(message(12, events)),
        [takes(Some(value(12)), 12)]
    );
}

#[test]
fn a_deletion_is_taken_as_absence() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    let deletion = Event {
        ours: true,
        mod_revision: 10,
        value: None,
    };
    assert_eq!(bench.step(message(10, vec![deletion])), [takes(None, 10)]);
}

#[test]
fn an_event_about_another_key_is_dropped_and_counted() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    let foreign = Event {
        ours: false,
        ..event(&value(10))
    };
    assert_eq!(bench.step(message(10, vec![foreign])), []);
    assert_eq!(bench.protocol.counters().foreign_events, 1);
    assert_eq!(bench.protocol.known(), 9);
}

#[test]
fn progress_never_moves_the_known_revision() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    assert_eq!(bench.step(message(500, vec![])), []);
    assert_eq!(bench.protocol.known(), 9);
    assert_eq!(
        bench.step(message(500, vec![event(&value(10))])),
        [takes(Some(value(10)), 10)]
    );
}

#[test]
fn a_refusal_that_also_says_created_is_a_refusal() {
    let mut bench = Bench::new();
    bench.step(Happened::Read(at(9), None));
    let next = bench.step(cancelled(Fault::PermissionDenied));
    assert_eq!(
        next,
        [
            Next::Tell(Tell::Lost(Fault::PermissionDenied)),
            Next::Drop(true)
        ]
    );
    assert!(!bench.protocol.is_watching());
}

#[test]
fn a_login_that_is_not_good_any_more_takes_another_connection() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    let next = bench.step(cancelled(Fault::Authentication));
    assert_eq!(next[1], Next::Drop(true));
    bench.until_read();
    let next = bench.step(Happened::ReadFailed(Fault::Authentication));
    assert!(next.contains(&Next::Drop(true)), "{next:?}");

    // The watch of a login that is void lives on, and every re-read fails.
    let mut bench = Bench::watching(Some(value(4)), 9);
    bench.step(Happened::ClockJumped);
    let next = bench.step(Happened::ReadFailed(Fault::Authentication));
    assert!(next.contains(&Next::Drop(true)), "{next:?}");
    assert!(!bench.protocol.is_watching());
}

#[test]
fn another_connection_is_read_from_at_once_and_is_no_second_witness() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    assert_eq!(
        bench.step(Happened::Renewed),
        [Next::Drop(false), Next::Read]
    );
    bench.step(Happened::Read(at(3), None));
    assert_eq!(bench.step(Happened::Renewed), [Next::Drop(false)]);
    assert_eq!(bench.until_read(), Duration::from_secs(5));
}

#[test]
fn a_cancelled_watch_starts_over_from_the_read() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    bench.step(cancelled(Fault::Compacted));
    assert!(bench.until_read() <= Duration::from_millis(100));
    assert_eq!(
        bench.step(Happened::Read(at(30), Some(value(4)))),
        [Next::Confirm, Next::Watch(30)]
    );
}

#[test]
fn a_mute_watch_is_dead_after_two_questions() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    assert_eq!(bench.pass(Duration::from_secs(10)), [Next::AskProgress]);
    assert_eq!(bench.pass(Duration::from_secs(10)), [Next::AskProgress]);
    assert_eq!(
        bench.pass(Duration::from_secs(5)),
        [Next::Tell(Tell::Lost(Fault::Timeout)), Next::Drop(true)]
    );
}

#[test]
fn an_answered_question_keeps_the_watch() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    for _ in 0..100 {
        let next = bench.pass(Duration::from_secs(10));
        assert!(next.contains(&Next::AskProgress));
        bench.step(message(9, vec![]));
        if next.contains(&Next::Read) {
            bench.step(Happened::Read(at(9), Some(value(4))));
        }
    }
    assert_eq!(bench.protocol.counters().restarts, 0);
}

#[test]
fn a_message_that_lay_unread_while_the_process_was_stopped_is_not_believed() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    bench.pass(Duration::from_secs(10));
    bench.pass(Duration::from_secs(10));
    bench.clock.advance(Duration::from_mins(10));
    let next = bench.step(message(10, vec![event(&value(10))]));
    assert!(
        !next.iter().any(|next| matches!(next, Next::Take { .. })),
        "{next:?}"
    );
}

#[test]
fn a_watch_that_does_not_open_starts_over() {
    let mut bench = Bench::new();
    bench.step(Happened::Read(at(9), None));
    assert!(
        bench
            .pass(Duration::from_secs(5))
            .contains(&Next::Drop(true))
    );
}

#[test]
fn the_key_is_read_again_while_the_watch_lives_on() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    let mut waited = Duration::ZERO;
    while !bench.pass(Duration::from_secs(1)).contains(&Next::Read) {
        waited += Duration::from_secs(1);
        bench.step(message(9, vec![]));
    }
    assert!((29..=60).contains(&waited.as_secs()), "{waited:?}");
    // The deletion that the watch had swallowed.
    assert_eq!(bench.step(Happened::Read(at(20), None)), [takes(None, 20)]);
}

#[test]
fn a_read_that_the_watch_overtook_changes_nothing() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    bench.step(Happened::ClockJumped);
    bench.step(message(10, vec![event(&value(10))]));
    assert_eq!(bench.step(Happened::Read(at(9), Some(value(4)))), []);
    assert_eq!(bench.protocol.known(), 10);
}

#[test]
fn a_value_waits_for_the_age_of_its_lease() {
    let mut bench = Bench::new();
    let read = bench.step(Happened::Read(at(9), Some(leased(4, 55))));
    assert_eq!(read, [Next::AskLease(55), Next::Watch(9)]);
    let reading = LeaseReading {
        granted_secs: 60,
        remaining_secs: 20,
    };
    let take = Next::Take {
        value: Some(leased(4, 55)),
        revision: 9,
        reading: Some(reading),
    };
    assert_eq!(bench.step(Happened::Lease(55, reading)), [take]);
}

#[test]
fn a_value_whose_lease_is_gone_is_read_again_and_not_taken() {
    let mut bench = Bench::new();
    bench.step(Happened::Read(at(9), Some(leased(4, 55))));
    let gone = LeaseReading {
        granted_secs: 0,
        remaining_secs: -1,
    };
    assert_eq!(bench.step(Happened::Lease(55, gone)), []);
    assert!(bench.until_read() <= Duration::from_secs(1));
    assert!(!bench.protocol.has_taken());
    bench.step(created(9));
    bench.step(Happened::Read(at(9), Some(leased(4, 55))));
    bench.step(Happened::Lease(55, gone));
    assert!(
        bench.until_read() >= Duration::from_secs(5),
        "asks once, not for ever"
    );
}

#[test]
fn a_login_that_may_not_ask_for_leases_still_gets_the_value() {
    let mut bench = Bench::new();
    bench.step(Happened::Read(at(9), Some(leased(4, 55))));
    assert_eq!(
        bench.step(Happened::LeaseFailed(Fault::PermissionDenied)),
        [takes(Some(leased(4, 55)), 9)]
    );
}

#[test]
fn a_lower_revision_is_believed_when_a_second_read_says_the_same() {
    let mut bench = Bench::watching(Some(value(40)), 50);
    bench.step(cancelled(Fault::Unavailable));
    bench.until_read();
    let next = bench.step(Happened::Read(at(6), Some(value(3))));
    assert_eq!(next, [Next::Tell(Tell::Doubted(at(6))), Next::Drop(false)]);
    assert_eq!(bench.until_read(), Duration::from_secs(5));
    let next = bench.step(Happened::Read(at(8), Some(value(3))));
    assert_eq!(
        next,
        [
            Next::Tell(Tell::Followed(at(8))),
            takes(Some(value(3)), 8),
            Next::Watch(8)
        ]
    );
}

#[test]
fn one_stale_read_is_not_believed() {
    let mut bench = Bench::watching(Some(value(40)), 50);
    bench.step(Happened::ClockJumped);
    bench.step(Happened::Read(at(6), Some(value(3))));
    bench.until_read();
    let next = bench.step(Happened::Read(at(51), Some(value(40))));
    assert_eq!(next, [Next::Confirm, Next::Watch(51)]);
}

#[test]
fn another_cluster_is_followed_after_a_second_read() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    let other = Header {
        cluster: 8,
        revision: 100,
    };
    let strange = Message {
        header: other,
        created: false,
        cancelled: None,
        events: vec![event(&value(99))],
    };
    let next = bench.step(Happened::Watch(strange));
    assert_eq!(next, [Next::Tell(Tell::Doubted(other)), Next::Drop(false)]);
    assert_eq!(bench.until_read(), Duration::from_secs(5));
    let next = bench.step(Happened::Read(other, None));
    assert_eq!(
        next,
        [
            Next::Tell(Tell::Followed(other)),
            takes(None, 100),
            Next::Watch(100)
        ]
    );
}

#[test]
fn another_value_under_a_known_revision_is_another_history() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    let rewritten = Value {
        bytes: b"other"[..].into(),
        ..value(4)
    };
    for answered in [Tell::Doubted(at(9)), Tell::Followed(at(9))] {
        bench.step(Happened::ClockJumped);
        if !matches!(bench.protocol.read, Read::Asked(_)) {
            bench.until_read();
        }
        let next = bench.step(Happened::Read(at(9), Some(rewritten.clone())));
        assert_eq!(next[0], Next::Tell(answered));
    }
}

#[test]
fn a_member_that_lags_behind_is_watched_and_checked_by_a_read() {
    let mut bench = Bench::new();
    bench.step(Happened::Read(at(50), Some(value(40))));
    bench.step(created(48));
    assert!(bench.protocol.is_watching());
    assert!(bench.until_read() <= Duration::from_secs(5));
    assert_eq!(
        bench.step(Happened::Read(at(51), Some(value(40)))),
        [Next::Confirm]
    );
}

#[test]
fn failing_reads_are_tried_again_ever_more_rarely() {
    let mut bench = Bench::new();
    let mut waits = vec![];
    for _ in 0..200 {
        bench.step(Happened::ReadFailed(Fault::NotSent));
        waits.push(bench.until_read());
    }
    assert!(waits[0] <= Duration::from_millis(100));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(5)));
    let later: Duration = waits[100..].iter().sum();
    assert!(
        (150..350).contains(&later.as_secs()),
        "full jitter: {later:?}"
    );
}

#[test]
fn a_failed_re_read_leaves_the_watch_alone() {
    let mut bench = Bench::watching(Some(value(4)), 9);
    bench.step(Happened::ClockJumped);
    let next = bench.step(Happened::ReadFailed(Fault::Unavailable));
    assert_eq!(next, [Next::Tell(Tell::ReadFailed(Fault::Unavailable))]);
    assert!(bench.protocol.is_watching());
}
