//! An installation that cannot work fails, and its own notes lead to the reason.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::ports::Port;
use testbed::{Etcd, EtcdOptions, eventually};

use super::check;
use super::cluster::{Cluster, NAMESPACE, RELEASE};
use super::support::SOON;

/// A person has read that far by then.
const FOUND_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_wrong_endpoint_fails_the_installation_and_its_notes_lead_to_the_reason() -> Result<()> {
    let cluster = Cluster::start().await?;
    // Claimed, so that nobody listens there.
    let nobody = Port::claim()?;
    let wait = ["--create-namespace", "--wait", "--timeout", "5s"];
    let error = cluster.chart("install", &nobody.http(), &wait).await;
    let error = format!("{:#}", error.err().context("it was installed")?);
    ensure!(
        error.contains("Deployment") || error.contains("deadline"),
        "{error}"
    );

    let notes = cluster
        .helm(&["get", "notes", RELEASE, "-n", NAMESPACE])
        .await?;
    let commands = commands(&notes);
    ensure!(commands.len() >= 2, "only {commands:?} in {notes}");
    eventually("the reason", FOUND_WITHIN, async || {
        let mut said = String::new();
        for command in &commands {
            // What a command finds wrong, it may say by its status too.
            let args: Vec<&str> = command.split_whitespace().skip(1).collect();
            let output = cluster.plane.kubectl(&args).await?;
            said.push_str(&output.stdout);
            said.push_str(&output.stderr);
        }
        for word in ["Cannot see etcd", "etcd_unreachable", "0/1"] {
            ensure!(said.contains(word), "no `{word}` in:\n{said}");
        }
        Ok(())
    })
    .await?;
    check_names_it_and_its_repair(&cluster).await
}

/// `check` sees that no replica is available, its hint shows why, and an upgrade to an endpoint that exists repairs it.
async fn check_names_it_and_its_repair(cluster: &Cluster) -> Result<()> {
    let pods = check::line(cluster, "operator-pods").await?;
    ensure!(
        pods["result"] == "fail" && pods["text"] == "0 of 2 replicas of the operator are available",
        "{pods}"
    );
    let hint = pods["hint"].as_str().context("no hint")?;
    // The replica that it shows may be the one that began later.
    eventually("its hint to show why", SOON, async || {
        let mut said = String::new();
        for command in hint.split('`').skip(1).step_by(2) {
            let line = command
                .strip_prefix("kubectl ")
                .context("another program")?;
            said += &cluster.kubectl(line).await?;
        }
        for word in ["Cannot see etcd", "ContainersReady   False"] {
            ensure!(said.contains(word), "no `{word}` in:\n{said}");
        }
        Ok(())
    })
    .await?;

    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let wait = ["--wait", "--timeout", "60s"];
    cluster
        .chart("upgrade", &etcd.endpoint_list(), &wait)
        .await?;
    eventually("check to find all well", SOON, async || {
        check::finds_all_well(cluster).await
    })
    .await
}

/// The lines for an operator that does not run, up to the first directive. The node that stands in here has no
/// `port-forward`; and how long `rollout status` waits for what will not be, the person decides.
fn commands(notes: &str) -> Vec<String> {
    let lines = notes.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("A first directive"));
    let commands = lines.filter(|line| line.starts_with("kubectl "));
    commands
        .filter(|line| !line.contains("port-forward"))
        .map(|line| match line.strip_suffix("--timeout=60s") {
            Some(rest) => format!("{rest}--timeout=1s"),
            None if line.contains("rollout status") => format!("{line} --timeout=1s"),
            None => line.to_owned(),
        })
        .collect()
}
