//! Reading the keys, watching them, and the transactions on them. The only file in the crate that writes them.

use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetResponse, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
    WatchOptions,
};
use tokio::sync::watch as channel;
use tracing::{info, warn};

use super::fence::{Adoption, Claim, Fence, Guard};
use super::{KeyState, Owner, Stored};
use crate::document::LeaseReading;
use crate::etcd::{self, ConnectOptions, Connection, Fault, Keys, Link, repeat, within};

/// The way to etcd, the keys in it, and the deadline of each call. Clones share the connection.
#[derive(Clone)]
pub struct KeyStore {
    link: Link,
    keys: Keys,
    deadline: Duration,
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStore")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What a write of the document says.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// The document, on the lease of its publication.
    Put {
        /// The bytes.
        value: Vec<u8>,
        /// The publication's lease.
        lease: i64,
    },
    /// Nothing to say.
    Delete,
}

/// Sizes only: the document holds selector values.
impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { value, lease } => write!(f, "Put({} bytes, lease {lease:x})", value.len()),
            Self::Delete => f.write_str("Delete"),
        }
    }
}

/// What became of a transaction that etcd answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was carried out, at this revision.
    Done {
        /// The store's revision, which is the written key's `mod_revision`.
        revision: i64,
    },
    /// A compare failed, and nothing was written. What stands there instead:
    Fenced {
        /// Whether our leader key is still there.
        leading: bool,
        /// The keys as of the transaction.
        state: KeyState,
    },
}

impl KeyStore {
    /// A store with what the files of `options` hold now. Nothing is sent yet: whether anybody listens shows at the first call.
    ///
    /// # Errors
    /// [`Fault::Options`] where the options cannot be used; the log says why, and so does [`ConnectOptions::check`].
    pub async fn open(options: ConnectOptions, keys: Keys) -> Result<Self, Fault> {
        let deadline = options.timings.unary_timeout;
        Ok(Self {
            link: Link::open(options).await?,
            keys,
            deadline,
        })
    }

