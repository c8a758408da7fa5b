//! What every command shows, whole, in a pipe and on a terminal of eighty columns, where nothing may run over the edge.
//!
//! `UPDATE_GOLDEN=1 cargo test --test cli every_command` writes the files in `tests/golden/cli` anew; the difference is then for a person
//! to read. Times, ports and ids are masked there, as wide as they are.

#[path = "golden/away.rs"]
mod away;
#[path = "golden/mask.rs"]
mod mask;
#[path = "golden/screens.rs"]
mod screens;
#[path = "golden/watch.rs"]
mod watch;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use osproxy_core::SystemClock;
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::operator::report::rfc3339;
use serde_json::{Value, json};
use testbed::{EtcdOptions, eventually};

use crate::broken::POLICY;
use crate::shell::Shell;
use crate::support::{KEY, Line, SOON, directive, now_secs, options};
use screens::{On, Screens};

const RELEASE: &str = "osproxy-directives/osproxy-directives";

#[tokio::test]
async fn every_command_shows_what_it_did() -> Result<()> {
    // Without the policy, so that the operator has something to refuse.
    let options = options().values(json!({"policy": {"enabled": false}}));
    let line = Line::start_with(EtcdOptions::new(), options).await?;
    // Rights are left out below, on purpose.
    line.plane.expect_refusals();
    revisions_of_three_digits(&line).await?;
    let shell = Shell::new(line.plane.kubeconfig())?;
    let mut screens = Screens::new(&shell);
    away::commands_that_ask_nobody(&mut screens).await?;
    away::servers_that_are_not_there(&mut screens).await?;

    reported(&line, "Unknown", 0).await?;
    screens
        .both("status-nothing-and-nobody", &["status"], 0)
        .await?;
    screens
        .both("import-nothing", &["import", &etcd(&line)], 0)
        .await?;
    screens.both("proxies-none", &["proxies"], 0).await?;
    let mut stores = Vec::new();
    for name in ["edge-1", "edge-2", "edge-3"] {
        let store = EtcdDirectiveStore::builder(line.etcd.endpoints(), KEY, Arc::new(SystemClock));
        stores.push(store.instance(name).build().await?);
    }
    reported(&line, "True", 3).await?;
    on_is_told_when_every_proxy_has_it(&mut screens).await?;
    a_paused_key_lets_the_time_run_out(&line, &mut screens).await?;
    directives_in_every_state(&line).await?;
    reported(&line, "True", 3).await?;
    status_has_all_of_them(&mut screens).await?;
    wait_and_extend(&mut screens).await?;
    reported(&line, "True", 3).await?;
    watch::goes_on_showing_it(&line, &shell, &mut screens).await?;
    proxies_and_checks(&line, &mut screens).await?;
    off(&line, &mut screens).await?;
    the_key_changes_hands(&line, &mut screens).await?;
    screens.finish()
}

/// So that a revision is as wide in each run.
async fn revisions_of_three_digits(line: &Line) -> Result<()> {
    let mut etcd = line.etcd.client().await?;
    for _ in 0..100 {
        etcd.put("another/key", "", None).await?;
    }
    Ok(())
}

fn etcd(line: &Line) -> String {
    format!("--etcd-endpoints={}", line.etcd.endpoint_list())
}

/// Waits until the operator has reported the proxies so.
async fn reported(line: &Line, expected: &str, reporting: u64) -> Result<()> {
    eventually("the operator to report the proxies", SOON, async || {
        let args = [
            "get",
            "diagfleet",
            "-n",
            "osproxy-directives",
            "osproxy-directives",
            "-o",
            "json",
        ];
        let fleet: Value = serde_json::from_str(&line.plane.kubectl(&args).await?.success()?)?;
        let status = &fleet["status"];
        ensure!(status["proxies"]["reporting"] == reporting, "{status}");
        let current = crate::support::condition(status, "ProxiesCurrent")?;
        ensure!(current.starts_with(expected), "{status}");
        Ok(())
    })
    .await
}

/// Waits until the operator has said of the directive that is on whether every proxy has it.
async fn line_applied(line: &Line, expected: &str) -> Result<()> {
    eventually("the operator to report the directive", SOON, async || {
        let status = line.status("inc-4711").await?;
        let applied = crate::support::condition(&status, "Applied")?;
        ensure!(applied.starts_with(expected), "{status}");
        Ok(())
    })
    .await
}

const INCIDENT: [&str; 8] = [
    "on",
    "inc-4711",
    "--tenant=acme",
    "--index=orders",
    "--level=ShapeTiming",
    "--sample=5%",
    "--ttl=50m",
    "--comment=INC-4711, slow searches since the release of Tuesday; ask Ana before you switch it off",
];

