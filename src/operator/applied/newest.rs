//! The newest publication, and up to which one a proxy has to be current by now; pure.
//!
//! Nobody is blamed for what he may still say in time. Where one publication follows the other faster than that time passes, the newest is always
//! too new to blame anybody for; so the one whose time runs is kept apart from it, and comes due although there are newer ones.

use std::time::Duration;

use osproxy_core::Instant;

use crate::fleet::Target;

/// What a proxy must have seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newest {
    target: Target,
    running: Target,
    since: Instant,
    due: Option<Target>,
}

impl Newest {
    /// The first that is known of, at `now`.
    #[must_use]
    pub fn first(target: Target, now: Instant) -> Self {
        Self {
            target,
            running: target,
            since: now,
            due: None,
        }
    }

    /// What a proxy has seen that has the newest publication.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// What every proxy should have seen by now: the newest publication whose time is over; none where there is none yet.
    #[must_use]
    pub fn due(&self) -> Option<Target> {
        self.due
    }

    /// Whether the newest one is due itself.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| same(due, self.target))
    }

    /// When the next one is due; none where all are.
    #[must_use]
    pub fn next_due_at(&self, grace: Duration) -> Option<Instant> {
        (!self.is_due()).then(|| self.since.saturating_add(grace))
    }

    /// There is a newer one, or the same again.
    #[must_use]
    pub fn becomes(self, target: Target, now: Instant, grace: Duration) -> Self {
        let known = self.at(now, grace);
        if same(known.target, target) {
            return known;
        }
        let all_were_due = known.is_due();
        let next = Self { target, ..known };
        if all_were_due {
            // Its time begins with it.
            Self {
                running: target,
                since: now,
                ..next
            }
        } else {
            next
        }
    }

    /// The same at a later time; it does not matter how often it is asked in between.
    #[must_use]
    pub fn at(mut self, now: Instant, grace: Duration) -> Self {
        while !self.is_due() && now >= self.since.saturating_add(grace) {
            self.due = Some(self.running);
            // It came before that moment, or it would have found this one due.
            self.running = self.target;
            self.since = self.since.saturating_add(grace);
        }
        self
    }
}

/// An absent key is the same publication at whichever revision it is looked at.
fn same(a: Target, b: Target) -> bool {
    a == b || (a.absence_will_do && b.absence_will_do)
}

#[cfg(test)]
mod tests {
    use osproxy_core::{Clock, ManualClock};

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    /// The moment so many seconds after the first.
    fn at(secs: u64) -> Instant {
        ManualClock::new()
            .now()
            .saturating_add(Duration::from_secs(secs))
    }

    #[test]
    fn it_is_due_when_its_time_is_over_and_not_before() {
        let newest = Newest::first(Target::published(7), at(0));
        assert_eq!(newest.at(at(9), GRACE).due(), None);
        assert_eq!(newest.next_due_at(GRACE), Some(at(10)));
        let later = newest.at(at(10), GRACE);
        assert!(later.is_due());
        assert_eq!(later.next_due_at(GRACE), None);
        // It is seen again and again, which is no news.
        let again = (1..10).fold(newest, |newest, secs| {
            newest.becomes(Target::published(7), at(secs), GRACE)
        });
        assert!(again.at(at(10), GRACE).is_due());
    }

    #[test]
    fn a_newer_one_has_its_own_time_and_the_older_stays_due() {
        let newest = Newest::first(Target::published(7), at(0)).at(at(30), GRACE);
        let newest = newest.becomes(Target::published(8), at(40), GRACE);
        assert_eq!(newest.due(), Some(Target::published(7)));
        assert_eq!(newest.next_due_at(GRACE), Some(at(50)));
        assert_eq!(newest.at(at(50), GRACE).due(), Some(Target::published(8)));
    }

    #[test]
    fn one_comes_due_however_often_it_is_followed() {
        let mut newest = Newest::first(Target::published(1), at(0));
        for secs in 1..100 {
            let revision = i64::try_from(secs).unwrap() + 1;
            newest = newest.becomes(Target::published(revision), at(secs), GRACE);
            let due = newest.due().map_or(0, |due| due.revision);
            // Twice the time at most: while one runs, the next one waits.
            assert!(secs < 10 || revision - due <= 21, "{due} at {secs}");
            assert!(!newest.is_due());
        }
    }

    #[test]
    fn the_last_of_a_flood_comes_due_though_nobody_notes_anything_after_it() {
        let newest = Newest::first(Target::published(1), at(0));
        let last = newest.becomes(Target::published(2), at(5), GRACE);
        assert_eq!(last.at(at(10), GRACE).due(), Some(Target::published(1)));
        // Each look starts from what was noted last.
        assert_eq!(last.at(at(19), GRACE).next_due_at(GRACE), Some(at(20)));
        assert!(last.at(at(20), GRACE).is_due());
    }

    #[test]
    fn an_absent_key_is_one_publication_at_any_revision() {
        let newest = Newest::first(Target::withdrawn(7), at(0));
        let newest = newest.becomes(Target::withdrawn(9), at(9), GRACE);
        assert!(newest.at(at(10), GRACE).is_due());
        let newest = newest.becomes(Target::published(11), at(11), GRACE);
        assert!(!newest.is_due());
    }
}
