//! What the operator counts. Labels come from closed lists only: no number of resources adds a series.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::answers::Answers;
use super::applied::Roll;
use super::observe::{self, Definition, Observed};
use super::plan::{Limits, Plan, Verdict};
use super::publish::{KeyState, Outcome, Tally};
use super::report::ReportTally;
use crate::etcd::Fault;
use crate::fleet::Counts;

pub(super) use key::OwnerFault;
pub use page::page;
use reason::OneReason;

mod key;
mod page;
mod reason;

/// The label of [`Metrics::resources`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

const STATES: [&str; 6] = [
    "refused",
    "suspended",
    "scheduled",
    "active",
    "expired",
    "no_room",
];

/// How a proxy stands to the last publication; together they are all that report.
const PROXIES: [&str; 4] = ["applied", "rejecting", "lagging", "unreadable"];

/// The operator's metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    /// 1 on the replica that leads, 0 on the others.
    pub leader: Gauge,
    resources: Family<StateLabel, Gauge>,
    held: OneReason,
    document_directives: Gauge,
    document_bytes: Gauge,
    document_revision: Gauge,
    last_publication: Gauge<i64, AtomicI64>,
    puts: Counter,
    deletions: Counter,
    fenced: Counter,
    foreign_writes: Counter,
    failures: Counter,
    statuses: Counter,
    status_failures: Counter,
    events: Counter,
    events_dropped: Counter,
    proxies: Family<StateLabel, Gauge>,
    proxies_window: Gauge,
    kube_fault: OneReason,
    lists: Gauge,
    definition_outdated: Gauge,
    clock_ahead: Gauge,
    /// 1 while certificates or a password for etcd have changed to something that cannot be used.
    pub files_refused: Gauge,
    key: key::KeyMetrics,
    last: Mutex<Last>,
}

/// What has been counted in already: tallies start at zero in each term, counters do not.
#[derive(Debug, Default)]
struct Last {
    published: Tally,
    reports: Option<Arc<ReportTally>>,
    reported: [u64; 4],
    /// The roll of the last term; `None` before the first.
    roll: Option<Weak<Roll>>,
}

