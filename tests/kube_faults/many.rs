//! Many of them: pages, a poisoned one among a thousand, a thousand at once: K4, K5, K9, K16.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{DynamicObject, PostParams};
use serde_json::Value;
use testbed::eventually;
use testbed::gateway::Asked;

use super::stage::{AT_ONCE, HEALED, Stage, fault};
use super::support::{Document, SOON, Stopwatch, condition, directive, options};

/// Applies so many, as fast as the server takes them.
async fn create(stage: &Stage, numbers: std::ops::Range<usize>) -> Result<()> {
    let api = stage.directives();
    futures::stream::iter(numbers)
        .map(|n| {
            let api = api.clone();
            async move {
                let object: DynamicObject = serde_json::from_value(directive(&name(n), "2h"))?;
                api.create(&PostParams::default(), &object).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(16)
        .try_collect()
        .await
}

fn name(n: usize) -> String {
    format!("d-{n:04}")
}

async fn count(stage: &Stage, expected: usize, within: Duration) -> Result<Document> {
    eventually(&format!("{expected} in the document"), within, async || {
        let document = stage.line.document().await?.context("no document")?;
        let ids = document.ids().len();
        ensure!(ids == expected, "{ids}");
        Ok(document)
    })
    .await
}

#[tokio::test]
async fn k05_every_page_of_a_list() -> Result<()> {
    let stage = Stage::start(options()).await?;
    let mut there = 0;
    let mut worst = Duration::ZERO;
    for many in [1, 499, 500, 501] {
        create(&stage, there..many).await?;
        there = many;
        let before = count(&stage, many, SOON).await?;
        // One that starts knows them from its list alone, and finds the key right.
        let pages = stage.gateway.asked(Asked::is_next_page).len();
        let watch = Stopwatch::start();
        stage.restarts().await?;
        let active = format!(r#"osproxy_directives_resources{{state="active"}} {many}"#);
        stage.metric(&active).await?;
        worst = worst.max(watch.elapsed());
        ensure!(
            stage.line.document().await?.as_ref() == Some(&before),
            "it was written"
        );
        let further = stage.gateway.asked(Asked::is_next_page).len() > pages;
        ensure!(further == (many > 500), "{many}");
    }
    fault(
        "K5",
        "1, 499, 500 and 501 directives, a restart each",
        SOON,
        worst,
    );

    // The second page is gone before it was asked for; or cut in the middle; or never comes.
    create(&stage, 501..510).await?;
    count(&stage, 510, SOON).await?;
    for form in ["410", "cut", "lost"] {
        let rule = stage.gateway.when(Asked::is_next_page).times(2);
        let rule = match form {
            "410" => rule.refuse(410, "Expired"),
            "cut" => rule.cut_after(100),
            _ => rule.lose(),
        };
        // A watch that has lasted for a second makes it forget what failed before.
        stage.settles().await?;
        let unseen = stage.gateway.events(|_| vec![]);
        there -= 1;
        stage.line.delete(&name(there)).await?;
        unseen.hit(1, SOON).await?;
        unseen.remove();
        let armed = rule.arm();
        stage.makes_it_list().await?;
        armed.hit(1, SOON).await?;
        let watch = Stopwatch::start();
        let left = 510 - (501 - there);
        count(&stage, left, HEALED)
            .await
            .with_context(|| form.to_owned())?;
        let (number, what) = match form {
            "410" => ("K4", "410 to the second page of a list"),
            "cut" => ("K5", "a second page that is cut off"),
            _ => ("K5", "a second page that is lost"),
        };
        fault(number, what, HEALED, watch.elapsed());
    }
    let history = stage.history().await?;
    let full = history.iter().skip_while(|ids| ids.len() < 500);
    let least = full.map(Vec::len).min().context("no history")?;
    ensure!(least >= 500, "half a list was published: {least}");
    Ok(())
}

#[tokio::test]
async fn k09_one_that_cannot_be_read_among_a_thousand() -> Result<()> {
    let stage = Stage::start(options()).await?;
    // A thousand at once: K16.
    let watch = Stopwatch::start();
    create(&stage, 0..1000).await?;
    let settling = Stopwatch::start();
    count(&stage, 1000, AT_ONCE).await?;
    fault(
        "K16",
        "1,000 applied at once, from the last one",
        AT_ONCE,
        settling.elapsed(),
    );
    let writes = stage.history().await?.len();
    let most = usize::try_from(watch.elapsed().as_secs())? * 10 + 10;
    ensure!(
        writes <= most,
        "{writes} writes of the key in {:?}",
        watch.elapsed()
    );

    // One of them is not what the API server promises of every object; from here on always.
    let poison = |object: &mut Value| {
        if object["metadata"]["name"] == "d-0500" {
            object["metadata"]["creationTimestamp"] = "yesterday".into();
        }
    };
    stage.gateway.events(move |mut event| {
        poison(&mut event["object"]);
        vec![event]
    });
    let rewritten = move |list: &mut Value| {
        list["items"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .for_each(poison);
    };
    stage
        .gateway
        .when(Asked::is_list)
        .every()
        .json(rewritten)
        .arm();
    let watch = Stopwatch::start();
    stage.restarts().await?;
    let document = count(&stage, 999, SOON).await?;
    fault(
        "K9",
        "one of 1,000 that cannot be read: 999 published",
        SOON,
        watch.elapsed(),
    );
    ensure!(!document.ids().contains(&"default/d-0500".to_owned()));
    // Its turn may come after the statuses of hundreds of others.
    let status = eventually("d-0500 to be Rejected", SOON * 3, async || {
        let status = stage.line.status("d-0500").await?;
        ensure!(status["state"] == "Rejected", "it is {status}");
        Ok(status)
    })
    .await?;
    ensure!(
        condition(&status, "Accepted")? == "False/Undecodable",
        "{status}"
    );
    ensure!(
        status.to_string().contains("metadata.creationTimestamp"),
        "{status}"
    );
    // Also in a change of it, and its neighbours go on changing.
    let label = ["label", "diag", "d-0500", "d-0501", "touched=yes"];
    stage.line.plane.kubectl(&label).await?.success()?;
    stage.line.delete("d-0001").await?;
    let watch = Stopwatch::start();
    count(&stage, 998, AT_ONCE).await?;
    fault(
        "K9",
        "its neighbours go on changing",
        AT_ONCE,
        watch.elapsed(),
    );
    Ok(())
}
