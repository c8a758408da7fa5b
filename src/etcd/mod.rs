//! What both ends need of etcd: connecting, the keys, leases, and the names of what goes wrong.
//!
//! etcd-client has no deadline of its own and connects lazily (`connect` answers "ok" with nobody
//! listening), so every unary call goes through [`within`], and the timeouts of [`Timings`] are always set.

mod connect;
mod fault;
mod keys;
mod lease;
mod material;
mod options;
#[cfg(feature = "store")]
mod retry;

pub use connect::{connect, within};
pub use fault::Fault;
pub use keys::{BadKey, Keys};
pub use lease::{grant, lease_reading, revoke};
pub use material::{FileProblem, FileRole};
pub use options::{BadOptions, ConnectOptions, Password, Timings};

#[cfg(feature = "store")]
pub(crate) use connect::connect_with;
#[cfg(feature = "store")]
pub(crate) use material::Material;
#[cfg(feature = "store")]
pub(crate) use retry::repeat;
