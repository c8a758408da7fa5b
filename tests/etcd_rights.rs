//! Both ends of the key with exactly the rights that `osproxy-directives etcd-roles` prints, on an etcd with passwords and on one
//! with client certificates; and what each role is refused, row by row, as docs/etcd-rights.md has it.

#![allow(
    clippy::disallowed_methods,
    reason = "what is written by hand here is what the operator has to put right"
)]

mod support;

#[path = "store/authority.rs"]
mod authority;
#[path = "etcd_rights/refused.rs"]
mod refused;
#[path = "store/secure.rs"]
mod secure;
#[path = "etcd_rights/site.rs"]
mod site;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::document::Accepted;
use osproxy_observe::DirectiveStore;
use serde_json::{Value, json};
use site::{FLEET, OPERATOR, Site};
use support::{KEY, SOON, binary, directive, options};
use testbed::operator::Replica;
use testbed::process::Launch;
use testbed::{ControlPlane, Cut, Operator, command, eventually};

#[tokio::test]
async fn both_ends_work_with_the_rights_that_etcd_roles_prints_and_no_others() -> Result<()> {
    let (plane, passwords, certificates) = tokio::try_join!(
        ControlPlane::start(),
        Site::with_passwords(),
        Site::with_certificates()
    )?;
    tokio::try_join!(
        both_ends_work(&plane, &passwords, "passwords"),
        both_ends_work(&plane, &certificates, "certificates"),
    )?;
    adopts(&plane, &passwords).await?;
    let (by_password, by_certificate) =
        tokio::try_join!(refused::told(&passwords), refused::told(&certificates))?;
    refused::is_the_table(&by_password)?;
    refused::is_the_table(&by_certificate)
}

