use super::*;
use osproxy_core::ManualClock;

const T0: u64 = 1_795_000_000;

/// A pair of clocks that a test moves apart.
struct Clocks {
    mono: ManualClock,
    wall_nanos: u64,
}

impl Clocks {
    fn at(secs: u64) -> Self {
        Self {
            mono: ManualClock::new(),
            wall_nanos: secs * NANOS_PER_SEC,
        }
    }

    fn pass(&mut self, time: Duration) -> Moment {
        self.mono.advance(time);
        self.wall_jumps(i64::try_from(time.as_nanos()).unwrap())
    }

    fn wall_jumps(&mut self, nanos: i64) -> Moment {
        self.wall_nanos = self.wall_nanos.saturating_add_signed(nanos);
        self.now()
    }

    fn now(&self) -> Moment {
        Moment {
            mono: self.mono.now(),
            wall_nanos: self.wall_nanos,
        }
    }
}

fn published(second: u64) -> Option<Publication> {
    Publication::new(second, 5)
}

const HOUR: i64 = 3_600 * 1_000_000_000;

#[test]
fn with_clocks_that_agree_the_age_is_exact() {
    let mut clocks = Clocks::at(T0);
    let aging = Aging::first_sight(published(T0), clocks.pass(Duration::from_millis(300)));
    let age = aging.age(clocks.pass(Duration::from_secs(10)));
    assert_eq!(age.effective, Duration::from_millis(10_300));
}

#[test]
fn a_wall_clock_an_hour_behind_leaves_the_age_to_the_lease() {
    let mut clocks = Clocks::at(T0 - 3_600);
    let mut aging = Aging::first_sight(published(T0), clocks.now());
    let answered = clocks.pass(Duration::from_millis(20));
    aging.lease_answered(
        LeaseReading {
            granted_secs: 100,
            remaining_secs: 69,
        },
        answered,
    );
    let now = clocks.pass(Duration::from_secs(5));
    assert_eq!(aging.age(now).effective, Duration::from_secs(35));
    assert_eq!(aging.clock_ahead_ms(now), Some(-3_600_000 + 20 - 30_000));
}

#[test]
fn a_wall_clock_an_hour_ahead_ends_early_and_never_late() {
    let mut clocks = Clocks::at(T0 + 3_600);
    let aging = Aging::first_sight(published(T0), clocks.now());
    assert_eq!(
        aging.age(clocks.pass(Duration::from_secs(1))).effective,
        Duration::from_secs(3_601)
    );
}

#[test]
fn a_lease_that_etcd_started_anew_does_not_make_the_document_younger() {
    let mut clocks = Clocks::at(T0 - 86_400);
    let mut aging = Aging::first_sight(published(T0), clocks.now());
    aging.lease_answered(
        LeaseReading {
            granted_secs: 60,
            remaining_secs: 9,
        },
        clocks.now(),
    );
    let later = clocks.pass(Duration::from_secs(3));
    aging.lease_answered(
        LeaseReading {
            granted_secs: 60,
            remaining_secs: 59,
        },
        later,
    );
    assert_eq!(aging.age(later).effective, Duration::from_secs(53));
}

#[test]
fn a_machine_that_slept_is_older_by_its_sleep_until_the_read_has_answered() {
    let mut clocks = Clocks::at(T0 - 7_200);
    let mut aging = Aging::first_sight(published(T0), clocks.now());
    assert!(!aging.look(clocks.pass(Duration::from_secs(1))));
    let woken = clocks.wall_jumps(HOUR);
    assert!(aging.look(woken), "asks for a read");
    assert_eq!(aging.age(woken).effective, Duration::from_secs(3_601));
    aging.lease_answered(
        LeaseReading {
            granted_secs: 7_200,
            remaining_secs: 7_100,
        },
        woken,
    );
    assert_eq!(aging.age(woken).effective, Duration::from_secs(99));
}

#[test]
fn a_value_without_a_publication_counts_from_first_sight() {
    let mut clocks = Clocks::at(T0);
    let aging = Aging::first_sight(None, clocks.now());
    let age = aging.age(clocks.pass(Duration::from_secs(8)));
    assert_eq!((age.wall, age.effective), (None, Duration::from_secs(8)));
    assert_eq!(aging.clock_ahead_ms(clocks.now()), None);
}

#[test]
fn a_value_without_a_publication_is_older_by_a_sleep_and_stays_so() {
    let mut clocks = Clocks::at(T0);
    let mut aging = Aging::first_sight(None, clocks.now());
    aging.look(clocks.wall_jumps(HOUR));
    aging.lease_answered(
        LeaseReading {
            granted_secs: 0,
            remaining_secs: -1,
        },
        clocks.now(),
    );
    assert_eq!(aging.age(clocks.now()).effective, Duration::from_hours(1));
}

#[test]
fn a_wall_clock_set_back_makes_nothing_younger_than_its_lease() {
    let mut clocks = Clocks::at(T0 + 50);
    let mut aging = Aging::first_sight(published(T0 + 50), clocks.now());
    clocks.pass(Duration::from_secs(20));
    let back = clocks.wall_jumps(-HOUR);
    assert!(!aging.look(back));
    assert_eq!(aging.age(back).effective, Duration::from_secs(20));
}
