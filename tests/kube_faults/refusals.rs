//! A server that refuses, throttles, is slow, or answers half: K14, K15, K17, K18.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::eventually;
use testbed::gateway::Asked;

use super::stage::{AT_ONCE, HEALED, MUTE, Stage, fault};
use super::support::{SOON, Stopwatch, directive, options};

/// Each refusal lasts for a while in which a directive comes and another one goes: the key stays as it was, the operator says why,
/// and then it is right.
#[tokio::test]
async fn k17_every_refusal_of_a_list() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    for (code, reason, slug) in [
        (401, "Unauthorized", "kube_unauthorized"),
        (403, "Forbidden", "kube_forbidden"),
        (404, "NotFound", "kube_resource_unknown"),
        (410, "Expired", "kube_expired"),
        (429, "TooManyRequests", "kube_throttled"),
        (500, "InternalError", "kube_unavailable"),
        (503, "ServiceUnavailable", "kube_unavailable"),
    ] {
        let name = format!("on-{code}");
        let refused = stage
            .gateway
            .when(Asked::is_list)
            .every()
            .refuse(code, reason)
            .arm();
        stage.makes_it_list().await?;
        refused.hit(2, SOON).await?;
        stage.says(slug).await?;
        stage.apply(&name).await?;
        stage.keeps(&["kept"], Duration::from_secs(1)).await?;
        refused.remove();
        let number = if code == 404 { "K14" } else { "K17" };
        let what = format!("{code} to a list, from its end");
        stage
            .right_within(number, &what, &["kept", &name], HEALED)
            .await?;
        stage.line.delete(&name).await?;
        stage.holds(&["kept"]).await?;
    }
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k17_answers_that_end_in_the_middle() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let half = stage.gateway.when(Asked::is_list).every();
    let half = half.body(|bytes| bytes[..bytes.len() / 2].to_vec()).arm();
    stage.makes_it_list().await?;
    half.hit(2, SOON).await?;
    stage.says("kube_malformed").await?;
    stage.keeps(&["kept"], Duration::from_secs(1)).await?;
    half.remove();
    // Each fault begins where those before it are forgotten: the pauses after them would add up.
    stage.settles().await?;
    let cut = stage.gateway.when(Asked::is_list).cut_after(500).arm();
    stage.makes_it_list().await?;
    cut.hit(1, SOON).await?;
    stage.apply("a").await?;
    stage
        .right_within(
            "K17",
            "a list that ends in the middle",
            &["a", "kept"],
            HEALED,
        )
        .await?;
    // Half a line of a watch, and then the end of its connection; then a line that is no JSON.
    stage.settles().await?;
    stage.gateway.when(Asked::is_watch).cut_after(100).arm();
    stage.gateway.end_watches();
    stage.apply("b").await?;
    stage
        .right_within(
            "K17",
            "an event that ends in the middle",
            &["a", "b", "kept"],
            AT_ONCE,
        )
        .await?;
    eventually("a watch to say it on", SOON, async || {
        ensure!(stage.gateway.say(&json!("half an ev")) >= 1);
        Ok(())
    })
    .await?;
    stage.apply("c").await?;
    stage
        .right_within(
            "K17",
            "an event that is none",
            &["a", "b", "c", "kept"],
            HEALED,
        )
        .await?;
    // What could not be read is not shown to anybody either.
    ensure!(
        !stage.log()?.contains("acme"),
        "a selector value in the log"
    );
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k17_a_server_that_asks_for_patience_gets_it() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let wait = [("retry-after", "4")];
    let busy = stage
        .gateway
        .when(Asked::is_list)
        .refuse_with(429, "TooManyRequests", &wait)
        .arm();
    stage.makes_it_list().await?;
    busy.hit(1, SOON).await?;
    stage.apply("a").await?;
    stage
        .right_within("K17", "429 with Retry-After: 4", &["a", "kept"], AT_ONCE)
        .await?;
    let lists = stage.gateway.asked(Asked::is_list);
    let refused = lists.iter().position(|asked| asked.status == Some(429));
    let refused = refused.context("not refused")?;
    let waited = lists.get(refused + 1).context("no list")?.at - lists[refused].at;
    ensure!(
        waited >= Duration::from_secs(4),
        "asked again after {waited:?}"
    );
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k17_a_list_that_takes_its_time() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let slow = stage
        .gateway
        .when(Asked::is_list)
        .delay(Duration::from_secs(20))
        .arm();
    stage.makes_it_list().await?;
    slow.hit(1, SOON).await?;
    stage.apply("a").await?;
    stage
        .right_within(
            "K17",
            "a list that takes 20 s",
            &["a", "kept"],
            Duration::from_secs(25),
        )
        .await?;
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k17_a_list_that_is_never_answered() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let mute = stage.gateway.when(Asked::is_list).mute().arm();
    stage.makes_it_list().await?;
    mute.hit(1, SOON).await?;
    stage.apply("a").await?;
    stage
        .right_within("K17", "a list that is never answered", &["a", "kept"], MUTE)
        .await?;
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k14_rights_that_are_taken_away_and_given_back() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let plane = &stage.line.plane;
    plane.expect_refusals();
    let binding = [
        "clusterrolebinding",
        "osproxy-directives:osproxy-directives",
    ];
    let args = [&["get"][..], &binding, &["-o", "json"]].concat();
    let saved = plane.kubectl(&args).await?.success()?;
    plane
        .kubectl(&[&["delete"][..], &binding].concat())
        .await?
        .success()?;
    // An open watch goes on; the next one is refused.
    eventually("the refusal", SOON, async || {
        stage.gateway.end_watches();
        let refused = stage
            .gateway
            .asked(|asked| asked.is_watch() && asked.status == Some(403));
        ensure!(!refused.is_empty());
        Ok(())
    })
    .await?;
    stage.says("kube_forbidden").await?;
    stage
        .metric(r#"osproxy_directives_kube_fault{reason="kube_forbidden"} 1"#)
        .await?;
    stage.apply("a").await?;
    stage
        .line
        .plane
        .kubectl(&["delete", "diag", "kept", "--wait=false"])
        .await?
        .success()?;
    stage.keeps(&["kept"], Duration::from_secs(2)).await?;
    // Also one that starts now, and knows nothing, does not take it for nothing.
    stage.restarts().await?;
    stage.says("kube_forbidden").await?;
    stage.keeps(&["kept"], Duration::from_secs(2)).await?;
    let mut saved: serde_json::Value = serde_json::from_str(&saved)?;
    saved["metadata"] = json!({"name": saved["metadata"]["name"]});
    let give = ["create", "-f", "-"];
    plane
        .kubectl_with_input(&give, &saved.to_string())
        .await?
        .success()?;
    stage
        .right_within("K14", "rights given back", &["a"], HEALED)
        .await?;
    let history = stage.history().await?;
    ensure!(history.iter().all(|ids| !ids.is_empty()), "{history:?}");
    Ok(())
}