/// Publishing, a change of leaders, a pause, drift, a reconnect: under the operator's rights at one end and a proxy's at the other.
async fn both_ends_work(plane: &ControlPlane, site: &Site, release: &str) -> Result<()> {
    let root = site.client("root").await?;
    let options = options()
        .release(release)
        .namespace(release)
        .etcd_endpoints(vec![site.endpoint()])
        .values(json!({
            "watch": {"namespaces": [release]},
            "policy": {"enabled": false},
            "extraArgs": site.operator_arguments(),
        }));
    let mut operator = Operator::start(plane, site.etcd(), options).await?;
    operator.start_replica(plane).await?;
    operator.wait_ready().await?;
    apply(plane, release, "a").await?;
    published(&root, release, &["a"]).await?;

    let store = site.builder(FLEET).build().await?;
    shows(&store, release, &["a"]).await?;
    // Which it knows by the lease alone.
    eventually("the answer about the lease", SOON, async || {
        let clock = store.status().clock_ahead_ms;
        ensure!(clock.is_some(), "may not ask for the lease: {clock:?}");
        Ok(())
    })
    .await?;

    let first = usize::from(metric(operator.replica(0), "leader ").await? == 0);
    operator.replica(first).stop(Duration::from_secs(5)).await?;
    let leader = operator.replica(1 - first);
    says(leader, "leader ", 1).await?;
    apply(plane, release, "b").await?;
    shows(&store, release, &["a", "b"]).await?;

    let paused = format!("{KEY}/paused");
    root.kv_client().put(paused.as_str(), "ana", None).await?;
    says(leader, r#"held{reason="paused"} "#, 1).await?;
    apply(plane, release, "c").await?;
    root.kv_client().delete(paused.as_str(), None).await?;
    shows(&store, release, &["a", "b", "c"]).await?;

    let foreign = r#"{"directives":[]}"#;
    root.kv_client().put(KEY, foreign, None).await?;
    published(&root, release, &["a", "b", "c"]).await?;
    root.kv_client().delete(KEY, None).await?;
    published(&root, release, &["a", "b", "c"]).await?;

    site.way().disconnect(Cut::Rst);
    apply(plane, release, "d").await?;
    shows(&store, release, &["a", "b", "c", "d"]).await?;
    // It has read the document before it watches it again.
    eventually("the store to be connected again", SOON, async || {
        let status = store.status();
        ensure!(status.connected && status.refused.is_none(), "{status:?}");
        Ok(())
    })
    .await?;
    leader.stop(Duration::from_secs(5)).await.map(drop)
}

/// A person takes the key over for another release, as the operator's user.
async fn adopts(plane: &ControlPlane, site: &Site) -> Result<()> {
    let mut root = site.client("root").await?;
    let found = root.get(KEY, None).await?;
    let revision = found.kvs().first().context("no document")?.mod_revision();
    let launch = Launch::new(binary())
        .arg("adopt")
        .arg(format!("--etcd-endpoints={}", site.endpoint()))
        .args(site.operator_arguments())
        .arg("--release=another/one")
        .arg(format!("--revision={revision}"))
        .env("KUBECONFIG", plane.kubeconfig());
    let said = command::run(&launch, None).await?.success()?;
    ensure!(said.contains("owns the key now"), "{said}");
    Ok(())
}

async fn apply(plane: &ControlPlane, namespace: &str, name: &str) -> Result<()> {
    let mut manifest = directive(name, "1h");
    manifest["metadata"]["namespace"] = Value::from(namespace);
    let args = ["apply", "--server-side", "-f", "-"];
    let input = manifest.to_string();
    plane
        .kubectl_with_input(&args, &input)
        .await?
        .success()
        .map(drop)
}

/// Waits until the key holds these.
async fn published(root: &Client, namespace: &str, names: &[&str]) -> Result<()> {
    let expected = ids(namespace, names);
    eventually(&format!("{expected:?} at the key"), SOON, async || {
        let found = root.kv_client().get(KEY, None).await?;
        let found = found.kvs().first().context("nothing")?;
        let accepted = Accepted::from_bytes(found.value());
        let accepted = accepted.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let entries = accepted.entries().iter();
        let held: Vec<String> = entries.map(|read| read.entry.id.clone()).collect();
        ensure!(held == expected, "it holds {held:?}");
        Ok(())
    })
    .await
}

/// Waits until the store has these.
async fn shows(store: &EtcdDirectiveStore, namespace: &str, names: &[&str]) -> Result<()> {
    let expected = ids(namespace, names);
    eventually(&format!("{expected:?} in the store"), SOON, async || {
        let shown = store.load().introspect(SystemClock.now());
        let list = shown["directives"].as_array().context("no list")?;
        let mut held: Vec<&str> = list.iter().filter_map(|one| one["id"].as_str()).collect();
        held.sort_unstable();
        ensure!(held == expected, "it has {held:?}; {:?}", store.status());
        Ok(())
    })
    .await
}

fn ids(namespace: &str, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("{namespace}/{name}"))
        .collect()
}

/// The value of a series, by the rest of its name and a blank; 0 where it is not there.
async fn metric(replica: &Replica, series: &str) -> Result<i64> {
    let metrics = replica.metrics().await?;
    let series = format!("osproxy_directives_{series}");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    Ok(value.unwrap_or("0").parse()?)
}

async fn says(replica: &Replica, series: &str, value: i64) -> Result<()> {
    eventually(series, SOON, async || {
        let said = metric(replica, series).await?;
        ensure!(said == value, "{said}; {}", replica.process().log_excerpt());
        Ok(())
    })
    .await
}

#[test]
fn the_operators_user_is_the_one_that_is_printed_by_default() {
    // The names that the page and the tests use are the defaults.
    let printed = std::process::Command::new(binary())
        .args(["etcd-roles", "--fleet"])
        .output()
        .expect("the binary runs");
    let printed = String::from_utf8(printed.stdout).expect("text");
    for user in [OPERATOR, FLEET] {
        let line = format!("etcdctl user grant-role {user} {user}");
        assert!(printed.lines().any(|printed| printed == line), "{printed}");
    }
}
