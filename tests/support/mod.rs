//! What the promises' tests share: the whole line on real servers, and looks at each end of it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "each test binary compiles this file for itself and uses a part of it; it is a test, and no clock of the crate is in it"
)]

pub mod faults;
pub mod sampler;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use osproxy_core::{
    Clock, EndpointKind, Instant, PartitionId, PrincipalId, RequestId, SystemClock,
};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::document::{Accepted, DatedEntry, Publication};
use osproxy_observe::{DiagLevel, DirectiveStore, RequestAttrs};
use serde_json::{Value, json};
use testbed::deadline::eventually;
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions};

/// The key that the chart's default values name.
pub const KEY: &str = "osproxy/directives";
/// Long enough for anything that should take seconds, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(30);

/// The operator's binary: the one that `TESTBED_OPERATOR` names, such as the image's, or as cargo built it for this test.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("TESTBED_OPERATOR").filter(|named| !named.is_empty());
    named.map_or_else(
        || env!("CARGO_BIN_EXE_osproxy-directives").into(),
        PathBuf::from,
    )
}

/// A control plane, an etcd for the document, and an operator installed by the chart.
pub struct Line {
    pub operator: Operator,
    pub etcd: Etcd,
    pub plane: ControlPlane,
}

impl Line {
    /// Starts everything and waits until the operator is ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(EtcdOptions::new(), options()).await
    }

    pub async fn start_with(etcd: EtcdOptions, options: OperatorOptions) -> Result<Self> {
        Self::start_on(Etcd::start(etcd).await?, options).await
    }

    /// On an etcd that is there, for options that name the way to it.
    pub async fn start_on(etcd: Etcd, options: OperatorOptions) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let operator = Operator::start(&plane, &etcd, options).await?;
        operator.wait_ready().await?;
        Ok(Self {
            operator,
            etcd,
            plane,
        })
    }

    /// Applies a manifest as a person would.
    pub async fn apply(&self, manifest: &Value) -> Result<String> {
        let input = manifest.to_string();
        let args = ["apply", "--server-side", "-f", "-"];
        self.plane
            .kubectl_with_input(&args, &input)
            .await?
            .success()
    }

    pub async fn delete(&self, name: &str) -> Result<String> {
        self.plane
            .kubectl(&["delete", "diag", name, "--wait=false"])
            .await?
            .success()
    }

    /// The status of a resource in the default namespace.
    pub async fn status(&self, name: &str) -> Result<Value> {
        let path =
            format!("/apis/osproxy.io/v1alpha1/namespaces/default/diagnosticsdirectives/{name}");
        let resource: Value = serde_json::from_str(&self.plane.get(&path).await?)?;
        Ok(resource["status"].clone())
    }

    /// Waits until a resource is in `state`.
    pub async fn state(&self, name: &str, state: &str) -> Result<Value> {
        eventually(&format!("{name} to be {state}"), SOON, async || {
            let status = self.status(name).await?;
            ensure!(status["state"] == state, "it is {status}");
            Ok(status)
        })
        .await
    }

    pub async fn document(&self) -> Result<Option<Document>> {
        document(&self.etcd).await
    }

    /// Waits until the document's ids are exactly these.
    pub async fn ids(&self, expected: &[&str]) -> Result<Option<Document>> {
        eventually(&format!("the key to hold {expected:?}"), SOON, async || {
            let document = self.document().await?;
            let ids = document.iter().flat_map(Document::ids).collect::<Vec<_>>();
            ensure!(ids == expected, "it holds {ids:?}");
            Ok(document)
        })
        .await
    }
}

/// The etcds that a promise about etcd is tested on: the newest alone, and the oldest that is supported with three members.
pub fn etcds() -> [EtcdOptions; 2] {
    [
        EtcdOptions::new(),
        EtcdOptions::new().version("3.5").members(3),
    ]
}

/// The operator as the tests install it.
pub fn options() -> OperatorOptions {
    OperatorOptions::new(binary())
}

/// A document as a plain etcd client reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub bytes: Vec<u8>,
    pub mod_revision: i64,
    pub lease: i64,
}

impl Document {
    /// The ids in it; of a value that is no document, why not.
    pub fn ids(&self) -> Vec<String> {
        match Accepted::from_bytes(&self.bytes) {
            Ok(accepted) => accepted
                .entries()
                .iter()
                .map(|r| r.entry.id.clone())
                .collect(),
            Err(refusal) => vec![format!("<{refusal}>")],
        }
    }

    pub fn publication(&self) -> Publication {
        Publication::from_lease_id(self.lease).expect("a publication's lease")
    }

    pub fn dated(&self) -> Vec<DatedEntry> {
        Accepted::from_bytes(&self.bytes)
            .expect("our own document")
            .dated(self.publication())
    }

    /// The end of one entry, in whole seconds since the epoch.
    pub fn end_secs(&self, id: &str) -> u64 {
        let dated = self.dated();
        let entry = dated.iter().find(|dated| dated.entry.id == id);
        entry.unwrap_or_else(|| panic!("no {id}")).end_secs
    }
}

