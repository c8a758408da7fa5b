//! The writer of statuses and Events.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Recorder, Reporter as Source};
use osproxy_core::Clock;
use serde_json::json;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::events::{Postbox, deliver};
use super::proxies::Word;
use super::status::{Transition, desired_status, present_condition, says_the_same, transitions};
use super::trouble::{Reach, Trouble};
use crate::document::Moment;
use crate::etcd::Keys;
use crate::operator::answers::Answers;
use crate::operator::applied::{Judge, Ledger, Roll};
use crate::operator::observe::{Id, Resource, Shown};
use crate::operator::plan::Plan;
use crate::operator::publish::Outcome;
use crate::resource::{DiagnosticsDirective, DiagnosticsDirectiveStatus};

/// What is to be said: the resources, the plan that was made of them, and how the key stands to it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The resources that the plan was made of.
    pub resources: BTreeMap<Id, Arc<Resource>>,
    /// The plan.
    pub plan: Plan,
    /// How the key stands to it; `None` while that is not known.
    pub outcome: Option<Outcome>,
    /// Since which publication each directive stands as it does.
    pub ledger: Arc<Ledger>,
}

/// What reporting has done, for metrics.
#[derive(Debug, Default)]
pub struct ReportTally {
    /// Statuses written.
    pub statuses: AtomicU64,
    /// Statuses that could not be written.
    pub status_failures: AtomicU64,
    /// Events sent.
    pub events: AtomicU64,
    /// Events that were not sent: too many, or not taken.
    pub events_dropped: AtomicU64,
}

/// The field manager of the status.
pub(super) const FIELD_MANAGER: &str = "osproxy-directives";
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Between a proxy's word and a look at what all say.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Until the next look where nothing is expected.
const IDLE: Duration = Duration::from_hours(1);

