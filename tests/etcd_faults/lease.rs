//! The election lease: that it is refreshed, that it is believed too long, that it is gone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::interpose::method;
use testbed::interpose::proto::PbLeaseKeepAliveResponse;
use testbed::{ControlPlane, Cut, Etcd, EtcdOptions, FaultProxy, Operator, eventually};

use super::stage::{Between, candidates, leader_lease, leads};
use super::support::{Line, SOON, Stopwatch, directive, options, seen};

/// How long the election lease lives.
pub(super) const LEASE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn l05_a_leader_whose_refreshes_are_not_answered_gives_up_before_its_lease_ends() -> Result<()>
{
    let Between { line, between } = Between::start().await?;
    line.apply(&directive("a", "1h")).await?;
    line.ids(&["default/a"]).await?;
    let lost = between
        .request(method::LEASE_KEEP_ALIVE)
        .every()
        .lose()
        .arm();
    let lease = leader_lease(&line.etcd).await?;
    let since = Stopwatch::start();
    // It ends its term, and with it the lease, before etcd does; being alone it leads again at once.
    eventually("the lease to be given up", LEASE, async || {
        ensure!(!candidates(&line.etcd).await?.contains(&lease), "not yet");
        Ok(())
    })
    .await?;
    let log = line.operator.replica(0).process().log_text()?;
    ensure!(log.contains("was not confirmed in time"), "{log}");
    seen(
        "L5",
        "refreshes of the lease are not answered",
        LEASE,
        &since,
    )?;
    ensure!(lost.hits() >= 2, "it was asked {} times", lost.hits());
    between.heal();
    line.apply(&directive("b", "1h")).await?;
    line.ids(&["default/a", "default/b"]).await?;
    Ok(())
}

#[tokio::test]
async fn l06_a_refresh_that_is_confirmed_although_the_lease_is_gone_is_found_out_about()
-> Result<()> {
    let Between { line, between } = Between::start().await?;
    line.apply(&directive("a", "1h")).await?;
    line.ids(&["default/a"]).await?;
    let lie = between
        .answer(method::LEASE_KEEP_ALIVE)
        .every()
        .rewrite(|mut answer: PbLeaseKeepAliveResponse| {
            answer.ttl = 15;
            vec![answer]
        })
        .arm();
    let lease = leader_lease(&line.etcd).await?;
    line.etcd
        .etcdctl(&["lease", "revoke", &lease])
        .await?
        .success()?;
    let revoked = Stopwatch::start();
    let bound = Duration::from_secs(30);
    eventually("another lease", bound, async || {
        ensure!(leader_lease(&line.etcd).await? != lease);
        Ok(())
    })
    .await?;
    seen(
        "L6",
        "a refresh confirmed although the lease is gone",
        bound,
        &revoked,
    )?;
    ensure!(lie.hits() >= 1, "nobody was lied to");
    line.apply(&directive("b", "1h")).await?;
    line.ids(&["default/a", "default/b"]).await?;
    Ok(())
}

#[tokio::test]
async fn l07_a_revoked_election_lease_is_replaced_and_the_document_stays() -> Result<()> {
    let line = Line::start().await?;
    leads(line.operator.replica(0), true, SOON).await?;
    line.apply(&directive("a", "1h")).await?;
    let before = line.ids(&["default/a"]).await?;
    for _ in 0..3 {
        let lease = leader_lease(&line.etcd).await?;
        line.etcd
            .etcdctl(&["lease", "revoke", &lease])
            .await?
            .success()?;
        let revoked = Stopwatch::start();
        eventually("another lease", SOON, async || {
            ensure!(leader_lease(&line.etcd).await? != lease);
            Ok(())
        })
        .await?;
        let bound = Duration::from_secs(8);
        seen("L7", "the election lease is revoked", bound, &revoked)?;
    }
    leads(line.operator.replica(0), true, SOON).await?;
    assert_eq!(
        line.document().await?,
        before,
        "election and document share no lease"
    );
    line.delete("a").await?;
    line.ids(&[]).await?;
    Ok(())
}

