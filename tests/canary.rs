//! No selector value, password or token shows up anywhere but where it belongs: not in logs at any level, metrics, Events, answers of the
//! operator's own server, `Debug` or panics. Where it belongs: in a resource's own spec, in its status' `targetSummary`, and in the key.

mod support;

#[path = "store/authority.rs"]
mod authority;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use authority::Secret;
use etcd_client::{Permission, PermissionType};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::document::Accepted;
use osproxy_directives::etcd::{ConnectOptions, Password};
use osproxy_directives::operator::observe::{Projected, project};
use osproxy_directives::operator::plan::{Limits, plan};
use osproxy_observe::DirectiveStore;
use serde_json::{Value, json};
use support::{KEY, Line, SOON, directive, options};
use testbed::{Cut, Etcd, EtcdOptions, FaultProxy, eventually};
use tracing_subscriber::layer::SubscriberExt as _;

/// What must not show up; each in a place of its own.
const TENANT: &str = "canary-tenant-5f1c";
const INDEX: &str = "canary-index-91aa";
const PRINCIPAL: &str = "canary-principal-d07e";
const FOREIGN: &str = "canary-foreign-3b62";
const TYPO: &str = "canary-typo-77c4";
const AUTHOR: &str = "canary-author-18fd";
const PASSWORD: &str = "canary-password-c9e3";
const ALL: [&str; 7] = [TENANT, INDEX, PRINCIPAL, FOREIGN, TYPO, AUTHOR, PASSWORD];

fn is_clean(place: &str, text: &str) -> Result<()> {
    for canary in ALL {
        let at = text.find(canary);
        let from = at.unwrap_or_default().saturating_sub(200);
        let around = text.get(from..).unwrap_or(text);
        let around = around.get(..around.len().min(400)).unwrap_or(around);
        ensure!(at.is_none(), "{canary} in {place}: {around}");
    }
    Ok(())
}

/// A directive whose every value is a canary.
fn canaries(name: &str) -> Value {
    let mut directive = directive(name, "1h");
    directive["spec"]["match"] = json!([
        { "key": "tenant", "value": TENANT },
        { "key": "index", "value": INDEX },
        { "key": "principal", "value": PRINCIPAL },
    ]);
    directive["spec"]["createdBy"] = AUTHOR.into();
    directive["spec"]["comment"] = AUTHOR.into();
    directive
}

/// An etcd that asks for a login, and the user `operator` with the rights that the writer needs.
async fn with_login(etcd: &Etcd) -> Result<etcd_client::Client> {
    let mut client = etcd.client().await?;
    for user in ["root", "operator"] {
        client.user_add(user, PASSWORD, None).await?;
    }
    client.user_grant_role("root", "root").await?;
    client.role_add("writer").await?;
    let below = Permission::new(PermissionType::Readwrite, KEY).with_prefix();
    client.role_grant_permission("writer", below).await?;
    client.user_grant_role("operator", "writer").await?;
    client.auth_enable().await?;
    let login = etcd_client::ConnectOptions::new()
        .with_user("root", PASSWORD)
        .with_auto_token_refresh(true);
    Ok(etcd_client::Client::connect(etcd.endpoints(), Some(login)).await?)
}

#[tokio::test]
async fn an_operator_at_its_most_talkative_shows_no_value_password_or_token() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let root = with_login(&etcd).await?;
    let password = Secret::new(&[("password", PASSWORD)])?;
    let file = password.path("password");
    let values = json!({
        "log": { "level": "trace" },
        "policy": { "enabled": false },
        "extraArgs": [
            "--etcd-user=operator",
            format!("--etcd-password-file={}", file.display()),
            "--etcd-allow-insecure-credentials",
        ],
    });
    let way = FaultProxy::start(etcd.member(0).endpoint().trim_start_matches("http://")).await?;
    let options = options()
        .values(values)
        .etcd_endpoints(vec![way.endpoint()]);
    let line = Line::start_on(etcd, options).await?;

    // Published, changed, refused, withdrawn; written over by a hand; cut off and back.
    line.apply(&canaries("good")).await?;
    line.state("good", "Active").await?;
    let mut typo = canaries("typo");
    typo["spec"]["supend"] = TYPO.into();
    let create = ["create", "--validate=false", "-f", "-"];
    let typo = typo.to_string();
    let created = line.plane.kubectl_with_input(&create, &typo).await?;
    created.success()?;
    line.state("typo", "Rejected").await?;
    let foreign = json!({ "directives": [{ "id": "x", "level": "Shape", "ttl_secs": 60, "tenant": FOREIGN }] });
    for value in [foreign.to_string(), format!("nonsense {FOREIGN}")] {
        put(&root, &value).await?;
        document_has(&root, "default/good", true).await?;
    }
    way.disconnect(Cut::Rst);
    line.apply(&canaries("second")).await?;
    line.state("second", "Active").await?;
    line.delete("good").await?;
    document_has(&root, "default/good", false).await?;

    let replica = line.operator.replica(0);
    is_clean("/metrics", &replica.metrics().await?)?;
    let url = format!("{}/readyz", replica.endpoint());
    is_clean("/readyz", &testbed::http::get(&url, &[]).await?.body)?;
    let get = ["get", "events", "-A", "-o", "json"];
    // They are sent beside everything else.
    let events = eventually("the Events", SOON, async || {
        let events = line.plane.kubectl(&get).await?.success()?;
        ensure!(events.contains("DocumentChanged") && events.contains("Rejected"));
        Ok(events)
    })
    .await?;
    is_clean("the Events", &events)?;
    for name in ["typo", "second"] {
        let mut status = line.status(name).await?;
        let summary = status["targetSummary"].take();
        ensure!(
            name == "typo" || summary.to_string().contains(TENANT),
            "{summary}"
        );
        is_clean("a status", &status.to_string())?;
    }
    let log = replica.process().log_text()?;
    ensure!(
        log.contains(r#""level":"DEBUG""#) || log.contains(r#""level":"TRACE""#),
        "it says too little to prove anything"
    );
    is_clean("the log", &log)?;
    let token = std::fs::read_to_string(testbed::kube::token_file(line.operator.kubeconfig()))?;
    ensure!(
        token.len() > 100 && !log.contains(token.trim()),
        "the token in the log"
    );
    Ok(())
}

