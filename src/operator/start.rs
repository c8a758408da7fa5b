//! The start of an operator: everything that runs beside the cycle, and the cycle itself, until it is to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use osproxy_core::Clock;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tracing::info;

use super::cycle::Operator;
use super::metrics::Metrics;
use super::observe::{Scope, observe};
use super::outage::{self, Outage};
use super::overview::Overview;
use super::plan::Limits;
use super::publish::OnNoSpace;
use super::publish::keys::KeyStore;
use super::{answers, identity, serve};
use crate::etcd::{BadKey, ConnectOptions, Fault, Keys};

/// What an operator is started with.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Options {
    /// Where etcd is.
    pub etcd: ConnectOptions,
    /// The document's key.
    pub directives_key: String,
    /// `namespace/name` of the release; with the cluster it is the owner of the key.
    pub release: String,
    /// Which namespaces to watch; none means all.
    pub watch_namespaces: Vec<String>,
    /// How large the document may become.
    pub limits: Limits,
    /// What to do when etcd is full.
    pub on_no_space: OnNoSpace,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
}

impl Options {
    /// An operator of `release` that writes `directives_key` in `etcd`, watches all namespaces, and serves on `listen`.
    #[must_use]
    pub fn new(
        etcd: ConnectOptions,
        directives_key: impl Into<String>,
        release: impl Into<String>,
        listen: SocketAddr,
    ) -> Self {
        Self {
            etcd,
            directives_key: directives_key.into(),
            release: release.into(),
            watch_namespaces: Vec::new(),
            limits: Limits::default(),
            on_no_space: OnNoSpace::default(),
            listen,
        }
    }
}

/// Why an operator could not even start. Servers that cannot be reached are no reason: it waits for them.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The document's key cannot be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The endpoints of etcd, or the credentials for it, cannot be used.
    #[error("cannot use the etcd endpoints: {0}")]
    Etcd(Fault),
    /// There is no usable kubeconfig, and this is not a pod with a ServiceAccount.
    #[error("cannot find the API server: {0}")]
    Kube(String),
    /// The address for health and metrics is not free.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
}

/// Runs an operator until `shutdown` completes; then it resigns, so that another replica can go on at once.
///
/// # Errors
/// [`StartError`] where it cannot start.
pub async fn run(
    options: Options,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let keys = Keys::new(options.directives_key.clone())?;
    let store = KeyStore::open(options.etcd, keys)
        .await
        .map_err(StartError::Etcd)?;
    // Reading and writing have a connection each: neither waits for what the other one was told to.
    let (reads, heard) = answers::client(&clock).await.map_err(StartError::Kube)?;
    let (writes, told_writer) = answers::client(&clock).await.map_err(StartError::Kube)?;
    let listener = tokio::net::TcpListener::bind(options.listen)
        .await
        .map_err(|error| StartError::Listen(options.listen, error))?;

    // Whatever runs beside the cycle ends with it.
    let mut tasks = JoinSet::new();
    let observed = observe(
        &reads,
        &heard,
        &Scope::of(&options.watch_namespaces),
        &mut tasks,
    );
    let (see, seen) = channel::channel(Err(Fault::NotSent));
    tasks.spawn(store.clone().follow(see));
    let metrics = Arc::new(Metrics::new(&options.limits));
    let counted = Arc::clone(&metrics);
    let refused = move |refused: bool| {
        counted.files_refused.set(i64::from(refused));
    };
    tasks.spawn(store.clone().follow_files(refused));
    let health = serve::Health::new(Arc::clone(&observed), Arc::clone(&heard), seen.clone());
    tasks.spawn(serve::serve(listener, health.clone(), Arc::clone(&metrics)));

    let instance = identity::instance();
    let outage = Outage {
        client: writes.clone(),
        answers: Arc::clone(&told_writer),
        clock: Arc::clone(&clock),
        limits: options.limits,
        instance: instance.clone(),
        keys: store.keys().clone(),
        observed: Arc::clone(&observed),
        seen: seen.clone(),
    };
    let (settled, settling) = channel::channel(None);
    let (rolls, roll) = channel::channel(None);
    let release = options.release.clone();
    let overview = Overview::beside(&outage, release, store.clone(), settling, roll);
    tasks.spawn(outage.answer());
    tasks.spawn(overview.keep());
    tasks.spawn(outage::tell(seen.clone()));

    let (stop, stopping) = channel::channel(false);
    let operator = Operator {
        store,
        reads,
        heard,
        writes,
        told_writer,
        clock,
        limits: options.limits,
        on_no_space: options.on_no_space,
        instance,
        observed,
        seen,
        named: AtomicBool::new(false),
        metrics,
        health,
        settled,
        rolls,
        stopping,
    };
    let mut leading = std::pin::pin!(operator.lead_for_ever(&options.release));
    tokio::select! {
        () = &mut leading => {}
        () = shutdown => {
            info!("Stops");
            stop.send_replace(true);
            leading.await;
        }
    }
    Ok(())
}
