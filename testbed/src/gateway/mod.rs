//! Somebody in the middle who understands Kubernetes' API: between a client and a real API server it
//! passes on every request with the client's own token, and does to requests and answers what a test says.
//!
//! ```no_run
//! # async fn story(plane: &testbed::ControlPlane) -> anyhow::Result<()> {
//! use std::time::Duration;
//! use testbed::gateway::{Asked, Gateway};
//!
//! let gateway = Gateway::start(plane).await?;
//! // The next watch is refused, as after a compaction.
//! let gone = gateway.when(Asked::is_watch).refuse(410, "Expired").arm();
//! // …a client of `gateway.endpoint()` does something…
//! gone.hit(1, Duration::from_secs(10)).await?;
//! # Ok(()) }
//! ```
//!
//! It speaks plain HTTP/1.1 to its clients and TLS to the server, whose certificate it checks. Who the
//! client is, only the server judges: the gateway adds no right of its own. Lines of a watch are events,
//! which [`Gateway::events`] sees on every open watch, also on those that were open before.

mod asked;
mod exchange;
mod rules;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::kube::{Client, Config};
use anyhow::{Context, Result};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::kube::ControlPlane;
use exchange::Push;
use rules::Rules;

pub use asked::Asked;
pub use rules::{Armed, Rule};

/// A running gateway before one API server. Dropping it closes every connection.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl Gateway {
    /// Listens on a free port and passes on to the API server of `plane`, over its restarts too.
    ///
    /// # Errors
    /// When nothing can listen, or the server's certificate authority cannot be read.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let upstream = upstream(plane)?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let listener = tokio::spawn(accept(listener, upstream, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            listener,
        })
    }

    /// Where clients connect: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins a rule about the requests that `about` names.
    pub fn when(&self, about: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Rule {
        Rule::new(Arc::clone(&self.shared.rules), Box::new(about))
    }

    /// Puts a rule about events into force: each line of each watch becomes any number of lines. None swallows it.
    pub fn events(&self, rewrite: impl FnMut(Value) -> Vec<Value> + Send + 'static) -> Armed {
        self.shared.rules.arm_events(Box::new(rewrite))
    }

    /// Takes every rule out of force; what they hold back is passed on. Watches that went silent stay so.
    pub fn heal(&self) {
        self.shared.rules.clear();
    }

    /// Says an event in the server's name on every open watch, and returns on how many.
    #[allow(
        clippy::must_use_candidate,
        reason = "it is said whether or not somebody counts the watches"
    )]
    pub fn say(&self, event: &Value) -> usize {
        let line = Bytes::from(format!("{event}\n"));
        self.shared.push(|| Push::Line(line.clone()))
    }

    /// Ends every open watch in good form, as the server does at its time-out, and returns how many.
    #[allow(clippy::must_use_candidate, reason = "as for `say`")]
    pub fn end_watches(&self) -> usize {
        self.shared.push(|| Push::End)
    }

    /// Breaks the connection of every open watch, and returns how many.
    #[allow(clippy::must_use_candidate, reason = "as for `say`")]
    pub fn cut_watches(&self) -> usize {
        self.shared.push(|| Push::Cut)
    }

    /// From now on every open watch says nothing and does not end, and returns how many.
    #[allow(clippy::must_use_candidate, reason = "as for `say`")]
    pub fn hush_watches(&self) -> usize {
        self.shared.push(|| Push::Hush)
    }

    /// Every request so far, in the order of their arrival.
    #[must_use]
    pub fn journal(&self) -> Vec<Asked> {
        lock(&self.shared.journal).clone()
    }

    /// The requests so far that `about` names.
    #[must_use]
    pub fn asked(&self, about: impl Fn(&Asked) -> bool) -> Vec<Asked> {
        let journal = lock(&self.shared.journal);
        journal
            .iter()
            .filter(|asked| about(asked))
            .cloned()
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    rules: Arc<Rules>,
    journal: Mutex<Vec<Asked>>,
    watches: Mutex<Vec<mpsc::UnboundedSender<Push>>>,
}

impl Shared {
    /// Writes a request into the journal, and gives it its number.
    fn enter(&self, mut asked: Asked) -> Asked {
        let mut journal = lock(&self.journal);
        asked.number = journal.len();
        journal.push(asked.clone());
        asked
    }

    fn answered(&self, number: usize, status: u16) {
        if let Some(asked) = lock(&self.journal).get_mut(number) {
            asked.status = Some(status);
        }
    }

    fn register(&self) -> mpsc::UnboundedReceiver<Push> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.watches).push(sender);
        receiver
    }

    fn push(&self, push: impl Fn() -> Push) -> usize {
        let mut watches = lock(&self.watches);
        // Of those that nobody reads any more the sending fails.
        watches.retain(|watch| watch.send(push()).is_ok());
        watches.len()
    }
}

/// A client of the real server without any credentials: each request brings those of its sender.
fn upstream(plane: &ControlPlane) -> Result<Client> {
    let mut config = Config::new(plane.server().parse()?);
    config.root_cert_file = Some(plane.authority().to_owned());
    // What the server says is the client's to deal with.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn accept(listener: TcpListener, upstream: Client, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Small writes, which a client waits for.
        let _ = stream.set_nodelay(true);
        let (upstream, shared) = (upstream.clone(), Arc::clone(&shared));
        let service = service_fn(move |request| {
            exchange::serve(Arc::clone(&shared), upstream.clone(), request)
        });
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that went, or a connection that a rule broke: nobody is left to tell.
            let _ = connection.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
