//! What both ends need of etcd: connecting, the keys, leases, and the names of what goes wrong.
//!
//! etcd-client has no deadline of its own and connects lazily (`connect` answers "ok" with nobody
//! listening), so every unary call goes through [`within`], and the timeouts of [`Timings`] are always set.

mod connect;
mod fault;
mod keys;
mod lease;

pub use connect::{ConnectOptions, Timings, connect, within};
pub use fault::Fault;
pub use keys::{BadKey, Keys};
pub use lease::{grant, lease_reading, revoke};
