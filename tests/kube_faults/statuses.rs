//! Statuses and Events that cannot be written, and what they hold up, which is nothing: K13, K17, K20.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::eventually;
use testbed::gateway::Asked;

use super::stage::{AT_ONCE, Stage, fault};
use super::support::{SOON, Stopwatch, condition, directive, options};

/// A publish is the way from kubectl's answer to the key, whatever becomes of statuses.
const PUBLISHED: Duration = Duration::from_secs(3);
/// The first two pauses, 2 s and 4 s, and a call that was under way.
const WRITTEN: Duration = Duration::from_secs(12);
const SECOND: Duration = Duration::from_secs(1);
/// How long an Event waits for its answer; the next one is sent after that.
const ONE_EVENT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn k13_every_refusal_of_a_status() -> Result<()> {
    let stage = Stage::start(options()).await?;
    let mut held = Vec::new();
    for (code, reason) in [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ] {
        let name = format!("on-{code}");
        held.push(name.clone());
        let before = stage.gateway.asked(Asked::is_status).len();
        let refused = stage
            .gateway
            .when(Asked::is_status)
            .every()
            .refuse(code, reason)
            .arm();
        stage.apply(&name).await?;
        let watch = Stopwatch::start();
        let names: Vec<&str> = held.iter().map(String::as_str).collect();
        stage.holds(&names).await?;
        watch.within(PUBLISHED, "a publish beside a refused status")?;
        refused.hit(1, SOON).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // By when they arrived: the second that was slept may have been a longer one.
        let tries = stage.gateway.asked(Asked::is_status).split_off(before);
        let first = tries.first().context("no try")?.at;
        let soon = tries.iter().filter(|asked| asked.at - first <= SECOND);
        let soon = soon.count();
        ensure!(soon <= 2, "{soon} tries in a second");
        refused.remove();
        let watch = Stopwatch::start();
        stage.all_active(held.len()).await?;
        watch.within(WRITTEN, "a status that can be written again")?;
        let what = format!("{code} to a status, from its end");
        fault("K13", &what, WRITTEN, watch.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn k13_statuses_that_are_never_answered_hold_up_no_publish() -> Result<()> {
    let stage = Stage::start(options()).await?;
    let about = |asked: &Asked| asked.is_status() || asked.is_event();
    let mute = stage.gateway.when(about).every().mute().arm();
    let names: Vec<String> = (0..40).map(|n| format!("d-{n:02}")).collect();
    let mut worst = Duration::ZERO;
    for (n, name) in names.iter().enumerate() {
        stage.apply(name).await?;
        let watch = Stopwatch::start();
        let held: Vec<&str> = names[..=n].iter().map(String::as_str).collect();
        stage.holds(&held).await?;
        worst = worst.max(watch.elapsed());
    }
    fault(
        "K13",
        "a publish beside statuses without an answer",
        PUBLISHED,
        worst,
    );
    ensure!(worst <= PUBLISHED, "{worst:?}");
    ensure!(mute.hits() >= 1);
    // They are not all tried: the first that had no answer stand for the others.
    ensure!(mute.hits() <= 60, "{} calls", mute.hits());
    Ok(())
}

#[tokio::test]
async fn k13_events_without_an_answer_hold_up_no_status() -> Result<()> {
    let stage = Stage::start(options()).await?;
    let mute = stage.gateway.when(Asked::is_event).every().mute().arm();
    let muted = Stopwatch::start();
    let names: Vec<String> = (0..40).map(|n| format!("d-{n:02}")).collect();
    for name in &names {
        stage.apply(name).await?;
    }
    let watch = Stopwatch::start();
    stage.all_active(names.len()).await?;
    watch.within(WRITTEN, "forty statuses")?;
    fault(
        "K13",
        "40 statuses beside Events without an answer",
        WRITTEN,
        watch.elapsed(),
    );
    mute.hit(1, SOON).await?;
    // One after the other, however long forty calls of kubectl take.
    let (events, passed) = (mute.hits(), muted.elapsed());
    let most = usize::try_from(passed.as_secs() / ONE_EVENT.as_secs())? + 2;
    ensure!(events <= most, "{events} Events in {passed:?}");
    Ok(())
}

#[tokio::test]
async fn k17_a_status_that_is_throttled_waits_as_long_as_the_server_asks() -> Result<()> {
    let stage = Stage::start(options()).await?;
    let wait = [("retry-after", "7")];
    let throttled = stage
        .gateway
        .when(Asked::is_status)
        .refuse_with(429, "TooManyRequests", &wait)
        .arm();
    stage.apply("a").await?;
    throttled.hit(1, SOON).await?;
    let watch = Stopwatch::start();
    // The patience is the statuses' own.
    stage.apply("b").await?;
    let applied = Stopwatch::start();
    stage.holds(&["a", "b"]).await?;
    applied.within(PUBLISHED, "a publish beside a throttled status")?;
    stage.line.state("a", "Active").await?;
    fault(
        "K17",
        "429 with Retry-After: 7 to a status",
        AT_ONCE,
        watch.elapsed(),
    );
    let asked = stage.gateway.asked(Asked::is_status);
    let refused = asked.iter().position(|asked| asked.status == Some(429));
    let refused = refused.context("not refused")?;
    for later in &asked[refused + 1..] {
        let waited = later.at - asked[refused].at;
        ensure!(
            waited >= Duration::from_secs(7),
            "one more after {waited:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn k13_one_change_costs_one_status_and_quiet_costs_none() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let statuses = || stage.gateway.asked(Asked::is_status).len();
    // What the proxies say may come a moment later, by a status of its own.
    eventually("the last word", SOON, async || {
        let status = stage.line.status("a").await?;
        let applied = condition(&status, "Applied")?;
        ensure!(applied == "Unknown/NoProxiesReporting", "{applied}");
        Ok(())
    })
    .await?;
    let before = statuses();
    ensure!(before <= 2, "{before} for one directive");
    // Everything that could make it write once more: lists, watches, a neighbour.
    for _ in 0..3 {
        let lists = stage.lists();
        stage.makes_it_list().await?;
        eventually("the list", SOON, async || {
            ensure!(stage.lists() > lists);
            Ok(())
        })
        .await?;
        stage.gateway.end_watches();
    }
    stage.keeps(&["a"], Duration::from_secs(5)).await?;
    ensure!(statuses() == before, "{} more", statuses() - before);
    // A leader that has just begun looks at all of them.
    stage.restarts().await?;
    stage.apply("b").await?;
    stage.line.state("b", "Active").await?;
    let about_a = |asked: &Asked| asked.is_status() && asked.path.contains("/a/");
    ensure!(
        stage.gateway.asked(about_a).len() == before,
        "a neighbour's business"
    );
    Ok(())
}

#[tokio::test]
async fn k20_a_recreated_name_inherits_nothing() -> Result<()> {
    let stage = Stage::start(options()).await?;
    // The status of the first is on its way while the name changes hands.
    let held = stage
        .gateway
        .when(Asked::is_status)
        .hold_until_released()
        .arm();
    stage.apply("a").await?;
    held.hit(1, SOON).await?;
    let document = stage.holds(&["a"]).await?.context("a document")?;
    let first_end = document.end_secs("default/a");
    stage.line.delete("a").await?;
    stage.holds(&[]).await?;
    stage.line.apply(&directive("a", "2h")).await?;
    let document = stage.holds(&["a"]).await?.context("a document")?;
    let second_end = document.end_secs("default/a");
    ensure!(second_end >= first_end + 3600);
    held.release();
    let watch = Stopwatch::start();
    let status = stage.line.state("a", "Active").await?;
    fault("K20", "a name that is used again", SOON, watch.elapsed());
    let end = status["expirationTime"].as_str().context("an end")?;
    let end: jiff::Timestamp = end.parse()?;
    ensure!(end.as_second() == i64::try_from(second_end)?, "{status}");
    ensure!(status["observedGeneration"] == 1);
    ensure!(condition(&status, "Published")? == "True/Published");
    // The one that was on its way arrives, and is refused by the version that it was made for.
    eventually("the refusal of the first one's", SOON, async || {
        let asked = stage.gateway.asked(Asked::is_status);
        let status = asked.first().context("nothing asked")?.status;
        ensure!(status == Some(409), "{status:?}");
        Ok(())
    })
    .await?;
    let now = stage.line.status("a").await?;
    ensure!(now == status, "it was written all the same: {now}");
    Ok(())
}
