//! Step four, **report**: tell whoever applied a resource what became of it.
//!
//! Reporting never delays publishing: it runs beside it, takes the latest that is to be said, and works through
//! it with a bounded number of calls, each under its own deadline. A status is written only where it says something else than the
//! one that is there.

mod announce;
mod events;
mod proxies;
mod reason;
mod status;
mod trouble;
mod writer;

pub use announce::{Announcer, Notice, Told};
pub use events::{BURST as EVENT_BURST, REFILL as EVENT_REFILL, SPACING as EVENT_SPACING};
pub use proxies::Word;
pub use reason::{ConditionReason, EventReason};
pub(super) use status::held_message;
pub use status::{Transition, desired_status, rfc3339, says_the_same, transitions};
use writer::FIELD_MANAGER;
pub use writer::{Report, ReportTally, Reporter};
