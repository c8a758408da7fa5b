//! A fleet: 10,000 stores, made by the public builder with heartbeat and re-read on, against a three-member etcd. `make scale` runs it.
//!
//! The stores live in processes of their own, as many as the limit of open files demands: a client of three members holds three
//! sockets. Each store tells when it has taken which revision, so every figure is of all stores, not of a sample. `STORES=1000` makes it
//! smaller.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a measurement: it may stop at once, it takes the time, and it writes as it likes"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{LeaseGrantOptions, PutOptions};
use futures::StreamExt;
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::document::Publication;
use serde_json::{Value, json};
use testbed::{Etcd, EtcdOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

mod goals;

use goals::Goals;

const KEY: &str = "osproxy/directives";
/// A store of three members holds three sockets, and some more for a moment when it connects anew.
const FILES_A_STORE: usize = 4;
const UPDATES: usize = 10;
const QUIET: Duration = Duration::from_mins(1);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("stores") {
        // There are more of these processes than processors: threads would only hand work around.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        return runtime.block_on(stores(&args[2..]));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let many: usize = match std::env::var("STORES") {
        Ok(many) => many.parse().context("STORES is not a number")?,
        Err(_) => 10_000,
    };
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    let mut goals = Goals::default();
    let first = publish(&etcd, 0).await?;
    let mut fleet = Fleet::start(&etcd, many).await?;
    let began = SystemClock.now();
    fleet.all_connected(many, Duration::from_mins(5)).await?;
    fleet
        .all_have(first.revision, many, Duration::from_mins(1))
        .await?;
    println!(
        "{many} stores in {} processes, connected after {:.1} s",
        fleet.processes.len(),
        seconds(SystemClock.now().saturating_duration_since(began))
    );

    requests(&etcd).await?;
    updates(&etcd, &mut fleet, many, &mut goals).await?;
    member_killed(&etcd, &mut fleet, many, &mut goals).await?;
    fleet.stop().await;
    goals.end();
    Ok(())
}

/// What the fleet asks of etcd while nothing changes.
async fn requests(etcd: &Etcd) -> Result<()> {
    let before = counters(etcd).await?;
    tokio::time::sleep(QUIET).await;
    let after = counters(etcd).await?;
    println!("What a quiet minute of it costs etcd, all members together:");
    for (what, metric) in [
        (
            "reads a second",
            r#"grpc_server_started_total{grpc_method="Range""#,
        ),
        (
            "lease questions a second",
            r#"grpc_server_started_total{grpc_method="LeaseTimeToLive""#,
        ),
        (
            "watches opened a second",
            r#"grpc_server_started_total{grpc_method="Watch""#,
        ),
        (
            "watch messages received a second",
            r#"grpc_server_msg_received_total{grpc_method="Watch""#,
        ),
        ("processor seconds a second", "process_cpu_seconds_total"),
    ] {
        let sum = |counters: &HashMap<String, f64>| -> f64 {
            let ours = counters.iter().filter(|(name, _)| name.starts_with(metric));
            ours.map(|(_, value)| value).sum()
        };
        println!(
            "  {what:34} {:9.1}",
            (sum(&after) - sum(&before)) / QUIET.as_secs_f64()
        );
    }
    Ok(())
}

async fn counters(etcd: &Etcd) -> Result<HashMap<String, f64>> {
    let mut sums = HashMap::new();
    for member in etcd.members().iter().filter(|member| member.is_running()) {
        let url = format!("{}/metrics", member.metrics_endpoint());
        let text = testbed::http::get(&url, &[]).await?.success()?;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.rsplit_once(' ') {
                *sums.entry(name.to_owned()).or_default() +=
                    value.parse::<f64>().unwrap_or_default();
            }
        }
    }
    Ok(sums)
}

