//! Promise 4, **eventually right**: when the resources stop changing and both servers can be reached, the key equals the plan and
//! stays equal.

#[path = "eventually_right/crashes.rs"]
mod crashes;
mod support;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::DirectiveStore;
use serde_json::json;
use support::{Line, SOON, condition, directive, now_secs, store};
use testbed::deadline::eventually;

#[tokio::test]
async fn a_directive_goes_into_the_document_ends_by_itself_and_says_so() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("inc-2", "1h")).await?;
    // Long enough to look at it before its end.
    line.apply(&directive("inc-1", "20s")).await?;

    let document = line
        .ids(&["default/inc-1", "default/inc-2"])
        .await?
        .unwrap();
    let status = line.state("inc-1", "Active").await?;
    assert_eq!(condition(&status, "Accepted")?, "True/Valid");
    assert_eq!(condition(&status, "Published")?, "True/Published");
    assert_eq!(condition(&status, "Ready")?, "True/Published");
    assert_eq!(status["sample"], "100%");
    assert_eq!(status["targetSummary"], "tenant=acme");

    let end = document.end_secs("default/inc-1");
    // It was there as long as it was seen there, by a clock that was read before.
    let mut last_seen = 0;
    eventually("it to leave the document", SOON, async || {
        let asked = now_secs();
        let ids = line.document().await?.context("absent")?.ids();
        if ids.contains(&"default/inc-1".to_owned()) {
            last_seen = asked;
        }
        ensure!(ids == ["default/inc-2"], "it holds {ids:?}");
        Ok(())
    })
    .await?;
    ensure!(now_secs() >= end, "it left the document before its end");
    ensure!(
        last_seen <= end + 2,
        "it was in the document {} s late",
        last_seen - end
    );
    let status = line.state("inc-1", "Expired").await?;
    assert_eq!(condition(&status, "Ready")?, "True/Expired");

    line.delete("inc-2").await?;
    line.ids(&[]).await?;
    assert_eq!(
        line.document().await?,
        None,
        "nothing to say is an absent key"
    );

    // They come after the statuses.
    eventually("the Events", SOON, async || {
        let events = line
            .plane
            .kubectl(&["events", "--for", "diag/inc-1", "-o", "json"])
            .await?
            .success()?;
        for reason in ["Published", "Expired"] {
            ensure!(
                events.contains(&format!("\"reason\": \"{reason}\"")),
                "no Event {reason}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_change_a_suspension_and_a_resumption_reach_the_document() -> Result<()> {
    let line = Line::start().await?;
    let mut one = directive("inc-1", "1h");
    line.apply(&one).await?;
    line.ids(&["default/inc-1"]).await?;

    one["spec"]["suspend"] = json!(true);
    line.apply(&one).await?;
    line.ids(&[]).await?;
    let status = line.state("inc-1", "Suspended").await?;
    assert_eq!(condition(&status, "Ready")?, "True/Suspended");

    one["spec"]["suspend"] = json!(false);
    one["spec"]["samplePerMille"] = json!(7);
    line.apply(&one).await?;
    let document = line.ids(&["default/inc-1"]).await?.unwrap();
    assert_eq!(document.dated()[0].entry.sample_per_mille, 7);
    line.state("inc-1", "Active").await?;
    Ok(())
}

#[tokio::test]
async fn each_part_killed_and_restarted_while_directives_change_key_and_proxies_end_equal_to_the_plan()
-> Result<()> {
    let line = Line::start().await?;
    let proxies = [
        proxy(&line).await?,
        proxy(&line).await?,
        proxy(&line).await?,
    ];
    for round in 0..2 {
        let before = format!("before-{round}");
        let during = format!("during-{round}");
        line.apply(&directive(&before, "1h")).await?;

        line.etcd.kill()?;
        line.apply(&directive(&during, "1h")).await?;
        line.delete(&before).await?;
        line.etcd.restart().await?;
        everywhere(&line, &proxies, &[&during]).await?;

        line.operator.replica(0).kill()?;
        line.delete(&during).await?;
        line.operator.replica(0).restart()?;
        everywhere(&line, &proxies, &[]).await?;

        line.apply(&directive(&before, "1h")).await?;
        line.plane.api_server().kill()?;
        line.plane.restart_api_server().await?;
        line.apply(&directive(&during, "1h")).await?;
        everywhere(&line, &proxies, &[&before, &during]).await?;
        line.delete(&before).await?;
        line.delete(&during).await?;
        everywhere(&line, &proxies, &[]).await?;
    }
    eventually("readiness", SOON, async || line.operator.wait_ready().await).await
}

async fn proxy(line: &Line) -> Result<EtcdDirectiveStore> {
    store(&line.etcd, Arc::new(SystemClock)).await
}

/// Waits until the key and every proxy hold exactly the directives of these names.
async fn everywhere(line: &Line, proxies: &[EtcdDirectiveStore], names: &[&str]) -> Result<()> {
    let ids: Vec<_> = names.iter().map(|name| format!("default/{name}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    line.ids(&ids).await?;
    for proxy in proxies {
        eventually(&format!("a proxy to hold {ids:?}"), SOON, async || {
            let held = proxy.load().introspect(SystemClock.now());
            let held: Vec<_> = held["directives"]
                .as_array()
                .context("no directives")?
                .iter()
                .map(|directive| directive["id"].as_str().unwrap_or_default())
                .collect();
            ensure!(held == ids, "it holds {held:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
