//! The cycle: the four steps in their order, for as long as this process leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osproxy_core::Clock;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::answers::Answers;
use super::applied::{self, Roll, follow};
use super::metrics::Metrics;
use super::observe::{Definition, Observed};
use super::overview::Settled;
use super::plan::{Limits, Plan, plan};
use super::publish::keys::KeyStore;
use super::publish::owner::{Owner, Ownership};
use super::publish::{
    Held, KeyState, OnNoSpace, Outcome, Publisher, Session, Step, Term, TermEnded,
};
use super::report::{Announcer, Notice, Report, Reporter, Told};
use super::{identity, serve};
use crate::document::Moment;
use crate::etcd::Fault;

/// SIGTERM must end the process within five seconds, so resigning may take three. A lease that cannot be revoked by then lapses.
const RESIGN_DEADLINE: Duration = Duration::from_secs(3);
/// A plan takes at most this share of the time: after each the cycle rests four times as long as the plan took.
const REST: u32 = 4;
const LEAST_REST: Duration = Duration::from_millis(10);

/// Why the leading came to an end.
enum Ended {
    /// This process is to stop.
    Stopping,
    /// The election lease was not confirmed in time.
    LeaseUnproven,
    /// The publisher may not go on.
    Term(TermEnded),
}

impl Ended {
    fn slug(&self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::LeaseUnproven => "lease_unproven",
            Self::Term(ended) => ended.slug(),
        }
    }
}

/// One replica.
pub(super) struct Operator {
    pub(super) store: KeyStore,
    pub(super) reads: kube::Client,
    pub(super) heard: Arc<Answers>,
    pub(super) writes: kube::Client,
    pub(super) told_writer: Arc<Answers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) on_no_space: OnNoSpace,
    pub(super) instance: String,
    pub(super) observed: Arc<Observed>,
    pub(super) seen: channel::Receiver<Result<KeyState, Fault>>,
    /// Whether the owner named us when it was last seen to name anybody.
    pub(super) named: AtomicBool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: serve::Health,
    /// How the cycle came out last, for the fleet at a glance; none while this replica does not lead.
    pub(super) settled: channel::Sender<Option<Settled>>,
    /// The proxies that report, for the same.
    pub(super) rolls: channel::Sender<Option<Arc<Roll>>>,
    pub(super) stopping: channel::Receiver<bool>,
}

impl Operator {
    /// Campaigns, leads, and campaigns again, until it is to stop.
    pub(super) async fn lead_for_ever(&self, release: &str) {
        let owner = tokio::select! {
            owner = identity::owner(&self.reads, release) => owner,
            () = self.stopped() => return,
        };
        self.health.set_owner(owner.clone());
        while !*self.stopping.borrow() {
            tokio::select! {
                () = self.may_campaign(&owner) => {}
                () = self.stopped() => return,
            }
            let session = match Session::open(&self.store, Arc::clone(&self.clock)).await {
                Ok(session) => session,
                Err(fault) => {
                    warn!(reason = fault.slug(), "Cannot campaign; tries again");
                    self.pause(Duration::from_millis(200 + fastrand::u64(..800)))
                        .await;
                    continue;
                }
            };
            let won = tokio::select! {
                won = session.campaign(&self.store, &self.instance) => won,
                () = self.may_not_campaign(&owner) => Err(Fault::PermissionDenied),
                () = self.stopped() => Err(Fault::PermissionDenied),
            };
            match won {
                Ok(won) => {
                    let term = session.into_term(won);
                    self.metrics.leader.set(1);
                    let ended = Box::pin(self.lead(&term, &owner)).await;
                    self.metrics.stops_leading();
                    self.settled.send_replace(None);
                    self.rolls.send_replace(None);
                    warn!(reason = ended.slug(), "Stops leading");
                    self.bounded(term.end(&self.store)).await;
                }
                Err(fault) => {
                    info!(reason = fault.slug(), "Withdraws from the election");
                    self.bounded(session.close(&self.store)).await;
                    self.pause(Duration::from_millis(200 + fastrand::u64(..300)))
                        .await;
                }
            }
        }
    }

