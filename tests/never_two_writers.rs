//! Promise 6, **never two writers**: at any time at most one operator can write the key; a paused or partitioned former leader
//! cannot, whatever it believes.

#[path = "never_two_writers/moments.rs"]
mod moments;
mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use osproxy_directives::resource::DiagnosticsDirective;
use serde_json::{Value, json};
use support::{
    KEY, Line, SOON, Stopwatch, binary, directive, document, etcds, options, put_by_hand, seen,
};
use testbed::deadline::eventually;
use testbed::process::Launch;
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator};

/// The names of the replicas' leader keys and who holds them.
async fn leader(etcd: &Etcd) -> Result<String> {
    let keys = [
        "get",
        "--prefix",
        "osproxy/directives/leader/",
        "--print-value-only",
        "--sort-by=CREATE",
        "--limit=1",
    ];
    Ok(etcd.etcdctl(&keys).await?.success()?.trim().to_owned())
}

/// Which replica leads.
async fn leading(line: &Line) -> Result<usize> {
    eventually("a leader", SOON, async || {
        for (index, replica) in line.operator.replicas().iter().enumerate() {
            let asked = tokio::time::timeout(Duration::from_millis(500), replica.metrics()).await;
            if let Ok(Ok(metrics)) = asked
                && metrics
                    .lines()
                    .any(|line| line == "osproxy_directives_leader 1")
            {
                return Ok(index);
            }
        }
        anyhow::bail!("none of them says that it leads")
    })
    .await
}

#[tokio::test]
async fn a_paused_leader_cannot_write() -> Result<()> {
    for etcd in etcds() {
        a_leader_is_paused(etcd).await?;
    }
    Ok(())
}

async fn a_leader_is_paused(etcd: EtcdOptions) -> Result<()> {
    let mut line = Line::start_with(etcd, options()).await?;
    line.operator.start_replica(&line.plane).await?;
    line.operator.wait_ready().await?;
    line.apply(&directive("kept", "1h")).await?;
    line.apply(&directive("withdrawn", "1h")).await?;
    line.ids(&["default/kept", "default/withdrawn"]).await?;

    let first = leading(&line).await?;
    line.operator.replica(first).pause()?;
    // Its lease ends, the other takes over and withdraws what the first still believes in.
    line.delete("withdrawn").await?;
    let paused = Stopwatch::start();
    let after = line.ids(&["default/kept"]).await?.context("a document")?;
    let what = "a leader is paused, until the other one publishes";
    seen("L1", what, Duration::from_secs(20), &paused)?;
    line.operator.replica(first).resume()?;
    line.operator.replica(first).wait_ready().await?;
    eventually("the former leader to notice", SOON, async || {
        let metrics = line.operator.replica(first).metrics().await?;
        ensure!(
            metrics.contains("osproxy_directives_leader 0"),
            "it still says that it leads"
        );
        Ok(())
    })
    .await?;
    assert_eq!(line.document().await?, Some(after), "not one write");
    Ok(())
}

#[tokio::test]
async fn a_replica_takes_over_within_a_second_of_sigterm_and_within_the_lease_of_sigkill()
-> Result<()> {
    let mut line = Line::start().await?;
    line.operator.start_replica(&line.plane).await?;
    line.operator.wait_ready().await?;

    let first = leading(&line).await?;
    line.apply(&directive("a", "1h")).await?;
    line.ids(&["default/a"]).await?;
    // Without kubectl, whose start may take all of the time.
    let kind = ApiResource::erase::<DiagnosticsDirective>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(line.plane.client(), "default", &kind);
    let b: DynamicObject = serde_json::from_value(directive("b", "1h"))?;
    let stopped = Stopwatch::start();
    let status = line
        .operator
        .replica(first)
        .stop(Duration::from_secs(5))
        .await?;
    ensure!(status.success(), "it exits 0 at SIGTERM, and not {status}");
    api.create(&PostParams::default(), &b).await?;
    line.ids(&["default/a", "default/b"]).await?;
    // The exit of the first replica is in this time too.
    stopped.within(Duration::from_secs(3), "the other one's publication")?;

    line.operator.replica(first).restart()?;
    line.operator.wait_ready().await?;
    let second = leading(&line).await?;
    ensure!(second != first, "the one that stayed leads");
    line.operator.replica(second).kill()?;
    let killed = Stopwatch::start();
    line.apply(&directive("c", "1h")).await?;
    line.ids(&["default/a", "default/b", "default/c"]).await?;
    // As promised: the lease, and the other one's campaign, list and write.
    killed.within(Duration::from_secs(20), "the other one's publication")?;
    Ok(())
}

