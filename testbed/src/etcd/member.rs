//! One member of a cluster: what it is told, and what can be done to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::peers::Links;
use super::{DATA, EtcdOptions, HEALTHY_WITHIN, STOPPED_WITHIN};
use crate::http;
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::scratch::Scratch;

/// A member; its ports, data and log stay its own over kills and restarts.
#[derive(Debug)]
pub struct Member {
    plan: Plan,
    cluster: String,
    /// Shared with the links between members, which do not keep it alive.
    process: Arc<Process>,
}

impl Member {
    /// Its client address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.plan.client.http()
    }

    /// Where it serves `/metrics` and `/health`, without TLS or login.
    #[must_use]
    pub fn metrics_endpoint(&self) -> String {
        self.plan.metrics.http()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.plan.data
    }

    /// Its process: the log, the id.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether its process is there; a paused one is.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// SIGSTOP: connections stay open and mute.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM, and the wait for its end.
    ///
    /// # Errors
    /// When it does not end within 15 seconds.
    pub async fn stop(&self) -> Result<()> {
        self.process.stop(STOPPED_WITHIN).await.map(drop)
    }

    /// Starts it again on its ports and data and waits until it is healthy; that takes a quorum, so
    /// after the loss of one use [`super::Etcd::restart`].
    ///
    /// # Errors
    /// When it runs already, or is not healthy within 30 seconds.
    pub async fn restart(&self) -> Result<()> {
        self.start_again()?;
        self.healthy().await
    }

    /// Starts it again without waiting.
    ///
    /// # Errors
    /// When it runs already.
    pub fn start_again(&self) -> Result<()> {
        self.process.start_again()
    }

    /// Starts it with the data of nobody, as the one that a cluster has just added.
    pub(super) fn join(&self) -> Result<()> {
        self.forget()?;
        self.process
            .start_again_with(&["--initial-cluster-state=existing"])
    }

    /// How the others know it: its name, and where they reach it.
    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.plan.name, &self.plan.advertised)
    }

    /// Waits until it can read with a quorum.
    ///
    /// # Errors
    /// When it cannot within 30 seconds.
    pub async fn healthy(&self) -> Result<()> {
        let url = format!("{}/health", self.metrics_endpoint());
        self.process
            .ready(HEALTHY_WITHIN, async || {
                let answer = http::get(&url, &[]).await?.success()?;
                let health: Health = serde_json::from_str(&answer)?;
                if health.health != "true" {
                    bail!("{answer}");
                }
                Ok(())
            })
            .await
    }

    /// Removes its data; it must not run.
    pub(super) fn forget(&self) -> Result<()> {
        if self.is_running() {
            bail!("{} still runs", self.process.name());
        }
        match fs::remove_dir_all(&self.plan.data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.plan.data.display()))
            }
            _ => Ok(()),
        }
    }

    /// What `etcdutl snapshot restore` has to know of it.
    pub(super) fn restore_flags(&self) -> [String; 4] {
        [
            format!("--data-dir={}", self.plan.data.display()),
            format!("--name={}", self.plan.name),
            format!("--initial-cluster={}", self.cluster),
            format!("--initial-advertise-peer-urls={}", self.plan.advertised),
        ]
    }
}

/// What `/health` answers; the rest of it is of no interest.
#[derive(Deserialize)]
struct Health {
    health: String,
}

/// Starts all members without waiting for any: none is healthy before the others run. Between
/// them are links when the options ask for some.
pub(super) async fn start_cluster(
    program: &Path,
    options: &EtcdOptions,
    scratch: &Scratch,
) -> Result<(Vec<Member>, Option<Links>)> {
    let mut plans: Vec<Plan> = (0..options.members)
        .map(|index| Plan::new(index, scratch))
        .collect::<Result<_>>()?;
    let mut links = None;
    if options.peer_links {
        let peers: Vec<&Port> = plans.iter().map(|plan| &plan.peer).collect();
        let made = Links::create(&peers).await?;
        for (index, plan) in plans.iter_mut().enumerate() {
            plan.advertised = made.url(index);
        }
        links = Some(made);
    }
    let peers: Vec<String> = plans
        .iter()
        .map(|plan| format!("{}={}", plan.name, plan.advertised))
        .collect();
    let cluster = peers.join(",");
    let members: Vec<Member> = plans
        .into_iter()
        .map(|plan| {
            let launch = plan.launch(program, &cluster, options);
            let log = scratch.join(&format!("{}.log", plan.name));
            Ok(Member {
                process: Arc::new(Process::start(&plan.name, launch, log)?),
                cluster: cluster.clone(),
                plan,
            })
        })
        .collect::<Result<_>>()?;
    if let Some(links) = &links {
        links.introduce(members.iter().map(|m| Arc::downgrade(&m.process)).collect());
    }
    Ok((members, links))
}

/// Where a member lives.
#[derive(Debug)]
struct Plan {
    name: String,
    data: PathBuf,
    client: Port,
    peer: Port,
    /// Where the others reach it: its peer port, or a link's address.
    advertised: String,
    metrics: Port,
}

impl Plan {
    fn new(index: usize, scratch: &Scratch) -> Result<Self> {
        let name = format!("etcd-{index}");
        let peer = Port::claim()?;
        Ok(Self {
            data: scratch.directory(&name)?.join(DATA),
            name,
            client: Port::claim()?,
            advertised: peer.http(),
            peer,
            metrics: Port::claim()?,
        })
    }

    fn launch(&self, program: &Path, cluster: &str, options: &EtcdOptions) -> Launch {
        let launch = Launch::new(program)
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data.display()))
            .arg(format!("--listen-client-urls={}", self.client.http()))
            .arg(format!("--advertise-client-urls={}", self.client.http()))
            .arg(format!("--listen-peer-urls={}", self.peer.http()))
            .arg(format!("--initial-advertise-peer-urls={}", self.advertised))
            .arg(format!("--listen-metrics-urls={}", self.metrics.http()))
            .arg(format!("--initial-cluster={cluster}"));
        let launch = if options.fsync {
            launch
        } else {
            launch.arg("--unsafe-no-fsync")
        };
        launch.args(&options.flags)
    }
}
