//! When the fleet is looked at again; pure.

use std::time::Duration;

use osproxy_core::Instant;

/// How often what no channel tells is looked at: the clocks, and etcd's servers.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The moment of the next look, if nothing happens before. It is fixed by the look before it, so that what comes due during the pause after a
/// write is looked at with its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextLook(Instant);

impl NextLook {
    /// After a look at `now` which found that something comes due.
    pub(super) fn after(now: Instant, due_at: Option<Instant>) -> Self {
        let latest = now.saturating_add(LOOK_AGAIN);
        Self(due_at.map_or(latest, |due_at| due_at.min(latest)))
    }

    /// How long it is until then.
    pub(super) fn wait(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use osproxy_core::{Clock, ManualClock};

    use super::*;

    fn at(secs: u64) -> Instant {
        ManualClock::new()
            .now()
            .saturating_add(Duration::from_secs(secs))
    }

    #[test]
    fn what_comes_due_during_a_pause_is_looked_at_with_its_end() {
        let next = NextLook::after(at(9), Some(at(10)));
        assert_eq!(next.wait(at(9)), Duration::from_secs(1));
        assert_eq!(next.wait(at(14)), Duration::ZERO);
    }

    #[test]
    fn where_nothing_comes_due_soon_everything_is_looked_at_after_a_while() {
        for due_at in [None, Some(at(1_000))] {
            let next = NextLook::after(at(9), due_at);
            assert_eq!(next.wait(at(14)) + Duration::from_secs(5), LOOK_AGAIN);
        }
    }
}
