//! Leases, with ids that we choose.

use std::time::Duration;

use etcd_client::{Client, LeaseGrantOptions, LeaseTimeToLiveOptions};

use super::{Fault, within};
use crate::document::LeaseReading;

/// Grants a lease of `ttl_secs` under an id of our own choice.
///
/// Returns the time that etcd really granted, in seconds: it raises small ones to its minimum.
///
/// # Errors
/// [`Fault::LeaseExists`] where the id is taken: choose another.
pub async fn grant(
    client: &Client,
    deadline: Duration,
    id: i64,
    ttl_secs: i64,
) -> Result<i64, Fault> {
    let options = LeaseGrantOptions::new().with_id(id);
    let answer = within(
        deadline,
        client.lease_client().grant(ttl_secs, Some(options)),
    )
    .await?;
    Ok(answer.ttl())
}

/// Asks how much of a lease is left. `keys=false`: with keys, one foreign key on the lease would
/// deny the whole answer to a login that may not read that key.
///
/// # Errors
/// [`Fault`]; a lease that is gone is no error but a reading of −1.
pub async fn lease_reading(
    client: &Client,
    deadline: Duration,
    id: i64,
) -> Result<LeaseReading, Fault> {
    let options = LeaseTimeToLiveOptions::new();
    let answer = within(
        deadline,
        client.lease_client().time_to_live(id, Some(options)),
    )
    .await?;
    Ok(LeaseReading {
        granted_secs: answer.granted_ttl(),
        remaining_secs: answer.ttl(),
    })
}

/// Revokes a lease. One that is gone already counts as revoked.
///
/// # Errors
/// [`Fault`]; then the lease may live on until its time is up.
pub async fn revoke(client: &Client, deadline: Duration, id: i64) -> Result<(), Fault> {
    match within(deadline, client.lease_client().revoke(id)).await {
        Ok(_) | Err(Fault::LeaseNotFound) => Ok(()),
        Err(fault) => Err(fault),
    }
}