#[tokio::test]
async fn two_releases_that_start_together_on_one_key_are_told_apart_and_one_of_them_writes()
-> Result<()> {
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let (one, two) = tokio::try_join!(
        Operator::start(&plane, &etcd, options().release("one").namespace("one")),
        Operator::start(&plane, &etcd, options().release("two").namespace("two")),
    )?;
    let started = Stopwatch::start();
    let owner = eventually("an owner", SOON, async || {
        let owner = etcd
            .etcdctl(&["get", "osproxy/directives/owner", "--print-value-only"])
            .await?
            .success()?;
        serde_json::from_str::<Value>(&owner).context("no owner yet")
    })
    .await?;
    let (winner, loser) = match owner["release"].as_str() {
        Some("one/one") => (&one, &two),
        Some("two/two") => (&two, &one),
        other => anyhow::bail!("owned by {other:?}"),
    };
    winner.wait_ready().await?;
    eventually("the other one to say so", SOON, async || {
        let url = format!("{}/readyz", loser.replica(0).endpoint());
        let answer = testbed::http::get(&url, &[]).await?;
        let says = format!(
            "owned_by_another: release {}",
            owner["release"].as_str().unwrap_or_default()
        );
        ensure!(
            answer.status == 503 && answer.body.contains(&says),
            "{answer:?}"
        );
        Ok(())
    })
    .await?;
    let what = "two releases on one key, until the other one says so";
    seen("L11", what, SOON, &started)
}

#[tokio::test]
async fn a_foreign_write_a_deletion_and_a_revoked_lease_are_put_right_within_a_second() -> Result<()>
{
    for etcd in etcds() {
        somebody_else_writes(etcd).await?;
    }
    Ok(())
}

