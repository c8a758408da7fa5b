//! Step three, **publish**: make the key say what the plan says.
//!
//! Every write is one transaction behind the [`fence`]; [`keys`] is the only file that sends it. An answer that never came ends the
//! leadership, because the lost transaction may still commit: it is dead once its leader key is gone.

pub mod decision;
mod election;
pub mod fence;
pub mod keys;
mod outcome;
pub mod owner;
pub mod pacing;
mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osproxy_core::Clock;
use tracing::{debug, info, warn};

use self::decision::{Decision, Draft, Standing, decide};
use self::fence::Claim;
use self::keys::{Answer, KeyStore, Write};
use self::owner::Owner;
use self::pacing::Pacing;
use crate::document::{DatedEntry, Moment, Publication};
use crate::etcd::Fault;

pub use election::{Session, Term};
pub use outcome::{Held, OnNoSpace, Outcome, Step, Tally, TermEnded};
pub use state::{KeyState, Stored};

/// Writes the document during one term of leadership.
pub struct Publisher<'t> {
    store: KeyStore,
    clock: Arc<dyn Clock>,
    owner: &'t Owner,
    term: &'t Term,
    on_no_space: OnNoSpace,
    state: KeyState,
    /// Whether the watch has shown a revision below the one that is known here.
    is_doubtful: bool,
    /// The document's revision as we left or found it: another one is somebody else's doing.
    ours: i64,
    /// Whether the owner [named us](Owner::is_named) when it last named anybody.
    named: &'t AtomicBool,
    pacing: Pacing,
    leases: VecDeque<i64>,
    tally: Tally,
    failures: u32,
}

impl std::fmt::Debug for Publisher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("state", &self.state)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl<'t> Publisher<'t> {
    /// Begins a term: reads before it writes. `named` outlives the term: whether the owner [named us](Owner::is_named) when it was last seen to
    /// name anybody.
    ///
    /// # Errors
    /// [`Fault`] where the keys cannot be read.
    pub async fn begin(
        store: KeyStore,
        clock: Arc<dyn Clock>,
        owner: &'t Owner,
        term: &'t Term,
        named: &'t AtomicBool,
        on_no_space: OnNoSpace,
    ) -> Result<Self, Fault> {
        let state = store.read().await?;
        Ok(Self {
            store,
            clock,
            owner,
            term,
            on_no_space,
            ours: state.document_revision(),
            named,
            state,
            is_doubtful: false,
            pacing: Pacing::default(),
            leases: VecDeque::new(),
            tally: Tally::default(),
            failures: 0,
        })
    }

    /// What has been done in this term.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The keys as this publisher knows them.
    #[must_use]
    pub fn state(&self) -> &KeyState {
        &self.state
    }

    /// Takes in what the watch has seen, where that is newer than what is known here. What is older makes the next
    /// [`publish`](Self::publish) look for itself.
    pub fn saw(&mut self, seen: &KeyState) {
        if seen.revision > self.state.revision {
            self.state = seen.clone();
        }
        self.is_doubtful = seen.revision < self.state.revision;
    }

    /// Makes the key say `entries`, if it does not.
    ///
    /// # Errors
    /// [`TermEnded`] where this process must stop leading.
    pub async fn publish(&mut self, entries: &[DatedEntry]) -> Result<Step, TermEnded> {
        if self.is_doubtful
            && let Err(fault) = self.look_again().await
        {
            return Ok(self.failed(fault));
        }
        self.remember_owner();
        let fence = match decide(self.standing(), entries) {
            Decision::Write(fence) => fence,
            Decision::Claim(claim) => return self.claim(&claim).await,
            Decision::End(ended) => return Err(ended),
            Decision::Held(reason) => return Ok(held(reason)),
            Decision::InSync => {
                self.ours = self.state.document_revision();
                return Ok(Step::Settled(self.in_sync()));
            }
        };
        let now = Moment::now(&*self.clock);
        if self.state.document_revision() != self.ours {
            self.ours = self.state.document_revision();
            self.tally.foreign_writes += 1;
            self.pacing.rival_wrote(now.mono);
            warn!(
                revision = self.state.revision,
                absent = self.state.document.is_none(),
                "The document was changed by somebody else"
            );
        }
        let wait = self.pacing.wait(now.mono);
        if !wait.is_zero() {
            return Ok(Step::Again(wait));
        }
        if !self.term.is_proven() {
            return Err(TermEnded::Deposed);
        }
        let write = match self.prepare(entries, now).await {
            Ok(write) => write,
            Err(Fault::NoSpace) if self.gives_all_up() => Write::Delete,
            // Nothing was written, so nothing is ambiguous: a lease without a key lapses by itself.
            Err(fault) => return Ok(self.failed(fault)),
        };
        match self.store.write(&fence, &write).await {
            Ok(Answer::Done { revision }) => {
                self.wrote(write, revision).await;
                Ok(Step::Settled(self.in_sync()))
            }
            Ok(Answer::Fenced { leading, state }) => {
                self.tally.fenced += 1;
                self.give_back(&write).await;
                self.fenced(leading, state)
            }
            Err(fault) if fault.is_certain() => {
                self.give_back(&write).await;
                Ok(self.failed(fault))
            }
            Err(fault) => {
                self.tally.failures += 1;
                Err(TermEnded::AmbiguousWrite(fault))
            }
        }
    }

