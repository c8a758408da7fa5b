//! Every Pod of the cluster, followed over restarts of the API server.

use std::time::Duration;

use ::kube::api::{Api, ListParams, WatchEvent, WatchParams};
use anyhow::{Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc::UnboundedSender;

/// Between two tries while the API server does not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// A watch is opened anew after this time, and so is one that went silent.
const WATCH_SECONDS: u32 = 60;

/// What there is to know about Pods.
#[derive(Debug)]
pub(super) enum Change {
    /// These and no others are there.
    All(Vec<Pod>),
    /// This one is there, in this form.
    One(Box<Pod>),
    /// The one of this uid is gone.
    Gone(String),
}

/// Tells everything, for ever.
pub(super) async fn follow(api: Api<Pod>, tell: UnboundedSender<Change>) {
    while !tell.is_closed() {
        // Why it ended does not matter: the list that follows says what was missed.
        let _ = list_and_watch(&api, &tell).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn list_and_watch(api: &Api<Pod>, tell: &UnboundedSender<Change>) -> Result<()> {
    let list = api.list(&ListParams::default()).await?;
    let mut version = list.metadata.resource_version.clone().unwrap_or_default();
    tell.send(Change::All(list.items))?;
    loop {
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let mut events = api.watch(&params, &version).await?.boxed();
        let limit = Duration::from_secs(u64::from(WATCH_SECONDS) + 5);
        while let Some(event) = tokio::time::timeout(limit, events.next()).await? {
            let change = match event? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Change::One(Box::new(pod)),
                WatchEvent::Deleted(pod) => Change::Gone(pod.metadata.uid.unwrap_or_default()),
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => bail!("{}", error.message),
            };
            if let Change::One(pod) = &change
                && let Some(next) = &pod.metadata.resource_version
            {
                version.clone_from(next);
            }
            tell.send(change)?;
        }
    }
}
