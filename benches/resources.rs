//! Ten thousand resources, applied as fast as a real API server takes them, and taken away again. `make scale` runs it.
//!
//! What is measured: how far the document is behind the API server, what that costs etcd, how much memory the operator takes, how long
//! the statuses take, and that all is quiet afterwards. `RESOURCES=1000` makes it smaller.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a measurement: it may stop at once, it takes the time, and it writes as it likes"
)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use osproxy_directives::resource::DiagnosticsDirective;
use serde_json::{Value, json};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions, eventually};
use tokio::sync::watch;

mod goals;
mod machine;

use goals::Goals;
use machine::{busy_seconds, mib};

const KEY: &str = "osproxy/directives";
/// As many requests at a time as keep the API server busy.
const AT_ONCE: usize = 32;
const QUIET: Duration = Duration::from_mins(1);

/// How many resources the operator asks for at a time.
const PAGE: usize = 500;
/// Longer than the operator waits before it lists without a reason.
const LISTS_AGAIN: Duration = Duration::from_secs(400);

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let many: usize = match std::env::var("RESOURCES") {
        Ok(many) => many.parse().context("RESOURCES is not a number")?,
        Err(_) => 10_000,
    };
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let options = OperatorOptions::new(env!("CARGO_BIN_EXE_osproxy-directives"))
        .values(json!({"extraArgs": ["--max-directives=20000", "--max-document-bytes=1500000"]}));
    let operator = Operator::start(&plane, &etcd, options).await?;
    operator.wait_ready().await?;
    let bench = Bench {
        api: Api::default_namespaced_with(
            plane.client(),
            &ApiResource::erase::<DiagnosticsDirective>(&()),
        ),
        document: follow(&etcd).await?,
        many,
        operator,
    };
    let mut goals = Goals::default();
    bench.come(&mut goals).await?;
    bench.relist(&plane, &mut goals).await?;
    bench.go(&mut goals).await?;
    bench.quiet(&etcd, &mut goals).await?;
    goals.end();
    Ok(())
}

/// What a plain watch of the key has shown.
#[derive(Clone, Default)]
struct Document {
    directives: usize,
    since: Option<Instant>,
    writes: usize,
    bytes: usize,
}

struct Bench {
    api: Api<DynamicObject>,
    document: watch::Receiver<Document>,
    many: usize,
    operator: Operator,
}

impl Bench {
    async fn come(&self, goals: &mut Goals) -> Result<()> {
        let began = Instant::now();
        futures::stream::iter(0..self.many)
            .map(|number| self.create(number))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let created = began.elapsed();
        let settled = self.settles(began, self.many).await?;
        self.tell("created", created, settled);
        goals.at_most(
            "the last one is published, to the last create",
            ratio(settled, created),
            1.1,
        );
        let writes = self.document.borrow().clone();
        within_pace("coming", &writes, settled, goals);

        let statuses = self.statuses();
        let beside = self.published_beside();
        let (written, beside) = tokio::try_join!(statuses, beside)?;
        println!(
            "  one more beside the statuses is published {:.2} s after its create",
            beside.as_secs_f64()
        );
        // A second is what the pace leaves between two documents of a mebibyte.
        goals.at_most(
            "a publication beside the statuses, in seconds",
            beside.as_secs_f64(),
            2.0,
        );
        println!(
            "  every status written {:.1} s after that",
            written.as_secs_f64()
        );
        goals.at_most(
            "statuses written after the last publication, in seconds",
            written.as_secs_f64(),
            120.0,
        );
        Ok(())
    }

    /// The most that the operator needs for it: a list of everything beside what it knows.
    async fn relist(&self, plane: &ControlPlane, goals: &mut Goals) -> Result<()> {
        let before = mib(self.pid()?, "VmHWM")?;
        let pages = lists(plane)?;
        plane.api_server().kill()?;
        plane.restart_api_server().await?;
        // The operator lists anew when its watch broke, and within 6 minutes by itself, whatever the watch says.
        eventually("a list of everything", LISTS_AGAIN, async || {
            let now = lists(plane)?;
            let expected = pages + self.many.div_ceil(PAGE);
            ensure!(now >= expected, "{now} pages listed, and {pages} before");
            Ok(())
        })
        .await?;
        // What was listed replaces what was known, which is the moment at which both are there.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = mib(self.pid()?, "VmHWM")?;
        let now = mib(self.pid()?, "VmRSS")?;
        println!(
            "The operator's memory: {before:.0} MiB at most, {after:.0} MiB with a list of all, {now:.0} MiB now"
        );
        goals.at_most("the operator's memory at its most, in MiB", after, 128.0);
        Ok(())
    }

    async fn go(&self, goals: &mut Goals) -> Result<()> {
        let before = self.document.borrow().clone();
        let began = Instant::now();
        futures::stream::iter(0..self.many)
            .map(|number| self.delete(number))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let deleted = began.elapsed();
        let settled = self.settles(began, 0).await?;
        self.tell("deleted", deleted, settled);
        goals.at_most(
            "the last one is withdrawn, to the last deletion",
            ratio(settled, deleted),
            1.1,
        );
        let after = self.document.borrow().clone();
        let writes = Document {
            writes: after.writes - before.writes,
            bytes: after.bytes - before.bytes,
            ..after
        };
        within_pace("going", &writes, settled, goals);
        Ok(())
    }

