//! A proxy's moments in the windows of its fleet.
//!
//! Each proxy has a share that chance has given to it. In every window, counted from an origin, its moment is that share of the window; so a
//! fleet of `n` that all have something to say spread it evenly over one window, and none says something twice in it. Only where the window
//! changes may two moments be closer, once.

use std::time::Duration;

use osproxy_core::Instant;

/// Where the windows begin, how long they are, and where in them this proxy stands.
#[derive(Debug)]
pub(super) struct Moments {
    share: f64,
    origin: Instant,
    window: Duration,
}

/// The least time over which sessions begin: a fleet that starts all at once finds the window of a small one.
const LEAST_BEGINNING: Duration = Duration::from_secs(5);
/// A window that grew by no more than an eighth changes no plan.
const MUCH: u32 = 8;

impl Moments {
    /// Windows of a length that count from `origin`, and a share of them from 0 to 1.
    pub(super) fn new(share: f64, origin: Instant, window: Duration) -> Self {
        Self {
            share,
            origin,
            window,
        }
    }

    /// Takes another window; whether the fleet has outgrown the one before.
    pub(super) fn take(&mut self, window: Duration) -> bool {
        let before = std::mem::replace(&mut self.window, window);
        window > before + before / MUCH
    }

    /// When a session begins: within two windows, for it costs two writes. `chance` is from 0 to 1.
    pub(super) fn beginning(&self, now: Instant, chance: f64) -> Instant {
        let within = (self.window * 2).max(LEAST_BEGINNING);
        now.saturating_add(within.mul_f64(chance))
    }

    /// How long to wait for a window where none was announced. `chance` is from 0 to 1.
    pub(super) fn unannounced(now: Instant, chance: f64) -> Instant {
        now.saturating_add(LEAST_BEGINNING.mul_f64(0.5 + chance / 2.0))
    }

    /// The first moment after `now`.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let window_ns = self.window.as_nanos().max(1);
        let passed = now.saturating_duration_since(self.origin).as_nanos();
        let moment = self.window.mul_f64(self.share).as_nanos();
        let mut at = passed - passed % window_ns + moment;
        if at <= passed {
            at += window_ns;
        }
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        self.origin.saturating_add(Duration::from_nanos(at))
    }

    /// The moment of the window that begins with the news. All proxies have heard them at about the same time, so each has its share of
    /// that window too, and the windows that follow count from there.
    pub(super) fn since(&mut self, news_at: Instant) -> Instant {
        self.origin = news_at;
        news_at.saturating_add(self.window.mul_f64(self.share))
    }
}
