//! What the store's tests share: an etcd, the way to it, and looks at a store.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    reason = "each test binary compiles this file for itself and uses a part of it; the operator's fence is not what is tested here"
)]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, LeaseGrantOptions, PutOptions};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::document::Publication;
use osproxy_directives::etcd::Fault;
use osproxy_observe::DirectiveStore;
use testbed::{Etcd, EtcdOptions, FaultProxy, eventually};

pub const KEY: &str = "osproxy/directives";
pub const SOON: Duration = Duration::from_secs(5);

/// An etcd, and the way that stores take to it.
pub struct Bench {
    pub etcd: Etcd,
    pub way: FaultProxy,
    pub client: Client,
}

impl Bench {
    pub async fn start() -> Result<Self> {
        Self::start_with(EtcdOptions::new()).await
    }

    pub async fn start_with(options: EtcdOptions) -> Result<Self> {
        Self::before(Etcd::start(options).await?).await
    }

    pub async fn before(etcd: Etcd) -> Result<Self> {
        let way =
            FaultProxy::start(etcd.member(0).endpoint().trim_start_matches("http://")).await?;
        let client = etcd.client().await?;
        Ok(Self { etcd, way, client })
    }

    pub async fn store(&self) -> Result<EtcdDirectiveStore> {
        Ok(EtcdDirectiveStore::connect(&[self.way.endpoint()], KEY, clock()).await?)
    }

    /// Writes a document as the operator does: under a lease that says when.
    pub async fn publish(&self, ids: &[&str], ttl_secs: u64) -> Result<()> {
        self.publish_at(SystemClock.unix_nanos() / 1_000_000_000, ids, ttl_secs)
            .await
    }

    pub async fn publish_at(&self, second: u64, ids: &[&str], ttl_secs: u64) -> Result<()> {
        // Two of one second may draw the same id: as the operator does, another one is tried.
        for _ in 0..5 {
            let publication =
                Publication::new(second, fastrand::u16(..)).context("no such second")?;
            let id = publication.lease_id();
            let options = LeaseGrantOptions::new().with_id(id);
            match self.client.lease_client().grant(3_600, Some(options)).await {
                Err(error) if Fault::of(&error) == Fault::LeaseExists => {}
                granted => {
                    granted?;
                    return self.put(document(ids, ttl_secs).as_bytes(), id).await;
                }
            }
        }
        bail!("five leases of one second exist already")
    }

    pub async fn put(&self, bytes: &[u8], lease: i64) -> Result<()> {
        let options = PutOptions::new().with_lease(lease);
        self.client
            .kv_client()
            .put(KEY, bytes, Some(options))
            .await?;
        Ok(())
    }

    pub async fn delete(&self) -> Result<()> {
        self.client.kv_client().delete(KEY, None).await?;
        Ok(())
    }
}

pub fn document(ids: &[&str], ttl_secs: u64) -> String {
    let directives: Vec<_> = ids
        .iter()
        .map(|id| format!(r#"{{"id":"{id}","level":"Shape","ttl_secs":{ttl_secs}}}"#))
        .collect();
    format!(r#"{{"directives":[{}]}}"#, directives.join(","))
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub fn ids_are(store: &EtcdDirectiveStore, expected: &[&str]) -> Result<()> {
    let shown = store.load().introspect(SystemClock.now());
    let ids: HashSet<_> = shown["directives"]
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(|directive| directive["id"].as_str())
        .collect();
    ensure!(
        ids == expected.iter().copied().collect(),
        "{ids:?}, not {expected:?}"
    );
    Ok(())
}

pub async fn ids_become(store: &EtcdDirectiveStore, expected: &[&str]) -> Result<()> {
    eventually("the directives", SOON, async || ids_are(store, expected)).await
}

pub async fn connected(store: &EtcdDirectiveStore, within: Duration) -> Result<()> {
    eventually("the watch", within, async || {
        ensure!(store.status().connected, "{:?}", store.status());
        Ok(())
    })
    .await
}

pub async fn disconnected(store: &EtcdDirectiveStore, within: Duration) -> Result<()> {
    eventually("the loss to be noticed", within, async || {
        ensure!(!store.status().connected, "{:?}", store.status());
        Ok(())
    })
    .await
}
