//! Leadership: etcd's own election, and the proof that it still holds.
//!
//! Leadership decides who *tries* to write. What keeps two from writing is the fence, which does not trust anything in this file.

use std::sync::Arc;
use std::time::Duration;

use osproxy_core::{Clock, Instant};
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::fence::Guard;
use super::keys::{KeyStore, back_off};
use crate::etcd::{Fault, within};

/// How long the election lease lives without being refreshed, in seconds.
const LEASE_SECS: i64 = 15;
/// How often it is refreshed.
const REFRESH: Duration = Duration::from_secs(5);
/// Without an answer for two thirds of the lease the leader gives up: it must not wait for the last moment to learn that it may have lost.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long one refresh waits for its answer: a member that hangs leaves time to ask another one.
const ONE_REFRESH: Duration = Duration::from_secs(2);
/// After so many refreshes etcd is asked for the lease in another way as well. A refresh may be confirmed although its lease was
/// revoked meanwhile (etcd-io/etcd#20590): then nobody would tell a leader that its leader key is gone.
const DOUBT_EVERY: u32 = 4;

/// An election lease that is being kept alive.
#[derive(Debug)]
pub struct Session {
    lease: i64,
    proven: channel::Receiver<bool>,
    keeper: JoinHandle<()>,
}

/// A won election: our leader key, and the session that it hangs on.
#[derive(Debug)]
pub struct Term {
    /// The key that the campaign returned.
    pub leader_key: Vec<u8>,
    /// The revision that created it.
    pub leader_revision: i64,
    session: Session,
}

impl Session {
    /// Grants an election lease and starts to refresh it.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn open(store: &KeyStore, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let granted_at = clock.now();
        let deadline = store.deadline();
        let granted = store.link().call(|client| async move {
            within(deadline, client.lease_client().grant(LEASE_SECS, None)).await
        });
        let lease = granted.await?.id();
        let (proof, proven) = channel::channel(true);
        let keeper = tokio::runtime::Handle::current().spawn(keep(
            store.clone(),
            lease,
            granted_at,
            clock,
            proof,
        ));
        Ok(Self {
            lease,
            proven,
            keeper,
        })
    }

    /// Waits for its turn in the election. Others may lead for as long as they like. Where the connection is exchanged meanwhile it ends: who queues again, under
    /// another lease, leaves no candidate key behind that nobody waits for.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::LeaseNotFound`] where the session ended first. The session has to be [closed](Session::close) then.
    pub async fn campaign(
        &self,
        store: &KeyStore,
        instance: &str,
    ) -> Result<(Vec<u8>, i64), Fault> {
        // The call blocks on the server, so it has no deadline; the session's proof bounds it instead.
        let connection = store.link().current();
        let mut election = connection.client().await?.election_client();
        let campaign = election.campaign(store.keys().election(), instance, self.lease);
        let won = tokio::select! {
            won = campaign => won.map_err(|error| Fault::of(&error)).inspect_err(|fault| {
                store.link().blame(&connection, *fault);
            })?,
            () = self.lost() => return Err(Fault::LeaseNotFound),
            () = store.link().exchanged(&connection) => return Err(Fault::Unavailable),
        };
        let leader = won.leader().ok_or(Fault::Other)?;
        Ok((leader.key().to_vec(), leader.rev()))
    }

    /// Waits until the lease is no longer proven to live.
    pub async fn lost(&self) {
        let mut proven = self.proven.clone();
        // An error means that the keeper is gone, and the proof with it.
        let _ = proven.wait_for(|proven| !proven).await;
    }

    /// Ends the session for certain: returns once the lease is revoked or seen gone, and with it every transaction dead that names
    /// its leader key. Tries for ever, with back-off; an election that was lost is not the same as one that is over.
    pub async fn close(self, store: &KeyStore) {
        self.keeper.abort();
        let mut failures = 0;
        loop {
            let Err(fault) = store.revoke(self.lease).await else {
                return;
            };
            if let Ok(reading) = store.lease_reading(self.lease).await
                && reading.remaining_secs < 0
            {
                return;
            }
            if failures == 0 {
                warn!(reason = fault.slug(), "Cannot end the election lease yet");
            }
            tokio::time::sleep(back_off(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Wins with this session.
    #[must_use]
    pub fn into_term(self, (leader_key, leader_revision): (Vec<u8>, i64)) -> Term {
        info!(lease = self.lease, revision = leader_revision, "Leads");
        Term {
            leader_key,
            leader_revision,
            session: self,
        }
    }
}

impl Term {
    /// Waits until the lease is no longer proven to live.
    pub async fn lost(&self) {
        self.session.lost().await;
    }

    /// What holds in etcd for as long as this term does.
    #[must_use]
    pub fn leads(&self) -> Guard {
        Guard::CreateRevision {
            key: self.leader_key.clone(),
            revision: self.leader_revision,
        }
    }

    /// Whether the lease is proven to live, as far as is known.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        *self.session.proven.borrow()
    }

    /// Ends the term for certain, as [`Session::close`].
    pub async fn end(self, store: &KeyStore) {
        info!(lease = self.session.lease, "Ends its leadership");
        self.session.close(store).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Refreshes the lease. What was sent means nothing; an answer with time left is the proof, as of when its question was sent.
async fn keep(
    store: KeyStore,
    lease: i64,
    granted_at: Instant,
    clock: Arc<dyn Clock>,
    proof: channel::Sender<bool>,
) {
    let mut proven_at = granted_at;
    let mut refreshes: u32 = 0;
    loop {
        let since = clock.now().saturating_duration_since(proven_at);
        let Some(left) = GIVE_UP.checked_sub(since).filter(|left| !left.is_zero()) else {
            warn!(lease, "The election lease was not confirmed in time");
            proof.send_replace(false);
            return;
        };
        let asked_at = clock.now();
        let mut answer = refresh(&store, lease, left.min(ONE_REFRESH)).await;
        refreshes = refreshes.wrapping_add(1);
        if answer.is_ok() && refreshes.is_multiple_of(DOUBT_EVERY) {
            answer = exists(&store, lease).await;
        }
        match answer {
            Ok(()) => {
                proven_at = asked_at;
                let age = clock.now().saturating_duration_since(asked_at);
                tokio::time::sleep(REFRESH.saturating_sub(age)).await;
            }
            Err(Fault::LeaseNotFound) => {
                warn!(lease, "The election lease is gone");
                proof.send_replace(false);
                return;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// One question, one answer, on a stream of its own: a stream that went mute is not asked twice. `keep_alive` itself sends the
/// first question, waits for its answer, and fails where no time is left.
async fn refresh(store: &KeyStore, lease: i64, deadline: Duration) -> Result<(), Fault> {
    let refreshed = store.link().call(|client| async move {
        within(deadline, client.lease_client().keep_alive(lease)).await
    });
    refreshed.await.map(drop)
}

/// Whether the lease is there; where nobody answers, the refresh before stands.
async fn exists(store: &KeyStore, lease: i64) -> Result<(), Fault> {
    match store.lease_reading(lease).await {
        Ok(reading) if reading.remaining_secs < 0 => Err(Fault::LeaseNotFound),
        _ => Ok(()),
    }
}
