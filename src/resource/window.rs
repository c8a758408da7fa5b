//! When a directive is active: a pure function of its resource.
//!
//! A directive is active in `[start, start + ttl)`, where `start` is `activeFrom` or, without it, the resource's
//! `creationTimestamp`. No status is read to compute it, so neither a restart nor a fail-over nor the re-apply of an
//! unchanged manifest can extend it.
//!
//! Rounding errs on the short side: the end is rounded down to a whole second and an explicit start up.

use jiff::Timestamp;

use super::vocabulary::MAX_ACTIVE_FROM_CHARS;

/// When a directive is active, in whole seconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// The first second in which it is active.
    pub start: u64,
    /// Whether it has to wait for `start`. A start that the author gave is never early. The one that the API server
    /// gave does not wait for a clock that is slow: whoever leaves `activeFrom` out means now.
    pub waits: bool,
    /// The first second in which it is over.
    pub end_secs: u64,
}

/// Where in its window a directive is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Before an explicit start.
    Scheduled,
    /// Between start and end.
    Active,
    /// At the end, or after it.
    Expired,
}

impl Window {
    /// The window of a resource that was created at `created_secs` and gave no start.
    #[must_use]
    pub fn from_creation(created_secs: u64, ttl_millis: u64) -> Self {
        Self {
            start: created_secs,
            waits: false,
            end_secs: created_secs.saturating_add(ttl_millis / MILLIS_PER_SEC),
        }
    }

    /// The window of a resource that gave `start` as its `activeFrom`.
    #[must_use]
    pub fn from_start(start: Timestamp, ttl_millis: u64) -> Self {
        let start_nanos = start.as_nanosecond();
        let end_nanos = start_nanos + i128::from(ttl_millis) * NANOS_PER_MILLI;
        // `parse_time` takes no time before 1970, where there is no second to name; such a window would be over.
        let seconds = |nanos: i128| u64::try_from(nanos.div_euclid(NANOS_PER_SEC)).unwrap_or(0);
        Self {
            start: seconds(start_nanos + NANOS_PER_SEC - 1),
            waits: true,
            end_secs: seconds(end_nanos),
        }
    }

    /// Where in the window `now_secs` is: the current whole second, rounded down.
    #[must_use]
    pub fn phase(self, now_secs: u64) -> Phase {
        if now_secs >= self.end_secs {
            Phase::Expired
        } else if self.waits && now_secs < self.start {
            Phase::Scheduled
        } else {
            Phase::Active
        }
    }
}

const MILLIS_PER_SEC: u64 = 1_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
const NANOS_PER_SEC: i128 = 1_000_000_000;

/// Reads a duration as GEP-2257 of the Gateway API defines it: one to four groups of one to five digits, each with
/// one of the units `h`, `m`, `s` and `ms`. Returns whole milliseconds, or `None` where `text` is no such duration.
///
/// The parser of `kube_core` takes signs, fractions and more units, and computes in floating point.
#[must_use]
pub fn parse_duration_millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut millis = 0_u64;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let (number, unit_on) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((*unit, unit_on.strip_prefix(name)?)))?;
        millis += number * unit;
        rest = after;
        if rest.is_empty() {
            return Some(millis);
        }
    }
    None
}

/// Whole seconds as GEP-2257 writes a duration: `30m`, `1h30m`, `25h5s`. Below 99,999 hours, which is beyond every bound here,
/// [`parse_duration_millis`] reads it back.
#[must_use]
pub fn format_duration(secs: u64) -> String {
    let parts = [(secs / 3_600, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let given = parts.into_iter().filter(|(many, _)| *many > 0);
    let text = given.fold(String::new(), |text, (many, unit)| {
        text + &many.to_string() + unit
    });
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// `ms` stands before `m`, which is its prefix.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Reads an RFC 3339 time from 1970 to 2199, with upper-case `T` and `Z`, as the schema's rule does; `None` where `text`
/// is none. A publication can name seconds up to the year 2242, so no end of a window is out of its reach.
///
/// `jiff` alone is more generous: it takes a space for the `T`, leaves out seconds, reads time zones in brackets and
/// takes second 60 for 59.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let shape = text.len() <= MAX_ACTIVE_FROM_CHARS && is_rfc3339_shaped(text.as_bytes());
    let time: Timestamp = shape.then(|| text.parse().ok()).flatten()?;
    (0..YEAR_2200).contains(&time.as_second()).then_some(time)
}

/// The first second of 2200.
const YEAR_2200: i64 = 7_258_118_400;

fn is_rfc3339_shaped(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(19) else {
        return false;
    };
    let head_fits = head
        .iter()
        .zip(b"dddd-dd-ddTdd:dd:5d")
        .all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'5' => (b'0'..=b'5').contains(byte),
            literal => byte == literal,
        });
    head_fits && is_offset(without_fraction(tail))
}

/// Takes away a dot and one to nine digits. What does not fit is left for the offset to fail on.
fn without_fraction(tail: &[u8]) -> &[u8] {
    let Some(digits_on) = tail.strip_prefix(b".") else {
        return tail;
    };
    let digits = digits_on.iter().take_while(|b| b.is_ascii_digit()).count();
    if (1..=9).contains(&digits) {
        digits_on.get(digits..).unwrap_or_default()
    } else {
        tail
    }
}

fn is_offset(offset: &[u8]) -> bool {
    match offset {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let hours = matches!((h1, h2), (b'0' | b'1', b'0'..=b'9') | (b'2', b'0'..=b'3'));
            hours && matches!((m1, m2), (b'0'..=b'5', b'0'..=b'9'))
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
