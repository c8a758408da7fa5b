use osproxy_core::{Clock, ManualClock};

use super::*;
use crate::store::status::Refused;

/// A session, its clock, and an etcd that answers what it is told to.
struct Bench {
    session: Session,
    clock: ManualClock,
    window: Result<Option<u64>, Fault>,
    grant: Result<(), Fault>,
    write: Result<(), Fault>,
    refresh: Result<(), Fault>,
    /// What is left of the lease that somebody has, and whether they refresh it.
    left: i64,
    refreshed: bool,
    /// Every write, with the moment in milliseconds.
    writes: Vec<(u64, Word)>,
    calls: Vec<Call>,
    now_ms: u64,
}

fn word(revision: i64) -> Word {
    Word {
        revision,
        absent: false,
        publication_secs: Some(1),
        refused: None,
        histories: 0,
    }
}

impl Bench {
    fn new(seed: u64) -> Self {
        let clock = ManualClock::new();
        Self {
            session: Session::new(seed, clock.now()),
            clock,
            window: Ok(Some(1_000)),
            grant: Ok(()),
            write: Ok(()),
            refresh: Ok(()),
            left: 50,
            refreshed: false,
            writes: Vec::new(),
            calls: Vec::new(),
            now_ms: 0,
        }
    }

    fn say(&mut self, word: Word) {
        self.step(Happened::Word(word));
    }

    fn step(&mut self, happened: Happened) {
        let mut call = self.session.step(self.clock.now(), happened);
        while let Some(made) = call {
            self.calls.push(made);
            let answer = self.answer(made);
            call = self.session.step(self.clock.now(), answer);
        }
    }

    fn answer(&mut self, call: Call) -> Happened {
        match call {
            Call::ReadWindow => Happened::Window(self.window),
            Call::Grant if self.left < -10 => Happened::Granted(Ok(())),
            Call::Grant => Happened::Granted(self.grant),
            Call::AskLease => Happened::Left(Ok(LeaseReading {
                granted_secs: 60,
                remaining_secs: self.left,
            })),
            Call::Refresh => Happened::Refreshed(self.refresh),
            Call::Write(word) => {
                if self.write.is_ok() {
                    self.writes.push((self.now_ms, word));
                }
                Happened::Written(self.write)
            }
        }
    }

    /// Lets the time pass, as its owner would: from one planned moment to the next.
    fn pass(&mut self, time: Duration) {
        let end = self.now_ms + u64::try_from(time.as_millis()).unwrap();
        while self.now_ms < end {
            let now = self.clock.now();
            let wait = self
                .session
                .wake_at()
                .map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let wait = (wait + 1).min(end - self.now_ms);
            self.now_ms += wait;
            self.clock.advance(Duration::from_millis(wait));
            if self.now_ms / 1_000 != (self.now_ms - wait) / 1_000 {
                let secs = i64::try_from(self.now_ms / 1_000 - (self.now_ms - wait) / 1_000);
                self.left = if self.refreshed {
                    45
                } else {
                    self.left - secs.unwrap()
                };
            }
            self.step(Happened::TimePassed);
        }
    }

    fn state(&self) -> ReportingState {
        self.session.told().0
    }

