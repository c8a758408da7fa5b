//! Watches that end, go silent or say what cannot be: K4, K6, K7.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::eventually;
use testbed::gateway::Asked;

use super::stage::{AT_ONCE, MUTE, Stage, version_of};
use super::support::SOON;

/// Loses what happens meanwhile, so that only a list can tell.
async fn unseen(stage: &Stage) -> Result<()> {
    let lost = stage.gateway.events(|_| vec![]);
    stage.line.delete("a").await?;
    stage.apply("c").await?;
    lost.hit(2, SOON).await?;
    lost.remove();
    Ok(())
}

#[tokio::test]
async fn k04_gone_in_the_stream() -> Result<()> {
    let stage = Stage::with(&["a", "b"]).await?;
    unseen(&stage).await?;
    stage.makes_it_list().await?;
    stage
        .right_within("K4", "410 in the stream", &["b", "c"], AT_ONCE)
        .await?;
    stage.never_lost("b").await
}

#[tokio::test]
async fn k04_gone_as_the_answer_to_a_watch() -> Result<()> {
    let stage = Stage::with(&["a", "b"]).await?;
    unseen(&stage).await?;
    // This version is gone for good: whoever insists on it is refused for ever.
    stage.gateway.end_watches();
    let watches = stage.gateway.asked(Asked::is_watch);
    let last = watches.last().context("no watch")?.number;
    let again = move |asked: &Asked| asked.is_watch() && asked.number > last;
    let mut version = None;
    let refused = std::sync::Mutex::new(move |asked: &Asked| {
        let version = version.get_or_insert_with(|| asked.parameter("resourceVersion").to_owned());
        asked.parameter("resourceVersion") == version
    });
    let same =
        move |asked: &Asked| again(asked) && refused.lock().is_ok_and(|mut refused| refused(asked));
    let gone = stage
        .gateway
        .when(same)
        .every()
        .refuse(410, "Expired")
        .arm();
    // The one that was open may have been answered before the rule held.
    stage.gateway.end_watches();
    gone.hit(1, SOON).await?;
    stage
        .right_within("K4", "410 as the answer to a watch", &["b", "c"], AT_ONCE)
        .await?;
    ensure!(gone.hits() == 1, "it insisted {} times", gone.hits());
    stage.never_lost("b").await
}

#[tokio::test]
async fn k06_bookmarks_of_every_kind() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let bookmark = |version: Option<&str>| {
        let mut meta = json!({});
        if let Some(version) = version {
            meta["resourceVersion"] = version.into();
        }
        json!({"type": "BOOKMARK", "object": {"apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective", "metadata": meta}})
    };
    let (lists, before) = (stage.lists(), stage.line.document().await?);

    // One without a version says nothing, and one with a version moves the place to go on from; neither causes anything else.
    let now = version_of(&stage.view().await?)?;
    for version in [None, Some(""), Some(now.as_str())] {
        ensure!(stage.gateway.say(&bookmark(version)) >= 1);
    }
    let watches = stage.gateway.asked(Asked::is_watch).len();
    stage.gateway.end_watches();
    eventually("the next watch", SOON, async || {
        let all = stage.gateway.asked(Asked::is_watch);
        let next = all.get(watches).context("none yet")?;
        ensure!(next.parameter("resourceVersion") == now, "{next:?}");
        Ok(())
    })
    .await?;
    ensure!(stage.lists() == lists, "a bookmark caused a list");
    ensure!(
        stage.line.document().await? == before,
        "a bookmark caused a write"
    );

    // No bookmarks at all.
    let swallowed = |event: Value| {
        if event["type"] == "BOOKMARK" {
            vec![]
        } else {
            vec![event]
        }
    };
    stage.gateway.events(swallowed);
    stage.apply("b").await?;
    stage
        .right_within(
            "K6",
            "no bookmarks, or without a version",
            &["a", "b"],
            AT_ONCE,
        )
        .await?;
    ensure!(stage.lists() == lists, "there was no reason for a list");

    // One that goes back: the server was rewound, or lies. Only a list tells.
    let lost = stage.gateway.events(|_| vec![]);
    stage.apply("c").await?;
    lost.hit(1, SOON).await?;
    stage.gateway.heal();
    stage.gateway.say(&bookmark(Some("1")));
    stage
        .right_within("K6", "a bookmark that goes back", &["a", "b", "c"], AT_ONCE)
        .await?;
    stage.never_lost("a").await
}

#[tokio::test]
async fn k07_a_watch_that_goes_silent() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    ensure!(stage.gateway.hush_watches() >= 1);
    stage.apply("b").await?;
    stage
        .right_within("K7", "a watch that is open and dead", &["a", "b"], MUTE)
        .await?;
    stage.never_lost("a").await
}

#[tokio::test]
async fn k07_watches_that_break_or_never_begin() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.gateway.when(Asked::is_watch).times(2).lose().arm();
    stage.gateway.cut_watches();
    stage.apply("b").await?;
    stage
        .right_within("K7", "a watch that breaks, twice", &["a", "b"], AT_ONCE)
        .await?;
    // Its head never comes; and the pause after that is the first one again.
    stage.settles().await?;
    let mute = stage.gateway.when(Asked::is_watch).mute().arm();
    stage.gateway.end_watches();
    mute.hit(1, SOON).await?;
    stage.apply("c").await?;
    stage
        .right_within(
            "K7",
            "a watch that is never answered",
            &["a", "b", "c"],
            Duration::from_secs(15),
        )
        .await?;
    stage.never_lost("a").await
}

#[tokio::test]
async fn k07_watches_that_end_at_once_are_not_opened_in_a_loop() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let watches = stage.gateway.asked(Asked::is_watch).len();
    let short = stage
        .gateway
        .when(Asked::is_watch)
        .every()
        .answer(200, "")
        .arm();
    stage.gateway.end_watches();
    short.hit(3, SOON).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let opened = stage.gateway.asked(Asked::is_watch).len() - watches;
    ensure!(opened <= 12, "{opened} in some ten seconds");
    stage.apply("b").await?;
    short.remove();
    stage
        .right_within(
            "K7",
            "watches that end at once",
            &["a", "b"],
            super::stage::HEALED,
        )
        .await?;
    stage.never_lost("a").await
}
