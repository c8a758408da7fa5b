//! Everything at once: a control plane with a node, an etcd for the document, the operator as Helm installs it, three
//! proxies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::etcd::{Etcd, EtcdOptions};
use crate::kube::ControlPlane;
use crate::kubelet::{Kubelet, KubeletOptions, PodView};
use crate::operator::CHART;
use crate::ports::Port;
use crate::process::Process;
use crate::proxy::{Proxy, ProxyOptions};

/// The key that the chart's default values name.
pub const KEY: &str = "osproxy/directives";

/// Release and namespace of the operator.
const RELEASE: &str = "osproxy-directives";

/// The binaries of this project that a [`System`] runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SystemOptions {
    operator: PathBuf,
    proxy: PathBuf,
}

impl SystemOptions {
    /// The operator's binary and the example proxy's.
    #[must_use]
    pub fn new(operator: impl Into<PathBuf>, proxy: impl Into<PathBuf>) -> Self {
        Self {
            operator: operator.into(),
            proxy: proxy.into(),
        }
    }

    /// Reads `--operator PATH --proxy PATH`, in either order.
    ///
    /// # Errors
    /// When one of them is missing, or names no file, or there is anything else.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let (mut operator, mut proxy) = (None, None);
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let slot = match flag.as_str() {
                "--operator" => &mut operator,
                "--proxy" => &mut proxy,
                _ => bail!("`{flag}` is unknown; allowed are --operator PATH and --proxy PATH"),
            };
            *slot = Some(
                args.next()
                    .with_context(|| format!("{flag} needs a path"))?,
            );
        }
        let file = |flag: &str, path: Option<String>| {
            let path = path.with_context(|| format!("{flag} PATH is missing"))?;
            let absolute = std::fs::canonicalize(&path);
            absolute.with_context(|| format!("{flag} {path}: build it first, as `make demo` does"))
        };
        Ok(Self::new(
            file("--operator", operator)?,
            file("--proxy", proxy)?,
        ))
    }
}

/// A running system. Dropping it stops everything.
#[derive(Debug)]
pub struct System {
    // In this order they are dropped: clients of a server before the server.
    proxies: [Proxy; 3],
    kubelet: Kubelet,
    etcd: Etcd,
    plane: ControlPlane,
    port: Port,
}

impl System {
    /// Starts everything and waits until it is ready: about ten seconds once the servers are built.
    /// `report` hears of each part that is: what it is, and how long its start took, if it was one of its own.
    ///
    /// # Errors
    /// When a part is not ready in its time; the end of its log comes along.
    pub async fn start(
        options: SystemOptions,
        mut report: impl FnMut(&str, Option<Duration>) -> Result<()>,
    ) -> Result<Self> {
        let plane = timed(ControlPlane::start());
        let etcd = timed(Etcd::start(EtcdOptions::new()));
        let ((plane, plane_took), (etcd, etcd_took)) = tokio::try_join!(plane, etcd)?;
        let version = plane.client().apiserver_version().await?.git_version;
        let title = format!("Kubernetes {version} at {}", plane.server());
        report(&title, Some(plane_took))?;
        let version = etcd.client().await?.status().await?.version().to_owned();
        report(
            &format!("etcd v{version} at {}", etcd.endpoint_list()),
            Some(etcd_took),
        )?;

        let images = KubeletOptions::new().image("osproxy-directives", options.operator);
        let kubelet = Kubelet::start(&plane, images).await?;
        let port = Port::claim()?;
        let ((), took) = timed(install(&plane, &etcd, &port)).await?;
        report(
            &format!("helm install {RELEASE} --wait: its replicas are ready"),
            Some(took),
        )?;
        for pod in operators(&kubelet) {
            let process = pod.containers.iter().find_map(|it| it.process.as_ref());
            let process = process.context("a replica is ready and has no process")?;
            let endpoint = format!("http://{}:{}", pod.ip, port.number());
            report(
                &format!("operator at {endpoint} (process {})", id(process)),
                None,
            )?;
        }

        let proxy = |name| {
            let options = ProxyOptions::new(&options.proxy, etcd.endpoints())
                .name(name)
                .arg("--instance")
                .arg(name);
            timed(Proxy::start(options))
        };
        let (one, two, three) =
            tokio::try_join!(proxy("proxy-1"), proxy("proxy-2"), proxy("proxy-3"))?;
        for (proxy, took) in [&one, &two, &three] {
            let (process, endpoint) = (proxy.process(), proxy.endpoint());
            let title = format!("{} at {endpoint} (process {})", process.name(), id(process));
            report(&title, Some(*took))?;
        }
        Ok(Self {
            proxies: [one.0, two.0, three.0],
            kubelet,
            etcd,
            plane,
            port,
        })
    }

