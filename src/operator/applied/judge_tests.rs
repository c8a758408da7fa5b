use osproxy_core::{Clock, ManualClock};

use super::*;
use crate::document::{DatedEntry, Entry, Selector};
use crate::fleet::{Record, Refused};
use crate::operator::observe::Id;
use crate::operator::plan::{Plan, Verdict};

const A: &str = "ns/a";

/// One directive, a fleet, and a clock.
struct Bench {
    clock: ManualClock,
    ledger: Ledger,
    view: FleetView,
    judge: Judge,
    /// How often another answer was given.
    news: usize,
}

impl Bench {
    /// Published at revision 10.
    fn new() -> Self {
        let clock = ManualClock::new();
        let mut bench = Self {
            ledger: Ledger::default(),
            view: FleetView::default(),
            judge: Judge::default(),
            news: 0,
            clock,
        };
        bench.settled(10, 60, 0);
        bench
    }

    fn settled(&mut self, revision: i64, end_secs: u64, foreign_writes: u64) {
        self.ledger
            .settled(self.clock.now(), &plan(end_secs), revision, foreign_writes);
    }

    fn says(&mut self, name: &str, revision: i64) -> Said {
        self.record(name, revision, None)
    }

    fn record(&mut self, name: &str, revision: i64, refused: Option<i64>) -> Said {
        let record = Record {
            revision,
            refused: refused.map(|revision| Refused {
                reason: "r".into(),
                revision,
            }),
            ..Record::default()
        };
        self.view.set(name, &record.to_bytes(), 1, 1_000);
        self.said()
    }

    fn said(&mut self) -> Said {
        let news = self
            .judge
            .look(self.clock.now(), &self.ledger, Some(&self.view), 1_000);
        self.news += news.len();
        self.judge.opinion(A).unwrap().said
    }

    /// Lets the time pass as the reporter would.
    fn after(&mut self, time: Duration) -> Said {
        let end = self.clock.now().saturating_add(time);
        while let Some(at) = self.judge.look_at().filter(|at| *at <= end) {
            let wait = at.saturating_duration_since(self.clock.now());
            self.clock.advance(wait);
            self.said();
        }
        self.clock
            .advance(end.saturating_duration_since(self.clock.now()));
        self.said()
    }
}

fn plan(end_secs: u64) -> Plan {
    let id = Id {
        namespace: "ns".into(),
        name: "a".into(),
    };
    let entry = Entry {
        id: A.into(),
        selector: Selector::default(),
        level: osproxy_observe::DiagLevel::Shape,
        sample_per_mille: 5,
        ring_buffer: false,
        capture: false,
    };
    Plan {
        entries: vec![DatedEntry { entry, end_secs }],
        verdicts: [(id, Verdict::Active { end_secs })].into(),
        next_deadline_secs: None,
    }
}

const GRACE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn all_have_it_when_the_last_one_says_so() {
    let mut bench = Bench::new();
    assert_eq!(bench.said(), Said::Nobody);
    let mut bench = Bench::new();
    bench
        .view
        .set("two", b"{\"version\":\"1\",\"revision\":5}", 1, 1_000);
    assert_eq!(bench.says("one", 5), Said::Pending);
    assert_eq!(bench.says("one", 10), Said::Pending);
    assert_eq!(bench.says("two", 12), Said::Applied);
    assert_eq!(bench.news, 2);
}

#[test]
fn one_that_is_behind_is_named_after_the_grace_and_holds_nothing_up() {
    let mut bench = Bench::new();
    bench.says("one", 10);
    let mut bench = Bench::new();
    bench.says("frozen", 5);
    bench.says("one", 10);
    let almost = GRACE.saturating_sub(Duration::from_millis(1));
    assert_eq!(bench.after(almost), Said::Pending);
    assert_eq!(bench.after(Duration::from_millis(1)), Said::Lagging);
    // Forgotten with its lease.
    bench.view.remove("frozen");
    assert_eq!(bench.said(), Said::Applied);
    assert_eq!(grace(20_000), Duration::from_secs(27));
}

#[test]
fn one_that_refuses_is_named_at_once() {
    let mut bench = Bench::new();
    bench.says("one", 10);
    assert_eq!(bench.record("two", 5, Some(10)), Said::Rejecting);
    assert_eq!(bench.says("two", 10), Said::Applied);
}

#[test]
fn a_rolling_restart_changes_no_answer_and_neither_does_one_of_all_at_once() {
    let mut bench = Bench::new();
    for n in 0..50 {
        bench.says(&format!("p{n}"), 10);
    }
    assert_eq!(bench.said(), Said::Applied);
    let before = bench.news;
    for n in 0..50 {
        bench.view.remove(&format!("p{n}"));
        bench.said();
        // One that has been away is behind for a moment.
        bench.says(&format!("p{n}"), 5);
        bench.after(Duration::from_secs(3));
        bench.says(&format!("p{n}"), 10);
    }
    bench.view = FleetView::default();
    assert_eq!(bench.after(MINUTE * 60), Said::Applied);
    assert_eq!(bench.says("p1", 20), Said::Applied);
    assert_eq!(bench.news, before);
}

#[test]
fn a_neighbours_change_asks_nothing_anew() {
    let mut bench = Bench::new();
    assert_eq!(bench.says("one", 10), Said::Applied);
    let before = bench.news;
    bench.settled(30, 60, 0);
    assert_eq!(bench.after(MINUTE), Said::Applied);
    assert_eq!(bench.news, before);
    // A change of its own does.
    bench.settled(40, 90, 0);
    assert_eq!(bench.said(), Said::Pending);
}

#[test]
fn what_was_put_back_stays_applied_unless_one_stays_behind() {
    let mut bench = Bench::new();
    bench.says("one", 10);
    assert_eq!(bench.says("two", 10), Said::Applied);
    bench.settled(30, 60, 1);
    assert_eq!(bench.said(), Said::Applied);
    bench.says("one", 30);
    assert_eq!(bench.after(MINUTE), Said::Lagging);
}

#[test]
fn a_new_leader_says_what_was_said_before_until_it_knows_better() {
    let mut bench = Bench::new();
    bench.ledger = Ledger::found(bench.clock.now(), plan(60).entries, 10);
    bench.settled(10, 60, 0);
    let now = bench.clock.now();
    bench.judge.look(now, &bench.ledger, None, 1_000);
    assert_eq!(bench.judge.opinion(A).unwrap().said, Said::AsBefore);
    bench.says("behind", 5);
    assert_eq!(bench.says("one", 10), Said::AsBefore);
    assert_eq!(bench.after(GRACE), Said::Lagging);
    assert!(!bench.judge.opinion(A).unwrap().certain);
    assert_eq!(bench.says("behind", 11), Said::Applied);
}

#[test]
fn a_proxy_that_goes_back_and_forth_makes_no_status_flap() {
    let mut bench = Bench::new();
    bench.says("one", 10);
    let before = bench.news;
    for _ in 0..1_000 {
        bench.record("crashes", 5, Some(10));
        bench.after(Duration::from_secs(40));
        bench.view.remove("crashes");
        bench.after(Duration::from_secs(5));
    }
    assert!(bench.news - before <= 4, "{}", bench.news - before);
}

#[test]
fn a_record_that_cannot_be_read_is_not_taken_for_an_answer() {
    let mut bench = Bench::new();
    bench.says("one", 10);
    bench.view.set("later", b"?", 1, 1_000);
    let mut fresh = Bench::new();
    fresh.view = bench.view.clone();
    assert_eq!(fresh.said(), Said::Pending);
    assert_eq!(fresh.after(GRACE), Said::Unreadable);
}