    /// The cycle of one term.
    async fn lead(&self, term: &Term, owner: &Owner) -> Ended {
        tokio::select! {
            ended = self.cycle(term, owner) => ended,
            () = term.lost() => Ended::LeaseUnproven,
        }
    }

    async fn cycle(&self, term: &Term, owner: &Owner) -> Ended {
        let mut publisher = tokio::select! {
            publisher = self.prepare(term, owner) => publisher,
            () = self.stopped() => return Ended::Stopping,
        };
        // Dropped, and so stopped, with the term: who does not lead does not report.
        let mut beside = JoinSet::new();
        let (reports, roll) = self.report_beside(term, &mut beside);
        let mut ledger = applied::found(publisher.state(), self.clock.now());

        let announcer = self.announcer(owner);
        let mut told = Told::default();
        let mut changes = self.observed.changes();
        let mut keys = self.seen.clone();
        loop {
            changes.borrow_and_update();
            if let Ok(state) = &*keys.borrow_and_update() {
                publisher.saw(state);
            }
            // 1. observe
            let began = self.clock.now();
            let Some(resources) = self.observed.resources() else {
                return Ended::LeaseUnproven;
            };
            // 2. plan
            let now = Moment::now(&*self.clock);
            let all = resources.values().map(Arc::as_ref);
            let plan = plan(now.wall_secs(), all, &self.limits);
            let planned = self.clock.now().saturating_duration_since(began);
            // 3. publish
            let step = publisher.publish(&plan.entries).await;
            self.metrics.published(publisher.tally());
            let mut wait = plan.lasts(Moment::now(&*self.clock));
            match step {
                Err(ended) => {
                    if let TermEnded::OwnedBy(other) = &ended {
                        announcer.announce(&Notice::OwnedByAnother {
                            release: other.release.clone(),
                            cluster: other.cluster.clone(),
                        });
                    }
                    return Ended::Term(ended);
                }
                Ok(Step::Again(pause)) => {
                    if self.pause(pause.max(planned * REST)).await {
                        return Ended::Stopping;
                    }
                    continue;
                }
                Ok(Step::Settled(outcome)) => {
                    if let Outcome::Held(Held::Etcd(_) | Held::NoSpace | Held::TooLarge) = outcome {
                        wait = wait.min(publisher.retry_after());
                    }
                    let news = told.news(outcome, publisher.tally(), publisher.state());
                    let heard = told.of_the_server(self.observed.definition(), &self.heard);
                    for notice in news.iter().chain(&heard) {
                        announcer.announce(notice);
                    }
                    self.show(now, &plan, outcome, publisher.state());
                    // 4. report
                    if let Outcome::InSync { .. } = outcome {
                        let foreign_writes = publisher.tally().foreign_writes;
                        let (now, state) = (self.clock.now(), publisher.state());
                        applied::note(&mut ledger, &roll, now, &plan, state, foreign_writes);
                    }
                    let report = Report {
                        resources,
                        plan,
                        outcome: Some(outcome),
                        ledger: Arc::clone(&ledger),
                    };
                    // Through a CRD that prunes every write, of a status too, stores the resource without what it drops.
                    let prunes = self.observed.definition() == Definition::Prunes;
                    reports.send_replace((!prunes).then(|| Arc::new(report)));
                }
            }
            if self.pause(LEAST_REST.max(planned * REST)).await {
                return Ended::Stopping;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = keys.changed() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.stopped() => return Ended::Stopping,
            }
        }
    }

    fn announcer(&self, owner: &Owner) -> Announcer {
        let keys = self.store.keys();
        Announcer::new(self.writes.clone(), &owner.release, &self.instance, keys)
    }

