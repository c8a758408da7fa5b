//! How the key looks from each replica, and how large the document may become.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::reason::OneReason;
use crate::etcd::Fault;
use crate::operator::plan::Limits;

/// Why the key is not this release's to write: what the owner key can say against it.
const OWNER_FAULTS: [&str; 2] = ["owned_by_another", "owner_unreadable"];

/// The metrics about the key that are no count of the leader's.
#[derive(Debug, Default)]
pub(super) struct KeyMetrics {
    etcd_fault: OneReason,
    owner_fault: OneReason,
    last_in_sync: Gauge<i64, AtomicI64>,
    limit_bytes: Gauge,
    limit_directives: Gauge,
}

impl KeyMetrics {
    /// Takes in how large the document may become.
    pub(super) fn limited(&self, limits: &Limits) {
        self.limit_bytes.set(gauge(limits.max_document_bytes));
        self.limit_directives.set(gauge(limits.max_directives));
    }

    /// The key said what the plan said, at this second of the wall clock.
    pub(super) fn in_sync(&self, now_secs: u64) {
        self.last_in_sync
            .set(i64::try_from(now_secs).unwrap_or(i64::MAX));
    }

    /// Takes in how the keys are seen at the moment, and what the owner key says of this release.
    pub(super) fn seen(&self, etcd: Option<Fault>, owner: Option<OwnerFault>) {
        self.etcd_fault.show(etcd.map(Fault::slug));
        self.owner_fault.show(owner.map(OwnerFault::slug));
    }

    /// Shows every series that there can be.
    pub(super) fn show_all(&self) {
        self.etcd_fault.show_all(Fault::ALL.map(Fault::slug));
        self.owner_fault.show_all(OWNER_FAULTS);
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "etcd_fault",
            "Why this replica cannot see the keys in etcd; no series while it can",
            self.etcd_fault.series(),
        );
        r.register(
            "owner_fault",
            "Why the key is not this release's to write; no series while it is",
            self.owner_fault.series(),
        );
        r.register(
            "last_in_sync_timestamp_seconds",
            "When this replica last found the key to say what the plan says; 0 where it never did",
            self.last_in_sync.clone(),
        );
        r.register(
            "document_limit_bytes",
            "How large the document may become",
            self.limit_bytes.clone(),
        );
        r.register(
            "document_limit_directives",
            "How many directives the document may hold",
            self.limit_directives.clone(),
        );
    }
}

/// What the owner key says against this release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::operator) enum OwnerFault {
    /// It names another release, or another cluster.
    OwnedByAnother,
    /// It cannot be read.
    Unreadable,
}

impl OwnerFault {
    fn slug(self) -> &'static str {
        let [owned, unreadable] = OWNER_FAULTS;
        match self {
            Self::OwnedByAnother => owned,
            Self::Unreadable => unreadable,
        }
    }
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
