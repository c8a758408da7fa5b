//! The watches, one a scope: list, watch, and over again.
//!
//! kube's own watcher is not enough here: it says nothing of a list's version, so a stale one cannot be told; it keeps
//! retrying one resourceVersion for ever when a watch is refused with HTTP 410 (kube-rs/kube#1042); a list that never
//! answers holds it for ever; and one object that it cannot decode hides all others.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::io::Lines;
use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use kube::api::{ListParams, Request, WatchParams};
use kube::{Client, Resource as _};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::project::{Projected, version_of};
use super::{Change, Definition, Fault, Id, Observed, Resource, Taken, definition, project};
use crate::operator::answers::Answers;
use crate::resource::DiagnosticsDirective;

/// Which namespaces are watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// One.
    Namespace(String),
}

impl Scope {
    /// These namespaces, each once; without any, all of them.
    #[must_use]
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self::Cluster];
        }
        let mut namespaces = namespaces.to_vec();
        namespaces.sort();
        namespaces.dedup();
        namespaces.into_iter().map(Self::Namespace).collect()
    }
}

/// As client-go has it.
const PAGE_SIZE: u32 = 500;
/// The API server itself gives a list up after a minute.
const LIST_DEADLINE: Duration = Duration::from_secs(65);
/// For whatever is answered at once: a small object, the head of a watch.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// How long the API server may hold a watch open.
const WATCH_TIMEOUT_SECS: u32 = 60;
/// A watch that says nothing for longer than that has a dead connection.
const SILENCE: Duration = Duration::from_secs(65);
/// Everything is listed anew this often, whatever the watch says: events get lost, and resourceVersions go back when a
/// cluster is restored (kubernetes/kubernetes#107457).
const RELIST_EVERY: Duration = Duration::from_mins(5);
/// A list that is older than what was seen before is asked for again after this time, and then believed. So is a CRD that
/// drops nothing any more.
const DOUBT: Duration = Duration::from_secs(5);
/// A watch that has lasted this long works.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// A watch that broke is opened again where it was. After one failure to do so it is started over with a list: a server that was away may
/// have come back from a backup, at versions that have caught up by now, and would never say what is gone.
const FAILURES_BEFORE_RELIST: u32 = 1;
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(15);

/// Starts a watch for every scope. They run until `tasks` is dropped.
pub fn observe(
    client: &Client,
    answers: &Arc<Answers>,
    scopes: &[Scope],
    tasks: &mut tokio::task::JoinSet<()>,
) -> Arc<Observed> {
    let observed = Arc::new(Observed::new(scopes.len()));
    for (index, scope) in scopes.iter().enumerate() {
        let namespace = match scope {
            Scope::Cluster => None,
            Scope::Namespace(name) => Some(name.as_str()),
        };
        let watch = Watch {
            client: client.clone(),
            answers: Arc::clone(answers),
            requests: Request::new(DiagnosticsDirective::url_path(&(), namespace)),
            observed: Arc::clone(&observed),
            scope: index,
            asked: observed.requests(),
            failures: 0,
            lifted: false,
        };
        tasks.spawn(watch.run());
    }
    observed
}

/// One scope.
struct Watch {
    client: Client,
    answers: Arc<Answers>,
    requests: Request,
    observed: Arc<Observed>,
    scope: usize,
    asked: channel::Receiver<u64>,
    /// How many calls have failed in a row.
    failures: u32,
    /// Whether the CRD that dropped fields was seen to drop none any more.
    lifted: bool,
}

/// Why a list is due.
enum Due {
    /// It is time, or somebody asked for it.
    Anew,
    /// Something older was told than what was seen before.
    Older,
    /// Something failed.
    Failed(Fault),
}

