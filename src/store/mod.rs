//! The reading end: what a proxy embeds.
//!
//! [`EtcdDirectiveStore`] keeps the document at one etcd key in memory and answers from there. It reads the key,
//! watches it from that very revision, reads it again every 45 s or so whatever the watch says, and keeps the last
//! good set through any outage, each directive to its own end.
//!
//! Inside, one direction: `driver` does what `protocol` asks for, by the calls of `wire`; `holding` keeps the last
//! good document and its age; `decision` finds the few directives that concern a request. `protocol`, `holding` and
//! `decision` are pure. Beside them `fleet` keeps the record of a proxy that was given a name, and nothing depends on it.

mod back_off;
mod builder;
mod copies;
mod decision;
mod driver;
mod fleet;
mod holding;
mod protocol;
mod shared;
mod status;
mod wire;

use std::fmt;
use std::sync::Arc;

use osproxy_core::{Clock, Instant, RequestId};
use osproxy_observe::{DirectiveSet, DirectiveStore, RequestAttrs};
use tokio::sync::watch;

use crate::document::{Moment, Refusal};
use crate::etcd::{BadKey, BadOptions, ConnectOptions, Fault};
use fleet::Retirement;
use holding::Holding;
use protocol::Value;
use shared::Shared;

pub use builder::StoreBuilder;
pub use decision::Decision;
pub use status::{Applied, Counters, Refused, Reporting, ReportingState, Status};

/// The diagnostics directives of a fleet, read from one etcd key and served from memory.
///
/// Clones share everything. Dropping the last one stops what it started: the task ends, the streams close.
#[derive(Clone)]
pub struct EtcdDirectiveStore {
    inner: Arc<Inner>,
}

/// What all clones of a store hold together. The task holds [`Shared`] alone, so that it does not keep itself alive.
struct Inner {
    shared: Arc<Shared>,
    task: Option<tokio::task::AbortHandle>,
    /// Where a name was given. The task that keeps the record ends with the one above, and needs no handle for that.
    retirement: Option<Retirement>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Why a store could not be started. Once it runs, it keeps the last good set and tries again by itself.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EtcdError {
    /// The key could not be read.
    #[error("cannot read the directives key from etcd: {}; {}", .0, advice(*.0))]
    Connect(Fault),
    /// The instance name cannot be used.
    #[error("the instance name is not 1 to 128 letters, digits, `-`, `_` and `.`")]
    Instance,
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// There is no tokio runtime to run in.
    #[error("the directive store needs a tokio runtime; call `connect` from within one")]
    NoRuntime,
    /// The endpoints, the certificates or the login cannot be used.
    #[error(transparent)]
    Options(#[from] BadOptions),
}

impl EtcdDirectiveStore {
    /// Reads the key and starts to watch it.
    ///
    /// A missing key is an empty set. So is a malformed value, and [`EtcdDirectiveStore::status`] says why it was
    /// refused. Runs on the current tokio runtime, which needs its I/O and time drivers.
    ///
    /// # Errors
    /// [`EtcdError`] where the key cannot be used, or cannot be read: within 3 s where etcd refuses, within 10 s
    /// where it is mute.
    pub async fn connect(
        endpoints: &[String],
        key: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EtcdError> {
        Self::builder(endpoints.iter().cloned(), key, clock)
            .build()
            .await
    }

    /// Sets up a store with TLS, a login, other time bounds, a name, or a start that does not wait for etcd.
    pub fn builder(
        endpoints: impl IntoIterator<Item = impl Into<String>>,
        key: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> StoreBuilder {
        StoreBuilder::new(ConnectOptions::new(endpoints), key.into(), clock)
    }

    /// A store of this one document, without an etcd and without a task: for tests of what embeds a store. It is as
    /// strict as a real one; the directives live from now on, each for its `ttl_secs`.
    ///
    /// # Errors
    /// The reason for which a real store would refuse the document.
    pub fn from_document(bytes: &[u8], clock: Arc<dyn Clock>) -> Result<Self, Refusal> {
        let shared = Shared::new(clock, None);
        let now = Moment::now(shared.clock());
        let value = Value {
            lease: 0,
            mod_revision: 1,
            bytes: bytes.into(),
        };
        let mut holding = Holding::default();
        holding.take(&value, None, now)?;
        shared.publish(holding.snapshot(now));
        shared.record(|facts| facts.hold(&holding));
        Ok(Self::new(Arc::new(shared), None, None))
    }

    fn new(
        shared: Arc<Shared>,
        task: Option<tokio::task::AbortHandle>,
        retirement: Option<Retirement>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared,
                task,
                retirement,
            }),
        }
    }

    /// The three answers for one request: level, ring buffer, capture. `now` is the clock's that the store was
    /// given; a directive is off from its end on, also before anything else has noticed.
    ///
    /// Equal to the three questions of the set that [`DirectiveStore::load`] returns, and made for the request path:
    /// neither locks nor allocates, and costs about the same for one directive and for ten thousand.
    #[must_use]
    pub fn decide(&self, attrs: &RequestAttrs<'_>, now: Instant, request: &RequestId) -> Decision {
        self.inner
            .shared
            .snapshot()
            .index
            .decide(attrs, now, request)
    }

    /// How fresh the store is. Takes a lock that is never held for long; not for every request.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.status()
    }

    /// Takes back what the store says of itself under its instance name, for the end of a process: without it the proxy counts among the
    /// fleet until its record lapses, within a minute. Takes three seconds at most, and ends nothing else.
    ///
    /// Dropping the last clone does the same beside it, where the runtime lives on for as long.
    pub async fn retire(&self) {
        if let Some(retirement) = &self.inner.retirement {
            retirement.leave().await;
        }
    }

    /// Tells when the set has changed: a document was applied, the key went away, a directive ended.
    #[must_use]
    pub fn changed(&self) -> Changes {
        Changes {
            versions: self.inner.shared.subscribe(),
        }
    }
}

impl DirectiveStore for EtcdDirectiveStore {
    /// The current set, without what has ended. Lock-free: one more reference to it.
    fn load(&self) -> Arc<DirectiveSet> {
        self.inner.shared.snapshot().copies.share()
    }
}

/// Value-free: says how many directives there are, not which.
impl fmt::Debug for EtcdDirectiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdDirectiveStore")
            .field(
                "directives",
                &self.inner.shared.snapshot().copies.set().len(),
            )
            .finish_non_exhaustive()
    }
}

/// Waits for changes of a store's set. One that is slow skips what it missed and holds nobody up.
#[derive(Clone, Debug)]
pub struct Changes {
    versions: watch::Receiver<u64>,
}

impl Changes {
    /// Waits for the next change since the last call, or since this was made. False when the last clone of the store is gone.
    pub async fn next(&mut self) -> bool {
        self.versions.changed().await.is_ok()
    }
}

/// What to do about it.
fn advice(fault: Fault) -> &'static str {
    match fault {
        Fault::Authentication => "check the user and the password",
        Fault::Tls => "check the CA file, the server name and the client certificate",
        Fault::Options => "check the endpoints, and that certificate and key belong together",
        Fault::PermissionDenied => "the user needs the right to read this one key",
        Fault::NotSent | Fault::Timeout | Fault::Unavailable => {
            "check the endpoints (http://host:2379 or https://…) and whether etcd runs"
        }
        _ => "check the endpoints, and etcd's own log",
    }
}
