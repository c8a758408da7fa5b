//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch as channel;
use tracing::warn;

use super::answers::Answers;
use super::metrics::{Metrics, OwnerFault};
use super::observe::Observed;
use super::publish::owner::{Owner, Ownership};
use super::publish::{Held, KeyState, Outcome};
use crate::etcd::Fault;

/// What decides whether this replica is ready. A replica that does not lead is ready too: it could take over.
#[derive(Clone)]
pub(super) struct Health {
    observed: Arc<Observed>,
    answers: Arc<Answers>,
    seen: channel::Receiver<Result<KeyState, Fault>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    owner: Option<Owner>,
    outcome: Option<Outcome>,
}

impl Health {
    pub(super) fn new(
        observed: Arc<Observed>,
        answers: Arc<Answers>,
        seen: channel::Receiver<Result<KeyState, Fault>>,
    ) -> Self {
        Self {
            observed,
            answers,
            seen,
            known: Arc::default(),
        }
    }

    pub(super) fn set_owner(&self, owner: Owner) {
        self.known().owner = Some(owner);
    }

    pub(super) fn set_outcome(&self, outcome: Option<Outcome>) {
        self.known().outcome = outcome;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this replica cannot see the keys in etcd.
    fn etcd_fault(&self) -> Option<Fault> {
        self.seen.borrow().as_ref().err().copied()
    }

    /// What the owner key says against this release.
    fn owner_fault(&self) -> Option<OwnerFault> {
        let known = self.known();
        let seen = self.seen.borrow();
        let stored = seen.as_ref().ok()?.owner.as_ref();
        match known.owner.as_ref()?.judge(stored) {
            Ownership::Theirs(_) => Some(OwnerFault::OwnedByAnother),
            Ownership::Unreadable => Some(OwnerFault::Unreadable),
            Ownership::Ours { .. } | Ownership::Nobody => None,
        }
    }

    /// Each check with its verdict: `Ok`, or why not.
    fn checks(&self) -> [(&'static str, Result<(), String>); 3] {
        let resources = match self.observed.fault() {
            None => Ok(()),
            Some(fault) => Err(fault.slug().to_owned()),
        };
        let known = self.known();
        let (etcd, owner) = match &*self.seen.borrow() {
            Err(fault) => (Err(fault.slug().to_owned()), Ok(())),
            Ok(state) => {
                let owner = match known
                    .owner
                    .as_ref()
                    .map(|us| us.judge(state.owner.as_ref()))
                {
                    None => Err("cluster_unknown".to_owned()),
                    Some(Ownership::Theirs(other)) => Err(format!(
                        "owned_by_another: release {} of cluster {}",
                        other.release, other.cluster
                    )),
                    Some(Ownership::Unreadable) => Err("owner_unreadable".to_owned()),
                    Some(Ownership::Nobody) if state.document.is_some() => {
                        Err(Held::ForeignValue.slug().to_owned())
                    }
                    Some(Ownership::Ours { .. } | Ownership::Nobody) => Ok(()),
                };
                (Ok(()), owner)
            }
        };
        [("resources", resources), ("etcd", etcd), ("owner", owner)]
    }
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, health: Health, metrics: Arc<Metrics>) {
    let router = Router::new()
        // Alive is whoever answers: neither server's trouble is a reason to restart this process.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(health.clone())
        .route(
            "/metrics",
            get(move || std::future::ready(exposition(&health, &metrics))),
        );
    if let Err(error) = axum::serve(listener, router).await {
        warn!(%error, "Cannot serve health and metrics any more");
    }
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let checks = health.checks();
    let status = if checks.iter().all(|(_, verdict)| verdict.is_ok()) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let lines = checks.map(|(name, verdict)| match verdict {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(why) => format!("[-]{name} failed: {why}\n"),
    });
    (status, lines.concat())
}

fn exposition(health: &Health, metrics: &Metrics) -> axum::response::Response {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    metrics.observed(&health.observed, &health.answers);
    metrics.keys_seen(health.etcd_fault(), health.owner_fault());
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
