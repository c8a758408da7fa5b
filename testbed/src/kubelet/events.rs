//! Events about Pods, in a kubelet's words.

use std::collections::BTreeSet;

use ::kube::Client;
use ::kube::api::{Api, PostParams};
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::json;

use super::NODE;
use super::status::now;

/// Tells each thing about one Pod once: a kubelet counts, which nobody here needs.
#[derive(Debug, Default)]
pub(super) struct Events {
    told: BTreeSet<(String, String)>,
}

impl Events {
    /// Says it in the background; an Event that is lost is lost.
    pub(super) fn tell(
        &mut self,
        client: &Client,
        pod: &Pod,
        kind: &str,
        reason: &str,
        message: &str,
    ) {
        if !self.told.insert((reason.to_owned(), message.to_owned())) {
            return;
        }
        let meta = &pod.metadata;
        let namespace = meta.namespace.clone().unwrap_or_default();
        let event = json!({
            "metadata": {
                "generateName": format!("{}.", meta.name.as_deref().unwrap_or_default()),
                "namespace": namespace,
            },
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta.name,
                "namespace": namespace,
                "uid": meta.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": { "component": "kubelet", "host": NODE },
            "reportingComponent": "kubelet",
            "reportingInstance": NODE,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        });
        let Ok(event) = serde_json::from_value::<Event>(event) else {
            return;
        };
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        tokio::spawn(async move { drop(api.create(&PostParams::default(), &event).await) });
    }
}
