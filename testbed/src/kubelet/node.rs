//! The Node object, and the heartbeats without which the controller manager calls it unreachable.

use std::time::Duration;

use ::kube::Client;
use ::kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use anyhow::Result;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::NODE;
use super::status::now;

/// Where kubelets keep their leases.
const LEASES: &str = "kube-node-lease";
/// A kubelet's own: it renews every ten seconds, and after forty the node is called unreachable.
const LEASE_SECONDS: i32 = 40;
const HEARTBEAT: Duration = Duration::from_secs(10);
/// After a heartbeat that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Who applied, for the API server.
const MANAGER: &str = "kubelet";

/// Makes the Node, ready, at 127.0.0.1 with the port of the logs.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn register(client: &Client, version: &str, logs_port: u16) -> Result<()> {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": NODE, "labels": labels() },
    });
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams::apply(MANAGER).force();
    nodes.patch(NODE, &params, &Patch::Apply(&node)).await?;
    let status = json!({ "status": status(version, logs_port) });
    let patch = Patch::Strategic(&status);
    nodes
        .patch_status(NODE, &PatchParams::default(), &patch)
        .await?;
    beat(client).await
}

/// Keeps it alive, for ever.
pub(super) async fn keep(client: Client, version: String, logs_port: u16) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        while beat(&client).await.is_err() {
            // The API server may have been restarted on an empty store, or the Node deleted.
            let _ = register(&client, &version, logs_port).await;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn beat(client: &Client) -> Result<()> {
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(NODE.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(NODE.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let params = PatchParams::apply(MANAGER).force();
    leases.patch(NODE, &params, &Patch::Apply(&lease)).await?;
    Ok(())
}

/// What the scheduler does, with one node to choose from: it binds a Pod whose node selector this node meets. Affinity,
/// taints, requests and spread are not looked at.
///
/// # Errors
/// When the API server refuses, as where the Pod is bound already.
pub(super) async fn bind(client: &Client, pod: &Pod) -> Result<()> {
    let (Some(name), Some(namespace)) = (&pod.metadata.name, &pod.metadata.namespace) else {
        return Ok(());
    };
    let wanted = pod
        .spec
        .iter()
        .flat_map(|spec| spec.node_selector.iter().flatten());
    let ours = labels();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    if let Some((key, value)) = wanted
        .into_iter()
        .find(|(key, value)| ours[*key] != **value)
    {
        let message = format!("0/1 nodes are available: 1 node(s) didn't match {key}={value}");
        let condition = json!({ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": message });
        let patch = json!({ "status": { "conditions": [condition] } });
        let patch = Patch::Strategic(&patch);
        pods.patch_status(name, &PatchParams::default(), &patch)
            .await?;
        return Ok(());
    }
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(NODE.to_owned()),
            ..ObjectReference::default()
        },
    };
    let params = PostParams::default();
    let _: Value = pods
        .create_subresource("binding", name, &params, &binding)
        .await?;
    Ok(())
}

/// Whether the API server knows a ready Node of ours: for tests.
pub(super) async fn is_ready(client: &Client) -> Result<bool> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await?;
    let conditions = nodes.iter().flat_map(|node| {
        node.status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
    });
    Ok(conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

fn labels() -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": NODE,
    })
}

fn status(version: &str, logs_port: u16) -> Value {
    let capacity = json!({ "cpu": "2", "memory": "4Gi", "pods": "110" });
    json!({
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            { "type": "InternalIP", "address": "127.0.0.1" },
            { "type": "Hostname", "address": NODE },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": logs_port } },
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "a stand-in that runs programs and no containers",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }],
        "nodeInfo": {
            "kubeletVersion": version,
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "testbed://0",
            "operatingSystem": "linux",
            "architecture": labels()["kubernetes.io/arch"],
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
        },
    })
}
