//! Somebody in the middle who understands etcd's protocol: between a client and a real etcd it
//! passes on every call, and does to the messages what a test says.
//!
//! ```no_run
//! # async fn story(etcd: &testbed::Etcd) -> anyhow::Result<()> {
//! use std::time::Duration;
//! use testbed::interpose::{Interposer, method};
//!
//! let between = Interposer::start(&etcd.member(0).endpoint()).await?;
//! // etcd commits the next transaction, and nobody is told.
//! let lost = between.answer(method::TXN).lose().arm();
//! // …a client of `between.endpoint()` does something…
//! lost.hit(1, Duration::from_secs(10)).await?;
//! # Ok(()) }
//! ```
//!
//! A *request* is a message from the client, an *answer* one from etcd. A unary call has one of
//! each; a watch, a keep-alive and an observed election have many, and rules count each of them. A
//! call that fails has an empty answer: its status.
//!
//! What it is not: a network (that is [`crate::fault`], which can stand before or behind it). Pings,
//! windows and connections are its own on either side; a client's connection ends when etcd's ends.
//! It speaks plain HTTP/2 and no TLS.

mod call;
mod grpc;
mod rules;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use http::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use call::{Call, Client, Push};
use grpc::{Leash, Outgoing};
use rules::{Fate, Rules, Side};

pub use rules::{Armed, Rule};

/// The messages of the protocol, for [`Rule::rewrite`] and [`Interposer::push`].
pub use etcd_client::proto;

/// Any method, for a rule that counts whatever a client says.
pub const ANY: &str = "";

/// The methods that matter here, as gRPC spells them; any other spelling is taken too.
pub mod method {
    #![allow(missing_docs, reason = "their names are etcd's own")]
    pub const RANGE: &str = "/etcdserverpb.KV/Range";
    pub const PUT: &str = "/etcdserverpb.KV/Put";
    pub const DELETE_RANGE: &str = "/etcdserverpb.KV/DeleteRange";
    pub const TXN: &str = "/etcdserverpb.KV/Txn";
    pub const WATCH: &str = "/etcdserverpb.Watch/Watch";
    pub const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
    pub const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
    pub const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
    pub const LEASE_TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";
    pub const LEASE_LEASES: &str = "/etcdserverpb.Lease/LeaseLeases";
    pub const CAMPAIGN: &str = "/v3electionpb.Election/Campaign";
    pub const LEADER: &str = "/v3electionpb.Election/Leader";
    pub const OBSERVE: &str = "/v3electionpb.Election/Observe";
    pub const RESIGN: &str = "/v3electionpb.Election/Resign";
    pub const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
    pub const STATUS: &str = "/etcdserverpb.Maintenance/Status";
}

/// The status codes that etcd and its clients make something of.
pub mod code {
    #![allow(missing_docs, reason = "their names are gRPC's own")]
    pub const UNKNOWN: i32 = 2;
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const NOT_FOUND: i32 = 5;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const INTERNAL: i32 = 13;
    pub const UNAVAILABLE: i32 = 14;
    pub const UNAUTHENTICATED: i32 = 16;
}

/// A running interposer before one member. Dropping it closes every connection; calls that were
/// held back are forgotten.
pub struct Interposer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl Interposer {
    /// Listens on a free port and passes on to `target`, as in `http://127.0.0.1:2379`.
    ///
    /// # Errors
    /// When nothing can listen.
    pub async fn start(target: &str) -> Result<Self> {
        let target = target.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let listener = tokio::spawn(accept(listener, target, Arc::clone(&shared)));
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

    /// Begins a rule about messages from clients.
    pub fn request(&self, method: &'static str) -> Rule {
        Rule::new(Arc::clone(&self.shared.rules), Side::Request, method)
    }

    /// Begins a rule about messages from etcd.
    pub fn answer(&self, method: &'static str) -> Rule {
        Rule::new(Arc::clone(&self.shared.rules), Side::Answer, method)
    }

    /// Takes every rule out of force; what they hold back is passed on.
    pub fn heal(&self) {
        self.shared.rules.clear();
    }

    /// Says something in etcd's name on every open call of a method, and returns on how many.
    pub fn push(&self, method: &str, message: &impl Message) -> usize {
        let message = Bytes::from(message.encode_to_vec());
        self.shared.push(method, || Push::Message(message.clone()))
    }

    /// Ends every open call of a method with a status, and returns how many.
    #[allow(
        clippy::must_use_candidate,
        reason = "they end whether or not somebody counts them"
    )]
    pub fn end(&self, method: &str, code: i32, message: &str) -> usize {
        self.shared
            .push(method, || Push::End(code, message.to_owned()))
    }

    /// How many messages of a method clients have sent.
    #[must_use]
    pub fn requests(&self, method: &str) -> usize {
        lock(&self.shared.journal)
            .iter()
            .filter(|seen| *seen == method)
            .count()
    }

    /// How many answers etcd has given, delivered or not.
    #[must_use]
    pub fn answers(&self, method: &str) -> usize {
        lock(&self.shared.answers)
            .get(method)
            .copied()
            .unwrap_or_default()
    }

    /// The method of each message that clients have sent, in their order: the points at which a
    /// client can be stopped.
    #[must_use]
    pub fn journal(&self) -> Vec<String> {
        lock(&self.shared.journal).clone()
    }
}

