//! A leader that hardly gets to run, while the confirmations of its lease come late and then not at all: L5.
//!
//! What is injected: the whole process is stopped for nine tenths of the time, in bursts of a second, which stands for threads that are
//! blocked and for a machine that is too busy; or, in `make faults` alone, that machine: four busy processes for each processor, and the
//! operator at the lowest priority beside them. What is not: tasks that block the operator's threads from inside, for which there is no
//! switch in the crate.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions, SortOrder, SortTarget};
use testbed::interpose::method;
use testbed::interpose::proto::{PbResponseOp, PbTxnOpResponse, PbTxnResponse};
use testbed::operator::Replica;
use testbed::process::{Launch, Process};
use testbed::{Operator, eventually};

use super::lease::LEASE;
use super::stage::{Between, candidates, leader_lease, leads};
use super::support::{KEY, Line, SOON, Stopwatch, directive, options, seen};

/// A change is at the key so soon where every step of it takes ten times as long.
const SLOWLY: Duration = Duration::from_secs(15);
/// One burst, and the breath after it.
const STOPPED: Duration = Duration::from_millis(900);
const RUNNING: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l05_a_starved_leader_gives_up_before_its_lease_ends_and_writes_nothing_after() -> Result<()>
{
    let stage = Between::start().await?;
    let starving = async {
        loop {
            let replica = stage.line.operator.replica(0);
            replica.pause()?;
            tokio::time::sleep(STOPPED).await;
            replica.resume()?;
            tokio::time::sleep(RUNNING).await;
        }
    };
    tokio::select! {
        starved = starving => starved,
        story = story(&stage, "stopped for nine tenths of the time") => story,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "keeps every processor busy for half a minute; `make faults` does"]
async fn l05_a_leader_on_a_machine_that_is_too_busy_gives_up_before_its_lease_ends() -> Result<()> {
    let stage = Between::start().await?;
    let logs = tempfile::tempdir()?;
    let _hogs = (0..4 * std::thread::available_parallelism()?.get())
        .map(|n| {
            let name = format!("hog-{n}");
            let busy = Launch::new("/bin/sh").args(["-c", "while :; do :; done"]);
            Process::start(&name, busy, logs.path().join(&name))
        })
        .collect::<Result<Vec<_>>>()?;
    least_priority(stage.line.operator.replica(0))?;
    story(&stage, "on a machine that is too busy").await
}

/// Each thread of it, for each has its own.
fn least_priority(replica: &Replica) -> Result<()> {
    let pid = replica.process().id().context("it runs")?;
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?
        .map(|thread| Ok(thread?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    let reniced = Command::new("renice")
        .args(["-n", "19", "-p"])
        .args(threads)
        .output()?;
    ensure!(reniced.status.success(), "{reniced:?}");
    Ok(())
}

async fn story(stage: &Between, how: &str) -> Result<()> {
    let Between { line, between } = stage;
    let starved = line.operator.replica(0);
    // Each write that it was told has succeeded, by its revision.
    let wrote = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&wrote);
    let note = move |answer: PbTxnResponse| {
        // A transaction that only reads succeeds too, at whatever revision it finds.
        let wrote = |op: &PbResponseOp| {
            use PbTxnOpResponse::{ResponseDeleteRange, ResponsePut};
            matches!(op.response, Some(ResponsePut(_) | ResponseDeleteRange(_)))
        };
        if let (true, Some(header)) = (answer.responses.iter().any(wrote), &answer.header) {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.insert(header.revision);
        }
        vec![answer]
    };
    between.answer(method::TXN).every().rewrite(note).arm();

    // Late confirmations end nothing by themselves: the work goes on, slowly.
    let late = between
        .answer(method::LEASE_KEEP_ALIVE)
        .every()
        .delay(Duration::from_secs(1))
        .arm();
    line.apply(&directive("a", "1h")).await?;
    let applied = Stopwatch::start();
    line.ids(&["default/a"]).await?;
    seen("L5", &format!("a leader {how}, a change"), SLOWLY, &applied)?;
    late.hit(2, SOON).await?;

    // None at all: it gives up while its lease still lives, and the other one goes on.
    let rival = Operator::start(&line.plane, &line.etcd, options()).await?;
    eventually("the other one to queue", SOON, async || {
        ensure!(candidates(&line.etcd).await?.len() == 2);
        Ok(())
    })
    .await?;
    let lease = leader_lease(&line.etcd).await?;
    late.remove();
    between
        .request(method::LEASE_KEEP_ALIVE)
        .every()
        .lose()
        .arm();
    let lost = Stopwatch::start();
    let left = given_up(line, &lease).await?;
    ensure!(left > 0, "the lease was at its end");
    leads(rival.replica(0), true, SOON).await?;
    seen(
        "L5",
        &format!("a leader {how}, no refresh answered"),
        LEASE,
        &lost,
    )?;
    let log = starved.process().log_text()?;
    ensure!(log.contains("was not confirmed in time"), "{log}");

    line.apply(&directive("b", "1h")).await?;
    line.delete("a").await?;
    line.ids(&["default/b"]).await?;
    between.heal();
    starved.resume()?;
    starved.wait_ready().await?;
    line.ids(&["default/b"]).await?;
    let wrote = wrote.lock().unwrap_or_else(PoisonError::into_inner).clone();
    led_when_it_wrote(&line.etcd.client().await?, starved, &wrote).await
}

/// Waits until the leader key of a lease is gone; returns how many seconds the lease had left when it was last seen.
async fn given_up(line: &Line, lease: &str) -> Result<i64> {
    let client = line.etcd.client().await?;
    let id = i64::from_str_radix(lease, 16)?;
    let mut left = None;
    eventually("the lease to be given up", LEASE, async || {
        let now = client.lease_client().time_to_live(id, None).await?.ttl();
        ensure!(now < 0, "{:?} s left", left.insert(now));
        Ok(())
    })
    .await?;
    left.context("it was gone before it was looked at")
}

/// At each revision at which this replica wrote the document, the election says that it led.
async fn led_when_it_wrote(
    client: &Client,
    replica: &Replica,
    wrote: &BTreeSet<i64>,
) -> Result<()> {
    let mut client = client.kv_client();
    let me = format!("-{}", replica.process().id().context("it runs")?);
    let mut documents = 0;
    for revision in wrote {
        let at = GetOptions::new().with_revision(*revision);
        let document = client.get(KEY, Some(at.clone())).await?;
        if document
            .kvs()
            .first()
            .is_none_or(|kv| kv.mod_revision() != *revision)
        {
            continue;
        }
        documents += 1;
        let by_age = at
            .with_prefix()
            .with_sort(SortTarget::Create, SortOrder::Ascend)
            .with_limit(1);
        let leader = client.get(format!("{KEY}/leader/"), Some(by_age)).await?;
        let leader = leader
            .kvs()
            .first()
            .context("nobody led")?
            .value_str()?
            .to_owned();
        ensure!(
            leader.ends_with(&me),
            "{leader} led when {me} wrote revision {revision}"
        );
    }
    ensure!(documents >= 1, "it never wrote the document");
    Ok(())
}