    fn called(&self, wanted: Call) -> usize {
        self.calls.iter().filter(|call| **call == wanted).count()
    }
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn nothing_is_written_that_is_not_news() {
    let mut bench = Bench::new(1);
    bench.say(word(5));
    bench.pass(MINUTE);
    bench.say(word(5));
    bench.pass(MINUTE);
    assert_eq!(bench.writes.len(), 1);
    assert_eq!(bench.called(Call::Grant), 1);
    // The lease is refreshed every 20 s, or a little sooner.
    assert!((5..=7).contains(&bench.called(Call::Refresh)));
    assert_eq!(bench.state(), ReportingState::Reporting);
    let refused = Refused {
        reason: "null_value",
        revision: 6,
    };
    for (n, news) in [
        word(6),
        Word {
            refused: Some(refused),
            ..word(6)
        },
        word(6),
    ]
    .into_iter()
    .enumerate()
    {
        bench.say(news);
        bench.pass(MINUTE);
        assert_eq!(bench.writes.len(), n + 2);
        assert_eq!(bench.writes[n + 1].1, news);
    }
}

#[test]
fn a_document_that_changes_all_the_time_costs_one_write_a_window() {
    for seed in 0..20 {
        let mut bench = Bench::new(seed);
        bench.window = Ok(Some(20_000));
        bench.say(word(1));
        bench.pass(MINUTE);
        let before = bench.writes.len();
        for revision in 2..2_002 {
            bench.say(word(revision));
            bench.pass(Duration::from_millis(100));
        }
        let writes = bench.writes.len() - before;
        assert!((9..=11).contains(&writes), "{writes} in ten windows");
        bench.pass(Duration::from_secs(20));
        assert_eq!(bench.writes.last().unwrap().1, word(2_001));
    }
}

#[test]
fn a_fleet_spreads_over_its_window_and_its_beginning_over_two() {
    const FLEET: u64 = 2_000;
    let (mut beginnings, mut delays) = (vec![0; 8], vec![0; 4]);
    for seed in 0..FLEET {
        let mut bench = Bench::new(seed);
        bench.window = Ok(Some(4_000));
        bench.say(word(1));
        bench.pass(MINUTE);
        let begun = bench.writes[0].0;
        assert!(begun <= 8_100, "{begun}");
        beginnings[usize::try_from(begun / 1_000).unwrap().min(7)] += 1;
        bench.say(word(2));
        bench.pass(MINUTE);
        let delay = bench.writes[1].0 - 60_000;
        assert!(delay <= 4_100, "{delay}");
        delays[usize::try_from(delay / 1_000).unwrap().min(3)] += 1;
    }
    // 250 a second would be even, each with its lease; and 500.
    assert!(
        beginnings.iter().all(|many| (180..=320).contains(many)),
        "{beginnings:?}"
    );
    assert!(
        delays.iter().all(|many| (400..=600).contains(many)),
        "{delays:?}"
    );
}

#[test]
fn a_session_that_begins_while_the_fleet_grows_is_put_off_and_not_for_ever() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        bench.say(word(1));
        bench.pass(Duration::from_millis(1));
        let (mut window, mut moments) = (1_000, 0);
        while bench.writes.is_empty() {
            // By a quarter and more, each time that this one has waited for its moment.
            window += window / 4 + 1;
            bench.window = Ok(Some(window));
            let wakes = bench.session.wake_at().unwrap();
            let wait = wakes.saturating_duration_since(bench.clock.now());
            bench.pass(wait + Duration::from_millis(2));
            moments += 1;
            assert!(moments <= PUT_OFF + 1, "it is passed over again and again");
        }
        assert_eq!(moments, PUT_OFF + 1, "it was put off before");
    }
}

#[test]
fn a_fleet_that_has_outgrown_its_window_says_what_is_new_within_the_new_one() {
    const FLEET: u64 = 2_000;
    let mut delays = vec![0; 4];
    for seed in 0..FLEET {
        let mut bench = Bench::new(seed);
        bench.window = Ok(Some(9_000));
        bench.say(word(1));
        bench.pass(MINUTE);
        bench.window = Ok(Some(20_000));
        bench.say(word(2));
        bench.pass(MINUTE);
        let (at, said) = bench.writes[1];
        assert_eq!(said, word(2));
        let delay = at - 60_000;
        assert!(delay <= 20_010, "{delay}");
        delays[usize::try_from(delay / 5_000).unwrap().min(3)] += 1;
        // And from then on at its own moment of the new one.
        bench.say(word(3));
        bench.pass(MINUTE);
        assert!(bench.writes[2].0 - 120_000 <= 20_010);
    }
    // Even would be 500. Those whose moment of the new window has passed when they hear of it come together with those whose moment it is.
    assert!(delays.iter().all(|many| *many <= 800), "{delays:?}");
}