    /// The connection in use.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How long a call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Reads the three keys as of one revision, linearizably.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn read(&self) -> Result<KeyState, Fault> {
        let options = self.link.options();
        let read = || self.transact(Txn::new().and_then(self.gets()));
        key_state(&repeat(&options, read).await?, 0)
    }

    /// As [`etcd::grant`].
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn grant(&self, id: i64, ttl_secs: i64) -> Result<i64, Fault> {
        let deadline = self.deadline;
        self.link
            .call(|client| async move { etcd::grant(&client, deadline, id, ttl_secs).await })
            .await
    }

    /// As [`etcd::revoke`].
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn revoke(&self, id: i64) -> Result<(), Fault> {
        let deadline = self.deadline;
        self.link
            .call(|client| async move { etcd::revoke(&client, deadline, id).await })
            .await
    }

    /// As [`etcd::lease_reading`].
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn lease_reading(&self, id: i64) -> Result<LeaseReading, Fault> {
        let deadline = self.deadline;
        self.link
            .call(|client| async move { etcd::lease_reading(&client, deadline, id).await })
            .await
    }

    /// **The** write of the document: one transaction behind the fence.
    ///
    /// # Errors
    /// [`Fault`]. Unless it [is certain](Fault::is_certain) the write may have been carried out, or may be later on.
    pub async fn write(&self, fence: &Fence, write: &Write) -> Result<Answer, Fault> {
        let document = self.keys.document();
        let operation = match write {
            Write::Put { value, lease } => {
                let options = PutOptions::new().with_lease(*lease);
                TxnOp::put(document, value.clone(), Some(options))
            }
            Write::Delete => TxnOp::delete(document, None),
        };
        let compares: Vec<Compare> = fence.guards(&self.keys).into_iter().map(compare).collect();
        self.guarded(&fence.leader_key, compares, operation).await
    }

    /// Puts our name on the key, where nothing stands against the [`Claim`].
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn claim(&self, claim: &Claim, owner: &Owner) -> Result<Answer, Fault> {
        let compares = claim.guards(&self.keys).into_iter().map(compare).collect();
        let operation = TxnOp::put(self.keys.owner(), owner.to_bytes(), None);
        self.guarded(&claim.leader_key, compares, operation).await
    }

    /// Puts our name on a key that says something foreign, or that another release owns: only while both are as the person saw them.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn adopt(&self, adoption: &Adoption, owner: &Owner) -> Result<Answer, Fault> {
        let guards = adoption.guards(&self.keys);
        let compares = guards.into_iter().map(compare).collect();
        let operation = TxnOp::put(self.keys.owner(), owner.to_bytes(), None);
        // Whoever adopts does not lead. A leader's key begins with this one and goes on; so nothing stands here, and the
        // operator's role may ask for it.
        let nobody = format!("{}/", self.keys.election());
        self.guarded(nobody.as_bytes(), compares, operation).await
    }

    /// Announces over how many milliseconds proxies spread their records, where we still lead. Says whether we did.
    ///
    /// # Errors
    /// [`Fault`]. Whether it was carried out does not matter: the next announcement says the same.
    pub async fn announce_window(&self, leads: &Guard, window_ms: u64) -> Result<bool, Fault> {
        let put = TxnOp::put(self.keys.window(), window_ms.to_string(), None);
        let leads = compare(leads.clone());
        let txn = Txn::new().when([leads]).and_then([put]);
        Ok(self.transact(txn).await?.succeeded())
    }

    /// Follows the keys for ever: reads them, watches them, and reads them again at every event and every 45 s (± a third), whatever the watch says. A
    /// watch only wakes, so nothing that it loses or repeats can mislead anybody.
    pub async fn follow(self, seen: channel::Sender<Result<KeyState, Fault>>) {
        let mut failures = 0;
        loop {
            let connection = self.link.current();
            let followed = self.follow_once(&connection, &seen, &mut failures).await;
            let Err(fault) = followed else { continue };
            self.link.blame(&connection, fault);
            if seen.send_replace(Err(fault)) != Err(fault) {
                warn!(reason = fault.slug(), "Lost sight of the keys");
            }
            tokio::time::sleep(back_off(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Follows the files that the connection is made of, for ever. `refused` hears of each look whether they hold something new that cannot
    /// be used.
    pub async fn follow_files(self, refused: impl Fn(bool) + Send + Sync) {
        let key = self.keys.document().to_owned();
        self.link.follow_files(key, refused).await;
    }

    async fn follow_once(
        &self,
        connection: &Connection,
        seen: &channel::Sender<Result<KeyState, Fault>>,
        failures: &mut u32,
    ) -> Result<(), Fault> {
        let show = |state: KeyState| {
            seen.send_if_modified(|shown| {
                let different = shown.as_ref() != Ok(&state);
                *shown = Ok(state);
                different
            });
        };
        let state = self.read().await?;
        let from = state.revision;
        if seen.borrow().is_err() {
            info!(revision = from, "Sees the keys");
        }
        show(state);
        *failures = 0;

        let options = || Some(WatchOptions::new().with_start_revision(from));
        let mut watches = connection.client().await?.watch_client();
        let watch = watches.watch(self.keys.document(), options());
        let mut events = within(self.deadline, watch).await?;
        for key in [self.keys.owner(), self.keys.paused()] {
            within(self.deadline, events.watch(key, options())).await?;
        }
        let again = tokio::time::sleep(Duration::from_secs(30).mul_f64(1.0 + fastrand::f64()));
        tokio::pin!(again);
        let mut heartbeat = tokio::time::interval(Duration::from_secs(10));
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            tokio::select! {
                () = &mut again => return Ok(()),
                () = self.link.exchanged(connection) => return Ok(()),
                _ = heartbeat.tick() => {
                    if unanswered >= 2 {
                        return Err(Fault::Timeout);
                    }
                    unanswered += 1;
                    within(self.deadline, events.request_progress()).await?;
                }
                message = events.message() => {
                    unanswered = 0;
                    let message = message.map_err(|error| Fault::of(&error))?;
                    let Some(message) = message else { return Err(Fault::Unavailable) };
                    // Looked at before `created`: a refused watch says both.
                    if message.canceled() {
                        return Err(if message.compact_revision() > 0 {
                            Fault::Compacted
                        } else {
                            Fault::PermissionDenied
                        });
                    }
                    if !message.events().is_empty() {
                        show(self.read().await?);
                    }
                }
            }
        }
    }

    async fn guarded(
        &self,
        leader_key: &[u8],
        compares: Vec<Compare>,
        operation: TxnOp,
    ) -> Result<Answer, Fault> {
        let mut instead = vec![TxnOp::get(leader_key, None)];
        instead.extend(self.gets());
        let txn = Txn::new()
            .when(compares)
            .and_then([operation])
            .or_else(instead);
        let answer = self.transact(txn).await?;
        if answer.succeeded() {
            return Ok(Answer::Done {
                revision: revision(&answer)?,
            });
        }
        let leader = answer.op_responses().into_iter().next();
        let leading = matches!(leader, Some(TxnOpResponse::Get(get)) if !get.kvs().is_empty());
        Ok(Answer::Fenced {
            leading,
            state: key_state(&answer, 1)?,
        })
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that sends transactions; each is built above, behind its guards"
    )]
    async fn transact(&self, txn: Txn) -> Result<TxnResponse, Fault> {
        let deadline = self.deadline;
        self.link
            .call(|client| async move { within(deadline, client.kv_client().txn(txn)).await })
            .await
    }

    fn gets(&self) -> [TxnOp; 3] {
        [
            TxnOp::get(self.keys.document(), None),
            TxnOp::get(self.keys.owner(), None),
            TxnOp::get(self.keys.paused(), None),
        ]
    }
}

fn compare(guard: Guard) -> Compare {
    match guard {
        Guard::CreateRevision { key, revision } => {
            Compare::create_revision(key, CompareOp::Equal, revision)
        }
        Guard::ModRevision { key, revision } => {
            Compare::mod_revision(key, CompareOp::Equal, revision)
        }
    }
}

fn revision(answer: &TxnResponse) -> Result<i64, Fault> {
    Ok(answer.header().ok_or(Fault::Other)?.revision())
}

/// Reads document, owner and pause out of the answers from position `first` on.
fn key_state(answer: &TxnResponse, first: usize) -> Result<KeyState, Fault> {
    let mut gets = answer
        .op_responses()
        .into_iter()
        .skip(first)
        .map(|response| match response {
            TxnOpResponse::Get(get) => Ok(get),
            _ => Err(Fault::Other),
        });
    let mut next = || gets.next().unwrap_or(Err(Fault::Other));
    let (document, owner, paused) = (next()?, next()?, next()?);
    Ok(KeyState {
        revision: revision(answer)?,
        document: stored(&document),
        owner: stored(&owner),
        paused: !paused.kvs().is_empty(),
    })
}

fn stored(get: &GetResponse) -> Option<Stored> {
    get.kvs()
        .first()
        .map(|kv: &KeyValue| Stored::new(kv.mod_revision(), kv.lease(), kv.value().to_vec()))
}

/// Full jitter, 100 ms to 5 s: ten thousand clients come back together otherwise.
pub(super) fn back_off(failures: u32) -> Duration {
    let ceiling = Duration::from_millis(100 << failures.min(6)).min(Duration::from_secs(5));
    ceiling.mul_f64(0.1 + 0.9 * fastrand::f64())
}