/// Waits until the document has a directive, or has it no more.
async fn document_has(client: &etcd_client::Client, id: &str, wanted: bool) -> Result<()> {
    eventually(
        &format!("{id} in the document: {wanted}"),
        SOON,
        async || {
            let answer = client.kv_client().get(KEY, None).await?;
            let kv = answer.kvs().first().context("absent")?;
            ensure!(kv.value_str()?.contains(id) == wanted, "not yet");
            Ok(())
        },
    )
    .await
}

#[allow(
    clippy::disallowed_methods,
    reason = "the test plays the person who writes by hand"
)]
async fn put(client: &etcd_client::Client, value: &str) -> Result<()> {
    client.kv_client().put(KEY, value, None).await?;
    Ok(())
}

/// Everything that this crate logs in this process, at every level.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_store_shows_no_value_or_password_in_its_logs_status_or_debug() -> Result<()> {
    let lines = Lines::default();
    let writer = lines.clone();
    // What the libraries beneath say at TRACE is the wire itself; it is the proxy's to leave that off.
    let ours = tracing_subscriber::EnvFilter::new("osproxy_directives=trace");
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ours).with(layer))?;

    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let root = with_login(&etcd).await?;
    let way = FaultProxy::start(etcd.member(0).endpoint().trim_start_matches("http://")).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let builder = EtcdDirectiveStore::builder([way.endpoint()], KEY, clock)
        .user("operator", PASSWORD)
        .allow_insecure_credentials();
    let mut shown = vec![format!("{builder:?}")];
    let store = builder.build().await?;
    let good = json!({ "directives": [{ "id": "a/b", "level": "Shape", "ttl_secs": 600, "tenant": TENANT, "index": INDEX, "principal": PRINCIPAL }] });
    put(&root, &good.to_string()).await?;
    eventually("the document", SOON, async || {
        ensure!(store.load().len() == 1, "not yet");
        Ok(())
    })
    .await?;
    shown.push(format!("{store:?} {:?}", store.status()));
    for (refused, bad) in [
        (1, format!("nonsense {FOREIGN}")),
        (2, json!({ "directives": [{ "id": "a", "level": FOREIGN, "ttl_secs": 60 }] }).to_string()),
        (3, json!({ "directives": [{ "id": "a", "level": "Shape", "ttl_secs": 60, "tennant": FOREIGN }] }).to_string()),
        (4, json!({ "directives": [{ "id": "a", "level": "Shape", "ttl_secs": 60, "tenant": [FOREIGN] }] }).to_string()),
    ] {
        put(&root, &bad).await?;
        eventually("the refusal", SOON, async || {
            ensure!(store.status().counters.refused >= refused, "not yet");
            Ok(())
        })
        .await?;
        shown.push(format!("{:?} {}", store.status(), serde_json::to_string(&store.status())?));
    }
    way.cut(Cut::Rst);
    eventually("the cut", SOON, async || {
        ensure!(!store.status().connected, "not yet");
        Ok(())
    })
    .await?;
    shown.push(format!("{:?}", store.status()));
    way.heal();

    let log = String::from_utf8(lines.0.lock().unwrap().clone())?;
    let said: BTreeSet<_> = log
        .split_whitespace()
        .filter(|word| ["INFO", "WARN"].contains(word))
        .collect();
    ensure!(
        said.len() == 2,
        "it says too little to prove anything: {log}"
    );
    is_clean("the store's log", &log)?;
    for text in shown {
        is_clean("Debug or status", &text)?;
    }
    Ok(())
}

#[test]
fn nothing_public_shows_a_value_in_its_debug() -> Result<()> {
    fn shown(value: &impl Debug) -> String {
        format!("{value:?} {value:#?}")
    }
    let good = json!({ "directives": [{ "id": "a/b", "level": "Shape", "ttl_secs": 600, "tenant": TENANT, "index": INDEX, "principal": PRINCIPAL }] });
    let accepted = Accepted::from_bytes(good.to_string().as_bytes())?;
    is_clean("Accepted", &shown(&accepted))?;
    let mut connect = ConnectOptions::new([format!("http://u:{PASSWORD}@h:1")]);
    connect.password = Some(Password::Text(PASSWORD.to_owned()));
    is_clean("ConnectOptions", &shown(&connect))?;
    let refused = connect.check();
    is_clean(
        "BadOptions",
        &format!("{refused:?} {}", refused.clone().unwrap_err()),
    )?;

    let mut object = canaries("good");
    object["metadata"]["uid"] = "u".into();
    object["metadata"]["creationTimestamp"] = "2026-11-22T14:00:00Z".into();
    object["status"] = json!({ "targetSummary": format!("tenant={TENANT}") });
    object["metadata"]["generation"] = 1.into();
    let Projected::Present(resource) = project(object) else {
        anyhow::bail!("no resource");
    };
    ensure!(resource.directive.is_ok(), "{:?}", resource.directive);
    is_clean("Resource", &shown(&resource))?;
    let second = 1_795_356_000;
    let plan = plan(second, [&*resource], &Limits::default());
    is_clean("Plan", &shown(&plan))
}
