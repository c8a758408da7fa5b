//! The pages for people on call, and of etcd: a control plane, an operator, and three proxies that report.

use std::sync::Arc;

use anyhow::{Result, ensure};
use osproxy_core::SystemClock;
use osproxy_directives::EtcdDirectiveStore;
use serde_json::{Value, json};
use testbed::{Etcd, EtcdOptions, eventually};

use crate::cluster::Cluster;
use crate::shell::Shell;
use crate::site::{FOREIGN, event, put};
use crate::support::{KEY, SOON, document};

/// In this order, each finding what the one before has left.
pub(crate) const PAGES: &[&str] = &[
    "README.md",
    "docs/how-to/take-a-key-over.md",
    "docs/quick-start.md",
    "docs/how-to/on-call.md",
    "docs/how-to/trace-a-tenant.md",
    "docs/how-to/stop-early.md",
    "docs/how-to/try-first.md",
    "docs/how-to/limit-who-may.md",
    "docs/checks.md",
    "docs/operations.md",
    "docs/etcd-rights.md",
];

#[tokio::test]
async fn whatever_the_pages_have_somebody_type_does_what_they_say() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let revision = put(&etcd, KEY, FOREIGN).await?;
    let _proxies = proxies(&etcd).await?;
    let cluster = Cluster::start().await?;
    let mut shell = Shell::new(cluster.plane.kubeconfig(), &etcd.endpoint_list()).await?;
    shell.instead_of("http://etcd-0.etcd:2379", etcd.endpoint_list());
    shell.instead_of("--revision 42", format!("--revision {revision}"));
    for page in PAGES {
        if *page == "docs/how-to/on-call.md" {
            others(&cluster).await?;
        }
        shell.types(page).await?;
        match *page {
            "README.md" => event(&cluster, "ForeignValue").await?,
            "docs/how-to/take-a-key-over.md" => ours(&cluster, &etcd).await?,
            _ => {}
        }
    }
    Ok(())
}

/// What others have applied: one that is on, one that is held back, one that has ended.
async fn others(cluster: &Cluster) -> Result<()> {
    let inc = |name: &str, spec: Value| {
        let mut all = json!({
            "level": "Shape", "samplePerMille": 10, "ttl": "1h", "createdBy": "bob",
            "match": [{"key": "tenant", "value": "globex"}],
        });
        let more = spec.as_object().into_iter().flatten();
        more.for_each(|(field, value)| all[field] = value.clone());
        json!({
            "apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective",
            "metadata": {"name": name, "namespace": "default"}, "spec": all,
        })
    };
    cluster.apply(&inc("inc-4705", json!({}))).await?;
    cluster
        .apply(&inc("inc-4702", json!({"suspend": true})))
        .await?;
    let ended = json!({"activeFrom": "2026-11-22T14:00:00Z"});
    cluster.apply(&inc("inc-4698", ended)).await?;
    for name in ["inc-4705", "inc-4702", "inc-4698"] {
        cluster.is_ready(name).await?;
    }
    Ok(())
}

/// Waits until the operator has made the document say that there is nothing, and is well.
async fn ours(cluster: &Cluster, etcd: &Etcd) -> Result<()> {
    eventually("two replicas on a key of theirs", SOON, async || {
        ensure!(document(etcd).await?.is_none(), "the document is there");
        let ready = cluster.ready();
        ensure!(ready.len() == 2, "{ready:?} are ready");
        Ok(())
    })
    .await
}

/// Three stores that say what they have; their first words are spread over some seconds.
async fn proxies(etcd: &Etcd) -> Result<Vec<EtcdDirectiveStore>> {
    // As the operator of before announced it; without one a proxy takes its time.
    put(etcd, &format!("{KEY}/window"), "1000").await?;
    let mut proxies = Vec::new();
    for name in ["proxy-1", "proxy-2", "proxy-3"] {
        let store = EtcdDirectiveStore::builder(etcd.endpoints(), KEY, Arc::new(SystemClock));
        proxies.push(store.instance(name).build().await?);
    }
    eventually("three proxies to report", SOON, async || {
        let below = etcd_client::GetOptions::new().with_prefix();
        let mut client = etcd.client().await?;
        let records = client.get(format!("{KEY}/fleet/"), Some(below)).await?;
        ensure!(records.count() == 3, "{} do", records.count());
        Ok(())
    })
    .await?;
    Ok(proxies)
}
