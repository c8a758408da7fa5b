//! One node for a [`ControlPlane`], without containers: a stand-in for the kubelet, the scheduler and a node's proxy.
//!
//! Pods that the controller manager makes are bound to the Node `testbed`, and each of their containers runs as a
//! process of this machine, with the arguments, the environment, the files, the probes and the end that its manifest
//! asks for. So `helm install --wait` really installs, and what its Pods may do is what their ServiceAccount may.
//!
//! ```no_run
//! # async fn story(plane: &testbed::ControlPlane) -> anyhow::Result<()> {
//! use testbed::{Kubelet, KubeletOptions};
//!
//! let program = "target/debug/osproxy-directives";
//! let options = KubeletOptions::new().image("osproxy-directives", program);
//! let _node = Kubelet::start(plane, options).await?;
//! plane.helm(&["install", "osd", "charts/osproxy-directives", "--wait"]).await?.success()?;
//! # Ok(()) }
//! ```
//!
//! Where it differs from a node:
//!
//! - An image is a program of this machine (by its repository's last part); there is no root file system, and what a
//!   `securityContext` or `resources` ask for is not enforced. An image that is not there is never pulled.
//! - No mount is seen at its path. Arguments and variables that begin with one, also after `=`, `,` or `:`, name the
//!   volume's directory instead; the operator finds the API server by a `KUBECONFIG` that names the mounted token and
//!   authority, in place of the fixed paths below `/var/run`.
//! - A Pod's address is one of 127.0.0.0/8, and `0.0.0.0:PORT` is that address. A Service has no endpoints (none may
//!   be on loopback): its name in a URL becomes a ready Pod's address when a container starts.
//! - Mounted objects are looked at each second, a kubelet takes up to a minute and a half.
//! - Of the ways to a Pod only `kubectl logs` works: no `exec`, no `port-forward`.
//! - What has no stand-in here (`lifecycle`, `subPath`, exec probes, …) keeps its container from starting, and says so.

mod address;
mod board;
pub(crate) mod container;
mod events;
mod follow;
mod launch;
mod logs;
mod node;
pub(crate) mod objects;
mod place;
mod probe;
mod status;
mod unit;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::kube::api::{Api, DeleteParams};
use ::kube::{Client, ResourceExt};
use anyhow::Result;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::kube::ControlPlane;
use crate::scratch::Scratch;
use board::Board;
use follow::Change;
use launch::Refused;
use worker::Worker;

pub use board::{ContainerView, PodView};

/// The name of the Node.
pub const NODE: &str = "testbed";

/// A kubelet's own first wait before a container that crashed again is started.
const BACK_OFF: Duration = Duration::from_secs(10);

/// How a [`Kubelet`] is started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KubeletOptions {
    images: BTreeMap<String, PathBuf>,
    back_off: Duration,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self {
            images: BTreeMap::new(),
            back_off: BACK_OFF,
        }
    }
}

impl KubeletOptions {
    /// A node without an image.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the program stand for every image whose repository is `name` or ends in `/name`, whatever its tag.
    #[must_use]
    pub fn image(mut self, name: &str, program: impl Into<PathBuf>) -> Self {
        self.images.insert(name.to_owned(), program.into());
        self
    }

    /// The wait after a second crash, which doubles with each further one; 10 s as on a real node.
    #[must_use]
    pub fn back_off(mut self, first: Duration) -> Self {
        self.back_off = first;
        self
    }
}

/// A running node. Dropping it kills everything that runs on it; the objects stay in the API server.
pub struct Kubelet {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What all parts of a node need.
struct Shared {
    client: Client,
    server: String,
    scratch: Scratch,
    board: Arc<Board>,
    images: BTreeMap<String, PathBuf>,
    back_off: Duration,
    /// How often all tokens had to be renewed.
    renewals: AtomicU64,
}

impl Kubelet {
    /// Registers the Node and begins to run what is bound to it.
    ///
    /// # Errors
    /// When the API server refuses, or nothing can listen for it.
    pub async fn start(plane: &ControlPlane, options: KubeletOptions) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let tls = logs::tls(plane.kubelet_identity(), plane.authority())?;
        let shared = Arc::new(Shared {
            client: plane.client(),
            server: plane.server(),
            scratch: Scratch::new("kubelet")?,
            board: Arc::default(),
            images: options.images,
            back_off: options.back_off,
            renewals: AtomicU64::new(0),
        });
        let version = format!("v{}", plane.version()?);
        node::register(&shared.client, &version, port).await?;
        let (tell, changes) = mpsc::unbounded_channel();
        let tasks = vec![
            tokio::spawn(node::keep(plane.client(), version, port)),
            tokio::spawn(follow::follow(Api::all(plane.client()), tell)),
            tokio::spawn(manage(Arc::clone(&shared), changes)),
            tokio::spawn(logs::serve(listener, tls, Arc::clone(&shared.board))),
        ];
        Ok(Self { shared, tasks })
    }

