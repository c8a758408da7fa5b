//! The fleet at a glance: the `DiagnosticsFleet` of this release, kept beside the cycle, so that it never delays a publication or a
//! directive's status.
//!
//! The leader writes it. While etcd is out of sight nobody leads, and then each replica may: all of them say the same. Without the
//! definition or the right everything else works as it did; the log says so once.

mod conditions;
mod look;
mod reason;
mod report;
mod servers;
mod writer;

pub use reason::FleetReason;
pub use report::{Facts, Fleet, Server, Settled, says_the_same, status};
pub(super) use writer::Overview;
