//! What people find at a site: a document of unknown origin, and Events about the release.

use anyhow::{Context, Result, ensure};
use testbed::{Etcd, eventually};

use crate::cluster::{Cluster, NAMESPACE};
use crate::support::SOON;

/// What somebody wrote before there was an operator.
pub(crate) const FOREIGN: &str = r#"{"directives":[{"id":"by-hand","level":"Shape","tenant":"acme","sample_per_mille":10,"ttl_secs":3600}]}"#;

/// Puts a value; the revision that this makes.
pub(crate) async fn put(etcd: &Etcd, key: &str, value: &str) -> Result<i64> {
    let put = etcd.client().await?.put(key, value, None).await?;
    Ok(put.header().context("no header")?.revision())
}

/// Waits for an Event about the release.
pub(crate) async fn event(cluster: &Cluster, reason: &str) -> Result<()> {
    eventually(&format!("the Event {reason}"), SOON, async || {
        let line = format!("-n {NAMESPACE} events --types=Warning");
        let all = cluster.kubectl(&line).await?;
        ensure!(all.contains(reason), "there is {all}");
        Ok(())
    })
    .await
}