async fn updates(etcd: &Etcd, fleet: &mut Fleet, many: usize, goals: &mut Goals) -> Result<()> {
    let mut times = Vec::with_capacity(UPDATES * many);
    for number in 1..=UPDATES {
        let sent = publish(etcd, number).await?;
        let seen = fleet
            .all_have(sent.revision, many, Duration::from_mins(1))
            .await?;
        times.extend(seen.iter().map(|at| sent.until(*at)));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    times.sort_by(f64::total_cmp);
    let at = |per_mille: usize| times[(times.len() * per_mille / 1_000).min(times.len() - 1)];
    println!(
        "{UPDATES} updates, from the put to the store, in seconds: p50 {:.3}, p99 {:.3}, last {:.3}",
        at(500),
        at(990),
        at(1_000)
    );
    goals.at_most("an update is in a store, p99, in seconds", at(990), 1.0);
    Ok(())
}

async fn member_killed(
    etcd: &Etcd,
    fleet: &mut Fleet,
    many: usize,
    goals: &mut Goals,
) -> Result<()> {
    let leader = etcd.leader().await?;
    let before = term(etcd, leader).await?;
    let killed = SystemClock.unix_nanos();
    etcd.member(leader).kill()?;
    let sent = loop {
        match publish(etcd, UPDATES + 1).await {
            Ok(sent) => break sent,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let writable = (sent.at_nanos - killed) as f64 / 1e9;
    let seen = fleet
        .all_have(sent.revision, many, Duration::from_mins(2))
        .await?;
    let last = seen.iter().max().copied().unwrap_or_default();
    let back = last.saturating_sub(killed) as f64 / 1e9;
    fleet.all_connected(many, Duration::from_mins(1)).await?;
    let survivor = (leader + 1) % 3;
    let after = term(etcd, survivor).await?;
    println!(
        "The leader killed: written again after {writable:.1} s, the last store has it after {back:.1} s; the term went from {before} to {after}"
    );
    goals.at_most(
        "after a member's death all stores are current, in seconds",
        back,
        30.0,
    );
    goals.at_most("by how much the term moved", (after - before) as f64, 1.0);
    Ok(())
}

async fn term(etcd: &Etcd, member: usize) -> Result<u64> {
    let endpoint = etcd.member(member).endpoint();
    let mut client = etcd_client::Client::connect([endpoint], None).await?;
    Ok(client.status().await?.raft_term())
}

/// One write of the document.
struct Sent {
    revision: i64,
    at_nanos: u64,
}

impl Sent {
    fn until(&self, seen_nanos: u64) -> f64 {
        seen_nanos.saturating_sub(self.at_nanos) as f64 / 1e9
    }
}

/// Publishes ten directives as an operator does: under a publication's lease.
async fn publish(etcd: &Etcd, number: usize) -> Result<Sent> {
    let mut client = etcd.client().await?;
    let second = SystemClock.unix_nanos() / 1_000_000_000;
    let publication = Publication::new(second, fastrand::u16(..)).context("a second")?;
    let lease = LeaseGrantOptions::new().with_id(publication.lease_id());
    let granted = client.lease_grant(3_600, Some(lease));
    tokio::time::timeout(Duration::from_secs(2), granted).await??;
    let entry = |n: usize| json!({"id": format!("ns/d-{number}-{n}"), "level": "Shape", "ttl_secs": 3600, "tenant": format!("tenant-{n}"), "sample_per_mille": 50});
    let entries: Vec<Value> = (0..10).map(entry).collect();
    let options = PutOptions::new().with_lease(publication.lease_id());
    let at_nanos = SystemClock.unix_nanos();
    let put = client.put(
        KEY,
        json!({"directives": entries}).to_string(),
        Some(options),
    );
    let answer = tokio::time::timeout(Duration::from_secs(2), put).await??;
    let revision = answer.header().context("a header")?.revision();
    Ok(Sent { revision, at_nanos })
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// What a process of stores tells.
enum Told {
    /// How many of its stores have a watch open.
    Connected { process: usize, stores: usize },
    /// One of them has taken this revision, at this moment.
    Has { revision: i64, at_nanos: u64 },
}

/// The processes.
struct Fleet {
    processes: Vec<Child>,
    told: mpsc::UnboundedReceiver<Told>,
    connected: HashMap<usize, usize>,
    has: HashMap<i64, Vec<u64>>,
}

impl Fleet {
    async fn start(etcd: &Etcd, many: usize) -> Result<Self> {
        let limit = Command::new("sh")
            .args(["-c", "ulimit -Hn"])
            .output()
            .await?;
        let limit = String::from_utf8(limit.stdout)?;
        // Unlimited is a word.
        let limit: usize = limit.trim().parse().unwrap_or(1_000_000);
        let fit = (limit.saturating_sub(500) / FILES_A_STORE).max(1);
        let processes = many.div_ceil(fit).max(4.min(many));
        let (tell, told) = mpsc::unbounded_channel();
        let mut fleet = Self {
            processes: Vec::new(),
            told,
            connected: HashMap::new(),
            has: HashMap::new(),
        };
        for process in 0..processes {
            let stores = many / processes + usize::from(process < many % processes);
            // Also raises the soft limit.
            let mut child = Command::new("sh")
                .args(["-c", r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#])
                .arg(std::env::current_exe()?)
                .args(["stores", &stores.to_string(), &etcd.endpoint_list()])
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(told) = parse(process, &line) {
                        let _ = tell.send(told);
                    }
                }
            });
            fleet.processes.push(child);
        }
        Ok(fleet)
    }

    fn take(&mut self, told: &Told) {
        match *told {
            Told::Connected { process, stores } => {
                self.connected.insert(process, stores);
            }
            Told::Has { revision, at_nanos } => {
                self.has.entry(revision).or_default().push(at_nanos);
            }
        }
    }

    async fn all_connected(&mut self, many: usize, within: Duration) -> Result<()> {
        self.connected.clear();
        self.until(within, |fleet| {
            fleet.connected.values().sum::<usize>() >= many
        })
        .await
        .with_context(|| {
            let connected: usize = self.connected.values().sum();
            format!("only {connected} of {many} stores are connected")
        })
    }

    /// When each store had taken the revision, or a later one where it skipped this.
    async fn all_have(&mut self, revision: i64, many: usize, within: Duration) -> Result<Vec<u64>> {
        let reached = self.until(within, |fleet| {
            fleet.has.get(&revision).map_or(0, Vec::len) >= many
        });
        let reached = reached.await;
        let seen = self.has.remove(&revision).unwrap_or_default();
        reached.with_context(|| format!("only {} of {many} stores have it", seen.len()))?;
        Ok(seen)
    }

    async fn until(&mut self, within: Duration, done: impl Fn(&Self) -> bool) -> Result<()> {
        let waiting = async {
            while !done(self) {
                let told = self.told.recv().await.context("the stores are gone")?;
                self.take(&told);
            }
            Ok(())
        };
        tokio::time::timeout(within, waiting).await?
    }

    async fn stop(mut self) {
        for child in &mut self.processes {
            let _ = child.kill().await;
        }
    }
}

fn parse(process: usize, line: &str) -> Option<Told> {
    let (word, rest) = line.split_once(' ')?;
    match word {
        "connected" => Some(Told::Connected {
            process,
            stores: rest.parse().ok()?,
        }),
        "has" => {
            let (revision, at_nanos) = rest.split_once(' ')?;
            Some(Told::Has {
                revision: revision.parse().ok()?,
                at_nanos: at_nanos.parse().ok()?,
            })
        }
        _ => None,
    }
}

/// A process of so many stores: tells what each of them takes, until it is killed.
async fn stores(args: &[String]) -> Result<()> {
    let [many, endpoints] = args else {
        anyhow::bail!("stores: how many, and where etcd is");
    };
    let many: usize = many.parse()?;
    let endpoints: Vec<String> = endpoints.split(',').map(str::to_owned).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let started = futures::stream::iter(0..many)
        .map(|_| EtcdDirectiveStore::connect(&endpoints, KEY, Arc::clone(&clock)))
        .buffer_unordered(32);
    let stores: Vec<EtcdDirectiveStore> = started
        .filter_map(|started| async { started.ok() })
        .collect()
        .await;
    ensure!(
        stores.len() == many,
        "{} of {many} stores started",
        stores.len()
    );
    // What each has taken is kept, and told from time to time: telling it at once would cost as much as taking it.
    let (note, mut taken) = mpsc::unbounded_channel();
    for store in &stores {
        tokio::spawn(follow(store.clone(), note.clone()));
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut lines = String::new();
        while let Ok((revision, at_nanos)) = taken.try_recv() {
            let _ = writeln!(lines, "has {revision} {at_nanos}");
        }
        let connected = stores.iter().filter(|store| store.status().connected);
        let _ = writeln!(lines, "connected {}", connected.count());
        // Whoever reads it may be gone already.
        let _ = std::io::stdout().write_all(lines.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

async fn follow(store: EtcdDirectiveStore, note: mpsc::UnboundedSender<(i64, u64)>) {
    let mut changes = store.changed();
    let mut last = 0;
    loop {
        let revision = store.status().applied.map_or(0, |applied| applied.revision);
        if revision != last {
            last = revision;
            if note.send((revision, SystemClock.unix_nanos())).is_err() {
                return;
            }
        }
        if !changes.next().await {
            return;
        }
    }
}