    /// The Pods that are here, in no order.
    #[must_use]
    pub fn pods(&self) -> Vec<PodView> {
        self.shared.board.pods()
    }

    /// Has every Pod's tokens renewed in place within a second or two, long before it is time.
    pub fn renew_tokens(&self) {
        self.shared.renewals.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the API server calls the Node ready.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn is_ready(&self) -> Result<bool> {
        node::is_ready(&self.shared.client).await
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.board.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubelet")
            .field("pods", &self.pods())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The program that stands for a container's image.
    fn program(&self, container: &Container) -> Result<PathBuf, Refused> {
        let image = container.image.as_deref().unwrap_or_default();
        let known = self.images.iter().find(|(name, _)| is_of(image, name));
        known.map(|(_, program)| program.clone()).ok_or_else(|| {
            let never = container.image_pull_policy.as_deref() == Some("Never");
            let known: Vec<&str> = self.images.keys().map(String::as_str).collect();
            Refused {
                reason: if never {
                    "ErrImageNeverPull"
                } else {
                    "ImagePullBackOff"
                },
                message: format!("no image \"{image}\" on this node, which has {known:?}"),
            }
        })
    }
}

/// Whether an image, with its registry, tag and digest, is of the repository `name`.
fn is_of(image: &str, name: &str) -> bool {
    let image = image.split('@').next().unwrap_or_default();
    let repository = match image.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    };
    let rest = repository.strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// Gives each Pod of this node a worker, and each that has no node this one.
async fn manage(shared: Arc<Shared>, mut changes: mpsc::UnboundedReceiver<Change>) {
    let mut news: BTreeMap<String, watch::Sender<Option<Pod>>> = BTreeMap::new();
    let mut workers = JoinSet::new();
    while let Some(change) = changes.recv().await {
        while workers.try_join_next().is_some() {}
        let pods = match change {
            Change::All(pods) => {
                let left = |uid: &String| {
                    pods.iter()
                        .any(|pod| pod.metadata.uid.as_ref() == Some(uid))
                };
                news.retain(|uid, news| left(uid) || news.send(None).is_err());
                pods
            }
            Change::One(pod) => vec![*pod],
            Change::Gone(uid) => {
                if let Some(news) = news.remove(&uid) {
                    let _ = news.send(None);
                }
                continue;
            }
        };
        for pod in pods {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if let Some(news) = news.get(&uid) {
                let _ = news.send(Some(pod));
                continue;
            }
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            match node {
                None if pod.metadata.deletion_timestamp.is_none() => {
                    // Where it fails, the next list shows the Pod again.
                    let _ = node::bind(&shared.client, &pod).await;
                }
                Some(NODE) if is_over(&pod) => tidy(&shared.client, &pod).await,
                Some(NODE) => {
                    let Ok(worker) = Worker::new(Arc::clone(&shared), pod.clone()) else {
                        continue;
                    };
                    let (tell, hear) = watch::channel(Some(pod));
                    workers.spawn(worker.run(hear));
                    news.insert(uid, tell);
                }
                _ => {}
            }
        }
    }
}

/// Whether a Pod of an earlier kubelet has nothing left to run.
fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some()
}

async fn tidy(client: &Client, pod: &Pod) {
    if pod.metadata.deletion_timestamp.is_some() {
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let params = DeleteParams::default().grace_period(0);
        let _ = api.delete(&pod.name_any(), &params).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_repository() {
        for image in [
            "osd",
            "osd:1.0",
            "example.com:5000/team/osd:1.0@sha256:abc",
            "team/osd@sha256:abc",
        ] {
            assert!(is_of(image, "osd"), "{image}");
        }
        for image in ["osd-extra:1", "not-osd:1", "osd/other"] {
            assert!(!is_of(image, "osd"), "{image}");
        }
    }
}
