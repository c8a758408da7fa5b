//! The operator: `observe → plan → publish → report`.
//!
//! * [`observe`] keeps what the API server holds.
//! * [`plan`] says, as a pure function of it, what should stand at the key.
//! * [`publish`] makes the key say so, as the one leader, behind the fence.
//! * [`report`] tells whoever applied each resource what became of it; [`applied`] knows which proxies have it.
//!
//! Beside the four, [`overview`] keeps the fleet at a glance.
//!
//! Each step hands its result to the next and knows nothing of it. Several replicas run: all of them observe, one of them
//! leads, and only that one publishes and reports.

pub mod answers;
pub mod applied;
mod cycle;
mod identity;
pub mod metrics;
pub mod observe;
mod outage;
pub mod overview;
pub mod plan;
pub mod publish;
pub mod report;
mod serve;
mod start;

pub use identity::read_owner;
pub use start::{Options, StartError, run};