/// Writes statuses and Events while this process leads.
pub struct Reporter {
    client: Client,
    answers: Arc<Answers>,
    api: ApiResource,
    recorder: Recorder,
    keys: Keys,
    clock: Arc<dyn Clock>,
    tally: Arc<ReportTally>,
    /// What was written last and under which version of the object, until the watch shows a later one.
    written: HashMap<String, Written>,
    roll: Arc<Roll>,
    judge: Judge,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

struct Written {
    over_version: String,
    /// Which version our write made of it.
    version: String,
    status: Shown,
}

/// One status to write.
struct Job {
    resource: Arc<Resource>,
    /// The version to write over: any other one is refused, also that of a later object of the same name.
    version: String,
    status: DiagnosticsDirectiveStatus,
    events: Vec<Transition>,
}

enum Done {
    /// And the version that was made by it.
    Written(Box<Job>, String),
    Failed(Reach),
}

impl Reporter {
    /// A reporter of what is published at `keys`, which signs its Events as `instance`.
    #[must_use]
    pub fn new(
        client: Client,
        answers: Arc<Answers>,
        instance: &str,
        keys: &Keys,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let source = Source {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), source),
            client,
            answers,
            api: ApiResource::erase::<DiagnosticsDirective>(&()),
            keys: keys.clone(),
            clock,
            tally: Arc::default(),
            written: HashMap::new(),
            roll: Arc::default(),
            judge: Judge::default(),
        }
    }

    /// The same, which tells what the proxies of `roll` have.
    #[must_use]
    pub fn with_roll(mut self, roll: Arc<Roll>) -> Self {
        self.roll = roll;
        self
    }

    /// What has been done.
    #[must_use]
    pub fn tally(&self) -> Arc<ReportTally> {
        Arc::clone(&self.tally)
    }

    /// Reports the latest of `reports`, until its sender is gone.
    pub async fn run(mut self, mut reports: channel::Receiver<Option<Arc<Report>>>) {
        let (mut postbox, letters) = Postbox::new(Arc::clone(&self.clock), Arc::clone(&self.tally));
        let post = deliver(self.recorder.clone(), letters, Arc::clone(&self.tally));
        let mut post = pin!(post);
        let mut latest: Option<Arc<Report>> = None;
        let mut waiting: BTreeSet<Id> = BTreeSet::new();
        let mut under_way: BTreeSet<Id> = BTreeSet::new();
        let mut calls = FuturesUnordered::new();
        let mut trouble = Trouble::default();
        let mut wait = Box::pin(sleep(Duration::ZERO));
        let mut proxies = self.roll.changes();
        let mut look = Box::pin(sleep(IDLE));
        let mut looks_soon = false;
        loop {
            while calls.len() < trouble.window()
                && let Some(report) = &latest
            {
                let Some(id) = waiting.iter().find(|id| !under_way.contains(id)).cloned() else {
                    break;
                };
                waiting.remove(&id);
                if let Some(job) = self.job(report, &id) {
                    under_way.insert(id.clone());
                    calls.push(self.write(id, job));
                }
            }
            tokio::select! {
                changed = reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let report = reports.borrow_and_update().clone();
                    if let Some(report) = &report {
                        waiting.extend(news(latest.as_deref(), report));
                        waiting.extend(self.look(report));
                        self.forget_the_gone(report);
                        look.set(sleep(self.until_next_look()));
                        looks_soon = false;
                    }
                    latest = report;
                }
                // The records of a fleet arrive one by one, and are looked at together.
                _ = proxies.changed(), if !looks_soon => {
                    look.set(sleep(BETWEEN_LOOKS));
                    looks_soon = true;
                }
                () = &mut look => {
                    if let Some(report) = &latest {
                        waiting.extend(self.look(report));
                    }
                    look.set(sleep(self.until_next_look()));
                    looks_soon = false;
                }
                Some((id, done)) = calls.next(), if !calls.is_empty() => {
                    under_way.remove(&id);
                    match done {
                        Done::Written(job, version) => {
                            trouble.written();
                            self.remember(&job, version);
                            for event in job.events {
                                postbox.put(Arc::clone(&job.resource), event);
                            }
                        }
                        Done::Failed(reach) => {
                            if let Some(pause) = trouble.failed(id, reach, &mut waiting) {
                                wait.set(sleep(pause.max(self.answers.patience())));
                            }
                        }
                    }
                }
                () = &mut wait, if trouble.waits() => waiting.extend(trouble.over()),
                () = &mut post => {}
            }
        }
    }

    /// What is to be written for one resource, if anything.
    fn job(&mut self, report: &Report, id: &Id) -> Option<Job> {
        let resource = report.resources.get(id)?;
        let verdict = report.plan.verdicts.get(id)?;
        let now_secs = Moment::now(&*self.clock).wall_secs();
        let mut resource = Arc::clone(resource);
        let mut version = resource.resource_version.clone();
        match self.written.get(&resource.uid) {
            // The watch has not shown our own write yet: what we wrote is what stands there.
            Some(written) if written.over_version == resource.resource_version => {
                let mut shown = Resource::clone(&resource);
                shown.status = written.status.clone();
                version.clone_from(&written.version);
                resource = Arc::new(shown);
            }
            Some(_) => {
                self.written.remove(&resource.uid);
            }
            None => {}
        }
        let word = self.word(id, &resource);
        let status = desired_status(
            &resource,
            verdict,
            report.outcome,
            word.as_ref(),
            &self.keys,
            now_secs,
        );
        if says_the_same(&resource.status.value(), &status) {
            return None;
        }
        let again = word.is_some_and(|word| word.opinion.again);
        let events = transitions(&resource, &status, report.outcome, again);
        Some(Job {
            resource,
            version,
            status,
            events,
        })
    }

    /// Whose proxies say something else than before.
    fn look(&mut self, report: &Report) -> Vec<Id> {
        let now = self.clock.now();
        let window_ms = self.roll.window_ms();
        let (roll, judge) = (&self.roll, &mut self.judge);
        let news = roll.look(|view| judge.look(now, &report.ledger, view, window_ms));
        news.iter().filter_map(|id| Id::parse(id)).collect()
    }

    fn until_next_look(&self) -> Duration {
        let now = self.clock.now();
        self.judge
            .look_at()
            .map_or(IDLE, |at| at.saturating_duration_since(now))
    }

    /// What the proxies say of one directive, where there is anything to say.
    fn word(&self, id: &Id, resource: &Resource) -> Option<Word> {
        let opinion = self.judge.opinion(&id.to_string())?;
        let present = resource.status.value();
        let present = present_condition(&present, "Applied");
        let reason = present.and_then(|present| present.get("reason")?.as_str());
        Some(self.roll.look(|view| Word::of(opinion, view, reason)))
    }

    fn forget_the_gone(&mut self, report: &Report) {
        if self.written.len() > 2 * report.resources.len() + 64 {
            let uids: HashSet<&str> = report.resources.values().map(|r| r.uid.as_str()).collect();
            self.written.retain(|uid, _| uids.contains(uid.as_str()));
        }
    }

    fn remember(&mut self, job: &Job, version: String) {
        if let Ok(status) = serde_json::to_value(&job.status) {
            let written = Written {
                over_version: job.resource.resource_version.clone(),
                version,
                status: Shown::from(&status),
            };
            self.written.insert(job.resource.uid.clone(), written);
        }
    }

    fn write(&self, id: Id, job: Job) -> impl Future<Output = (Id, Done)> + use<> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &id.namespace, &self.api);
        let body = json!({
            "apiVersion": self.api.api_version,
            "kind": self.api.kind,
            // A uid would not keep it off the next object of the same name: the API server ignores it in the status of a custom
            // resource. The version does.
            "metadata": { "name": id.name, "resourceVersion": job.version },
            "status": job.status,
        });
        let tally = Arc::clone(&self.tally);
        async move {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patch = Patch::Apply(&body);
            let call = api.patch_status(&id.name, &params, &patch);
            let (reach, reason) = match timeout(CALL_DEADLINE, call).await {
                Ok(Ok(object)) => {
                    tally.statuses.fetch_add(1, Ordering::Relaxed);
                    let version = object.metadata.resource_version.unwrap_or_default();
                    return (id, Done::Written(Box::new(job), version));
                }
                // Deleted, created again or changed meanwhile: the watch will say so. Until it does, it may as well be that the
                // server only seems to say so.
                Ok(Err(kube::Error::Api(status)))
                    if status.is_not_found() || status.is_conflict() =>
                {
                    debug!(id = %id, "Gone before its status was written, or changed just then");
                    return (id, Done::Failed(Reach::Resource));
                }
                Ok(Err(kube::Error::Api(status))) => {
                    (Reach::of_code(status.code), status.reason.clone())
                }
                Ok(Err(_)) => (Reach::Server, "Unavailable".to_owned()),
                Err(_) => (Reach::Server, "Timeout".to_owned()),
            };
            tally.status_failures.fetch_add(1, Ordering::Relaxed);
            warn!(id = %id, reason, "Cannot write a status; tries again");
            (id, Done::Failed(reach))
        }
    }
}

/// Which resources may have something new to be told: the others need not be looked at, and there may be ten thousand of them.
fn news<'r>(before: Option<&'r Report>, report: &'r Report) -> impl Iterator<Item = Id> + 'r {
    let same_word = |a: Option<Outcome>, b: Option<Outcome>| match (a, b) {
        (Some(Outcome::InSync { .. }), Some(Outcome::InSync { .. })) => true,
        (a, b) => a == b,
    };
    let before = before.filter(|before| same_word(before.outcome, report.outcome));
    report.resources.iter().filter_map(move |(id, resource)| {
        let known = before.is_some_and(|before| {
            before
                .resources
                .get(id)
                .is_some_and(|was| Arc::ptr_eq(was, resource))
                && before.plan.verdicts.get(id) == report.plan.verdicts.get(id)
        });
        (!known).then(|| id.clone())
    })
}