#[test]
fn where_no_window_is_announced_a_fleet_is_taken_for_a_large_one() {
    let mut slowest = 0;
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        bench.window = Ok(None);
        bench.say(word(1));
        bench.pass(MINUTE);
        slowest = slowest.max(bench.writes[0].0);

        // An operator that was started a moment later.
        let mut bench = Bench::new(seed);
        bench.window = Ok(None);
        bench.say(word(1));
        bench.window = Ok(Some(1_000));
        bench.pass(Duration::from_secs(11));
        assert_eq!(bench.writes.len(), 1);
    }
    assert!((30_000..=46_000).contains(&slowest), "{slowest}");
}

#[test]
fn without_the_right_nothing_is_tried_for_a_long_while() {
    let mut bench = Bench::new(4);
    bench.window = Err(Fault::PermissionDenied);
    bench.say(word(1));
    bench.pass(MINUTE * 60);
    assert_eq!(bench.state(), ReportingState::Denied);
    assert!((4..=7).contains(&bench.calls.len()), "{:?}", bench.calls);
    // Given later, it is used.
    bench.window = Ok(None);
    bench.pass(MINUTE * 16);
    assert_eq!(bench.writes.len(), 1);

    let mut bench = Bench::new(5);
    bench.write = Err(Fault::PermissionDenied);
    bench.say(word(1));
    bench.pass(MINUTE * 9);
    assert_eq!(bench.called(Call::Write(word(1))), 1);
    assert_eq!(bench.called(Call::Refresh), 0, "the lease lapses");
}

#[test]
fn a_namesake_is_noticed_and_not_fought() {
    let mut bench = Bench::new(6);
    (bench.grant, bench.refreshed) = (Err(Fault::LeaseExists), true);
    bench.say(word(1));
    bench.pass(MINUTE * 10);
    assert_eq!(bench.state(), ReportingState::NameTaken);
    assert!(bench.writes.is_empty() && bench.called(Call::Refresh) == 0);
    // It ends, without having said so.
    bench.refreshed = false;
    bench.pass(MINUTE * 2);
    assert_eq!(bench.state(), ReportingState::Reporting);
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn a_dead_predecessor_is_followed_within_its_lease() {
    // A lease whose time is up is there for a moment more.
    for left in [55, 40, 28, 1] {
        let mut bench = Bench::new(7);
        (bench.grant, bench.left) = (Err(Fault::LeaseExists), left);
        bench.say(word(1));
        bench.pass(Duration::from_secs(90));
        assert_eq!(bench.writes.len(), 1, "{left}");
        assert!(bench.calls.len() < 50, "{:?}", bench.calls);
        let (at, _) = bench.writes[0];
        assert!(
            left < 10 || at > 20_000,
            "{at}: not before it is known to be dead"
        );
    }
}

#[test]
fn a_session_that_lapsed_begins_anew() {
    let mut bench = Bench::new(8);
    bench.say(word(1));
    bench.pass(MINUTE);
    bench.refresh = Err(Fault::LeaseNotFound);
    bench.pass(Duration::from_secs(20));
    bench.refresh = Ok(());
    bench.pass(MINUTE);
    assert_eq!((bench.writes.len(), bench.called(Call::Grant)), (2, 2));
}

#[test]
fn an_etcd_that_is_gone_is_asked_less_and_less() {
    let mut bench = Bench::new(9);
    bench.say(word(1));
    bench.pass(MINUTE);
    (bench.window, bench.refresh) = (Err(Fault::NotSent), Err(Fault::NotSent));
    bench.calls.clear();
    bench.say(word(2));
    bench.pass(MINUTE * 30);
    assert_eq!(bench.state(), ReportingState::Failing);
    let asked = bench.called(Call::ReadWindow);
    assert!((30..=120).contains(&asked), "{asked}");
    (bench.window, bench.refresh) = (Ok(Some(1_000)), Ok(()));
    bench.pass(MINUTE * 2);
    assert_eq!(bench.writes.last().unwrap().1, word(2));
    assert_eq!(bench.state(), ReportingState::Reporting);
}

#[test]
fn another_history_of_etcd_is_told_again() {
    let mut bench = Bench::new(10);
    bench.say(word(1));
    bench.pass(MINUTE);
    let after = Word {
        histories: 1,
        ..word(1)
    };
    bench.say(after);
    bench.pass(MINUTE);
    assert_eq!(bench.writes.len(), 2);
}
