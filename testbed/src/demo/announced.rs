//! When the API server announces a change of one resource: the moment from which anybody can know.

use std::pin::Pin;
use std::time::Instant;

use ::kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, WatchEvent, WatchParams};
use anyhow::{Context, Result, bail};
use futures::{Stream, StreamExt};

use crate::kube::ControlPlane;

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<DynamicObject>>> + Send>>;

/// An open watch of one resource in the namespace `default`.
pub(super) struct Announcements(Events);

impl Announcements {
    /// Opens it; what is announced from now on is seen, and what is there already.
    pub(super) async fn of(name: &str, plane: &ControlPlane) -> Result<Self> {
        let kind = GroupVersionKind::gvk("osproxy.io", "v1alpha1", "DiagnosticsDirective");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::namespaced_with(plane.client(), "default", &resource);
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        let events = api.watch(&only, "0").await?;
        Ok(Self(Box::pin(events)))
    }

    pub(super) async fn created(self) -> Result<Instant> {
        self.first(|event| matches!(event, WatchEvent::Added(_)))
            .await
    }

    pub(super) async fn deleted(self) -> Result<Instant> {
        self.first(|event| matches!(event, WatchEvent::Deleted(_)))
            .await
    }

    async fn first(
        mut self,
        wanted: impl Fn(&WatchEvent<DynamicObject>) -> bool,
    ) -> Result<Instant> {
        loop {
            match self.0.next().await.context("the watch ended")?? {
                event if wanted(&event) => return Ok(Instant::now()),
                WatchEvent::Error(error) => bail!("the watch failed: {}", error.message),
                _ => {}
            }
        }
    }
}
