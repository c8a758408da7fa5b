use osproxy_core::{Clock, ManualClock};

use super::*;

const T0: u64 = 1_795_000_000;

/// Clocks that agree, and a holding under them.
struct Bench {
    mono: ManualClock,
    wall_nanos: u64,
    holding: Holding,
}

impl Bench {
    fn new() -> Self {
        Self {
            mono: ManualClock::new(),
            wall_nanos: T0 * 1_000_000_000,
            holding: Holding::default(),
        }
    }

    fn now(&self) -> Moment {
        Moment {
            mono: self.mono.now(),
            wall_nanos: self.wall_nanos,
        }
    }

    fn pass(&mut self, ms: u64) -> Moment {
        self.mono.advance(Duration::from_millis(ms));
        self.wall_nanos += ms * 1_000_000;
        self.now()
    }

    fn take(&mut self, mod_revision: i64, lease: i64, json: &str) -> Result<(), Refusal> {
        let value = Value {
            lease,
            mod_revision,
            bytes: json.as_bytes().into(),
        };
        self.holding.take(&value, None, self.now())
    }

    /// How many directives requests are decided by now.
    fn alive(&mut self) -> usize {
        let now = self.now();
        self.holding.snapshot(now).copies.set().len()
    }
}

fn document(ttls: &[u64]) -> String {
    let directives: Vec<_> = ttls
        .iter()
        .enumerate()
        .map(|(id, ttl)| format!(r#"{{"id":"{id}","level":"Shape","ttl_secs":{ttl}}}"#))
        .collect();
    format!(r#"{{"directives":[{}]}}"#, directives.join(","))
}

fn lease(second: u64) -> i64 {
    Publication::new(second, 3).unwrap().lease_id()
}

#[test]
fn each_directive_ends_at_its_own_end() {
    let mut bench = Bench::new();
    bench.take(5, lease(T0 - 10), &document(&[11, 30])).unwrap();
    assert_eq!(bench.alive(), 2);
    let now = bench.pass(999);
    assert!(!bench.holding.is_outdated(now));
    let now = bench.pass(1);
    assert!(bench.holding.is_outdated(now));
    assert_eq!(bench.alive(), 1);
    assert_eq!(bench.holding.applied().unwrap().directives, 1);
}

#[test]
fn it_wakes_at_the_next_end_and_at_least_once_a_second() {
    let mut bench = Bench::new();
    assert_eq!(bench.holding.wake_at(bench.mono.now()), None);
    bench.take(5, lease(T0), &document(&[2])).unwrap();
    bench.alive();
    let in_ms = |bench: &Bench| {
        let now = bench.mono.now();
        bench
            .holding
            .wake_at(now)
            .unwrap()
            .saturating_duration_since(now)
            .as_millis()
    };
    assert_eq!(in_ms(&bench), 1_000);
    bench.pass(1_400);
    assert_eq!(in_ms(&bench), 600);
}

#[test]
fn a_refused_document_keeps_the_last_good_one() {
    let mut bench = Bench::new();
    bench.take(5, lease(T0), &document(&[60])).unwrap();
    bench
        .take(
            6,
            lease(T0 + 1),
            r#"{"directives":[{"id":"a","tenant":null}]}"#,
        )
        .unwrap_err();
    assert_eq!(bench.alive(), 1);
    let refused = bench.holding.refused().unwrap();
    assert_eq!((refused.reason, refused.revision), ("null_value", 6));
    assert_eq!(bench.holding.applied().unwrap().revision, 5);
}

#[test]
fn an_absent_key_empties() {
    let mut bench = Bench::new();
    bench.take(5, lease(T0), &document(&[60])).unwrap();
    bench.holding.clear(7);
    assert_eq!((bench.alive(), bench.holding.applied()), (0, None));
}

#[test]
fn an_undated_value_lives_from_first_sight() {
    let mut bench = Bench::new();
    bench.take(5, 0, &document(&[10])).unwrap();
    bench.pass(9_999);
    assert_eq!(bench.alive(), 1);
    bench.pass(1);
    assert_eq!(bench.alive(), 0);
}

#[test]
fn one_lease_is_one_publication_whatever_its_revision() {
    let mut bench = Bench::new();
    // etcd's own id: nothing but the lease tells the age.
    bench.take(5, 77, &document(&[10])).unwrap();
    bench.pass(6_000);
    bench.take(3, 77, &document(&[10])).unwrap();
    bench.pass(4_000);
    assert_eq!(bench.alive(), 0);
}

#[test]
fn a_lease_answer_moves_the_ends() {
    let mut bench = Bench::new();
    bench.wall_nanos -= 3_600 * 1_000_000_000;
    bench.take(5, lease(T0), &document(&[30])).unwrap();
    assert_eq!(bench.alive(), 1);
    let reading = LeaseReading {
        granted_secs: 40,
        remaining_secs: 5,
    };
    let now = bench.now();
    bench.holding.lease_answered(1, reading, now);
    assert!(!bench.holding.is_outdated(now), "another lease");
    bench.holding.lease_answered(lease(T0), reading, now);
    assert!(bench.holding.is_outdated(now));
    assert_eq!(bench.alive(), 0);
}

#[test]
fn a_machine_that_slept_finds_its_directives_older() {
    let mut bench = Bench::new();
    bench.take(5, 0, &document(&[600])).unwrap();
    bench.alive();
    let now = bench.pass(1_000);
    assert!(!bench.holding.look(now) && !bench.holding.is_outdated(now));
    bench.wall_nanos += 900 * 1_000_000_000;
    let woken = bench.now();
    assert!(bench.holding.look(woken) && bench.holding.is_outdated(woken));
    assert_eq!(bench.alive(), 0);
}
