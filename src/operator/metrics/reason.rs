//! A gauge that says why something is not as it should be.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Metric;

/// The label of [`OneReason`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// 1 for the reason that holds, and no series while none does.
#[derive(Debug, Default)]
pub(super) struct OneReason {
    series: Family<ReasonLabel, Gauge>,
    shown: Mutex<Option<&'static str>>,
}

impl OneReason {
    /// Shows `reason` in place of the one before. A scrape meanwhile may find both and never finds none: an alert that waits for a while would
    /// begin to wait anew.
    pub(super) fn show(&self, reason: Option<&'static str>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = reason {
            self.series.get_or_create(&ReasonLabel { reason }).set(1);
        }
        let before = std::mem::replace(&mut *shown, reason);
        if let Some(before) = before.filter(|before| reason != Some(before)) {
            self.series.remove(&ReasonLabel { reason: before });
        }
    }

    /// Makes a series of each of these, for the page about the metrics.
    pub(super) fn show_all(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            self.series.get_or_create(&ReasonLabel { reason }).set(0);
        }
    }

    /// What is registered.
    pub(super) fn series(&self) -> impl Metric + use<> {
        self.series.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn registry(one: &OneReason) -> Registry {
        let mut registry = Registry::default();
        registry.register("held", "Why", one.series());
        registry
    }

    fn series(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("held{"));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn only_the_reason_that_holds_has_a_series() {
        let one = OneReason::default();
        let registry = registry(&one);
        assert!(series(&registry).is_empty());
        for reason in ["a", "a", "b"] {
            one.show(Some(reason));
            assert_eq!(
                series(&registry),
                [format!("held{{reason=\"{reason}\"}} 1")]
            );
        }
        one.show(None);
        assert!(series(&registry).is_empty());
    }

    #[test]
    fn no_scrape_finds_none_while_something_holds() {
        let one = Arc::new(OneReason::default());
        one.show(Some("a"));
        let registry = registry(&one);
        let stop = Arc::new(AtomicBool::new(false));
        let (shows, stopped) = (Arc::clone(&one), Arc::clone(&stop));
        let cycles = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for reason in ["a", "a", "b"] {
                    shows.show(Some(reason));
                }
            }
        });
        for _ in 0..10_000 {
            assert!(series(&registry).iter().any(|line| line.ends_with(" 1")));
        }
        stop.store(true, Ordering::Relaxed);
        cycles.join().unwrap();
    }
}
