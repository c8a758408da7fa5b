//! Certificates, keys and passwords that change while the store runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::wire::Connection;
use crate::etcd::Material;

/// What came of a look at the files.
pub(super) enum Look {
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
pub(super) async fn look(current: Connection, key: Arc<str>) -> Look {
    sleep(Duration::from_millis(fastrand::u64(BETWEEN_LOOKS_MS))).await;
    let options = current.options();
    let material = match Material::read_aside(options.as_ref().clone()).await {
        Ok(material) if material == *current.material() => return Look::Same,
        Ok(material) => material,
        Err(bad) => return Look::Refused(bad.slug()),
    };
    let renewed = Connection::new(Arc::clone(options), material);
    match renewed.clone().read(key).await {
        Ok(_) => Look::Works(renewed),
        Err(fault) => Look::Refused(fault.slug()),
    }
}
