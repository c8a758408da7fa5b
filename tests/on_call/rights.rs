//! What a store may and may not say.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Permission, PermissionType};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::store::ReportingState;
use testbed::{Etcd, EtcdOptions, eventually};

use super::support::{KEY, SOON, Stopwatch, publish_by_hand, seen, traces};

const PASSWORD: &str = "geheim";

/// An etcd that asks for a login, and two users: one who may read the key and no more, and one with a proxy's rights.
async fn with_users(etcd: &Etcd) -> Result<etcd_client::Client> {
    let mut client = etcd.client().await?;
    for name in ["root", "reader", "proxy"] {
        client.user_add(name, PASSWORD, None).await?;
        if name != "root" {
            client.role_add(name).await?;
            let read = Permission::new(PermissionType::Read, KEY);
            client.role_grant_permission(name, read).await?;
        }
        client.user_grant_role(name, name).await?;
    }
    let window = Permission::new(PermissionType::Read, format!("{KEY}/window"));
    client.role_grant_permission("proxy", window).await?;
    let below = Permission::new(PermissionType::Write, format!("{KEY}/fleet/")).with_prefix();
    client.role_grant_permission("proxy", below).await?;
    // As an operator of a small fleet announces it.
    client.put(format!("{KEY}/window"), "1000", None).await?;
    client.auth_enable().await?;
    let login = etcd_client::ConnectOptions::new().with_user("root", PASSWORD);
    Ok(etcd_client::Client::connect(etcd.endpoints(), Some(login)).await?)
}

async fn store_of(etcd: &Etcd, user: &str, name: &str) -> Result<EtcdDirectiveStore> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = EtcdDirectiveStore::builder(etcd.endpoints(), KEY, clock)
        .user(user, PASSWORD)
        .allow_insecure_credentials()
        .instance(name);
    Ok(store.build().await?)
}

async fn stands(store: &EtcdDirectiveStore, state: ReportingState, within: Duration) -> Result<()> {
    eventually(&format!("{state:?}"), within, async || {
        let status = store.status();
        let reporting = status.reporting.context("it does not report")?;
        ensure!(reporting.state == state, "{reporting:?}");
        Ok(())
    })
    .await
}

async fn has_record(root: &etcd_client::Client, name: &str) -> Result<bool> {
    let key = format!("{KEY}/fleet/{name}");
    Ok(!root.kv_client().get(key, None).await?.kvs().is_empty())
}

#[tokio::test]
async fn a_store_says_what_its_login_may_say_and_reads_the_same_without() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    publish_by_hand(&etcd, "ns/a", 600, 0).await?;
    let root = with_users(&etcd).await?;

    let denied = store_of(&etcd, "reader", "denied").await?;
    ensure!(traces(&denied, SystemClock.now()));
    let first = store_of(&etcd, "proxy", "first").await?;
    stands(&denied, ReportingState::Denied, SOON).await?;
    stands(&first, ReportingState::Reporting, SOON).await?;
    ensure!(has_record(&root, "first").await? && !has_record(&root, "denied").await?);
    let reporting = first.status().reporting.context("it reports")?;
    ensure!(reporting.revision == first.status().applied.map(|applied| applied.revision));

    // A second one of the same name says so, and takes nothing from the first.
    let namesake = store_of(&etcd, "proxy", "first").await?;
    ensure!(traces(&namesake, SystemClock.now()));
    stands(&namesake, ReportingState::NameTaken, Duration::from_mins(1)).await?;
    let records = first.status().reporting.context("it reports")?.records;
    ensure!(records == 1, "{records} records");
    ensure!(has_record(&root, "first").await?);

    // Reading was never touched.
    for store in [&denied, &first, &namesake] {
        let counters = store.status().counters;
        ensure!(
            counters.restarts == 0 && counters.failed_reads == 0,
            "{counters:?}"
        );
    }

    // A clean end is forgotten at once.
    drop(namesake);
    let ended = Stopwatch::start();
    first.retire().await;
    ensure!(!has_record(&root, "first").await?, "it still counts");
    seen(
        "A5",
        "a proxy that ends, until it is forgotten",
        Duration::from_secs(3),
        &ended,
    )
}