#[tokio::test]
async fn k15_one_namespace_that_cannot_be_seen() -> Result<()> {
    let (plane, etcd) = tokio::try_join!(
        testbed::ControlPlane::start(),
        testbed::Etcd::start(testbed::EtcdOptions::new())
    )?;
    for namespace in ["checkout", "search"] {
        plane
            .kubectl(&["create", "namespace", namespace])
            .await?
            .success()?;
    }
    let values = json!({"watch": {"namespaces": ["checkout", "search"]}});
    let stage = Stage::on(plane, etcd, options().values(values)).await?;
    let apply = async |namespace: &str, name: &str| {
        let mut manifest = directive(name, "1h");
        manifest["metadata"]["namespace"] = namespace.into();
        stage.line.apply(&manifest).await
    };
    apply("checkout", "a").await?;
    apply("search", "b").await?;
    stage.line.ids(&["checkout/a", "search/b"]).await?;

    let there = |asked: &Asked| asked.path.contains("/namespaces/search/") && !asked.is_event();
    let refused = stage
        .gateway
        .when(there)
        .every()
        .refuse(403, "Forbidden")
        .arm();
    stage.gateway.end_watches();
    refused.hit(2, SOON).await?;
    apply("search", "unseen").await?;
    apply("checkout", "c").await?;
    let watch = Stopwatch::start();
    stage
        .line
        .ids(&["checkout/a", "checkout/c", "search/b"])
        .await?;
    watch.within(AT_ONCE, "a change beside a namespace that cannot be seen")?;
    fault(
        "K15",
        "a change beside a namespace that is refused",
        AT_ONCE,
        watch.elapsed(),
    );
    stage.says("kube_forbidden").await?;
    refused.remove();
    stage
        .line
        .ids(&["checkout/a", "checkout/c", "search/b", "search/unseen"])
        .await?;

    let args = ["delete", "namespace", "search", "--wait=false"];
    stage.line.plane.kubectl(&args).await?.success()?;
    let watch = Stopwatch::start();
    stage.line.ids(&["checkout/a", "checkout/c"]).await?;
    watch.within(SOON, "the end of a namespace")?;
    fault("K15", "a namespace that is deleted", SOON, watch.elapsed());
    let history = stage.history().await?;
    let mut since = history.iter().skip_while(|ids| ids.len() < 2);
    ensure!(
        since.all(|ids| ids.contains(&"checkout/a".to_owned())),
        "{history:?}"
    );
    Ok(())
}

#[tokio::test]
async fn k18_a_token_that_rotates() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let journal = stage.gateway.journal();
    let old = journal
        .last()
        .context("nothing asked")?
        .authorization
        .clone();
    ensure!(old.starts_with("Bearer "));
    stage.line.operator.renew_token(&stage.line.plane).await?;
    let outdated = move |asked: &Asked| asked.authorization == old;
    let refused = stage
        .gateway
        .when(outdated)
        .every()
        .refuse(401, "Unauthorized")
        .arm();
    stage.gateway.end_watches();
    stage.apply("a").await?;
    stage
        .right_within(
            "K18",
            "a token that is not good any more",
            &["a", "kept"],
            Duration::from_secs(70),
        )
        .await?;
    ensure!(refused.hits() >= 1, "it was never refused");
    stage.line.state("a", "Active").await?;
    stage.never_lost("kept").await
}

#[tokio::test]
async fn k14_an_operator_that_starts_beside_a_server_that_is_down() -> Result<()> {
    let stage = Stage::with(&["kept"]).await?;
    let replica = stage.line.operator.replica(0);
    let down = stage.gateway.when(|_| true).every().lose().arm();
    replica.stop(Duration::from_secs(5)).await?;
    replica.restart()?;
    down.hit(4, SOON).await?;
    stage.keeps(&["kept"], Duration::from_secs(2)).await?;
    let alive = format!("{}/healthz", replica.endpoint());
    // It may have only begun: the first of what was lost was perhaps asked by the one before it.
    eventually("/healthz to say that it is alive", SOON, async || {
        let said = testbed::http::get(&alive, &[]).await?;
        ensure!(said.status.is_success(), "it says {}", said.body);
        Ok(())
    })
    .await?;
    stage.apply("a").await?;
    down.remove();
    stage
        .right_within(
            "K14",
            "a start beside a server that is down",
            &["a", "kept"],
            HEALED,
        )
        .await?;
    stage.never_lost("kept").await
}
