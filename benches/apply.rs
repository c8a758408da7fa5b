//! From an applied resource to a proxy's answer, beside the floor: what the two servers and plain clients take for the same way.
//!
//! The floor is an API server's commit, its watch event, an etcd lease grant and put, and its watch event, by plain clients with one
//! warm connection each, on the same runtime and in the same profile. Floor and ours alternate in one loop, so that a busy moment of the machine
//! hits both. `APPLIES=300 cargo bench --bench apply` is what `make bench` runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a measurement: it may stop at once, it takes the time, and it writes as it likes"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{LeaseGrantOptions, PutOptions, WatchStream};
use futures::{StreamExt, TryStreamExt};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, PostParams, WatchEvent, WatchParams,
};
use osproxy_core::SystemClock;
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::resource::DiagnosticsDirective;
use osproxy_observe::DirectiveStore;
use serde_json::json;
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions};
use tokio::sync::mpsc;

const KEY: &str = "osproxy/directives";
const SOON: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(bench())
}

/// The times of one way, in milliseconds from the start of the request to the API server.
#[derive(Default)]
struct Way {
    committed: Vec<f64>,
    seen: Vec<f64>,
    stored: Vec<f64>,
    visible: Vec<f64>,
}

async fn bench() -> Result<()> {
    let applies: usize = std::env::var("APPLIES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(300);
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    plane
        .kubectl(&["create", "namespace", "floor"])
        .await?
        .success()?;
    // The operator does not see the floor's resources, which are of the same kind and size.
    let options = OperatorOptions::new(env!("CARGO_BIN_EXE_osproxy-directives"))
        .values(json!({"watch": {"namespaces": ["osproxy-directives"]}}));
    let operator = Operator::start(&plane, &etcd, options).await?;
    operator.wait_ready().await?;
    let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, Arc::new(SystemClock)).await?;
    let mut witness = Witness::new(&plane, &etcd, "osproxy-directives", KEY).await?;
    let mut plain = Witness::new(&plane, &etcd, "floor", "floor").await?;

    let (mut floor, mut ours) = (Way::default(), Way::default());
    for round in 0..applies + 10 {
        let (mut warm, mut up) = (Way::default(), Way::default());
        // The first ten warm everything up.
        let (into_floor, into_ours) = if round < 10 {
            (&mut warm, &mut up)
        } else {
            (&mut floor, &mut ours)
        };
        plain.floor(&etcd, round, into_floor).await?;
        witness.ours(&store, round, into_ours).await?;
    }
    println!(
        "{applies} applies, each beside one of the floor; milliseconds since the request to the API server"
    );
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>9}",
        "", "p50 floor", "p50 ours", "p99 floor", "p99 ours"
    );
    for (step, floor, ours) in [
        (
            "the API server has committed",
            &floor.committed,
            &ours.committed,
        ),
        ("its watch shows it", &floor.seen, &ours.seen),
        (
            "etcd's watch shows the document",
            &floor.stored,
            &ours.stored,
        ),
        ("visible", &floor.visible, &ours.visible),
    ] {
        println!(
            "{step:34} {:9.2} {:9.2} {:9.2} {:9.2}",
            at(floor, 50),
            at(ours, 50),
            at(floor, 99),
            at(ours, 99)
        );
    }
    let ratio = |percent| at(&ours.visible, percent) / at(&floor.visible, percent);
    println!(
        "visible, ours to floor: p50 {:.2} (goal 1.25), p99 {:.2} (goal 1.50)",
        ratio(50),
        ratio(99)
    );
    Ok(())
}

