//! A fleet: 10,000 stores, made by the public builder with heartbeat and re-read on, against a three-member etcd. `make scale` runs it.
//!
//! In the same run and in the same processes, first, what no reader can do without: as many plain watches of etcd's client, which look at
//! the revision and nothing else. What is beyond them is the store's.
//!
//! `STORES=1000` makes it smaller.

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
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{LeaseGrantOptions, PutOptions};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::document::Publication;
use serde_json::{Value, json};
use testbed::{Etcd, EtcdOptions};

mod crowd;
mod goals;
mod machine;

use crowd::{Crowd, inside};
use goals::Goals;
use machine::{Processors, busy_seconds};

const KEY: &str = "osproxy/directives";
const UPDATES: usize = 10;
/// Members that ten thousand clients have just come to take their time.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_mins(1);

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

async fn measure() -> Result<()> {
    let many: usize = match std::env::var("STORES") {
        Ok(many) => many.parse().context("STORES is not a number")?,
        Err(_) => 10_000,
    };
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    let mut goals = Goals::default();

    let mut watches = Crowd::start(&etcd, inside::WATCHES, many).await?;
    watches.all_connected(many, Duration::from_mins(5)).await?;
    println!("{many} plain watches, the floor");
    let floor = updates(&etcd, &mut watches, many).await?;
    watches.stop().await;
    // Their ends cost the members something too.
    tokio::time::sleep(Duration::from_secs(5)).await;

    let first = publish(&etcd, 0, WRITTEN_WITHIN).await?;
    let mut fleet = Crowd::start(&etcd, inside::STORES, many).await?;
    let began = SystemClock.now();
    fleet.all_connected(many, Duration::from_mins(5)).await?;
    fleet
        .all_have(first.revision, many, Duration::from_mins(1))
        .await?;
    println!(
        "{many} stores in {} processes, connected after {:.1} s",
        fleet.processes(),
        seconds(SystemClock.now().saturating_duration_since(began))
    );
    let p99 = updates(&etcd, &mut fleet, many).await?;
    println!("  p99 is {:.2} of the floor's", p99 / floor);
    goals.at_most("an update is in a store, p99, in seconds", p99, 1.0);
    quiet(&etcd, &fleet).await?;
    member_killed(&etcd, &mut fleet, many, &mut goals).await?;
    fleet.stop().await;
    goals.end();
    Ok(())
}

/// What the fleet asks of etcd while nothing changes.
async fn quiet(etcd: &Etcd, fleet: &Crowd) -> Result<()> {
    let (before, stores) = (counters(etcd).await?, fleet.busy_seconds()?);
    tokio::time::sleep(QUIET).await;
    let (after, stores) = (counters(etcd).await?, fleet.busy_seconds()? - stores);
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
    println!(
        "  {:34} {:9.1}",
        "and the stores' own, all together",
        stores / QUIET.as_secs_f64()
    );
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

/// Updates, one after the other: the time from a put to a reader, p99 of all of them, in seconds.
async fn updates(etcd: &Etcd, readers: &mut Crowd, many: usize) -> Result<f64> {
    let mut times = Vec::with_capacity(UPDATES * many);
    let (mut servers, mut clients, mut others) = (0.0, 0.0, 0.0);
    for number in 1..=UPDATES {
        let before = (members_busy(etcd)?, readers.busy_seconds()?);
        let began = Processors::now()?;
        let sent = publish(etcd, number, WRITTEN_WITHIN).await?;
        let seen = readers
            .all_have(sent.revision, many, Duration::from_mins(1))
            .await?;
        let (server, client) = (
            members_busy(etcd)? - before.0,
            readers.busy_seconds()? - before.1,
        );
        others += Processors::now()?.share_of_others(began, server + client);
        servers += server;
        clients += client;
        times.extend(seen.iter().map(|at| sent.until(*at)));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    times.sort_by(f64::total_cmp);
    let at = |per_mille: usize| times[(times.len() * per_mille / 1_000).min(times.len() - 1)];
    println!(
        "  {UPDATES} updates, from the put to the reader, in seconds: p50 {:.3}, p99 {:.3}, last {:.3}",
        at(500),
        at(990),
        at(1_000)
    );
    let each = |seconds: f64| seconds * 1e6 / (UPDATES * many) as f64;
    println!(
        "  processor time an update and reader, in microseconds: {:.0} in etcd, {:.0} in the readers; others took {:.0} % of the processors",
        each(servers),
        each(clients),
        100.0 * others / UPDATES as f64
    );
    Ok(at(990))
}

/// Seconds of processor time that the members have taken so far.
fn members_busy(etcd: &Etcd) -> Result<f64> {
    let ids = etcd.members().iter().filter_map(|one| one.process().id());
    ids.map(busy_seconds).sum()
}

async fn member_killed(
    etcd: &Etcd,
    fleet: &mut Crowd,
    many: usize,
    goals: &mut Goals,
) -> Result<()> {
    let leader = etcd.leader().await?;
    let before = term(etcd, leader).await?;
    let killed = SystemClock.unix_nanos();
    etcd.member(leader).kill()?;
    let sent = loop {
        match publish(etcd, UPDATES + 1, Duration::from_secs(2)).await {
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
async fn publish(etcd: &Etcd, number: usize, within: Duration) -> Result<Sent> {
    let mut client = etcd.client().await?;
    let second = SystemClock.unix_nanos() / 1_000_000_000;
    let publication = Publication::new(second, fastrand::u16(..)).context("a second")?;
    let lease = LeaseGrantOptions::new().with_id(publication.lease_id());
    let granted = client.lease_grant(3_600, Some(lease));
    tokio::time::timeout(within, granted).await??;
    let entry = |n: usize| json!({"id": format!("ns/d-{number}-{n}"), "level": "Shape", "ttl_secs": 3600, "tenant": format!("tenant-{n}"), "sample_per_mille": 50});
    let entries: Vec<Value> = (0..10).map(entry).collect();
    let options = PutOptions::new().with_lease(publication.lease_id());
    let at_nanos = SystemClock.unix_nanos();
    let put = client.put(
        KEY,
        json!({"directives": entries}).to_string(),
        Some(options),
    );
    let answer = tokio::time::timeout(within, put).await??;
    let revision = answer.header().context("a header")?.revision();
    Ok(Sent { revision, at_nanos })
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
