//! The watches, one a scope, and what they have seen together.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{Notify, watch as channel};
use tracing::{info, warn};

use super::{Change, Id, Inventory, Resource, project};
use crate::resource::DiagnosticsDirective;

/// Which namespaces are watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// One.
    Namespace(String),
}

/// Why the API server's resources cannot be seen.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Nothing has been listed yet.
    NotListed,
    /// The API server does not serve the resource: the CRD is missing.
    ResourceUnknown,
    /// The ServiceAccount may not list or watch it.
    Forbidden,
    /// The credentials are not taken.
    Unauthorized,
    /// No usable answer.
    Unavailable,
}

impl Fault {
    /// The stable slug that metrics, logs and `/readyz` share.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::NotListed => "kube_not_listed",
            Self::ResourceUnknown => "kube_resource_unknown",
            Self::Forbidden => "kube_forbidden",
            Self::Unauthorized => "kube_unauthorized",
            Self::Unavailable => "kube_unavailable",
        }
    }

    fn of(error: &watcher::Error) -> Self {
        use kube::Error::Api;
        let (watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error)) = error
        else {
            return Self::Unavailable;
        };
        match error {
            Api(status) if status.is_forbidden() => Self::Forbidden,
            Api(status) if status.is_not_found() => Self::ResourceUnknown,
            Api(status) if status.code == 401 => Self::Unauthorized,
            _ => Self::Unavailable,
        }
    }
}

/// How long the API server may hold a watch open. kube-runtime notices a dead connection 5 s after that, with its default after 295 s.
const WATCH_TIMEOUT_SECS: u32 = 60;
/// Everything is listed anew this often: kube-runtime keeps retrying one resourceVersion for ever when
/// a watch is refused with HTTP 410 (kube-rs/kube#1042), and resourceVersions go back when a cluster is restored (kubernetes/kubernetes#107457).
const RELIST_EVERY: Duration = Duration::from_mins(5);
/// After so many errors in a row a watch is started over with a list of its own.
const ERRORS_BEFORE_RELIST: u32 = 4;

#[derive(Debug)]
struct ScopeState {
    inventory: Inventory,
    fault: Option<Fault>,
}

/// What all watches have seen; shared by whoever plans.
#[derive(Debug)]
pub struct Observed {
    scopes: Mutex<Vec<ScopeState>>,
    changes: channel::Sender<u64>,
    relist: Notify,
}

impl Observed {
    fn new(scopes: usize) -> Self {
        let state = || ScopeState {
            inventory: Inventory::default(),
            fault: Some(Fault::NotListed),
        };
        Self {
            scopes: Mutex::new(std::iter::repeat_with(state).take(scopes).collect()),
            changes: channel::Sender::new(0),
            relist: Notify::new(),
        }
    }

    /// Wakes at every change.
    #[must_use]
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The resources of all scopes; `None` before each of them has been listed once.
    #[must_use]
    pub fn resources(&self) -> Option<BTreeMap<Id, Arc<Resource>>> {
        let scopes = self.lock();
        if scopes
            .iter()
            .any(|scope| scope.inventory.completed_lists() == 0)
        {
            return None;
        }
        let mut all = BTreeMap::new();
        for scope in &*scopes {
            let resources = scope.inventory.resources().iter();
            all.extend(resources.map(|(id, resource)| (id.clone(), Arc::clone(resource))));
        }
        Some(all)
    }

    /// How many lists every scope has completed at least.
    #[must_use]
    pub fn completed_lists(&self) -> u64 {
        let scopes = self.lock();
        let lists = scopes.iter().map(|scope| scope.inventory.completed_lists());
        lists.min().unwrap_or_default()
    }

    /// Why a scope cannot be seen at the moment, if one cannot. What was seen before stays.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.lock().iter().find_map(|scope| scope.fault)
    }

    /// Asks every watch to start over with a list.
    pub fn relist(&self) {
        self.relist.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ScopeState>> {
        // Nothing panics while it holds the lock; and what it guards is valid at every step.
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, scope: usize, change: Change) {
        let mut woken = false;
        if let Some(state) = self.lock().get_mut(scope) {
            state.fault = match state.inventory.completed_lists() {
                0 if change != Change::ListCompleted => state.fault,
                _ => None,
            };
            woken = state.inventory.apply(change);
        }
        if woken {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    fn failed(&self, scope: usize, fault: Fault) -> bool {
        let mut scopes = self.lock();
        let Some(state) = scopes.get_mut(scope) else {
            return false;
        };
        state.fault.replace(fault) != Some(fault)
    }
}

/// Starts a watch for every scope. They run until `tasks` is dropped.
pub fn observe(
    client: &kube::Client,
    scopes: &[Scope],
    tasks: &mut tokio::task::JoinSet<()>,
) -> Arc<Observed> {
    let observed = Arc::new(Observed::new(scopes.len()));
    for (index, scope) in scopes.iter().enumerate() {
        let resource = ApiResource::erase::<DiagnosticsDirective>(&());
        let api: Api<DynamicObject> = match scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespace(name) => Api::namespaced_with(client.clone(), name, &resource),
        };
        tasks.spawn(follow(api, Arc::clone(&observed), index));
    }
    observed
}

/// Lists and watches one scope, over and over.
async fn follow(api: Api<DynamicObject>, observed: Arc<Observed>, scope: usize) {
    loop {
        let config = watcher::Config::default().timeout(WATCH_TIMEOUT_SECS);
        let mut events = pin!(watcher(api.clone(), config).default_backoff());
        let mut until_relist = pin!(tokio::time::sleep(
            RELIST_EVERY.mul_f64(0.8 + 0.4 * fastrand::f64())
        ));
        let mut errors = 0;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut until_relist => break,
                () = observed.relist.notified() => break,
            };
            match event {
                Some(Ok(event)) => {
                    errors = 0;
                    observed.change(scope, change(event));
                }
                Some(Err(error)) => {
                    errors += 1;
                    let fault = Fault::of(&error);
                    if observed.failed(scope, fault) {
                        warn!(reason = fault.slug(), "Cannot watch the resources");
                    }
                    if errors >= ERRORS_BEFORE_RELIST {
                        break;
                    }
                }
                None => break,
            }
        }
        if errors > 0 {
            info!("Starting the watch over with a list");
            tokio::time::sleep(Duration::from_secs(1).mul_f64(1.0 + 4.0 * fastrand::f64())).await;
        }
    }
}

fn change(event: watcher::Event<DynamicObject>) -> Change {
    use watcher::Event;
    match event {
        Event::Init => Change::ListStarted,
        // One that is being deleted counts as absent: it is not put into the list.
        Event::InitApply(object) => {
            project(&object).map_or_else(|| deleted(&object), |r| Change::Listed(Box::new(r)))
        }
        Event::InitDone => Change::ListCompleted,
        Event::Apply(object) => {
            project(&object).map_or_else(|| deleted(&object), |r| Change::Applied(Box::new(r)))
        }
        Event::Delete(object) => deleted(&object),
    }
}

fn deleted(object: &DynamicObject) -> Change {
    Change::Deleted(Id {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    })
}
