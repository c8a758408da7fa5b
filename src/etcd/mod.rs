//! What both ends need of etcd: connecting, the keys, leases, and the names of what goes wrong.
//!
//! etcd-client has no deadline of its own and connects lazily (`connect` answers "ok" with nobody
//! listening), so every unary call goes through [`within`], and the timeouts of [`Timings`] are always set.

mod connect;
#[cfg(any(feature = "store", feature = "operator"))]
mod connection;
mod fault;
mod keys;
mod lease;
#[cfg(feature = "operator")]
mod link;
mod material;
mod options;
#[cfg(any(feature = "store", feature = "operator"))]
mod retry;
#[cfg(any(feature = "store", feature = "operator"))]
mod rotation;

pub use connect::within;
pub use fault::Fault;
pub use keys::{BadKey, Keys};
pub use lease::{grant, lease_reading, revoke};
pub use material::{FileProblem, FileRole};
pub use options::{BadOptions, ConnectOptions, Password, Timings};

#[cfg(any(feature = "store", feature = "operator"))]
pub(crate) use connection::Connection;
#[cfg(feature = "operator")]
pub(crate) use link::Link;
#[cfg(feature = "store")]
pub(crate) use material::Material;
#[cfg(any(feature = "store", feature = "operator"))]
pub(crate) use retry::repeat;
#[cfg(feature = "store")]
pub(crate) use rotation::{Look, look};