    /// The proxies.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy; 3] {
        &self.proxies
    }

    /// Where a replica of the operator answers.
    ///
    /// # Errors
    /// When none runs.
    pub fn operator(&self) -> Result<String> {
        let pods = operators(&self.kubelet);
        let pod = pods.first().context("no replica runs")?;
        Ok(format!("http://{}:{}", pod.ip, self.port.number()))
    }

    /// The etcd of the document.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// The control plane.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Sees whether everything still runs.
    ///
    /// # Errors
    /// The first process that does not.
    pub fn all_run(&self) -> Result<()> {
        let operators = self.operators();
        match self.ended(&operators) {
            Some(process) => bail!("{} has ended", process.name()),
            None => Ok(()),
        }
    }

    /// What a person who asks why something failed looks at first: the log of what ended, or else
    /// those of the operator.
    #[must_use]
    pub fn evidence(&self) -> String {
        let operators = self.operators();
        let said = |process: &Process, fate: &str| {
            let log = process.log_excerpt();
            let log = if log.is_empty() { "(empty)" } else { &log };
            format!("{}{fate} log says:\n{log}", process.name())
        };
        match self.ended(&operators) {
            Some(process) => said(process, " has ended; its"),
            None => operators
                .iter()
                .map(|process| said(process, "'s"))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    fn operators(&self) -> Vec<Arc<Process>> {
        let pods = operators(&self.kubelet).into_iter();
        let containers = pods.flat_map(|pod| pod.containers);
        containers.filter_map(|it| it.process).collect()
    }

    fn ended<'a>(&'a self, operators: &'a [Arc<Process>]) -> Option<&'a Process> {
        let proxies = self.proxies.iter().map(Proxy::process);
        let members = self
            .etcd
            .members()
            .iter()
            .chain(self.plane.etcd().members());
        let plane = std::iter::once(self.plane.api_server()).chain(self.plane.controller_manager());
        proxies
            .chain(operators.iter().map(Arc::as_ref))
            .chain(members.map(crate::etcd::Member::process))
            .chain(plane)
            .find(|process| !process.is_running())
    }
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// When the signals cannot be listened for.
pub async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// As the README says it, but for the port: it is one on which nobody else on this machine listens.
async fn install(plane: &ControlPlane, etcd: &Etcd, port: &Port) -> Result<()> {
    let endpoints = format!("etcd.endpoints={{{}}}", etcd.endpoint_list());
    let port = format!("httpPort={}", port.number());
    let args = [
        "install",
        RELEASE,
        CHART,
        "--namespace",
        RELEASE,
        "--create-namespace",
        "--set",
        &endpoints,
        "--set",
        &port,
        "--wait",
        "--timeout",
        "60s",
    ];
    plane.helm(&args).await?.success()?;
    Ok(())
}

/// The replicas of the operator that are ready.
fn operators(kubelet: &Kubelet) -> Vec<PodView> {
    let mut pods = kubelet.pods();
    pods.retain(|pod| pod.ready && pod.namespace == RELEASE);
    pods
}

async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = work.await?;
    Ok((value, start.elapsed()))
}

fn id(process: &Process) -> String {
    process.id().map_or("ended".to_owned(), |id| id.to_string())
}