/// Reads the document with a plain client.
pub async fn document(etcd: &Etcd) -> Result<Option<Document>> {
    let mut client = etcd.client().await?;
    let get = tokio::time::timeout(Duration::from_secs(5), client.get(KEY, None));
    let answer = get.await.context("etcd did not answer")??;
    Ok(answer.kvs().first().map(|kv| Document {
        bytes: kv.value().to_vec(),
        mod_revision: kv.mod_revision(),
        lease: kv.lease(),
    }))
}

/// Puts a value at the key as a person with a client does; returns its revision. Lease 0 is none.
pub async fn put_by_hand(etcd: &Etcd, value: &str, lease: i64) -> Result<i64> {
    let mut client = etcd.client().await?;
    let options = etcd_client::PutOptions::new().with_lease(lease);
    let answer = client.put(KEY, value, Some(options)).await?;
    Ok(answer.header().context("no header")?.revision())
}

/// A store on the document of `etcd`, as a proxy embeds it.
pub async fn store(etcd: &Etcd, clock: Arc<dyn Clock>) -> Result<EtcdDirectiveStore> {
    Ok(EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock).await?)
}

/// Whether `store` traces a request of tenant `acme` at `now`.
pub fn traces(store: &EtcdDirectiveStore, now: Instant) -> bool {
    let (tenant, principal) = (PartitionId::from("acme"), PrincipalId::from("svc"));
    let request = RequestAttrs {
        tenant: Some(&tenant),
        index: "orders",
        principal: &principal,
        endpoint: EndpointKind::Search,
    };
    let id = RequestId::from("r-1");
    let decided = store.decide(&request, now, &id).level;
    assert_eq!(
        decided,
        store.load().evaluate(&request, now, &id),
        "the two ways to ask"
    );
    decided != DiagLevel::Off
}

/// Clocks that a test sets: the wall may be wrong, and a process may be young.
pub struct SkewedClock {
    wall_ahead_nanos: i64,
    started: Instant,
}

impl SkewedClock {
    /// A process that starts now, on a machine whose wall clock is ahead by so many seconds, or behind.
    pub fn new(wall_ahead_secs: i64) -> Arc<Self> {
        Arc::new(Self {
            wall_ahead_nanos: wall_ahead_secs * 1_000_000_000,
            started: SystemClock.now(),
        })
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Instant {
        let age = SystemClock.now().saturating_duration_since(self.started);
        osproxy_core::ManualClock::new().now().saturating_add(age)
    }

    fn unix_nanos(&self) -> u64 {
        SystemClock
            .unix_nanos()
            .saturating_add_signed(self.wall_ahead_nanos)
    }
}

/// Publishes by hand exactly as an operator does: under a publication's lease, which ends with the last directive.
pub async fn publish_by_hand(etcd: &Etcd, id: &str, ttl_secs: u64, age_secs: u64) -> Result<u64> {
    // Before the second is read: the lease is to be granted in that very second.
    let mut client = etcd.client().await?;
    let second = now_secs() - age_secs;
    let publication = Publication::new(second, fastrand::u16(..)).context("a second")?;
    let lease_secs = i64::try_from(ttl_secs - age_secs)?;
    let options = etcd_client::LeaseGrantOptions::new().with_id(publication.lease_id());
    client.lease_grant(lease_secs, Some(options)).await?;
    let body = json!({"directives": [{"id": id, "level": "Shape", "ttl_secs": ttl_secs, "tenant": "acme"}]});
    put_by_hand(etcd, &body.to_string(), publication.lease_id()).await?;
    Ok(second + ttl_secs)
}

/// A good directive in the default namespace, for one tenant.
pub fn directive(name: &str, ttl: &str) -> Value {
    json!({
        "apiVersion": "osproxy.io/v1alpha1",
        "kind": "DiagnosticsDirective",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "match": [{ "key": "tenant", "value": "acme" }],
            "level": "ShapeTiming",
            "samplePerMille": 1000,
            "ttl": ttl,
        },
    })
}

/// The wall clock's whole second.
pub fn now_secs() -> u64 {
    SystemClock.unix_nanos() / 1_000_000_000
}

/// Measures how long something took.
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(SystemClock.now())
    }

    pub fn elapsed(&self) -> Duration {
        SystemClock.now().saturating_duration_since(self.0)
    }

    /// Fails where more than `bound` has passed.
    pub fn within(&self, bound: Duration, what: &str) -> Result<()> {
        let took = self.elapsed();
        ensure!(
            took <= bound,
            "{what} took {took:?}, at most {bound:?} is promised"
        );
        Ok(())
    }
}

/// Fails where more than `bound` has passed, and writes the fault's line of the table otherwise.
pub fn seen(number: &str, what: &str, bound: Duration, since: &Stopwatch) -> Result<()> {
    since.within(bound, what)?;
    faults::line(number, what, bound, since.elapsed(), "");
    Ok(())
}

/// One condition of a status, as `True/Reason`.
pub fn condition(status: &Value, type_: &str) -> Result<String> {
    let conditions = status["conditions"].as_array().context("no conditions")?;
    let found = conditions.iter().find(|c| c["type"] == type_);
    let found = found.ok_or_else(|| anyhow!("no condition {type_} in {status}"))?;
    let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Ok(format!("{}/{}", word("status"), word("reason")))
}
