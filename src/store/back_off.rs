//! How long to wait before something is tried again; pure.

use std::time::Duration;

/// Full jitter: a wait is anything up to a bound that doubles with each try, so that ten thousand proxies that lost the same etcd do not come
/// back together.
#[derive(Debug)]
pub(super) struct BackOff {
    least: Duration,
    most: Duration,
    tries: u32,
}

impl BackOff {
    /// Bounds that begin with `least`, and grow up to `most`.
    pub(super) const fn new((least, most): (Duration, Duration)) -> Self {
        Self {
            least,
            most,
            tries: 0,
        }
    }

    /// The next wait. What is left to chance comes from `chance` alone.
    pub(super) fn wait(&mut self, chance: &mut fastrand::Rng) -> Duration {
        let bound = self.least.saturating_mul(1 << self.tries.min(16));
        self.tries = self.tries.saturating_add(1);
        between(Duration::ZERO, bound.min(self.most), chance)
    }

    /// What was tried went well, and a later failure is another story.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Anything from `least` to `most`.
pub(super) fn between(least: Duration, most: Duration, chance: &mut fastrand::Rng) -> Duration {
    let spread = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
    least + Duration::from_nanos(chance.u64(0..=spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

    #[test]
    fn waits_grow_up_to_their_bound_and_begin_anew_after_a_success() {
        let mut longest = [Duration::ZERO; 12];
        for seed in 0..1_000 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut back_off = BackOff::new(BOUNDS);
            for longest in &mut longest {
                *longest = back_off.wait(&mut chance).max(*longest);
            }
            back_off.reset();
            assert!(back_off.wait(&mut chance) <= BOUNDS.0);
        }
        for (tries, longest) in longest.into_iter().enumerate() {
            let bound = BOUNDS.1.min(BOUNDS.0 * (1 << tries));
            assert!(longest <= bound, "{tries} tries: {longest:?}");
            assert!(longest > bound.mul_f64(0.9), "{tries} tries: {longest:?}");
        }
    }
}