impl Metrics {
    /// The metrics of an operator whose document may become so large.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let metrics = Self::default();
        metrics.key.limited(limits);
        metrics
    }

    /// This replica leads no longer: what holds the document is the next leader's to say.
    pub(super) fn stops_leading(&self) {
        self.leader.set(0);
        self.held.show(None);
    }

    /// Takes in what a publisher has done since its term began.
    pub(super) fn published(&self, tally: Tally) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Tally {
            puts,
            deletions,
            fenced,
            foreign_writes,
            failures,
        } = tally;
        let was = std::mem::replace(&mut last.published, tally);
        for (counter, now, before) in [
            (&self.puts, puts, was.puts),
            (&self.deletions, deletions, was.deletions),
            (&self.fenced, fenced, was.fenced),
            (&self.foreign_writes, foreign_writes, was.foreign_writes),
            (&self.failures, failures, was.failures),
        ] {
            // Less than before: a new term, which counts from zero.
            counter.inc_by(if now >= before { now - before } else { now });
        }
    }

    /// Takes in how the key stands to the plan of the whole second `now_secs`.
    pub(super) fn settled(&self, now_secs: u64, plan: &Plan, outcome: Outcome, state: &KeyState) {
        let mut counts = [0_i64; STATES.len()];
        for verdict in plan.verdicts.values() {
            let state = match verdict {
                Verdict::Refused(_) => 0,
                Verdict::Suspended { .. } => 1,
                Verdict::Scheduled { .. } => 2,
                Verdict::Active { .. } => 3,
                Verdict::Expired { .. } => 4,
                Verdict::NoRoom { .. } => 5,
            };
            counts[state] += 1;
        }
        for (state, count) in STATES.into_iter().zip(counts) {
            self.resources
                .get_or_create(&StateLabel { state })
                .set(count);
        }
        match outcome {
            Outcome::InSync { .. } => {
                self.held.show(None);
                self.key.in_sync(now_secs);
            }
            Outcome::Held(held) => self.held.show(Some(held.slug())),
        }
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.document_directives.set(gauge(plan.entries.len()));
        let document = state.document.as_ref();
        self.document_bytes
            .set(document.map_or(0, |d| gauge(d.value.len())));
        self.document_revision.set(state.document_revision());
        if let Some(publication) = document.and_then(super::publish::Stored::publication) {
            let second = i64::try_from(publication.second()).unwrap_or_default();
            self.last_publication.set(second);
        }
    }

    /// Counts what this reporter does from now on.
    pub(super) fn follow_reports(&self, tally: Arc<ReportTally>) {
        self.count_reports();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.reports = Some(tally);
        last.reported = [0; 4];
    }

    fn count_reports(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tally) = last.reports.clone() else {
            return;
        };
        let ReportTally {
            statuses,
            status_failures,
            events,
            events_dropped,
        } = &*tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = [statuses, status_failures, events, events_dropped].map(read);
        let was = std::mem::replace(&mut last.reported, now);
        let counters = [
            &self.statuses,
            &self.status_failures,
            &self.events,
            &self.events_dropped,
        ];
        for (counter, (now, was)) in counters.into_iter().zip(now.into_iter().zip(was)) {
            counter.inc_by(now.saturating_sub(was));
        }
    }

    /// Counts the proxies of `roll` for as long as it is there.
    pub(super) fn follow_proxies(&self, roll: &Arc<Roll>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.roll = Some(Arc::downgrade(roll));
    }

    fn count_proxies(&self) {
        let roll = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(roll) = &last.roll else { return };
            roll.upgrade()
        };
        // Who does not lead does not know: no series, rather than an old one.
        self.proxies.clear();
        let Some(roll) = roll else { return };
        let window = i64::try_from(roll.window_ms()).unwrap_or(i64::MAX);
        self.proxies_window.set(window);
        let Some(newest) = roll.newest() else { return };
        let Some(counts) = roll.look(|view| view.map(|view| view.counts(newest.target()))) else {
            return;
        };
        let Counts {
            reporting: _,
            applied,
            rejecting,
            lagging,
            unknown,
        } = counts;
        for (state, many) in PROXIES
            .into_iter()
            .zip([applied, rejecting, lagging, unknown])
        {
            let many = i64::try_from(many).unwrap_or(i64::MAX);
            self.proxies.get_or_create(&StateLabel { state }).set(many);
        }
    }

    /// Takes in how the API server is seen at the moment.
    pub(super) fn observed(&self, observed: &Observed, answers: &Answers) {
        self.kube_fault
            .show(observed.fault().map(observe::Fault::slug));
        let lists = i64::try_from(observed.completed_lists());
        self.lists.set(lists.unwrap_or(i64::MAX));
        let outdated = observed.definition() >= Definition::Older;
        self.definition_outdated.set(i64::from(outdated));
        self.clock_ahead.set(answers.clock_ahead_secs());
    }

    /// Takes in how this replica sees the keys at the moment, and what the owner key says of this release.
    pub(super) fn keys_seen(&self, etcd: Option<Fault>, owner: Option<OwnerFault>) {
        self.key.seen(etcd, owner);
    }

    /// All of it in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// None in practice: it writes into memory.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        self.count_reports();
        self.count_proxies();
        let mut text = String::new();
        encode(&mut text, &self.registry())?;
        Ok(text)
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("osproxy_directives");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the operator", build);
        let r = &mut registry;
        r.register("leader", "Whether this replica leads", self.leader.clone());
        r.register(
            "resources",
            "Resources by state, as the leader sees them",
            self.resources.clone(),
        );
        r.register(
            "held",
            "Why the document differs from the plan; no series while it does not",
            self.held.series(),
        );
        r.register(
            "document_directives",
            "Directives that the plan puts into the document",
            self.document_directives.clone(),
        );
        r.register(
            "document_bytes",
            "Size of the document at the key",
            self.document_bytes.clone(),
        );
        r.register(
            "document_revision",
            "etcd revision of the document; 0 while it is absent",
            self.document_revision.clone(),
        );
        r.register(
            "last_publication_timestamp_seconds",
            "When the document at the key was written",
            self.last_publication.clone(),
        );
        r.register("document_puts", "Documents written", self.puts.clone());
        r.register(
            "document_deletions",
            "Documents deleted",
            self.deletions.clone(),
        );
        r.register(
            "document_fenced_writes",
            "Writes that the fence kept out",
            self.fenced.clone(),
        );
        r.register(
            "document_foreign_writes",
            "Writes of the document by somebody else",
            self.foreign_writes.clone(),
        );
        r.register(
            "document_write_failures",
            "Writes of the document that failed",
            self.failures.clone(),
        );
        r.register("status_writes", "Statuses written", self.statuses.clone());
        r.register(
            "status_write_failures",
            "Statuses that could not be written",
            self.status_failures.clone(),
        );
        r.register("events", "Events sent", self.events.clone());
        r.register(
            "events_dropped",
            "Events that were not sent, since there were too many",
            self.events_dropped.clone(),
        );
        self.register_proxies(r);
        self.register_observed(r);
        r.register(
            "etcd_files_refused",
            "Whether the files with certificates or a password for etcd hold something new that cannot be used",
            self.files_refused.clone(),
        );
        self.key.register(r);
        registry
    }

    fn register_proxies(&self, r: &mut Registry) {
        r.register(
            "proxies",
            "Proxies that report, by how they stand to the document that was published last",
            self.proxies.clone(),
        );
        r.register(
            "proxies_window_milliseconds",
            "Over how long the proxies spread their records",
            self.proxies_window.clone(),
        );
    }

    fn register_observed(&self, r: &mut Registry) {
        r.register(
            "kube_fault",
            "Why the resources cannot be seen; no series while they can",
            self.kube_fault.series(),
        );
        r.register(
            "kube_lists",
            "Complete lists of the resources taken in since the start",
            self.lists.clone(),
        );
        r.register(
            "kube_definition_outdated",
            "Whether the CRD in the cluster lacks something that this operator knows",
            self.definition_outdated.clone(),
        );
        r.register(
            "kube_clock_ahead_seconds",
            "By how much the own clock is ahead of the API server's; negative where it is behind",
            self.clock_ahead.clone(),
        );
    }
}

#[cfg(test)]
#[path = "metrics/metrics_tests.rs"]
mod tests;