#[derive(Deserialize)]
struct Page {
    metadata: Value,
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Watch {
    async fn run(mut self) {
        loop {
            let due = self.list_and_watch().await.err().unwrap_or(Due::Anew);
            match due {
                Due::Anew => {}
                Due::Older => {
                    self.observed.failed(self.scope, Fault::Stale);
                    sleep(DOUBT).await;
                }
                Due::Failed(fault) => self.back_off(fault).await,
            }
        }
    }

    async fn list_and_watch(&mut self) -> Result<(), Due> {
        let asked = *self.asked.borrow_and_update();
        let (mut version, resources) = self.list().await?;
        // Looked at after the list: what the list went through may be an earlier definition, and never a later one.
        let found = self.definition().await?;
        let was = self.observed.definition_of(self.scope);
        if was == Definition::Prunes
            && found != Definition::Prunes
            && !std::mem::replace(&mut self.lifted, true)
        {
            // The server may go on for a moment with what it had, and this list may be of that moment.
            sleep(DOUBT).await;
            return Err(Due::Anew);
        }
        self.lifted = false;
        let resources = match found {
            Definition::Prunes => resources.into_iter().map(Resource::pruned).collect(),
            _ => resources,
        };
        let number = version.parse().ok();
        let taken = self
            .observed
            .listed(self.scope, asked, found, number, resources);
        if taken == Taken::Old {
            return Err(Due::Older);
        }

        let mut until_relist = pin!(sleep(RELIST_EVERY.mul_f64(0.8 + 0.4 * fastrand::f64())));
        loop {
            let failed = tokio::select! {
                ended = self.watch_from(&mut version, found) => match ended? {
                    Some(fault) => fault,
                    None => continue,
                },
                () = &mut until_relist => return Ok(()),
            };
            if failed == Fault::Expired || self.failures >= FAILURES_BEFORE_RELIST {
                return Err(Due::Failed(failed));
            }
            self.back_off(failed).await;
        }
    }

    /// All pages of a list, and its version. `resourceVersion` stays unset: only so is the answer never a cached one
    /// (kubernetes/kubernetes#59848).
    async fn list(&self) -> Result<(String, Vec<Resource>), Due> {
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let mut resources = Vec::new();
        loop {
            let request = self.requests.list(&params).map_err(|_| Fault::Malformed)?;
            let page = self.client.request_text(request);
            let page = within(LIST_DEADLINE, page).await?;
            // Read here: kube's own reader would log all of a text that it cannot read.
            let page: Page = serde_json::from_str(&page).map_err(|_| Fault::Malformed)?;
            // Page by page: the projections of ten thousand objects are small, the objects are not.
            resources.extend(page.items.into_iter().filter_map(present));
            let text = |member: &str| page.metadata.get(member).and_then(Value::as_str);
            if let Some(token) = text("continue").filter(|token| !token.is_empty()) {
                params.continue_token = Some(token.to_owned());
                continue;
            }
            let version = text("resourceVersion").filter(|version| !version.is_empty());
            return Ok((version.ok_or(Fault::Malformed)?.to_owned(), resources));
        }
    }

    async fn definition(&self) -> Result<Definition, Fault> {
        const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let request = Request::new(PATH).get(definition::NAME, &kube::api::GetParams::default());
        let request = request.map_err(|_| Fault::Malformed)?;
        match within(CALL_DEADLINE, self.client.request_text(request)).await {
            Ok(found) => {
                let found = serde_json::from_str(&found).map_err(|_| Fault::Malformed)?;
                Ok(Definition::judge(&found))
            }
            Err(Fault::Forbidden) => Ok(Definition::Unknown),
            Err(fault) => Err(fault),
        }
    }

    /// One watch to its end, from `version` on, which moves along. Returns what failed, where it did not end in good form.
    async fn watch_from(
        &mut self,
        version: &mut String,
        listed_under: Definition,
    ) -> Result<Option<Fault>, Due> {
        let params = WatchParams::default().timeout(WATCH_TIMEOUT_SECS);
        let request = self.requests.watch(&params, version);
        let request = request.map_err(|_| Fault::Malformed)?;
        let stream = within(CALL_DEADLINE, self.client.request_stream(request)).await;
        let mut lines = match stream {
            Ok(stream) => Box::pin(stream).lines(),
            Err(fault) => return Ok(Some(fault)),
        };
        // Looked at once the watch is open: the API server ends the watches of a definition that changes.
        match self.definition().await {
            Ok(found) if found == listed_under => {}
            Ok(_) => return Err(Fault::Expired.into()),
            Err(fault) => return Ok(Some(fault)),
        }
        self.observed.seen(self.scope);
        // Neither good nor bad until it has said something or lasted: one that ends at once is not opened again at once.
        let mut settled = false;
        let mut lasts = pin!(sleep(SETTLED_AFTER));
        loop {
            let line = tokio::select! {
                line = next(&mut lines) => line,
                _ = self.asked.changed() => return Err(Due::Anew),
                () = &mut lasts, if !settled => {
                    settled = true;
                    self.failures = 0;
                    continue;
                }
            };
            match line {
                Ok(Some(line)) => {
                    self.told(&line, version, listed_under)?;
                    settled = true;
                    self.failures = 0;
                }
                Ok(None) if settled => return Ok(None),
                Ok(None) => return Ok(Some(Fault::Unavailable)),
                Err(fault) => return Ok(Some(fault)),
            }
        }
    }

    /// One line of a watch.
    fn told(&self, line: &str, version: &mut String, under: Definition) -> Result<(), Due> {
        let event: Event = serde_json::from_str(line).map_err(|_| Fault::Malformed)?;
        if event.kind == "ERROR" {
            let code = event.object.get("code").and_then(Value::as_u64);
            let code = code.and_then(|code| code.try_into().ok()).unwrap_or(0);
            return Err(Fault::of_code(code).into());
        }
        let meta = event.object.get("metadata").cloned().unwrap_or_default();
        let at = meta.get("resourceVersion").and_then(Value::as_str);
        let Some(at) = at.filter(|at| !at.is_empty()) else {
            // A bookmark without its version says nothing; an object without one is not what it should be.
            let bookmark = event.kind == "BOOKMARK";
            return if bookmark {
                Ok(())
            } else {
                Err(Fault::Malformed.into())
            };
        };
        let change = match event.kind.as_str() {
            "ADDED" | "MODIFIED" => match project(event.object) {
                Projected::Present(resource) if under == Definition::Prunes => {
                    Change::Applied(Box::new(resource.pruned()))
                }
                Projected::Present(resource) => Change::Applied(resource),
                Projected::Leaving(id) => Change::Deleted(id),
                Projected::Nameless => return Err(Fault::Malformed.into()),
            },
            "DELETED" => Change::Deleted(id_of(&meta).ok_or(Fault::Malformed)?),
            _ => Change::Progress,
        };
        match self.observed.change(self.scope, version_of(&meta), change) {
            Taken::Old => Err(Due::Older),
            Taken::Changed | Taken::Unchanged => {
                at.clone_into(version);
                Ok(())
            }
        }
    }

    /// Says what failed, and waits: ever longer, and as long as the server asks for.
    async fn back_off(&mut self, fault: Fault) {
        // That versions expire is the ordinary course of things: it is gone on with at once, the first time.
        if fault != Fault::Expired || self.failures > 0 {
            self.observed.failed(self.scope, fault);
        }
        let longest = FIRST_BACK_OFF * 2_u32.saturating_pow(self.failures.min(16));
        let wait = longest
            .min(LONGEST_BACK_OFF)
            .mul_f64(0.5 + 0.5 * fastrand::f64());
        self.failures += 1;
        sleep(wait.max(self.answers.patience())).await;
    }
}

impl From<Fault> for Due {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Fault> {
    match timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Fault::of(&error)),
        Err(_) => Err(Fault::Unavailable),
    }
}

/// The next line; none at the end of the stream.
async fn next(lines: &mut Lines<impl AsyncBufRead + Unpin>) -> Result<Option<String>, Fault> {
    match timeout(SILENCE, lines.next()).await {
        Ok(Some(Ok(line))) => Ok(Some(line)),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) | Err(_) => Err(Fault::Unavailable),
    }
}

fn present(object: Value) -> Option<Resource> {
    match project(object) {
        Projected::Present(resource) => Some(*resource),
        Projected::Leaving(_) => None,
        Projected::Nameless => {
            warn!("A list names an object without a name; it is left out");
            None
        }
    }
}

fn id_of(meta: &Value) -> Option<Id> {
    let text = |member: &str| meta.get(member).and_then(Value::as_str).map(str::to_owned);
    Some(Id {
        namespace: text("namespace")?,
        name: text("name")?,
    })
}