async fn on_is_told_when_every_proxy_has_it(screens: &mut Screens<'_>) -> Result<()> {
    let mut dry = INCIDENT.to_vec();
    dry.push("--dry-run");
    screens.both("on-dry-run", &dry, 0).await?;
    screens.pipe("on", &INCIDENT, 0).await?;
    screens.both("on-again", &INCIDENT, 1).await?;
    screens
        .pipe("off-delete", &["off", "--delete", "inc-4711", "missing"], 1)
        .await?;
    screens.terminal("on", &INCIDENT, 0).await?;
    let refused = [
        "on",
        "--tenant=acme",
        "--level=Shape",
        "--sample=1%",
        "--ttl=200h",
    ];
    screens.both("on-refused", &refused, 1).await?;
    let nothing = ["on", "--tenant=acme", "--sample=1%", "--ttl=30m"];
    screens.both("on-nothing", &nothing, 1).await?;
    screens
        .both("on-usage", &["on", "--level=Shape"], 2)
        .await?;
    let share = [
        "on",
        "--tenant=acme",
        "--level=Shape",
        "--sample=5",
        "--ttl=30m",
    ];
    screens.both("on-share", &share, 2).await
}

async fn a_paused_key_lets_the_time_run_out(line: &Line, screens: &mut Screens<'_>) -> Result<()> {
    let mut etcd = line.etcd.client().await?;
    let paused = format!("{KEY}/paused");
    etcd.put(paused.as_str(), "a person", None).await?;
    let held = [
        "on",
        "held",
        "--tenant=acme",
        "--level=Shape",
        "--sample=100%",
        "--ttl=50m",
        "--timeout=3s",
    ];
    let delete = ["off", "--delete", "held"];
    screens
        .or_again(On::Pipe, "on-timeout", &held, 3, &delete)
        .await?;
    screens
        .both("wait-timeout", &["wait", "held", "--timeout=1s"], 3)
        .await?;
    screens.both("status-paused", &["status"], 0).await?;
    crate::shell::told(
        &screens.shell().run(&delete).await?.out,
        "default/held is deleted\n",
    )?;
    screens
        .or_again(On::Terminal, "on-timeout", &held, 3, &delete)
        .await?;
    etcd.delete(paused.as_str(), None).await?;
    screens
        .terminal("off-delete", &["off", "--delete", "held", "missing"], 1)
        .await
}

/// One that is on, and one of each other state.
async fn directives_in_every_state(line: &Line) -> Result<()> {
    let mut ended = directive("ended", "5s");
    ended["spec"]["comment"] = "INC-4700".into();
    line.apply(&ended).await?;
    let mut planned = directive("release-2026-48", "45m");
    planned["spec"]["activeFrom"] = rfc3339(now_secs() + 50 * 60).into();
    line.apply(&planned).await?;
    let mut suspended = directive("reindex", "55m");
    suspended["spec"]["suspend"] = true.into();
    line.apply(&suspended).await?;
    let mut refused = directive("typo", "50m");
    refused["spec"]["supend"] = true.into();
    line.apply(&refused).await?;
    line.state("release-2026-48", "Scheduled").await?;
    line.state("reindex", "Suspended").await?;
    line.state("typo", "Rejected").await?;
    line.state("ended", "Expired").await?;
    Ok(())
}

async fn status_has_all_of_them(screens: &mut Screens<'_>) -> Result<()> {
    screens.both("status", &["status"], 0).await?;
    screens
        .both("status-wide", &["status", "-o", "wide"], 0)
        .await?;
    screens
        .both("status-json", &["status", "-o", "json"], 0)
        .await?;
    screens
        .both("status-yaml", &["status", "-o", "yaml"], 0)
        .await?;
    screens
        .both("status-elsewhere", &["status", "-n", "kube-system"], 0)
        .await
}

async fn wait_and_extend(screens: &mut Screens<'_>) -> Result<()> {
    screens.both("wait", &["wait", "inc-4711"], 0).await?;
    screens
        .both("wait-scheduled", &["wait", "release-2026-48"], 0)
        .await?;
    screens
        .both("wait-suspended", &["wait", "reindex"], 0)
        .await?;
    screens.both("wait-refused", &["wait", "typo"], 1).await?;
    screens.both("wait-ended", &["wait", "ended"], 1).await?;
    screens.both("off-ended", &["off", "ended"], 0).await?;
    screens
        .both("wait-missing", &["wait", "missing"], 1)
        .await?;
    screens
        .pipe("extend", &["extend", "inc-4711", "--for=55m"], 0)
        .await?;
    screens
        .terminal("extend", &["extend", "inc-4711", "--for=58m"], 0)
        .await?;
    screens
        .both("extend-already", &["extend", "inc-4711", "--for=1m"], 0)
        .await?;
    screens
        .both("extend-refused", &["extend", "typo", "--for=1m"], 1)
        .await?;
    screens
        .both("extend-too-long", &["extend", "inc-4711", "--for=168h"], 1)
        .await
}

