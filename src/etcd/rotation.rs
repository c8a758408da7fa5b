//! Certificates, keys and passwords that change while a connection is in use.

use std::time::Duration;

use tokio::time::sleep;

use super::connection::Connection;
use super::material::Material;
use super::retry::MOST_TRIES;
use super::{ConnectOptions, Fault};

/// What came of a look at the files.
pub(crate) enum Look {
    /// They hold what is in use.
    Same,
    /// They hold something else, and with it the key can be read.
    Works(Connection),
    /// They hold something that cannot be used, for the reason of this slug.
    Refused(&'static str),
}

/// How often the files are looked at, at least and at most: ten thousand proxies are not to log in at once
/// because one Secret has changed.
const BETWEEN_LOOKS_MS: std::ops::RangeInclusive<u64> = 4_000..=6_000;

/// Waits for a while and looks at the files once. What is new is tried before it is used: a certificate that etcd does
/// not take must not cost the connection that it does.
pub(crate) async fn look(current: &Connection, key: &str) -> Look {
    sleep(Duration::from_millis(fastrand::u64(BETWEEN_LOOKS_MS))).await;
    let options: &ConnectOptions = current.options();
    let mut renewed = match Material::read_aside(options.clone()).await {
        Ok(material) if material == *current.material() => return Look::Same,
        Ok(material) => current.with(material),
        Err(bad) => return Look::Refused(bad.slug()),
    };
    let tries = options.endpoints.len().clamp(1, MOST_TRIES);
    let mut fault = Fault::NotSent;
    for _ in 0..tries {
        fault = match renewed.probe(key).await {
            Ok(()) => return Look::Works(renewed),
            // That a member is dead says nothing about the files.
            Err(fault @ (Fault::NotSent | Fault::Unavailable)) => fault,
            Err(fault) => return Look::Refused(fault.slug()),
        };
        renewed = renewed.next();
    }
    Look::Refused(fault.slug())
}
