//! etcd is not there, loses its leader or its quorum, is restarted, or refuses everybody.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{AlarmAction, AlarmType};
use osproxy_core::SystemClock;
use osproxy_observe::DirectiveStore;
use testbed::operator::Replica;
use testbed::{ControlPlane, Etcd, EtcdOptions, FaultProxy, Operator, eventually, http};

use super::stage::{client, ids, leads, metric};
use super::support::faults::line as line_of_table;
use super::support::{Line, SOON, Stopwatch, condition, directive, etcds, options, seen, store};

/// How long a person waits for the word that etcd is away: fifteen seconds of patience, a deadline or two before, a status write.
const TOLD: Duration = Duration::from_secs(35);
/// How long after etcd is back the key is right: a back-off of at most 5 s, a campaign, a list, a write.
const BACK: Duration = Duration::from_secs(15);

async fn is_told(line: &Line, name: &str) -> Result<()> {
    eventually("the status to say so", TOLD, async || {
        let status = line.status(name).await?;
        let said = condition(&status, "Published")?;
        ensure!(said == "False/EtcdUnavailable", "{status}");
        ensure!(status["state"] == "Pending", "{status}");
        Ok(())
    })
    .await
}

/// What `/readyz` says, and that the process lives.
async fn is_unready(replica: &Replica, reason: &str) -> Result<()> {
    eventually("readyz to say so", TOLD, async || {
        let ready = http::get(&format!("{}/readyz", replica.endpoint()), &[]).await?;
        ensure!(ready.status == 503, "{ready:?}");
        ensure!(
            ready.body.contains(&format!("[-]etcd failed: {reason}")),
            "{ready:?}"
        );
        let alive = http::get(&format!("{}/healthz", replica.endpoint()), &[]).await?;
        ensure!(alive.status == 200, "{alive:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn l13_a_start_without_etcd_waits_says_so_and_goes_on_by_itself() -> Result<()> {
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    etcd.kill()?;
    let way = FaultProxy::start(etcd.member(0).endpoint().trim_start_matches("http://")).await?;
    let through = options().etcd_endpoints(vec![way.endpoint()]);
    let operator = Operator::start(&plane, &etcd, through).await?;
    let line = Line {
        operator,
        etcd,
        plane,
    };
    line.apply(&directive("a", "1h")).await?;
    let applied = Stopwatch::start();
    let replica = line.operator.replica(0);
    is_unready(replica, "etcd_").await?;
    is_told(&line, "a").await?;
    seen(
        "L13",
        "a start without etcd, until the status says so",
        TOLD,
        &applied,
    )?;
    // It asks with a back-off, and it is the process that was started.
    let before = way.counts().accepted;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = way.counts().accepted - before;
    ensure!(asked <= 30, "{asked} connections in ten seconds");
    line.etcd.restart().await?;
    let back = Stopwatch::start();
    line.ids(&["default/a"]).await?;
    seen("L13", "etcd is there, until the key is right", BACK, &back)?;
    line.state("a", "Active").await?;
    replica.wait_ready().await
}

#[tokio::test]
async fn a_lost_quorum_ends_the_term_writes_nothing_and_is_told() -> Result<()> {
    let line = Line::start_with(EtcdOptions::new().members(3), options()).await?;
    let replica = line.operator.replica(0);
    leads(replica, true, SOON).await?;
    line.apply(&directive("a", "1h")).await?;
    line.ids(&["default/a"]).await?;
    line.state("a", "Active").await?;
    let leader = eventually("a leader", SOON, async || line.etcd.leader().await).await?;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for member in others {
        line.etcd.member(member).kill()?;
    }
    let lost = Stopwatch::start();
    leads(replica, false, Duration::from_secs(15)).await?;
    let bound = Duration::from_secs(15);
    seen(
        "S6",
        "operator: quorum lost, until it stops leading",
        bound,
        &lost,
    )?;
    line.apply(&directive("b", "1h")).await?;
    let applied = Stopwatch::start();
    is_unready(replica, "etcd_").await?;
    is_told(&line, "b").await?;
    // What had its answer keeps it: as far as anybody knows the key still says so.
    let answered = line.status("a").await?;
    ensure!(answered["state"] == "Active", "{answered}");
    seen(
        "S6",
        "operator: quorum lost, until the status says so",
        TOLD,
        &applied,
    )?;
    line.etcd.restart().await?;
    let back = Stopwatch::start();
    line.ids(&["default/a", "default/b"]).await?;
    seen(
        "S6",
        "operator: quorum back, until the key is right",
        BACK,
        &back,
    )?;
    line.state("b", "Active").await?;
    Ok(())
}

#[tokio::test]
async fn l12_etcds_leader_is_killed_while_documents_are_written() -> Result<()> {
    // The newest alone has no leader to lose.
    let [_, three_of_the_oldest] = etcds();
    for options_of_etcd in [EtcdOptions::new().members(3), three_of_the_oldest] {
        let line = Line::start_with(options_of_etcd, options()).await?;
        let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
        line.apply(&directive("kept", "1h")).await?;
        line.ids(&["default/kept"]).await?;
        // etcd has it, and the reader a moment later.
        eventually("the reader to have it", SOON, async || {
            ensure!(!reader.load().is_empty(), "it has nothing");
            Ok(())
        })
        .await?;
        let mut expected = vec!["default/kept".to_owned()];
        for round in 0..3 {
            let leader = eventually("a leader", SOON, async || line.etcd.leader().await).await?;
            let others = [(leader + 1) % 3, (leader + 2) % 3];
            let witness = client(&line.etcd, &others).await?;
            let name = format!("round-{round}");
            expected.push(format!("default/{name}"));
            let change = directive(&name, "1h");
            let killed = async {
                // Into the middle of the write, each round at another moment of it.
                tokio::time::sleep(Duration::from_millis(150 + 100 * round)).await;
                line.etcd.member(leader).kill()
            };
            let (applied, killed) = tokio::join!(line.apply(&change), killed);
            applied?;
            killed?;
            // From when the change is there and the leader is not: the start of kubectl is no part of it.
            let changed = Stopwatch::start();
            let all: Vec<_> = expected.iter().map(String::as_str).collect();
            ids(&witness, &all, SOON).await?;
            let bound = Duration::from_secs(15);
            seen(
                "L12",
                "etcd's leader is killed during a write",
                bound,
                &changed,
            )?;
            ensure!(!reader.load().is_empty(), "blank in a fail-over of etcd");
            line.etcd.restart().await?;
            eventually("a leader of etcd", SOON, async || line.etcd.leader().await).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s6_members_restarted_and_replaced_blank_nothing_and_hold_nothing_up() -> Result<()> {
    let line = Line::start_with(EtcdOptions::new().members(3), options()).await?;
    line.apply(&directive("kept", "1h")).await?;
    line.ids(&["default/kept"]).await?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    let blank = reader.clone();
    let watching = tokio::spawn(async move {
        loop {
            if blank.load().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for round in 0..6 {
        let member = line.etcd.member(round % 3);
        member.stop().await?;
        // From here: how long a member takes to stop in good form is not the operator's doing.
        let restarted = Stopwatch::start();
        let name = format!("round-{round}");
        line.apply(&directive(&name, "1h")).await?;
        member.restart().await?;
        line.ids(&["default/kept", &format!("default/{name}")])
            .await?;
        let bound = Duration::from_secs(20);
        seen(
            "S6",
            "operator: a member is restarted, a change meanwhile",
            bound,
            &restarted,
        )?;
        line.delete(&name).await?;
        line.ids(&["default/kept"]).await?;
    }
    // Nothing but the changes was written, twelve and the first one; a write in doubt may have been made again.
    let puts = metric(line.operator.replica(0), "document_puts_total").await?;
    ensure!((7..=20).contains(&puts), "{puts} documents");

    // The member that operator and reader were told of first is gone for good, and another one takes its place.
    let reconnects = eventually("the reader to be at rest", SOON, async || {
        let status = reader.status();
        ensure!(status.connected, "{status:?}");
        Ok(status.counters.restarts)
    })
    .await?;
    let change = async {
        line.apply(&directive("meanwhile", "1h")).await?;
        let changed = Stopwatch::start();
        let others = client(&line.etcd, &[1, 2]).await?;
        ids(&others, &["default/kept", "default/meanwhile"], SOON).await?;
        anyhow::Ok(changed.elapsed())
    };
    let (replaced, took) = tokio::join!(line.etcd.replace(0), change);
    replaced?;
    line.apply(&directive("after", "1h")).await?;
    let changed = Stopwatch::start();
    line.ids(&["default/after", "default/kept", "default/meanwhile"])
        .await?;
    let worst = took?.max(changed.elapsed());
    let bound = Duration::from_secs(20);
    ensure!(
        worst <= bound,
        "a change beside a replacement took {worst:?}"
    );
    let what = "operator: a member is replaced, a change meanwhile and after";
    line_of_table("S6", what, bound, worst, "");
    eventually("the reader to follow", SOON, async || {
        let revision = line.document().await?.context("absent")?.mod_revision;
        let applied = reader.status().applied.context("nothing applied")?;
        ensure!(applied.revision == revision, "{applied:?}");
        Ok(())
    })
    .await?;
    let reconnects = reader.status().counters.restarts - reconnects;
    // One for each step: a member goes, and another one comes.
    ensure!(
        reconnects <= 2,
        "the reader has connected anew {reconnects} times"
    );
    ensure!(!watching.is_finished(), "a reader was blank");
    watching.abort();
    Ok(())
}

#[tokio::test]
async fn s9_auth_that_is_switched_on_and_a_corrupt_etcd_are_told_apart_from_an_outage() -> Result<()>
{
    let line = Line::start().await?;
    let replica = line.operator.replica(0);
    leads(replica, true, SOON).await?;
    line.apply(&directive("a", "1h")).await?;
    let before = line.ids(&["default/a"]).await?;

    let mut root = line.etcd.client().await?;
    root.user_add("root", "geheim", None).await?;
    root.user_grant_role("root", "root").await?;
    root.auth_enable().await?;
    let switched = Stopwatch::start();
    let login = Some(("root".to_owned(), "geheim".to_owned()));
    root.update_user(login).await?;
    line.apply(&directive("b", "1h")).await?;
    is_unready(replica, "etcd_authentication").await?;
    seen(
        "S9",
        "auth is switched on, until it says so",
        TOLD,
        &switched,
    )?;
    eventually("the status to say so", TOLD, async || {
        let status = line.status("b").await?;
        ensure!(status.to_string().contains("credentials"), "{status}");
        ensure!(condition(&status, "Published")? == "False/EtcdUnavailable");
        Ok(())
    })
    .await?;
    root.auth_disable().await?;
    let back = Stopwatch::start();
    line.ids(&["default/a", "default/b"]).await?;
    seen(
        "S9",
        "auth is switched off, until the key is right",
        BACK,
        &back,
    )?;

    let mut admin = line.etcd.client().await?;
    admin
        .alarm(AlarmAction::Activate, AlarmType::Corrupt, None)
        .await?;
    let raised = Stopwatch::start();
    line.apply(&directive("c", "1h")).await?;
    // Reads go through, and whoever only reads is well; every write is refused.
    eventually("the metric to say so", TOLD, async || {
        let held = metric(replica, r#"held{reason="etcd_corrupt"}"#).await?;
        ensure!(held == 1);
        Ok(())
    })
    .await?;
    seen("S9", "the alarm CORRUPT, until it says so", TOLD, &raised)?;
    is_told(&line, "c").await?;
    admin
        .alarm(AlarmAction::Deactivate, AlarmType::Corrupt, None)
        .await?;
    let back = Stopwatch::start();
    let after = line.ids(&["default/a", "default/b", "default/c"]).await?;
    seen(
        "S9",
        "the alarm is disarmed, until the key is right",
        BACK,
        &back,
    )?;
    let (before, after) = (before.context("a document")?, after.context("a document")?);
    assert_eq!(before.end_secs("default/a"), after.end_secs("default/a"));
    Ok(())
}
