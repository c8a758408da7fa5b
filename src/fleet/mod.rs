//! What a proxy says of itself, and what a fleet of them comes to.
//!
//! A store that was given an instance name keeps a [`Record`] at `<key>/fleet/<instance>`, under a session lease of its own: up to which
//! revision it is current, or which document it refused and why. Whoever reads the records keeps a [`FleetView`], which says for any
//! [`Target`] how many proxies have it. The records are spread over a [window](window_ms) that grows with the fleet.
//!
//! Everything here is pure: no I/O, no clock, no runtime. Nothing that stands at such a key can break anything: a record that
//! cannot be read is a proxy that reports and of which nothing is known.

mod record;
mod view;
mod window;

pub use record::{MAX_RECORD_BYTES, Record, Refused, Unreadable, is_instance, session_lease};
pub use view::{Counts, FleetView, Proxy, Standing, Target, WORST};
pub use window::{
    Announcement, DEFAULT_WINDOW_MS, LEAST_WINDOW_MS, MOST_WINDOW_MS, WRITES_PER_SEC, parse_window,
    window_ms,
};

/// How long a proxy's session lease lives without being refreshed, in seconds: after so long a dead proxy is forgotten.
pub const SESSION_SECS: i64 = 60;
/// How often it is refreshed, in seconds.
pub const REFRESH_SECS: u64 = 20;
