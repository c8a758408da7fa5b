//! `osproxy-directives operator`

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use osproxy_core::SystemClock;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::etcd::{EtcdArguments, block_on, release};
use crate::operator::plan::Limits;
use crate::operator::publish::OnNoSpace;
use crate::operator::{self, Options};

/// Every flag is also an environment variable: `OSPROXY_` and its name in capitals.
#[derive(Debug, Args)]
pub(super) struct Arguments {
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

    #[command(flatten)]
    etcd: EtcdArguments,
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

    let mut options = Options::new(
        etcd.options()?,
        etcd.access.etcd_directives_key,
        release,
        listen,
    );
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

/// What a log line may come from at no level, whatever a person asks for: modules whose lines carry what goes over the wire, and with it
/// selector values, passwords and tokens. `kube_client::client` logs each answer that it cannot decode, whole, as a warning.
const SHOW_PAYLOADS: &[&str] = &[
    "etcd_client",
    "h2",
    "hyper",
    "hyper_util",
    "kube_client::client",
    "tonic",
    "tower",
];

fn log(level: &str, format: LogFormat) -> anyhow::Result<()> {
    tracing::subscriber::set_global_default(subscriber(level, format, std::io::stderr)?)
        .context("cannot start to log")
}

fn subscriber<W>(level: &str, format: LogFormat, writer: W) -> anyhow::Result<impl Subscriber>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let asked = EnvFilter::try_new(format!(
        "{level},rustls=warn,kube_client=warn,kube_runtime=error"
    ))
    .context("--log-level is neither a level nor a list of directives")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    let allowed = filter_fn(|metadata| !shows_payloads(metadata.target()));
    Ok(tracing_subscriber::registry().with(lines.with_filter(asked).with_filter(allowed)))
}

fn shows_payloads(target: &str) -> bool {
    SHOW_PAYLOADS.iter().any(|module| {
        target
            .strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Everything that is logged, in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_level_brings_back_the_lines_that_show_what_goes_over_the_wire() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let lines = Lines::default();
            let writer = lines.clone();
            let level = "trace,h2=trace,h2::codec=trace,kube_client::client=trace,tonic=trace";
            let subscriber = subscriber(level, format, move || writer.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(target: "kube_client::client", "canary, expected value");
                tracing::trace!(target: "h2::codec::framed_write", "canary");
                tracing::debug!(target: "h2", "canary");
                tracing::error!(target: "tonic::transport", "canary");
                tracing::debug!(target: "h2ologist", "another crate");
                tracing::trace!(target: "osproxy_directives", "ours");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("canary"), "{text}");
            assert!(
                text.contains("ours") && text.contains("another crate"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        let Err(error) = subscriber("info=loud", LogFormat::Text, io::stderr) else {
            panic!("taken");
        };
        assert!(error.to_string().contains("--log-level"), "{error}");
    }
}
