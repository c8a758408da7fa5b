//! Views of the resources that are not the present one: K1, K2, K8.

use anyhow::{Context, Result, ensure};
use testbed::gateway::Asked;

use super::stage::{AT_ONCE, HEALED, RELIST, Stage};
use super::support::SOON;

#[tokio::test]
async fn k01_a_restart_against_a_cache_that_is_behind() -> Result<()> {
    let stage = Stage::with(&["gone", "kept"]).await?;
    let old = stage.view().await?;
    stage.line.delete("gone").await?;
    stage.holds(&["kept"]).await?;
    // Whoever takes any version gets the old one, as from the watch cache of a server that lags.
    let cached = |asked: &Asked| asked.is_list() && asked.query.contains_key("resourceVersion");
    stage.gateway.when(cached).every().answer(200, old).arm();
    stage.gateway.when(Asked::is_list).run(stage.kill()?).arm();
    stage.makes_it_list().await?;
    stage.comes_back().await?;
    stage.apply("later").await?;
    stage
        .right_within(
            "K1",
            "a restart against a stale cache",
            &["kept", "later"],
            SOON,
        )
        .await?;
    stage.never_back("gone").await?;
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k01_a_server_that_answers_older_than_what_was_seen() -> Result<()> {
    let stage = Stage::with(&["gone", "kept"]).await?;
    let old = stage.view().await?;
    stage.line.delete("gone").await?;
    stage.apply("late").await?;
    stage.holds(&["kept", "late"]).await?;
    let older = stage.gateway.when(Asked::is_list).answer(200, old).arm();
    stage.makes_it_list().await?;
    older.hit(1, SOON).await?;
    stage.says("kube_stale").await?;
    stage.apply("later").await?;
    stage
        .right_within(
            "K1",
            "one answer older than what was seen",
            &["kept", "late", "later"],
            AT_ONCE,
        )
        .await?;
    stage.never_back("gone").await?;
    stage.never_lost("late").await
}

#[tokio::test]
async fn k02_events_that_are_lost_or_folded_into_one() -> Result<()> {
    let stage = Stage::with(&["a", "b"]).await?;
    let lost = stage.gateway.events(|_| vec![]);
    stage.line.delete("a").await?;
    stage.apply("c").await?;
    // Gone and come back, and the operator sees neither.
    stage.line.delete("b").await?;
    stage.apply("b").await?;
    lost.hit(4, SOON).await?;
    stage
        .keeps(&["a", "b"], std::time::Duration::from_secs(1))
        .await?;
    lost.remove();
    stage.makes_it_list().await?;
    stage
        .right_within(
            "K2",
            "lost events, from the next list",
            &["b", "c"],
            AT_ONCE,
        )
        .await?;
    stage.never_lost("b").await
}

#[tokio::test]
#[ignore = "waits for the regular list, up to six minutes; `make faults` does"]
async fn k02_events_that_are_lost_without_a_sign() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let lost = stage.gateway.events(|event| {
        if event["type"] == "BOOKMARK" {
            vec![event]
        } else {
            vec![]
        }
    });
    stage.line.delete("a").await?;
    stage.apply("b").await?;
    lost.hit(2, SOON).await?;
    lost.remove();
    stage
        .right_within("K2", "lost events, without a sign", &["b"], RELIST)
        .await
}

#[tokio::test]
async fn k08_a_cluster_that_is_restored_from_a_backup() -> Result<()> {
    let stage = Stage::with(&["backed-up"]).await?;
    let plane = &stage.line.plane;
    let snapshot = plane.etcd().snapshot("backup").await?;
    stage.apply("after").await?;
    stage.holds(&["after", "backed-up"]).await?;
    plane.api_server().kill()?;
    plane.etcd().restore(&snapshot, &[]).await?;
    plane.restart_api_server().await?;
    let view = stage.view().await?;
    ensure!(!view.contains("\"after\""), "it was not restored");
    stage
        .right_within(
            "K8",
            "a restored cluster, versions go back",
            &["backed-up"],
            HEALED,
        )
        .await?;
    // And it goes on from there, at versions that were all seen before.
    stage.apply("new").await?;
    stage
        .right_within(
            "K8",
            "the next change after that",
            &["backed-up", "new"],
            AT_ONCE,
        )
        .await?;
    let status = stage.line.state("new", "Active").await.context("status")?;
    ensure!(status["state"] == "Active");
    stage.never_lost("backed-up").await
}
