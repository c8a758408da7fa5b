//! What `check` says of an installation.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::command;
use testbed::process::Launch;

use super::cluster::Cluster;
use super::support::binary;

/// Every line of `check`, as machines read it.
pub(super) async fn lines(cluster: &Cluster) -> Result<Vec<Value>> {
    let launch = Launch::new(binary())
        .args(["check", "-o", "json"])
        .env("KUBECONFIG", cluster.plane.kubeconfig());
    let said = command::run(&launch, None).await?;
    let whole: Value = serde_json::from_str(&said.stdout).with_context(|| said.stderr.clone())?;
    Ok(whole["checks"].as_array().context("no checks")?.clone())
}

/// One line, by its name.
pub(super) async fn line(cluster: &Cluster, id: &str) -> Result<Value> {
    let lines = lines(cluster).await?;
    let found = lines.into_iter().find(|line| line["id"] == id);
    found.with_context(|| format!("no line {id}"))
}

/// A fresh installation is as it should be, but that no proxy reports yet.
pub(super) async fn finds_all_well(cluster: &Cluster) -> Result<()> {
    let lines = lines(cluster).await?;
    let not_good = lines.iter().filter(|line| line["result"] != "ok");
    let not_good: Vec<&Value> = not_good.collect();
    ensure!(
        not_good.len() == 1 && not_good[0]["id"] == "proxies" && not_good[0]["result"] == "warn",
        "{not_good:?}"
    );
    let pods = line(cluster, "operator-pods").await?;
    ensure!(
        pods["text"] == "2 of 2 replicas of the operator are available",
        "{pods}"
    );
    Ok(())
}
