//! Over how long a fleet spreads its records, so that etcd has the same load from ten proxies and from ten thousand.
//!
//! A proxy writes at most once a window. A fleet of `n` proxies in a window of `n` ÷ 500 s so causes at most 500 writes a second,
//! however often the document changes. A session that begins costs two writes, its lease and its record, and takes two windows.

/// The most writes a second that a whole fleet causes on etcd, on average.
pub const WRITES_PER_SEC: u64 = 500;
/// The shortest window, in milliseconds: what 500 proxies need. Fewer do not become faster by it, and a fleet that starts all at once
/// finds some room.
pub const LEAST_WINDOW_MS: u64 = 1_000;
/// The longest window, in milliseconds. Whatever stands at the key, a proxy waits no longer.
pub const MOST_WINDOW_MS: u64 = 600_000;
/// What a proxy goes by where nobody has announced a window, in milliseconds: what 10,000 proxies need.
pub const DEFAULT_WINDOW_MS: u64 = 20_000;

/// A window that shrinks is announced only after this long, in milliseconds: a fleet that restarts as a whole is as large as before.
const SHRINK_AFTER_MS: u64 = 600_000;
/// The least time between two announcements, in milliseconds.
const SPACING_MS: u64 = 1_000;

/// Over how many milliseconds `reporting` proxies spread their records.
#[must_use]
pub fn window_ms(reporting: usize) -> u64 {
    let reporting = u64::try_from(reporting).unwrap_or(u64::MAX);
    let needed = reporting.saturating_mul(1_000) / WRITES_PER_SEC;
    needed.clamp(LEAST_WINDOW_MS, MOST_WINDOW_MS)
}

/// Reads an announced window; `None` where that is none. Clamped, so that nothing that stands at the key silences a proxy or has it flood.
#[must_use]
pub fn parse_window(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(32))?).ok()?;
    let announced: u64 = text.trim().parse().ok()?;
    Some(announced.clamp(LEAST_WINDOW_MS, MOST_WINDOW_MS))
}

/// Decides when a window is announced: at once where the fleet has outgrown it, late where it has become too long, and not for
/// every proxy that comes or goes. Times are milliseconds of any clock that does not go back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Announcement {
    announced_ms: Option<u64>,
    too_long_since: Option<u64>,
    next_at: u64,
}

impl Announcement {
    /// Notes what stands at the key.
    pub fn saw(&mut self, announced_ms: Option<u64>) {
        self.announced_ms = announced_ms;
    }

    /// What proxies go by at the moment, in milliseconds.
    #[must_use]
    pub fn in_force_ms(&self) -> u64 {
        self.announced_ms.unwrap_or(DEFAULT_WINDOW_MS)
    }

    /// What to announce at `now_ms` to a fleet of `reporting`, if anything. Asked again only after a while, whether or not the write succeeds.
    pub fn due(&mut self, now_ms: u64, reporting: usize) -> Option<u64> {
        let needed = window_ms(reporting);
        // An eighth more than is needed, so that the next few proxies need no other.
        let wanted = if needed > LEAST_WINDOW_MS {
            (needed + needed / 8).min(MOST_WINDOW_MS)
        } else {
            needed
        };
        let is_due = match self.announced_ms {
            Some(announced) if needed > announced => true,
            Some(announced) if wanted.saturating_mul(2) < announced => {
                let since = *self.too_long_since.get_or_insert(now_ms);
                now_ms.saturating_sub(since) >= SHRINK_AFTER_MS
            }
            Some(_) => {
                self.too_long_since = None;
                false
            }
            None => true,
        };
        if !is_due || now_ms < self.next_at {
            return None;
        }
        self.next_at = now_ms.saturating_add(SPACING_MS);
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_of_any_size_causes_at_most_five_hundred_writes_a_second() {
        for reporting in [1, 10, 499, 500, 501, 2_000, 10_000, 100_000] {
            let rate = reporting * 1_000 / usize::try_from(window_ms(reporting)).unwrap();
            assert!(rate <= 500, "{rate} at {reporting}");
        }
    }

    #[test]
    fn five_hundred_proxies_say_so_in_a_second_and_ten_thousand_in_less_than_half_a_minute() {
        assert_eq!(window_ms(500), 1_000);
        let mut announcement = Announcement::default();
        let announced = announcement.due(0, 10_000).unwrap();
        assert!((20_000..=23_000).contains(&announced), "{announced}");
        assert_eq!(window_ms(usize::MAX), MOST_WINDOW_MS);
    }

    #[test]
    fn what_is_announced_is_read_and_nothing_else() {
        for (text, window) in [
            ("1500", Some(1_500)),
            ("20000\n", Some(20_000)),
            ("0", Some(LEAST_WINDOW_MS)),
            ("18446744073709551615", Some(MOST_WINDOW_MS)),
            ("18446744073709551616", None),
            ("-5", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(parse_window(text.as_bytes()), window, "{text}");
        }
        assert_eq!(parse_window(&[0xff; 4]), None);
    }

    #[test]
    fn a_window_follows_growth_at_once_and_shrinks_late() {
        let mut announcement = Announcement::default();
        assert_eq!(
            announcement.due(0, 0),
            Some(1_000),
            "nobody has announced any"
        );
        announcement.saw(Some(1_000));
        assert_eq!(announcement.due(5_000, 500), None);
        assert_eq!(announcement.due(5_000, 1_000), Some(2_250));
        assert_eq!(
            announcement.due(5_900, 4_000),
            None,
            "too soon after the last"
        );
        announcement.saw(Some(2_250));
        assert_eq!(announcement.due(6_000, 4_000), Some(9_000));
        announcement.saw(Some(9_000));
        // A restart of the whole fleet.
        assert_eq!(announcement.due(10_000, 0), None);
        assert_eq!(announcement.due(70_000, 4_000), None);
        assert_eq!(announcement.due(80_000, 10), None);
        assert_eq!(announcement.due(679_000, 10), None);
        assert_eq!(announcement.due(680_000, 10), Some(1_000));
    }
}
