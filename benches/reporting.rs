//! A fleet that reports: 10,000 stores with a name, and what one apply then takes and costs. `make scale` runs it.
//!
//! Every store is the public one, says in etcd under its own lease what it has, and tells this process the moment at which it had taken a
//! revision. So two things can be held side by side: when the condition Applied became True, and when the last store really had the directive.
//! `REPORTING=500` makes it smaller.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::GetOptions;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use osproxy_core::{Clock, Instant, SystemClock};
use osproxy_directives::resource::DiagnosticsDirective;
use serde_json::{Value, json};
use testbed::gateway::{Asked, Gateway};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions, eventually};
use tokio::task::JoinHandle;

mod crowd;
mod goals;
mod machine;

use crowd::{Crowd, inside};
use goals::Goals;

const KEY: &str = "osproxy/directives";
const ROUNDS: usize = 5;
/// What is promised up to 500 proxies, and at 10,000.
const APPLIED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
const PATIENCE: Duration = Duration::from_mins(1);
/// A record of one that was killed stands for its lease, which etcd looks at twice a second.
const LEASE: Duration = Duration::from_secs(65);
fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ran) = inside::run(&args) {
        return ran;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

/// The servers, the operator behind a gateway that counts, and the fleet.
struct Stage {
    many: usize,
    fleet: Crowd,
    api: Api<DynamicObject>,
    gateway: Gateway,
    _operator: Operator,
    etcd: Arc<Etcd>,
    _plane: ControlPlane,
}

async fn measure() -> Result<()> {
    let many: usize = match std::env::var("REPORTING") {
        Ok(many) => many.parse().context("REPORTING is not a number")?,
        Err(_) => 10_000,
    };
    let mut goals = Goals::default();
    let mut stage = Stage::start(many).await?;
    stage.applies(&mut goals).await?;
    stage.rolls(&mut goals).await?;
    stage.ends(&mut goals).await?;
    stage.fleet.stop().await;
    goals.end();
    Ok(())
}

impl Stage {
    async fn start(many: usize) -> Result<Self> {
        let (plane, etcd) =
            tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
        let gateway = Gateway::start(&plane).await?;
        let options = OperatorOptions::new(env!("CARGO_BIN_EXE_osproxy-directives"))
            .api_server(gateway.endpoint());
        let operator = Operator::start(&plane, &etcd, options).await?;
        operator.wait_ready().await?;
        let kind = ApiResource::erase::<DiagnosticsDirective>(&());
        let api = Api::namespaced_with(plane.client(), "default", &kind);
        let etcd = Arc::new(etcd);
        let rate = Rate::watch(&etcd);
        let began = SystemClock.now();
        let mut fleet = Crowd::start(&etcd, inside::REPORTING, many).await?;
        fleet.all_connected(many, Duration::from_mins(5)).await?;
        let stage = Self {
            many,
            fleet,
            api,
            gateway,
            _operator: operator,
            etcd,
            _plane: plane,
        };
        stage.all_report().await?;
        println!(
            "{many} stores in {} processes report {:.1} s after the first was started; etcd took {:.0} writes a second at most",
            stage.fleet.processes(),
            since(began),
            rate.most(stage.span()).await?
        );
        Ok(stage)
    }

    /// The seconds over which writes are averaged: the shortest window of such a fleet.
    fn span(&self) -> usize {
        self.many.div_ceil(500).max(1)
    }

    async fn all_report(&self) -> Result<()> {
        eventually(
            "all of them to report",
            Duration::from_mins(5),
            async || {
                let options = GetOptions::new().with_prefix().with_count_only();
                let below = format!("{KEY}/fleet/");
                let mut client = self.etcd.client().await?;
                let count = client.get(below, Some(options)).await?.count();
                ensure!(count >= i64::try_from(self.many)?, "{count} report");
                Ok(())
            },
        )
        .await
    }

    /// Some directives, one after the other: when each is Applied, when the last store had it, and what that cost.
    async fn applies(&mut self, goals: &mut Goals) -> Result<()> {
        let promised = if self.many <= 500 {
            APPLIED.0
        } else {
            APPLIED.1
        };
        let (mut longest, mut busiest) = (0.0_f64, 0.0_f64);
        for round in 0..ROUNDS {
            let name = format!("d{round}");
            let rate = Rate::watch(&self.etcd);
            let began = SystemClock.now();
            self.create(&name).await?;
            let (status, applied_at) = self.applied(&name).await?;
            let took = since(began);
            let revision = self.document_revision().await?;
            let taken = self.fleet.all_have(revision, self.many, SLACK).await?;
            let last = taken.iter().max().copied().unwrap_or_default();
            ensure!(
                last <= applied_at,
                "Applied was True before the last store had it"
            );
            longest = longest.max(took);
            let most = rate.most(self.span()).await?;
            busiest = busiest.max(most);
            println!(
                "apply → Applied=True {} after {took:.2} s, {:.2} s after the last store had it; {} status writes; etcd took {most:.0} writes a second at most",
                status["applied"],
                (applied_at - last) as f64 / 1e9,
                self.statuses(&name),
            );
        }
        goals.at_most(
            "writes a second on etcd, over the fleet's window",
            busiest,
            500.0,
        );
        goals.at_most(
            "apply → Applied=True, the longest, in seconds",
            longest,
            promised.as_secs_f64(),
        );
        Ok(())
    }

    /// Every process killed and started again, one after the other: no directive says anything new.
    async fn rolls(&mut self, goals: &mut Goals) -> Result<()> {
        let before = self.all_statuses();
        let rate = Rate::watch(&self.etcd);
        let began = SystemClock.now();
        for process in 0..self.fleet.processes() {
            self.fleet.restart(process).await?;
            self.fleet
                .all_connected(self.many, Duration::from_mins(2))
                .await?;
        }
        tokio::time::sleep(LEASE).await;
        // The records of the killed are gone by now.
        self.all_report().await?;
        let statuses = self.all_statuses() - before;
        println!(
            "All {} stores killed and started again, {:.1} s until all report and the old ones are forgotten: {statuses} status writes; etcd took {:.0} writes a second at most",
            self.many,
            since(began),
            rate.most(self.span()).await?
        );
        goals.at_most("status writes of a rolling restart", statuses as f64, 0.0);
        Ok(())
    }

    /// The end of a directive's life: it is taken off, which every store has to say again.
    async fn ends(&mut self, goals: &mut Goals) -> Result<()> {
        let name = "d0";
        self.suspend(name, true).await?;
        self.ready(name, "Suspended").await?;
        goals.at_most(
            "status writes of one directive in its life",
            self.statuses(name) as f64,
            6.0,
        );
        Ok(())
    }

    async fn create(&self, name: &str) -> Result<()> {
        let object = serde_json::from_value(json!({
            "apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective",
            "metadata": {"name": name},
            "spec": {"match": [{"key": "tenant", "value": "acme"}], "level": "Shape", "samplePerMille": 50, "ttl": "1h"},
        }))?;
        self.api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    async fn suspend(&self, name: &str, suspend: bool) -> Result<()> {
        let patch = json!({"spec": {"suspend": suspend}});
        let params = PatchParams::default();
        self.api.patch(name, &params, &Patch::Merge(&patch)).await?;
        Ok(())
    }

    async fn status(&self, name: &str) -> Result<Value> {
        let object = self.api.get(name).await?;
        Ok(object.data["status"].clone())
    }

    /// The status in which Applied is True, and the wall clock's nanosecond when it was seen.
    async fn applied(&self, name: &str) -> Result<(Value, u64)> {
        eventually("Applied", PATIENCE, async || {
            let status = self.status(name).await?;
            ensure!(is(&status, "Applied", "status", "True"), "{status}");
            Ok((status, SystemClock.unix_nanos()))
        })
        .await
    }

    async fn ready(&self, name: &str, reason: &str) -> Result<()> {
        eventually(reason, PATIENCE, async || {
            let status = self.status(name).await?;
            ensure!(is(&status, "Ready", "reason", reason), "{status}");
            ensure!(is(&status, "Applied", "status", "True"), "{status}");
            Ok(())
        })
        .await
    }

    async fn document_revision(&self) -> Result<i64> {
        let answer = self.etcd.client().await?.get(KEY, None).await?;
        Ok(answer.kvs().first().context("no document")?.mod_revision())
    }

    fn statuses(&self, name: &str) -> usize {
        let path = format!("/{name}/status");
        let about = |asked: &Asked| asked.is_status() && asked.path.ends_with(&path);
        self.gateway.asked(about).len()
    }

    fn all_statuses(&self) -> usize {
        self.gateway.asked(Asked::is_status).len()
    }
}

/// How long stores may take to tell this process what they have: they do so once a second.
const SLACK: Duration = Duration::from_secs(10);

fn is(status: &Value, type_: &str, member: &str, word: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut found = conditions.filter(|condition| condition["type"] == type_);
    found.any(|condition| condition[member] == word)
}

/// What etcd has been asked to write, a second at a time: puts, deletions and leases. That the leases of dead stores end is its own doing.
struct Rate {
    counting: JoinHandle<Result<Vec<f64>>>,
    stop: Arc<AtomicBool>,
}

impl Rate {
    fn watch(etcd: &Arc<Etcd>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (etcd, done) = (Arc::clone(etcd), Arc::clone(&stop));
        let counting = tokio::spawn(async move {
            let mut seen = vec![proposals(&etcd).await?];
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            tick.tick().await;
            while !done.load(Ordering::Relaxed) {
                tick.tick().await;
                seen.push(proposals(&etcd).await?);
            }
            Ok(seen)
        });
        Self { counting, stop }
    }

    /// The most writes a second, on average over so many seconds.
    async fn most(self, span: usize) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.counting.await??;
        let within = seen.iter().enumerate().map(|(at, first)| {
            let last = seen[(at + span).min(seen.len() - 1)];
            (last - first) / span as f64
        });
        Ok(within.fold(0.0, f64::max))
    }
}

/// What etcd has applied so far, but for the ends of leases.
async fn proposals(etcd: &Etcd) -> Result<f64> {
    let url = format!("{}/metrics", etcd.member(0).metrics_endpoint());
    let text = testbed::http::get(&url, &[]).await?.success()?;
    let counter = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.next().with_context(|| format!("no {name}"))?;
        Ok::<f64, anyhow::Error>(value.trim().parse()?)
    };
    let ended = counter("etcd_debugging_lease_revoked_total ")?;
    Ok(counter("etcd_server_proposals_applied_total ")? - ended)
}

fn since(began: Instant) -> f64 {
    SystemClock
        .now()
        .saturating_duration_since(began)
        .as_secs_f64()
}
