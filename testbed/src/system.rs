//! Everything at once: a control plane, an etcd for the document, the operator, three proxies.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::etcd::{Etcd, EtcdOptions};
use crate::kube::ControlPlane;
use crate::operator::{Operator, OperatorOptions, Replica};
use crate::process::Process;
use crate::proxy::{Proxy, ProxyOptions};

/// The key that the chart's default values name.
pub const KEY: &str = "osproxy/directives";

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
    operator: Operator,
    etcd: Etcd,
    plane: ControlPlane,
}

impl System {
    /// Starts everything and waits until it is ready: about ten seconds once the servers are built.
    /// `report` hears of each part that is: what it is, and how long its start took.
    ///
    /// # Errors
    /// When a part is not ready in its time; the end of its log comes along.
    pub async fn start(
        options: SystemOptions,
        mut report: impl FnMut(&str, Duration) -> Result<()>,
    ) -> Result<Self> {
        let plane = timed(ControlPlane::start());
        let etcd = timed(Etcd::start(EtcdOptions::new()));
        let ((plane, plane_took), (etcd, etcd_took)) = tokio::try_join!(plane, etcd)?;
        let version = plane.client().apiserver_version().await?.git_version;
        let title = format!("Kubernetes {version} at {}", plane.server());
        report(&title, plane_took)?;
        let version = etcd.client().await?.status().await?.version().to_owned();
        report(
            &format!("etcd v{version} at {}", etcd.endpoint_list()),
            etcd_took,
        )?;

        let (operator, took) = timed(install(&plane, &etcd, options.operator)).await?;
        let replica = operator.replica(0);
        let title = format!(
            "operator at {} (process {})",
            replica.endpoint(),
            id(replica.process())
        );
        report(&title, took)?;

        let proxy = |name| {
            let options = ProxyOptions::new(&options.proxy, etcd.endpoints()).name(name);
            timed(Proxy::start(options))
        };
        let (one, two, three) =
            tokio::try_join!(proxy("proxy-1"), proxy("proxy-2"), proxy("proxy-3"))?;
        for (proxy, took) in [&one, &two, &three] {
            let (process, endpoint) = (proxy.process(), proxy.endpoint());
            let title = format!("{} at {endpoint} (process {})", process.name(), id(process));
            report(&title, *took)?;
        }
        Ok(Self {
            proxies: [one.0, two.0, three.0],
            operator,
            etcd,
            plane,
        })
    }

    /// The proxies.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy; 3] {
        &self.proxies
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
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
        match self.ended() {
            Some(process) => bail!("{} has ended", process.name()),
            None => Ok(()),
        }
    }

    /// What a person who asks why something failed looks at first: the log of what ended, or else
    /// that of the operator.
    #[must_use]
    pub fn evidence(&self) -> String {
        let ended = self.ended();
        let process = ended.unwrap_or_else(|| self.operator.replica(0).process());
        let fate = if ended.is_some() {
            " has ended; its"
        } else {
            "'s"
        };
        let log = process.log_excerpt();
        let log = if log.is_empty() {
            "(empty)"
        } else {
            log.as_str()
        };
        format!("{}{fate} log says:\n{log}", process.name())
    }

    fn ended(&self) -> Option<&Process> {
        let proxies = self.proxies.iter().map(Proxy::process);
        let operator = self.operator.replicas().iter().map(Replica::process);
        let members = self
            .etcd
            .members()
            .iter()
            .chain(self.plane.etcd().members());
        let plane = std::iter::once(self.plane.api_server()).chain(self.plane.controller_manager());
        proxies
            .chain(operator)
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

async fn install(plane: &ControlPlane, etcd: &Etcd, binary: PathBuf) -> Result<Operator> {
    let operator = Operator::start(plane, etcd, OperatorOptions::new(binary)).await?;
    operator.wait_ready().await?;
    Ok(operator)
}

async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = work.await?;
    Ok((value, start.elapsed()))
}

fn id(process: &Process) -> String {
    process.id().map_or("ended".to_owned(), |id| id.to_string())
}
