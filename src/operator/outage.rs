//! What people are told while etcd cannot be seen.
//!
//! Statuses are the leader's to write, and without etcd nobody leads: whoever applied a directive meanwhile would wait for an answer
//! that nobody gives. So after a while without etcd each replica answers, and only those resources that have no answer yet to what
//! they say now. All replicas give the same one, and the leader that comes back replaces it.

use std::sync::Arc;
use std::time::Duration;

use osproxy_core::Clock;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::answers::Answers;
use super::observe::{Observed, Resource};
use super::plan::{Limits, plan};
use super::publish::{Held, KeyState, Outcome};
use super::report::{Report, Reporter};
use crate::document::Moment;
use crate::etcd::{Fault, Keys};

/// How long etcd is out of sight before the log says so: what a start and a moved leader take is no news.
const BLINK: Duration = Duration::from_secs(2);
/// How long etcd is out of sight before anybody is told: longer than the election of a leader takes, there or here.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the answers are looked at again where nothing changes.
const IDLE: Duration = Duration::from_secs(10);

/// Says in the log when etcd is out of sight, why, and when it is back.
pub(super) async fn tell(mut seen: channel::Receiver<Result<KeyState, Fault>>) {
    loop {
        if seen.wait_for(Result::is_err).await.is_err() {
            return;
        }
        if let Ok(seen) = tokio::time::timeout(BLINK, seen.wait_for(Result::is_ok)).await {
            if seen.is_err() {
                return;
            }
            continue;
        }
        let mut told = None;
        loop {
            let Err(fault) = *seen.borrow_and_update() else {
                break;
            };
            if told != Some(fault.slug()) {
                warn!(reason = fault.slug(), "Cannot see etcd; tries again");
                told = Some(fault.slug());
            }
            if seen.changed().await.is_err() {
                return;
            }
        }
        info!("Sees etcd again");
    }
}

/// What the answers are made of.
pub(super) struct Outage {
    pub(super) client: kube::Client,
    pub(super) answers: Arc<Answers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) instance: String,
    pub(super) keys: Keys,
    pub(super) observed: Arc<Observed>,
    pub(super) seen: channel::Receiver<Result<KeyState, Fault>>,
}

impl Outage {
    /// Answers, for ever, whenever etcd is out of sight.
    pub(super) async fn answer(mut self) {
        loop {
            if self.seen.wait_for(Result::is_err).await.is_err() {
                return;
            }
            let is_back = self.seen.wait_for(Result::is_ok);
            if tokio::time::timeout(PATIENCE, is_back).await.is_err() {
                self.answer_one().await;
            }
        }
    }

    /// Answers until etcd is seen again.
    async fn answer_one(&mut self) {
        let reporter = Reporter::new(
            self.client.clone(),
            Arc::clone(&self.answers),
            &self.instance,
            &self.keys,
            Arc::clone(&self.clock),
        );
        let (reports, reading) = channel::channel(None);
        // Dropped, and so stopped, with this outage.
        let mut beside = JoinSet::new();
        beside.spawn(reporter.run(reading));
        let mut changes = self.observed.changes();
        loop {
            changes.borrow_and_update();
            let Err(fault) = *self.seen.borrow_and_update() else {
                return;
            };
            if let Some(report) = self.report(fault) {
                reports.send_replace(Some(Arc::new(report)));
            }
            // A second at least: nobody waits for this one as for a publication.
            tokio::time::sleep(Duration::from_secs(1)).await;
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.seen.changed() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }

    /// What to tell the resources that have no answer yet; nothing before the first complete list.
    fn report(&self, fault: Fault) -> Option<Report> {
        let mut resources = self.observed.resources()?;
        let now = Moment::now(&*self.clock);
        let all = resources.values().map(Arc::as_ref);
        let plan = plan(now.wall_secs(), all, &self.limits);
        resources.retain(|_, resource| is_unanswered(resource));
        Some(Report {
            resources,
            plan,
            outcome: Some(Outcome::Held(Held::from(fault))),
            // Nobody can know what the proxies have: what was said of them stays.
            ledger: Arc::default(),
        })
    }
}

/// Whether nobody has said anything about what it says now.
fn is_unanswered(resource: &Resource) -> bool {
    let answered = &resource.status.value()["observedGeneration"];
    answered.as_i64() != Some(resource.generation)
}