    /// What runs beside the cycle of a term: the reporter, and what follows the proxies' records.
    fn report_beside(
        &self,
        term: &Term,
        beside: &mut JoinSet<()>,
    ) -> (channel::Sender<Option<Arc<Report>>>, Arc<Roll>) {
        let (writes, told) = (self.writes.clone(), Arc::clone(&self.told_writer));
        let roll = Arc::new(Roll::default());
        self.rolls.send_replace(Some(Arc::clone(&roll)));
        let (keys, clock) = (self.store.keys(), Arc::clone(&self.clock));
        let reporter =
            Reporter::new(writes, told, &self.instance, keys, clock).with_roll(Arc::clone(&roll));
        self.metrics.follow_reports(reporter.tally());
        self.metrics.follow_proxies(&roll);
        let (reports, reading) = channel::channel(None);
        beside.spawn(reporter.run(reading));
        let clock = Arc::clone(&self.clock);
        beside.spawn(follow(self.store.clone(), Arc::clone(&roll), clock, term));
        (reports, roll)
    }

    /// Tells metrics, health and the fleet at a glance how the cycle came out.
    fn show(&self, now: Moment, plan: &Plan, outcome: Outcome, state: &KeyState) {
        self.metrics.settled(now.wall_secs(), plan, outcome, state);
        self.health.set_outcome(Some(outcome));
        let entries = plan.entries.len();
        self.settled
            .send_replace(Some(Settled { outcome, entries }));
    }

    /// A new leader looks afresh before it writes: at the API server, since its watch may be behind, and at the keys.
    async fn prepare<'t>(&'t self, term: &'t Term, owner: &'t Owner) -> Publisher<'t> {
        let mut changes = self.observed.changes();
        let asked = self.observed.relist();
        while !self.observed.has_answered(asked) {
            // The sender lives as long as `self.observed`.
            let _ = changes.changed().await;
        }
        loop {
            let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
            match Publisher::begin(store, clock, owner, term, &self.named, self.on_no_space).await {
                Ok(publisher) => return publisher,
                Err(fault) => {
                    warn!(reason = fault.slug(), "Cannot read the keys; tries again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// Waits until there is something to lead for: resources seen, keys seen, and a key that nobody else owns.
    async fn may_campaign(&self, owner: &Owner) {
        let mut changes = self.observed.changes();
        while self.observed.resources().is_none() {
            let _ = changes.changed().await;
        }
        let mut seen = self.seen.clone();
        if self.is_entitled(owner, &seen.borrow_and_update()) == Some(false) {
            warn!("Another release owns the key; waits until it does not");
        }
        let _ = seen
            .wait_for(|seen| self.is_entitled(owner, seen) == Some(true))
            .await;
    }

    /// Waits until another release is seen to own the key.
    async fn may_not_campaign(&self, owner: &Owner) {
        let mut seen = self.seen.clone();
        let _ = seen
            .wait_for(|seen| self.is_entitled(owner, seen) == Some(false))
            .await;
    }

    /// Whether `owner` may campaign; `None` while the keys cannot be seen. Remembers whom the owner key named.
    fn is_entitled(&self, owner: &Owner, seen: &Result<KeyState, Fault>) -> Option<bool> {
        let stored = seen.as_ref().ok()?.owner.as_ref();
        let named = owner.is_named(self.named.load(Ordering::Relaxed), stored);
        self.named.store(named, Ordering::Relaxed);
        Some(match owner.judge(stored) {
            Ownership::Ours { .. } | Ownership::Nobody => true,
            Ownership::Theirs(_) | Ownership::Unreadable => false,
        })
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Sleeps, unless this process is to stop; says whether it is.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => false,
            () = self.stopped() => true,
        }
    }

    /// Runs `ending` to its end, or for three seconds more once this process is to stop.
    async fn bounded(&self, ending: impl Future<Output = ()>) {
        tokio::select! {
            () = ending => {}
            () = async {
                self.stopped().await;
                tokio::time::sleep(RESIGN_DEADLINE).await;
            } => warn!("The election lease could not be ended; it lapses by itself"),
        }
    }
}