impl fmt::Debug for Interposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interposer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for Interposer {
    fn drop(&mut self) {
        self.listener.abort();
        self.heal();
    }
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    rules: Arc<Rules>,
    journal: Mutex<Vec<String>>,
    answers: Mutex<BTreeMap<String, usize>>,
    open: Mutex<Vec<(String, mpsc::UnboundedSender<Push>)>>,
}

impl Shared {
    fn count(&self, side: Side, method: &str) {
        match side {
            Side::Request => lock(&self.journal).push(method.to_owned()),
            Side::Answer => *lock(&self.answers).entry(method.to_owned()).or_default() += 1,
        }
    }

    /// A call that has begun; it ends when its receiver is dropped.
    fn register(&self, method: &str) -> mpsc::UnboundedReceiver<Push> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let mut open = lock(&self.open);
        open.retain(|(_, sender)| !sender.is_closed());
        open.push((method.to_owned(), sender));
        pushes
    }

    fn push(&self, method: &str, push: impl Fn() -> Push) -> usize {
        let open = lock(&self.open);
        let of_method = open.iter().filter(|(known, _)| known == method);
        of_method
            .filter(|(_, sender)| sender.send(push()).is_ok())
            .count()
    }

    /// What the rules make of a message.
    async fn judge(
        &self,
        side: Side,
        method: &str,
        message: Bytes,
        loose: &AtomicBool,
    ) -> Result<Fate> {
        let cut_loose = || loose.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut messages = vec![message.clone()];
        for rule in self.rules.matching(side, method, &message) {
            let mut left = Vec::new();
            for message in messages {
                match rule.act(message, cut_loose).await? {
                    Fate::Pass(messages) => left.extend(messages),
                    other => return Ok(other),
                }
            }
            messages = left;
        }
        Ok(Fate::Pass(messages))
    }
}

async fn accept(listener: TcpListener, target: String, shared: Arc<Shared>) {
    // Ended with this task: a dropped interposer is a closed connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, target.clone(), Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection of a client, with one of its own to etcd; the first that ends takes the other along.
async fn serve(client: TcpStream, target: String, shared: Arc<Shared>) -> Result<()> {
    let etcd = TcpStream::connect(&target).await?;
    client.set_nodelay(true)?;
    etcd.set_nodelay(true)?;
    let (upstream, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(etcd)).await?;
    let (ended, etcd_has_gone) = oneshot::channel();
    // On its own: a call that was cut loose still needs it when the client has gone.
    tokio::spawn(async move {
        // Why it ended makes no difference to the client.
        let _ = driver.await;
        let _ = ended.send(());
    });
    let service = service_fn(move |request| {
        begin(
            request,
            upstream.clone(),
            target.clone(),
            Arc::clone(&shared),
        )
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        // As etcd: no limit that a client could notice.
        .max_concurrent_streams(u32::MAX)
        .serve_connection(TokioIo::new(client), service);
    tokio::select! {
        served = serving => served.map_err(Into::into),
        _ = etcd_has_gone => Ok(()),
    }
}

/// Starts a call as a task of its own and waits for the head of its answer.
async fn begin(
    request: Request<Incoming>,
    upstream: SendRequest<Outgoing>,
    authority: String,
    shared: Arc<Shared>,
) -> Result<http::Response<Outgoing>, Infallible> {
    let loose = Arc::new(AtomicBool::new(false));
    let (head, answer) = oneshot::channel();
    let (start, started) = oneshot::channel();
    let task_loose = Arc::clone(&loose);
    let task = tokio::spawn(async move {
        let Ok((leash, head)) = started.await else {
            return;
        };
        let (frames, body) = Outgoing::new(Some(leash));
        let client = Client {
            head: Some((head, body)),
            frames,
        };
        let call = Call {
            shared,
            upstream,
            authority,
            loose: task_loose,
            client,
        };
        call.run(request).await;
    });
    let leash = || Leash::new(task.abort_handle(), Arc::clone(&loose));
    let until_the_head = leash();
    let _ = start.send((leash(), head));
    match answer.await {
        Ok(response) => {
            until_the_head.let_go();
            Ok(response)
        }
        // The connection to etcd has failed, and this one is about to end.
        Err(_) => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
