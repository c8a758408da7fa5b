//! When the next write may go out; pure.
//!
//! A change after quiet goes out at once. While one publish is under way the next changes coalesce, and the
//! spacing keeps to at most ten writes and one MiB a second: what a change costs is its bytes times the number of readers.

use std::time::Duration;

use osproxy_core::Instant;

/// The least time between two writes.
pub const SPACING: Duration = Duration::from_millis(100);
/// The most bytes a second into etcd.
pub const BYTES_PER_SEC: u32 = 1_024 * 1_024;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// A rival that stays away this long is forgotten.
const FORGET_RIVAL: Duration = Duration::from_mins(2);

/// Keeps the spacing.
#[derive(Clone, Debug, Default)]
pub struct Pacing {
    next_at: Option<Instant>,
    rival: Option<Rival>,
}

#[derive(Clone, Copy, Debug)]
struct Rival {
    last_seen: Instant,
    back_off: Duration,
    not_before: Instant,
}

impl Pacing {
    /// How long to wait before the next write; zero after quiet.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(now);
        let spacing = self.next_at.map_or(Duration::ZERO, until);
        let rival = self.rival.map_or(Duration::ZERO, |r| until(r.not_before));
        spacing.max(rival)
    }

    /// A write of `bytes` went out at `now`.
    pub fn wrote(&mut self, now: Instant, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let time = Duration::from_secs(u64::from(bytes)) / BYTES_PER_SEC;
        self.next_at = Some(now.saturating_add(SPACING.max(time)));
    }

    /// Somebody else wrote the document. The first time it is put right at once; against a rival that keeps at it,
    /// ever later, so that two writers do not keep the whole fleet reading.
    pub fn rival_wrote(&mut self, now: Instant) {
        let rival = match self.rival {
            Some(rival) if now.saturating_duration_since(rival.last_seen) < FORGET_RIVAL => {
                let back_off = (rival.back_off * 2).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF);
                Rival {
                    last_seen: now,
                    back_off,
                    not_before: now.saturating_add(back_off),
                }
            }
            _ => Rival {
                last_seen: now,
                back_off: Duration::ZERO,
                not_before: now,
            },
        };
        self.rival = Some(rival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osproxy_core::{Clock, ManualClock};

    #[test]
    fn a_change_after_quiet_goes_out_at_once() {
        let clock = ManualClock::new();
        let mut pacing = Pacing::default();
        assert_eq!(pacing.wait(clock.now()), Duration::ZERO);
        pacing.wrote(clock.now(), 200);
        assert_eq!(pacing.wait(clock.now()), SPACING);
        clock.advance(SPACING);
        assert_eq!(pacing.wait(clock.now()), Duration::ZERO);
    }

    #[test]
    fn large_documents_go_out_less_often() {
        let clock = ManualClock::new();
        let mut pacing = Pacing::default();
        pacing.wrote(clock.now(), 512 * 1_024);
        assert_eq!(pacing.wait(clock.now()), Duration::from_millis(500));
    }

    #[test]
    fn a_rival_is_put_right_at_once_and_then_ever_later() {
        let clock = ManualClock::new();
        let mut pacing = Pacing::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            pacing.rival_wrote(clock.now());
            let wait = pacing.wait(clock.now());
            waits.push(wait.as_secs());
            clock.advance(wait);
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        clock.advance(FORGET_RIVAL);
        pacing.rival_wrote(clock.now());
        assert_eq!(pacing.wait(clock.now()), Duration::ZERO, "forgiven");
    }
}
