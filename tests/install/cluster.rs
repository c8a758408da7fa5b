//! A cluster with a node, and what a person types at it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::ports::Port;
use testbed::{ControlPlane, Kubelet, KubeletOptions, eventually};

use super::support::{SOON, binary};

/// The chart of this repository.
pub(super) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/osproxy-directives");
/// Release and namespace of every story.
pub(super) const RELEASE: &str = "osproxy-directives";
pub(super) const NAMESPACE: &str = "osproxy";

pub(super) struct Cluster {
    // Dropped in this order: what runs on the servers before them.
    pub(super) kubelet: Kubelet,
    pub(super) plane: ControlPlane,
    port: Port,
}

impl Cluster {
    pub(super) async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let options = KubeletOptions::new()
            .image("osproxy-directives", binary())
            .back_off(Duration::from_secs(1));
        Ok(Self {
            kubelet: Kubelet::start(&plane, options).await?,
            plane,
            port: Port::claim()?,
        })
    }

    /// `helm VERB RELEASE CHART` with what every story sets, and more.
    pub(super) async fn chart(&self, verb: &str, endpoint: &str, more: &[&str]) -> Result<String> {
        let endpoints = format!("etcd.endpoints={{{endpoint}}}");
        // Nobody else on this machine listens there, on any address.
        let port = format!("httpPort={}", self.port.number());
        let args = [
            verb,
            RELEASE,
            CHART,
            "--namespace",
            NAMESPACE,
            "--set",
            &endpoints,
            "--set",
            &port,
        ];
        self.helm(&[&args[..], more].concat()).await
    }

    pub(super) async fn helm(&self, args: &[&str]) -> Result<String> {
        self.plane.helm(args).await?.success()
    }

    /// `kubectl`, in words without blanks.
    pub(super) async fn kubectl(&self, line: &str) -> Result<String> {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.plane.kubectl(&args).await?.success()
    }

    pub(super) async fn apply(&self, manifest: &Value) -> Result<()> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let input = manifest.to_string();
        self.plane
            .kubectl_with_input(&args, &input)
            .await?
            .success()?;
        Ok(())
    }

    /// The names of the operator's Pods that are ready.
    pub(super) fn ready(&self) -> Vec<String> {
        let pods = self.kubelet.pods().into_iter();
        let ours = pods.filter(|pod| pod.namespace == NAMESPACE && pod.ready);
        ours.map(|pod| pod.name).collect()
    }

    /// All that the operator's Pods have logged; those that are gone are not in it.
    pub(super) fn logs(&self) -> Result<String> {
        let pods = self.kubelet.pods();
        let containers = pods.iter().flat_map(|pod| &pod.containers);
        let processes = containers.filter_map(|container| container.process.as_ref());
        let logs: Result<Vec<String>> = processes.map(|process| process.log_text()).collect();
        Ok(logs?.concat())
    }

    pub(super) async fn is_ready(&self, name: &str) -> Result<()> {
        eventually(&format!("{name} to be Ready"), SOON, async || {
            let line = format!("get diag {name} -n default -o json");
            let resource: Value = serde_json::from_str(&self.kubectl(&line).await?)?;
            let conditions = resource["status"]["conditions"].as_array();
            let mut conditions = conditions.context("no conditions")?.iter();
            let ready = conditions.find(|condition| condition["type"] == "Ready");
            let ready = ready.context("no Ready")?;
            ensure!(ready["status"] == "True", "{ready}");
            Ok(())
        })
        .await
    }
}
