//! `osproxy-directives operator`

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use osproxy_core::SystemClock;
use tracing_subscriber::EnvFilter;

use super::etcd::{EtcdArguments, block_on, release};
use crate::operator::plan::Limits;
use crate::operator::publish::OnNoSpace;
use crate::operator::{self, Options};

/// Every flag is also an environment variable: `OSPROXY_` and its name in capitals.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    etcd: EtcdArguments,

    /// Namespace and name of this release, as `namespace/name`. With the cluster it owns the key: two releases cannot share one.
    #[arg(long, env = "OSPROXY_RELEASE", default_value = "default/osproxy-directives", value_parser = release)]
    release: String,

    /// The namespaces to watch, separated by commas; all of them if not given.
    #[arg(long, env = "OSPROXY_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,

    /// The most directives that the document may hold.
    #[arg(long, env = "OSPROXY_MAX_DIRECTIVES", default_value_t = 1_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    max_directives: usize,

    /// The most bytes that the document may have; proxies read at most 1.5 MiB.
    #[arg(long, env = "OSPROXY_MAX_DOCUMENT_BYTES", default_value_t = 262_144, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1_024..=1_500_000))]
    max_document_bytes: usize,

    /// What to do when etcd's storage is full and refuses a changed document: keep the one that stands there until its directives end, or
    /// delete it, so that every directive is off at once.
    #[arg(long, env = "OSPROXY_ON_NO_SPACE", value_enum, default_value_t = NoSpace::Keep)]
    on_no_space: NoSpace,

    /// Where to serve `/healthz`, `/readyz` and `/metrics`.
    #[arg(long, env = "OSPROXY_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,

    /// What to log: a level, or directives as `tracing` has them.
    #[arg(long, env = "OSPROXY_LOG_LEVEL", default_value = "info")]
    log_level: String,

    /// How to log.
    #[arg(long, env = "OSPROXY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NoSpace {
    Keep,
    Delete,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        etcd,
        release,
        watch_namespaces,
        max_directives,
        max_document_bytes,
        on_no_space,
        listen,
        log_level,
        log_format,
    } = arguments;
    log(&log_level, log_format)?;

    let mut options = Options::new(etcd.options()?, etcd.etcd_directives_key, release, listen);
    options.watch_namespaces = watch_namespaces;
    options.on_no_space = match on_no_space {
        NoSpace::Keep => OnNoSpace::Keep,
        NoSpace::Delete => OnNoSpace::Delete,
    };
    options.limits = Limits::new(max_directives, max_document_bytes);
    block_on(async {
        let stop = stop_signal()?;
        Box::pin(operator::run(options, Arc::new(SystemClock), stop)).await?;
        Ok(())
    })
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn log(level: &str, format: LogFormat) -> anyhow::Result<()> {
    // The frames that h2, hyper and tonic would trace carry the document, and with it selector values; so does an answer that
    // kube's client cannot read, which it logs as a whole.
    let filter = format!(
        "{level},h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,rustls=warn,kube_client=off,kube_runtime=error"
    );
    let filter = EnvFilter::try_new(filter)
        .context("--log-level is neither a level nor a list of directives")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.init(),
    }
    Ok(())
}