#[tokio::test]
async fn l09_a_document_that_lapsed_while_the_operator_was_down_is_back_after_its_start()
-> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("a", "1h")).await?;
    let document = line.ids(&["default/a"]).await?.context("a document")?;
    let replica = line.operator.replica(0);
    replica.stop(Duration::from_secs(5)).await?;
    let lease = format!("{:x}", document.lease);
    line.etcd
        .etcdctl(&["lease", "revoke", &lease])
        .await?
        .success()?;
    ensure!(line.document().await?.is_none(), "it is still there");
    replica.restart()?;
    let started = Stopwatch::start();
    let again = line.ids(&["default/a"]).await?.context("a document")?;
    let bound = Duration::from_secs(10);
    seen(
        "L9",
        "the document lapsed while the operator was down",
        bound,
        &started,
    )?;
    assert_eq!(again.dated(), document.dated(), "the same ends");
    Ok(())
}

#[tokio::test]
async fn l10_campaigns_that_are_given_up_leave_one_candidate_key_at_most() -> Result<()> {
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let leader = Operator::start(&plane, &etcd, options()).await?;
    leads(leader.replica(0), true, SOON).await?;
    let way = FaultProxy::start(etcd.member(0).endpoint().trim_start_matches("http://")).await?;
    let through = options().etcd_endpoints(vec![way.endpoint()]);
    let candidate = Operator::start(&plane, &etcd, through).await?;
    let queued = async || {
        let keys = candidates(&etcd).await?;
        ensure!(keys.len() == 2, "{} keys", keys.len());
        anyhow::Ok(keys)
    };
    let mut leases = std::collections::BTreeSet::new();
    for _ in 0..20 {
        leases.extend(eventually("it to queue", SOON, queued).await?);
        way.disconnect(Cut::Rst);
        let until = Stopwatch::start();
        while until.elapsed() < Duration::from_millis(500) {
            let keys = candidates(&etcd).await?.len();
            ensure!(keys <= 2, "{keys} keys of two processes");
        }
    }
    ensure!(
        leases.len() >= 10,
        "it queued under {} leases only",
        leases.len()
    );
    candidate.replica(0).kill()?;
    let killed = Stopwatch::start();
    let bound = LEASE + Duration::from_secs(5);
    eventually("its key to go", bound, async || {
        let keys = candidates(&etcd).await?.len();
        ensure!(keys == 1, "{keys} keys");
        Ok(())
    })
    .await?;
    seen(
        "L10",
        "a killed candidate's key, after 20 campaigns given up",
        bound,
        &killed,
    )?;
    leads(leader.replica(0), true, SOON).await
}

#[tokio::test]
async fn l15_a_fail_over_alone_writes_nothing() -> Result<()> {
    let mut line = Line::start().await?;
    leads(line.operator.replica(0), true, SOON).await?;
    line.operator.start_replica(&line.plane).await?;
    line.operator.wait_ready().await?;
    let ids: Vec<_> = (0..20).map(|n| format!("default/d{n:02}")).collect();
    for n in 0..20 {
        line.apply(&directive(&format!("d{n:02}"), "1h")).await?;
    }
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let before = line.ids(&ids).await?;
    let [one, two] = line.operator.replicas() else {
        anyhow::bail!("two replicas")
    };
    leads(one, true, SOON).await?;
    let stopped = Stopwatch::start();
    one.stop(Duration::from_secs(5)).await?;
    leads(two, true, SOON).await?;
    let bound = Duration::from_secs(5);
    seen(
        "L15",
        "a fail-over, until the other one leads",
        bound,
        &stopped,
    )?;
    eventually("it to have looked", SOON, async || {
        let directives = super::stage::metric(two, "document_directives").await?;
        ensure!(directives == 20, "{directives}");
        Ok(())
    })
    .await?;
    assert_eq!(line.document().await?, before, "not one write");
    ensure!(super::stage::metric(two, "document_puts_total").await? == 0);
    Ok(())
}