fn at(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Plain clients of both servers: one that writes, and a watch on each.
struct Witness {
    api: Api<DynamicObject>,
    added: mpsc::UnboundedReceiver<Instant>,
    changed: mpsc::UnboundedReceiver<Instant>,
    etcd: etcd_client::Client,
}

impl Witness {
    async fn new(plane: &ControlPlane, etcd: &Etcd, namespace: &str, key: &str) -> Result<Self> {
        let kind = ApiResource::erase::<DiagnosticsDirective>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(plane.client(), namespace, &kind);
        let listed = api.list(&kube::api::ListParams::default()).await?;
        let from = listed.metadata.resource_version.unwrap_or_default();
        let watch = api.watch(&WatchParams::default(), &from).await?;
        let (tell, added) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut watch = watch.boxed();
            while let Ok(Some(event)) = watch.try_next().await {
                if let WatchEvent::Added(_) = event {
                    let _ = tell.send(Instant::now());
                }
            }
        });
        let mut client = etcd.client().await?;
        let watch: WatchStream = client.watch(key, None).await?;
        let (tell, changed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut watch = watch;
            while let Ok(Some(message)) = watch.message().await {
                let puts = message
                    .events()
                    .iter()
                    .filter(|e| e.kv().is_some_and(|kv| !kv.value().is_empty()));
                for _ in puts {
                    let _ = tell.send(Instant::now());
                }
            }
        });
        Ok(Self {
            api,
            added,
            changed,
            etcd: client,
        })
    }

    async fn create(&mut self, round: usize) -> Result<(Instant, f64)> {
        while self.added.try_recv().is_ok() || self.changed.try_recv().is_ok() {}
        let object = serde_json::from_value(json!({
            "apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective",
            "metadata": {"name": format!("bench-{round}")},
            "spec": {"match": [{"key": "tenant", "value": "acme"}], "level": "Shape", "samplePerMille": 50, "ttl": "1h"},
        }))?;
        let start = Instant::now();
        self.api.create(&PostParams::default(), &object).await?;
        Ok((start, ms(start.elapsed())))
    }

    async fn floor(&mut self, etcd: &Etcd, round: usize, way: &mut Way) -> Result<()> {
        let _ = etcd;
        let (start, committed) = self.create(round).await?;
        let seen = next(&mut self.added).await?;
        let lease = i64::try_from(round)? + 1;
        let options = LeaseGrantOptions::new().with_id(lease);
        self.etcd.lease_grant(3_600, Some(options)).await?;
        let body = json!({"directives": [{"id": format!("default/bench-{round}"), "level": "Shape", "ttl_secs": 3600, "tenant": "acme", "sample_per_mille": 50}]});
        self.etcd
            .put(
                "floor",
                body.to_string(),
                Some(PutOptions::new().with_lease(lease)),
            )
            .await?;
        let stored = next(&mut self.changed).await?;
        way.committed.push(committed);
        way.seen.push(ms(seen - start));
        way.stored.push(ms(stored - start));
        way.visible.push(ms(stored - start));
        self.delete(round).await
    }

    async fn ours(
        &mut self,
        store: &EtcdDirectiveStore,
        round: usize,
        way: &mut Way,
    ) -> Result<()> {
        let mut changes = store.changed();
        let (start, committed) = self.create(round).await?;
        while store.load().is_empty() {
            ensure!(
                tokio::time::timeout(SOON, changes.next())
                    .await
                    .context("nothing became visible")?
            );
        }
        let visible = Instant::now();
        let seen = next(&mut self.added).await?;
        let stored = next(&mut self.changed).await?;
        way.committed.push(committed);
        way.seen.push(ms(seen - start));
        way.stored.push(ms(stored - start));
        way.visible.push(ms(visible - start));
        self.delete(round).await?;
        while !store.load().is_empty() {
            ensure!(
                tokio::time::timeout(SOON, changes.next())
                    .await
                    .context("it did not go away")?
            );
        }
        // The next change comes after quiet: the status of this one is written, and the spacing of writes is over.
        tokio::time::sleep(Duration::from_millis(150)).await;
        Ok(())
    }

    async fn delete(&mut self, round: usize) -> Result<()> {
        self.api
            .delete(&format!("bench-{round}"), &DeleteParams::default())
            .await?;
        Ok(())
    }
}

async fn next(times: &mut mpsc::UnboundedReceiver<Instant>) -> Result<Instant> {
    let next = tokio::time::timeout(SOON, times.recv())
        .await
        .context("no event")?;
    next.context("a watch ended")
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
