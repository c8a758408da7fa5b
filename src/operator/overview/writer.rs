//! The writer of the `DiagnosticsFleet`.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, CustomResourceExt as _};
use osproxy_core::{Clock, Instant};
use serde_json::json;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::look::{LOOK_AGAIN, NextLook};
use super::report::{Facts, Fleet, Server, Settled, says_the_same, status};
use super::servers::Servers;
use crate::document::Moment;
use crate::etcd::Fault;
use crate::operator::answers::Answers;
use crate::operator::applied::{Roll, grace};
use crate::operator::observe::Observed;
use crate::operator::outage::Outage;
use crate::operator::publish::KeyState;
use crate::operator::publish::keys::KeyStore;
use crate::resource::{DiagnosticsFleet, DiagnosticsFleetStatus};

const FIELD_MANAGER: &str = "osproxy-directives";
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Between two writes.
const SPACING: Duration = Duration::from_secs(5);
/// How long after something has happened it is looked at what it came to, besides the time over which the proxies spread their answers: what
/// passes by itself need not be told.
const SETTLE: Duration = Duration::from_secs(1);
const LONGEST_SETTLE: Duration = Duration::from_secs(10);
/// How long etcd is out of sight before those who do not lead say so: as long as for the directives' own statuses.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long after a refusal it is tried again: a definition or a right may be given meanwhile.
const AFTER_A_REFUSAL: Duration = Duration::from_secs(20);

/// Keeps the `DiagnosticsFleet` of a release.
pub(in crate::operator) struct Overview {
    client: Client,
    answers: Arc<Answers>,
    clock: Arc<dyn Clock>,
    instance: String,
    /// `namespace/name`.
    release: String,
    observed: Arc<Observed>,
    seen: channel::Receiver<Result<KeyState, Fault>>,
    /// What the cycle of this replica came to; none while it does not lead.
    settled: channel::Receiver<Option<Settled>>,
    /// The proxies that report; none while this replica does not lead.
    roll: channel::Receiver<Option<Arc<Roll>>>,
    store: KeyStore,
}

/// What stands in the API server, as far as it is known.
enum Present {
    Unread,
    Status(Box<DiagnosticsFleetStatus>),
}

impl Overview {
    /// Beside what answers without etcd, and of the same sources.
    pub(in crate::operator) fn beside(
        outage: &Outage,
        release: String,
        store: KeyStore,
        settled: channel::Receiver<Option<Settled>>,
        roll: channel::Receiver<Option<Arc<Roll>>>,
    ) -> Self {
        Self {
            client: outage.client.clone(),
            answers: Arc::clone(&outage.answers),
            clock: Arc::clone(&outage.clock),
            instance: outage.instance.clone(),
            observed: Arc::clone(&outage.observed),
            seen: outage.seen.clone(),
            release,
            settled,
            roll,
            store,
        }
    }