    /// After all that: no write to either server but leases, and next to no work.
    async fn quiet(&self, etcd: &Etcd, goals: &mut Goals) -> Result<()> {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (busy, revision, reports) = (
            busy_seconds(self.pid()?)?,
            revision(etcd).await?,
            self.reports().await?,
        );
        tokio::time::sleep(QUIET).await;
        let share = 100.0 * (busy_seconds(self.pid()?)? - busy) / QUIET.as_secs_f64();
        let etcd_writes = revision_since(etcd, revision).await?;
        let reports = self.reports().await? - reports;
        println!(
            "A quiet minute: {share:.2} % of a core, {etcd_writes} writes to etcd, {reports} to the API server"
        );
        goals.at_most(
            "work while nothing changes, in percent of a core",
            share,
            0.5,
        );
        goals.at_most(
            "writes to etcd while nothing changes",
            etcd_writes as f64,
            0.0,
        );
        goals.at_most(
            "writes to the API server while nothing changes",
            reports,
            0.0,
        );
        Ok(())
    }

    async fn create(&self, number: usize) -> Result<()> {
        let object = serde_json::from_value(json!({
            "apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective",
            "metadata": {"name": format!("d-{number}")},
            "spec": {"match": [{"key": "tenant", "value": format!("tenant-{number}")}], "level": "Shape", "samplePerMille": 50, "ttl": "4h"},
        }))?;
        self.api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    async fn delete(&self, number: usize) -> Result<()> {
        self.api
            .delete(&format!("d-{number}"), &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// How long one more takes from its create to the document, while the statuses of all the others are written.
    async fn published_beside(&self) -> Result<Duration> {
        let began = Instant::now();
        self.create(self.many).await?;
        let settled = self.settles(began, self.many + 1).await?;
        self.delete(self.many).await?;
        self.settles(began, self.many).await?;
        Ok(settled)
    }

    /// When the document held so many, since `began`.
    async fn settles(&self, began: Instant, directives: usize) -> Result<Duration> {
        let mut document = self.document.clone();
        let settled =
            document.wait_for(|document| document.directives == directives && document.writes > 0);
        let settled = tokio::time::timeout(Duration::from_mins(2), settled).await;
        let settled =
            settled.with_context(|| format!("the document does not hold {directives}"))??;
        Ok(settled.since.map_or(Duration::ZERO, |since| {
            since.saturating_duration_since(began)
        }))
    }

    /// How long from now until every resource has a status of its own generation.
    async fn statuses(&self) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let mut without = 0;
            let mut page = ListParams::default().limit(2_000);
            loop {
                let list = self.api.list(&page).await?;
                without += list
                    .items
                    .iter()
                    .filter(|object| !is_published(object))
                    .count();
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
            if without == 0 {
                return Ok(began.elapsed());
            }
            ensure!(
                began.elapsed() < Duration::from_mins(10),
                "{without} have no status yet"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn tell(&self, what: &str, servers: Duration, settled: Duration) {
        let Document { writes, bytes, .. } = self.document.borrow().clone();
        println!(
            "{} resources {what} in {:.1} s; the document says so after {:.1} s, with {writes} writes of {:.1} MiB together so far",
            self.many,
            servers.as_secs_f64(),
            settled.as_secs_f64(),
            bytes as f64 / 1_048_576.0
        );
    }

    fn pid(&self) -> Result<u32> {
        self.operator
            .replica(0)
            .process()
            .id()
            .context("the operator runs")
    }

    async fn reports(&self) -> Result<f64> {
        let metrics = self.operator.replica(0).metrics().await?;
        let of = |name: &str| -> f64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or_default()
        };
        Ok(of("osproxy_directives_status_writes_total") + of("osproxy_directives_events_total"))
    }
}

/// Writes are bounded by time and by bytes, however many resources they are about: ten a second, and a mebibyte a second.
/// How many pages of resources anybody but us was sent.
fn lists(plane: &ControlPlane) -> Result<usize> {
    let all = plane.audited("")?;
    let lists = all
        .iter()
        .filter(|audited| audited.verb == "list" && audited.resource == "diagnosticsdirectives");
    Ok(lists.count())
}

fn within_pace(what: &str, writes: &Document, time: Duration, goals: &mut Goals) {
    const MIB: f64 = 1_048_576.0;
    let seconds = time.as_secs_f64();
    // The first goes out at once, and each waits for what went before it.
    let first = 1.0 / seconds;
    goals.at_most(
        &format!("{what}: writes to etcd a second"),
        writes.writes as f64 / seconds,
        10.0 + first,
    );
    goals.at_most(
        &format!("{what}: MiB into etcd a second"),
        writes.bytes as f64 / MIB / seconds,
        1.0 + 1.5 * first,
    );
}

fn is_published(object: &DynamicObject) -> bool {
    object.data.pointer("/status/state").and_then(Value::as_str) == Some("Active")
}

fn ratio(ours: Duration, floor: Duration) -> f64 {
    ours.as_secs_f64() / floor.as_secs_f64()
}

async fn follow(etcd: &Etcd) -> Result<watch::Receiver<Document>> {
    let (tell, document) = watch::channel(Document::default());
    let mut events = etcd.client().await?.watch(KEY, None).await?;
    tokio::spawn(async move {
        while let Ok(Some(message)) = events.message().await {
            for kv in message.events().iter().filter_map(etcd_client::Event::kv) {
                let directives = kv
                    .value()
                    .windows(5)
                    .filter(|part| part == br#""id":"#)
                    .count();
                tell.send_modify(|document| {
                    document.directives = directives;
                    document.since = Some(Instant::now());
                    document.writes += 1;
                    document.bytes += kv.value().len();
                });
            }
        }
    });
    Ok(document)
}

async fn revision(etcd: &Etcd) -> Result<i64> {
    let answer = etcd.client().await?.get(KEY, None).await?;
    Ok(answer.header().context("a header")?.revision())
}

async fn revision_since(etcd: &Etcd, before: i64) -> Result<i64> {
    Ok(revision(etcd).await? - before)
}