async fn somebody_else_writes(etcd: EtcdOptions) -> Result<()> {
    let line = Line::start_with(etcd, options()).await?;
    line.apply(&directive("a", "1h")).await?;
    let ours = line.ids(&["default/a"]).await?.context("a document")?;

    let foreign = r#"{"directives":[{"id":"x","level":"Shape","ttl_secs":60}]}"#;
    for (what, args) in [
        (
            "a foreign put",
            vec!["put".to_owned(), KEY.to_owned(), foreign.to_owned()],
        ),
        ("a deletion", vec!["del".to_owned(), KEY.to_owned()]),
        ("a revoked lease", Vec::new()),
    ] {
        let before = line.document().await?.context("a document")?;
        let args = if args.is_empty() {
            vec![
                "lease".to_owned(),
                "revoke".to_owned(),
                format!("{:x}", before.lease),
            ]
        } else {
            args
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        line.etcd.etcdctl(&args).await?.success()?;
        let done = Stopwatch::start();
        let again = eventually(what, SOON, async || {
            let document = line.document().await?.context("absent")?;
            ensure!(document.mod_revision > before.mod_revision + 1 || what == "x");
            ensure!(
                document.ids() == ["default/a"],
                "it says {:?}",
                document.ids()
            );
            Ok(document)
        })
        .await?;
        // The first is put right at once, the next ones after the back-off against a rival: 1 s, 2 s.
        let bound = match what {
            "a foreign put" => 1,
            "a deletion" => 2,
            _ => 3,
        };
        done.within(Duration::from_secs(bound), what)?;
        assert_eq!(again.dated(), ours.dated(), "{what}: the same ends");
    }
    let metrics = line.operator.replica(0).metrics().await?;
    ensure!(
        metrics.contains("osproxy_directives_document_foreign_writes_total 3"),
        "{metrics}"
    );
    // It is sent beside everything else.
    eventually("one Event, which counts", SOON, async || {
        let events = line
            .plane
            .kubectl(&["get", "events", "-A", "-o", "json"])
            .await?
            .success()?;
        let events: Value = serde_json::from_str(&events)?;
        let items = events["items"].as_array().context("no items")?;
        let told = items
            .iter()
            .filter(|event| event["reason"] == "DocumentChanged")
            .count();
        ensure!(told == 1, "{told} Events");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn while_a_person_has_paused_it_nothing_is_written_and_everything_says_so() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("a", "1h")).await?;
    let before = line.ids(&["default/a"]).await?;
    line.etcd
        .etcdctl(&["put", "osproxy/directives/paused", "ana"])
        .await?
        .success()?;
    line.apply(&directive("b", "1h")).await?;
    eventually("the status to say so", SOON, async || {
        let status = line.status("b").await?;
        ensure!(
            support::condition(&status, "Published")? == "False/Paused",
            "{status}"
        );
        Ok(())
    })
    .await?;
    line.etcd
        .etcdctl(&["put", KEY, "a person's own"])
        .await?
        .success()?;
    let by_hand = line.document().await?.context("a value")?;
    line.delete("a").await?;
    line.state("b", "Pending").await?;
    assert_eq!(
        line.document().await?,
        Some(by_hand),
        "left alone while paused"
    );
    ensure!(before.is_some());
    line.etcd
        .etcdctl(&["del", "osproxy/directives/paused"])
        .await?
        .success()?;
    line.ids(&["default/b"]).await?;
    line.state("b", "Active").await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_value_is_untouched_until_somebody_who_saw_it_adopts_the_key() -> Result<()> {
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let foreign = json!({"directives": [{"id": "ops/by-hand", "level": "Shape", "ttl_secs": 3600, "tenant": "acme"}]});
    let seen = put_by_hand(&etcd, &foreign.to_string(), 0).await?;
    let operator = Operator::start(&plane, &etcd, options()).await?;
    let line = Line {
        operator,
        etcd,
        plane,
    };
    line.apply(&directive("a", "1h")).await?;
    eventually("the status to say so", SOON, async || {
        let status = line.status("a").await?;
        ensure!(
            support::condition(&status, "Published")? == "False/ForeignValue",
            "{status}"
        );
        Ok(())
    })
    .await?;
    let url = format!("{}/readyz", line.operator.replica(0).endpoint());
    let ready = testbed::http::get(&url, &[]).await?;
    ensure!(
        ready.status == 503 && ready.body.contains("foreign_value"),
        "{ready:?}"
    );

    let imported = command(&line, &["import"]).await?.success()?;
    ensure!(
        imported.contains(&format!("--revision {seen}")),
        "{imported}"
    );
    ensure!(imported.contains("name: by-hand"), "{imported}");

    let moved = put_by_hand(&line.etcd, &foreign.to_string(), 0).await?;
    let adopt = |revision: i64| {
        vec![
            "adopt".to_owned(),
            "--release=osproxy-directives/osproxy-directives".to_owned(),
            format!("--revision={revision}"),
        ]
    };
    let args = adopt(seen);
    let refused = command(&line, &args.iter().map(String::as_str).collect::<Vec<_>>())
        .await?
        .failure()?;
    ensure!(refused.contains("somebody wrote it meanwhile"), "{refused}");
    assert_eq!(
        document(&line.etcd).await?.context("a value")?.mod_revision,
        moved,
        "untouched"
    );

    let args = adopt(moved);
    command(&line, &args.iter().map(String::as_str).collect::<Vec<_>>())
        .await?
        .success()?;
    line.ids(&["default/a"]).await?;
    line.operator.wait_ready().await?;
    Ok(())
}

/// Runs a command of the binary as a person with a kubeconfig and etcd's address does.
async fn command(line: &Line, args: &[&str]) -> Result<testbed::command::Output> {
    let launch = Launch::new(binary())
        .args(args.iter().copied())
        .arg(format!("--etcd-endpoints={}", line.etcd.endpoint_list()))
        .env("KUBECONFIG", line.plane.kubeconfig());
    testbed::command::run(&launch, None).await
}

#[tokio::test]
async fn an_owner_that_is_deleted_while_nobody_leads_is_created_again() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("a", "1h")).await?;
    let before = line.ids(&["default/a"]).await?.context("a document")?;
    let replica = line.operator.replica(0);
    replica.pause()?;
    line.etcd
        .etcdctl(&["del", "--prefix", "osproxy/directives/leader/"])
        .await?
        .success()?;
    line.etcd
        .etcdctl(&["del", "osproxy/directives/owner"])
        .await?
        .success()?;
    replica.resume()?;
    line.apply(&directive("b", "1h")).await?;
    let after = line
        .ids(&["default/a", "default/b"])
        .await?
        .context("a document")?;
    assert_eq!(before.end_secs("default/a"), after.end_secs("default/a"));
    let owner = ["get", "osproxy/directives/owner", "--print-value-only"];
    let owner = line.etcd.etcdctl(&owner).await?.success()?;
    ensure!(
        owner.contains("osproxy-directives/osproxy-directives"),
        "{owner}"
    );
    Ok(())
}

#[tokio::test]
async fn the_leader_is_one_of_the_replicas_and_its_key_says_which() -> Result<()> {
    let line = Line::start().await?;
    let named = eventually("a leader key", SOON, async || {
        let name = leader(&line.etcd).await?;
        ensure!(!name.is_empty(), "no leader key");
        Ok(name)
    })
    .await?;
    let pid = line
        .operator
        .replica(0)
        .process()
        .id()
        .context("it runs")?
        .to_string();
    ensure!(
        named.ends_with(&pid),
        "the leader key says {named}, the process is {pid}"
    );
    Ok(())
}
