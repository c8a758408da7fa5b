use super::*;
use crate::resource::vocabulary::MAX_TTL_SECS;
use proptest::prelude::*;

const CREATED: u64 = 1_795_000_000;

fn from(text: &str, ttl: &str) -> Window {
    Window::from_start(
        parse_time(text).unwrap(),
        parse_duration_millis(ttl).unwrap(),
    )
}

#[test]
fn a_directive_is_active_from_its_first_second_and_off_in_its_last() {
    let window = from("2026-11-22T14:00:00Z", "30m");
    let start = 1_795_356_000;
    assert_eq!(window.start, start);
    assert_eq!(window.phase(start - 1), Phase::Scheduled);
    assert_eq!(window.phase(start), Phase::Active);
    assert_eq!(window.phase(start + 1799), Phase::Active);
    assert_eq!(window.phase(start + 1800), Phase::Expired);
}

#[test]
fn a_default_start_does_not_wait_for_a_slow_clock() {
    let window = Window::from_creation(CREATED, 5_000);
    assert_eq!(window.phase(CREATED - 3600), Phase::Active);
    assert_eq!(window.phase(CREATED + 4), Phase::Active);
    assert_eq!(window.phase(CREATED + 5), Phase::Expired);
}

#[test]
fn an_explicit_start_is_never_early_and_an_end_never_late() {
    let window = from("2026-11-22T14:00:00.000000001Z", "5s");
    let second = 1_795_356_000;
    assert_eq!(window.start, second + 1);
    assert_eq!(window.end_secs, second + 5);
    assert_eq!(window.phase(second), Phase::Scheduled);
    // 14:00:00.9 + 5.2 s is 14:00:06.1.
    assert_eq!(
        from("2026-11-22T14:00:00.9Z", "5200ms").end_secs,
        second + 6
    );
    assert_eq!(Window::from_creation(CREATED, 5_999).end_secs, CREATED + 5);
}

#[test]
fn an_offset_moves_the_start() {
    assert_eq!(
        from("2026-11-22T15:30:00+01:30", "5s"),
        from("2026-11-22T14:00:00Z", "5s")
    );
    assert_eq!(
        from("2026-11-22T14:00:00-00:00", "5s"),
        from("2026-11-22T14:00:00Z", "5s")
    );
}

#[test]
fn the_last_window_that_can_be_written_has_a_publication_second() {
    let window = from("2199-12-31T23:59:59.999999999Z", "168h");
    assert!(crate::document::Publication::new(window.end_secs, 0).is_some());
    let never = Window::from_creation(u64::MAX, 5_000);
    assert_eq!(never.end_secs, u64::MAX);
}

#[test]
fn a_duration_is_read_exactly() {
    let read = [
        ("5s", 5_000),
        ("30m", 1_800_000),
        ("1h30m", 5_400_000),
        ("168h", 604_800_000),
        ("1500ms", 1_500),
        ("1h1h1h1h", 14_400_000),
        ("0s", 0),
        ("00030s", 30_000),
        ("1ms2s3m4h", 14_582_001),
        ("99999h99999h99999h99999h", 1_439_985_600_000),
    ];
    for (text, millis) in read {
        assert_eq!(parse_duration_millis(text), Some(millis), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    let refused = [
        "",
        "30",
        "m",
        "1.5h",
        "-5s",
        "+5s",
        " 5s",
        "5s ",
        "5 s",
        "5S",
        "1d",
        "5us",
        "5µs",
        "5ns",
        "123456s",
        "1h2m3s4ms5s",
        "٣s",
        "5s\n",
        "1hh",
        "h1",
        "1m s",
        "0",
    ];
    for text in refused {
        assert_eq!(parse_duration_millis(text), None, "{text:?}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    let refused = [
        "",
        "2026-11-22",
        "2026-11-22T14:00Z",
        "2026-11-22T14:00:00",
        "2026-11-22t14:00:00Z",
        "2026-11-22T14:00:00z",
        "2026-11-22 14:00:00Z",
        "2026-11-31T14:00:00Z",
        "2026-02-29T14:00:00Z",
        "2026-13-01T14:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T14:60:00Z",
        "2026-11-22T14:00:60Z",
        "2026-11-22T14:00:00.Z",
        "2026-11-22T14:00:00,5Z",
        "2026-11-22T14:00:00.1234567890Z",
        "2026-11-22T14:00:00+24:00",
        "2026-11-22T14:00:00+01",
        "2026-11-22T14:00:00+0100",
        "2026-11-22T14:00:00+01:60",
        "2026-11-22T14:00:00Z[UTC]",
        "+002026-11-22T14:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "2200-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2026-11-22T14:00:00é",
        "éééééééééé",
    ];
    for text in refused {
        assert_eq!(parse_time(text), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_duration_is_the_sum_of_its_groups(
        groups in prop::collection::vec((0_u64..100_000, 0_usize..4), 1..5)
    ) {
        let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let text = groups
            .iter()
            .map(|(number, unit)| format!("{number}{}", units[*unit].0))
            .collect::<Vec<_>>()
            .concat();
        let sum = groups.iter().map(|(number, unit)| number * units[*unit].1).sum();
        prop_assert_eq!(parse_duration_millis(&text), Some(sum));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,40}") {
        let _ = (parse_duration_millis(&text), parse_time(&text));
    }

    #[test]
    fn a_window_is_never_longer_than_its_ttl(
        nanos in 0_i128..7_000_000_000_000_000_000,
        ttl_millis in 5_000_u64..=604_800_000,
    ) {
        let start = Timestamp::from_nanosecond(nanos).unwrap();
        let window = Window::from_start(start, ttl_millis);
        prop_assert!(i128::from(window.start) * 1_000_000_000 >= nanos);
        prop_assert!(
            i128::from(window.end_secs) * 1_000_000_000 <= nanos + i128::from(ttl_millis) * 1_000_000
        );
        prop_assert!(window.start < window.end_secs);
    }
}

#[test]
fn a_duration_is_written_as_it_is_read() {
    for (secs, text) in [
        (1, "1s"),
        (60, "1m"),
        (5_405, "1h30m5s"),
        (MAX_TTL_SECS, "168h"),
        (3_601, "1h1s"),
    ] {
        assert_eq!(format_duration(secs), text);
        assert_eq!(parse_duration_millis(text), Some(secs * 1_000));
    }
    assert_eq!(format_duration(0), "0s");
}