/// Records by hand: what proxies say of themselves depends on the instant at which they do.
async fn records(line: &Line) -> Result<()> {
    let revision = line.document().await?.context("no document")?.mod_revision;
    let mut etcd = line.etcd.client().await?;
    for name in ["edge-1", "edge-2", "edge-3"] {
        let record = json!({
            "version": "0.1.0",
            "revision": revision,
            "publication_secs": now_secs() - 615,
            "clock_ahead_ms": 3,
        });
        let key = format!("{KEY}/fleet/{name}");
        etcd.put(key, record.to_string(), None).await?;
    }
    Ok(())
}

async fn proxies_and_checks(line: &Line, screens: &mut Screens<'_>) -> Result<()> {
    let endpoints = etcd(line);
    let mut etcd = line.etcd.client().await?;
    records(line).await?;
    reported(line, "True", 3).await?;
    screens.both("proxies", &["proxies"], 0).await?;
    screens
        .both("proxies-etcd", &["proxies", &endpoints], 0)
        .await?;
    screens
        .both("proxies-json", &["proxies", &endpoints, "-o", "json"], 0)
        .await?;
    screens.both("check-pre", &["check", "--pre"], 0).await?;

    // A proxy's record by hand: it refused the document.
    let record =
        r#"{"version":"0.1.0","revision":1,"refused":{"reason":"unknown_member","revision":1}}"#;
    let key = format!("{KEY}/fleet/edge-eu-west-1a-7f9c5d8b4-x2k8p");
    etcd.put(key.as_str(), record, None).await?;
    reported(line, "False", 4).await?;
    line_applied(line, "False").await?;
    screens.both("proxies-lagging", &["proxies"], 1).await?;
    records(line).await?;
    screens
        .both("proxies-etcd-lagging", &["proxies", &endpoints], 1)
        .await?;
    screens.both("status-lagging", &["status"], 0).await?;
    screens.both("check-broken", &["check"], 1).await?;
    etcd.delete(key, None).await?;
    reported(line, "True", 3).await?;
    line_applied(line, "True").await?;

    let manifest = serde_json::from_str(POLICY)?;
    line.apply(&manifest).await?;
    screens.both("check", &["check"], 0).await?;
    screens
        .both("check-json", &["check", "-o", "json"], 0)
        .await?;
    let nobody = "--as=system:serviceaccount:default:nobody";
    screens
        .both("check-without-rights", &["check", nobody], 1)
        .await?;
    screens
        .both("status-without-rights", &["status", nobody], 2)
        .await?;
    screens
        .both("proxies-without-rights", &["proxies", nobody], 2)
        .await
}

async fn off(line: &Line, screens: &mut Screens<'_>) -> Result<()> {
    screens.pipe("off", &["off", "inc-4711"], 0).await?;
    let resume = [
        "patch",
        "diag",
        "inc-4711",
        "--type=merge",
        "--patch={\"spec\":{\"suspend\":false}}",
    ];
    line.plane.kubectl(&resume).await?.success()?;
    screens.terminal("off", &["off", "inc-4711"], 0).await?;
    line.plane.kubectl(&resume).await?.success()?;
    line.ids(&["default/inc-4711"]).await?;
    screens.both("import", &["import", &etcd(line)], 0).await?;
    let moved = ["adopt", OTHER_RELEASE, "--revision=7", &etcd(line)];
    screens.both("adopt-moved", &moved, 1).await?;
    screens.pipe("off-all", &["off", "--all"], 0).await?;
    screens
        .both("off-nothing", &["off", "--all", "-A"], 0)
        .await?;
    screens
        .both("off-nothing-here", &["off", "--all"], 0)
        .await?;
    line.plane.kubectl(&resume).await?.success()?;
    screens.terminal("off-all", &["off", "--all"], 0).await?;
    Ok(())
}

const OTHER_RELEASE: &str = "--release=another/release";

async fn the_key_changes_hands(line: &Line, screens: &mut Screens<'_>) -> Result<()> {
    let endpoints = etcd(line);
    let ours = format!("--release={RELEASE}");
    let adopt = ["adopt", &ours, "--revision=0", &endpoints];
    line.ids(&[]).await?;
    screens.both("adopt-ours", &adopt, 0).await?;
    let gone = ["adopt", OTHER_RELEASE, "--revision=7", &endpoints];
    screens.both("adopt-gone", &gone, 1).await?;
    let theirs = ["adopt", OTHER_RELEASE, "--revision=0", &endpoints];
    screens.pipe("adopt", &theirs, 0).await?;
    screens.terminal("adopt", &adopt, 0).await?;
    let mut etcd = line.etcd.client().await?;
    etcd.put(format!("{KEY}/paused"), "a person", None).await?;
    etcd.put(KEY, "no document at all", None).await?;
    let import = ["import", &endpoints];
    screens.both("import-foreign", &import, 1).await
}