    /// Writes, for ever, whatever is new.
    pub(in crate::operator) async fn keep(mut self) {
        let Some((namespace, name)) = self.release.clone().split_once('/').map(owned) else {
            return;
        };
        let resource = DiagnosticsFleet::api_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &namespace, &resource);
        let mut servers = Servers::new(self.store.clone());
        let mut told: Vec<Result<Server, Fault>> = Vec::new();
        let mut asked: Option<Instant> = None;
        let mut out_of_sight: Option<Instant> = None;
        let mut present = Present::Unread;
        let mut refused = false;
        let mut led = false;
        loop {
            let now = self.clock.now();
            let settled = *self.settled.borrow_and_update();
            let leads = settled.is_some();
            let fault = self.seen.borrow_and_update().as_ref().err().copied();
            out_of_sight = fault.map(|_| out_of_sight.unwrap_or(now));
            // Whoever stops leading takes its name out, unless somebody else leads by then.
            let resigns = std::mem::replace(&mut led, leads) && !leads;
            let is_out =
                out_of_sight.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
            let roll = self.roll.borrow_and_update().clone();
            let mut turns = roll.as_ref().map(|roll| roll.changes());
            let (fleet, due_at) = roll
                .as_deref()
                .and_then(|roll| fleet(roll, now))
                .map_or((None, None), |(fleet, due_at)| (Some(fleet), due_at));
            let next_look = NextLook::after(now, due_at);
            let mut pause = Duration::ZERO;
            if leads || is_out || (resigns && self.is_named(&api, &name).await) {
                pause = SPACING;
                if fault.is_none()
                    && asked.is_none_or(|asked| now.saturating_duration_since(asked) >= LOOK_AGAIN)
                {
                    asked = Some(now);
                    told = servers.ask().await;
                }
                match self
                    .write(&api, &name, settled, &told, fleet.as_ref(), &mut present)
                    .await
                {
                    Ok(()) => {
                        if std::mem::take(&mut refused) {
                            info!("Can write the DiagnosticsFleet again");
                        }
                    }
                    Err(reason) => {
                        present = Present::Unread;
                        pause = AFTER_A_REFUSAL;
                        if !std::mem::replace(&mut refused, true) {
                            warn!(
                                reason,
                                "Cannot write the DiagnosticsFleet, the fleet at a glance; everything else works without it"
                            );
                        }
                    }
                }
            } else {
                // Whoever writes meanwhile is another one.
                present = Present::Unread;
            }
            sleep(pause.max(self.answers.patience())).await;
            let look_again = next_look.wait(self.clock.now());
            tokio::select! {
                changed = self.settled.changed() => if changed.is_err() { return },
                _ = self.seen.changed() => {}
                _ = self.roll.changed() => {}
                () = turned(turns.as_mut()) => {}
                () = servers.outdated() => continue,
                () = sleep(look_again) => continue,
            }
            let spread = roll.map_or(Duration::ZERO, |roll| {
                Duration::from_millis(roll.window_ms())
            });
            sleep((SETTLE + spread).min(LONGEST_SETTLE)).await;
        }
    }

    /// Whether the object still names this replica as the leader.
    async fn is_named(&self, api: &Api<DynamicObject>, name: &str) -> bool {
        let read = call(api.get_opt(name)).await.ok().flatten();
        read.is_some_and(|object| object.data["status"]["leader"] == self.instance.as_str())
    }

    async fn write(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        settled: Option<Settled>,
        told: &[Result<Server, Fault>],
        fleet: Option<&Fleet>,
        present: &mut Present,
    ) -> Result<(), String> {
        let known = match present {
            Present::Status(status) => status,
            Present::Unread => {
                let read = call(api.get_opt(name)).await?;
                let status = read.and_then(|object| {
                    serde_json::from_value(object.data.get("status")?.clone()).ok()
                });
                *present = Present::Status(Box::new(status.unwrap_or_default()));
                let Present::Status(status) = present else {
                    return Ok(());
                };
                status
            }
        };
        let desired = {
            let seen = self.seen.borrow();
            let facts = Facts {
                leader: settled.map(|_| self.instance.as_str()),
                seen: seen.as_ref().map_err(|fault| *fault),
                settled,
                release: &self.release,
                keys: self.store.keys(),
                servers: told,
                clock_ahead_secs: self
                    .answers
                    .clocks_differ()
                    .then(|| self.answers.clock_ahead_secs()),
                definition: self.observed.definition(),
                unseen: self.observed.fault(),
                fleet,
                now_secs: Moment::now(&*self.clock).wall_secs(),
            };
            status(&facts, known)
        };
        if says_the_same(known, &desired) {
            return Ok(());
        }
        let body = json!({
            "apiVersion": "osproxy.io/v1alpha1",
            "kind": "DiagnosticsFleet",
            "metadata": { "name": name },
            "status": desired,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        match timeout(CALL_DEADLINE, api.patch_status(name, &params, &patch)).await {
            Ok(Err(kube::Error::Api(answer))) if answer.is_not_found() => {
                let object = json!({
                    "apiVersion": "osproxy.io/v1alpha1",
                    "kind": "DiagnosticsFleet",
                    "metadata": { "name": name },
                    "spec": {},
                });
                let object: DynamicObject =
                    serde_json::from_value(object).map_err(|error| error.to_string())?;
                call(api.create(&PostParams::default(), &object)).await?;
                call(api.patch_status(name, &params, &patch)).await?;
            }
            answer => {
                call(async {
                    answer.unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())))
                })
                .await?;
            }
        }
        **known = desired;
        Ok(())
    }
}

/// What the proxies come to at `now`, and when the time of one that is behind is over, if nothing changes before; none before they have been listed.
fn fleet(roll: &Roll, now: Instant) -> Option<(Fleet, Option<Instant>)> {
    let grace = grace(roll.window_ms());
    let newest = roll.newest()?.at(now, grace);
    roll.look(|view| {
        let view = view?;
        // Whoever has not even what is due is late, however new the newest one is.
        let has_what_is_due = newest.due().is_none_or(|due| {
            let counts = view.counts(due);
            counts.applied == counts.reporting
        });
        let is_in_time = !newest.is_due() && has_what_is_due;
        let fleet = Fleet::of(view, newest.target(), is_in_time);
        Some((fleet, newest.next_due_at(grace)))
    })
}

async fn turned(turns: Option<&mut channel::Receiver<u64>>) {
    match turns {
        // The sender lives as long as the roll, which the caller holds.
        Some(turns) => drop(turns.changed().await),
        None => std::future::pending().await,
    }
}

/// Waits for an answer; where there is none, the reason in a word.
async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(CALL_DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(status.reason.clone()),
        Ok(Err(_)) => Err("Unavailable".to_owned()),
        Err(_) => Err("Timeout".to_owned()),
    }
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}