    fn standing(&self) -> Standing<'_> {
        Standing {
            leader_key: &self.term.leader_key,
            leader_revision: self.term.leader_revision,
            owner: self.owner,
            owned: self.named.load(Ordering::Relaxed),
            state: &self.state,
        }
    }

    fn remember_owner(&self) {
        let owner = self.state.owner.as_ref();
        let named = self
            .owner
            .is_named(self.named.load(Ordering::Relaxed), owner);
        self.named.store(named, Ordering::Relaxed);
    }

    /// Reads the keys. As a rule the watch was just a little behind our own write. But a restored etcd goes back for good, and its leader key may
    /// have come back with it, so that nothing else ends this term: without a look the key would be taken for what it was before the restore.
    async fn look_again(&mut self) -> Result<(), Fault> {
        let state = self.store.read().await?;
        if state.revision < self.state.revision {
            warn!(
                revision = state.revision,
                known = self.state.revision,
                "etcd has gone back: it was restored, or wiped"
            );
            self.ours = state.document_revision();
        }
        self.state = state;
        self.is_doubtful = false;
        Ok(())
    }

    async fn claim(&mut self, claim: &Claim) -> Result<Step, TermEnded> {
        match self.store.claim(claim, self.owner).await {
            Ok(Answer::Done { revision }) => {
                info!(revision, "Owns the key");
                self.named.store(true, Ordering::Relaxed);
                match self.store.read().await {
                    Ok(state) => self.state = state,
                    Err(fault) => return Ok(self.failed(fault)),
                }
                Ok(Step::Again(Duration::ZERO))
            }
            Ok(Answer::Fenced { leading, state }) => self.fenced(leading, state),
            Err(fault) if fault.is_certain() => Ok(self.failed(fault)),
            Err(fault) => Err(TermEnded::AmbiguousWrite(fault)),
        }
    }

    /// Renders the document and grants its lease, which ends with the last directive and is never kept alive.
    async fn prepare(&mut self, entries: &[DatedEntry], now: Moment) -> Result<Write, Fault> {
        let second = now.wall_secs();
        if entries.is_empty() {
            return Ok(Write::Delete);
        }
        for _ in 0..4 {
            let Some(publication) = Publication::new(second, fastrand::u16(..)) else {
                break;
            };
            let Some(draft) = Draft::new(entries, publication) else {
                return Ok(Write::Delete);
            };
            let Draft {
                value,
                lease,
                ttl_secs,
            } = draft;
            match self.store.grant(lease, ttl_secs).await {
                Ok(_) if self.is_outdated(now) => return Err(Fault::Timeout),
                Ok(_) => return Ok(Write::Put { value, lease }),
                Err(Fault::LeaseExists) => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::LeaseExists)
    }

    /// Whether a publication dated `now` took longer to get its lease than a call may take: this process was stopped meanwhile. A
    /// proxy whose wall clock is behind goes by the age of the lease, which would then be less than that of the publication.
    fn is_outdated(&self, now: Moment) -> bool {
        self.clock.now().saturating_duration_since(now.mono) > self.store.deadline()
    }

    async fn wrote(&mut self, write: Write, revision: i64) {
        self.failures = 0;
        self.ours = 0;
        let mut bytes = 0;
        self.state.revision = revision;
        self.state.document = match write {
            Write::Put { value, lease } => {
                self.tally.puts += 1;
                bytes = value.len();
                self.ours = revision;
                self.leases.push_back(lease);
                Some(Stored::new(revision, lease, value))
            }
            Write::Delete => {
                self.tally.deletions += 1;
                None
            }
        };
        self.pacing.wrote(self.clock.now(), bytes);
        info!(revision, bytes, "Published");
        self.drop_replaced_leases().await;
    }

    /// Revokes the lease of a document that was certainly not written and never will be, so that a write which is refused again and again leaves no lease
    /// behind each time. Where that fails the lease lapses by itself.
    async fn give_back(&self, write: &Write) {
        if let Write::Put { lease, .. } = write
            && let Err(fault) = self.store.revoke(*lease).await
        {
            debug!(
                reason = fault.slug(),
                "An unused lease was not revoked; it lapses by itself"
            );
        }
    }

    /// Replaced leases hold no key and lapse by themselves. Only above a hundred of them are the oldest revoked, and only
    /// after a linearizable read has shown the document on another one: revoking a lease deletes what hangs on it.
    async fn drop_replaced_leases(&mut self) {
        const KEPT: usize = 100;
        if self.leases.len() <= KEPT {
            return;
        }
        let Ok(state) = self.store.read().await else {
            return;
        };
        let hangs_on = state.document.as_ref().map_or(0, |stored| stored.lease);
        while self.leases.len() > KEPT {
            let Some(oldest) = self.leases.pop_front().filter(|lease| *lease != hangs_on) else {
                return;
            };
            if let Err(fault) = self.store.revoke(oldest).await {
                debug!(
                    reason = fault.slug(),
                    "A replaced lease was not revoked; it lapses by itself"
                );
                return;
            }
        }
    }

    /// Whether a full etcd is a reason to delete the document.
    fn gives_all_up(&self) -> bool {
        self.on_no_space == OnNoSpace::Delete && self.state.document.is_some()
    }

    fn fenced(&mut self, leading: bool, state: KeyState) -> Result<Step, TermEnded> {
        if !leading {
            return Err(TermEnded::Deposed);
        }
        self.state = state;
        Ok(Step::Again(Duration::ZERO))
    }

    fn failed(&mut self, fault: Fault) -> Step {
        self.failures = self.failures.saturating_add(1);
        self.tally.failures += 1;
        held(Held::from(fault))
    }

    /// How long to wait before a write that failed is tried again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        keys::back_off(self.failures)
    }

    fn in_sync(&self) -> Outcome {
        Outcome::InSync {
            revision: self.state.document_revision(),
            publication: self.state.document.as_ref().and_then(Stored::publication),
        }
    }
}

fn held(reason: Held) -> Step {
    Step::Settled(Outcome::Held(reason))
}
