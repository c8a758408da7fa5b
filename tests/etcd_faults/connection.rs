//! Certificates that rotate, logins that are not good any more, and members that one cannot talk to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions, Permission, PermissionType};
use rcgen::KeyPair;
use serde_json::json;
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, eventually};

use super::authority::{Authority, Secret};
use super::secure::Secure;
use super::stage::{client, ids, leads, led_without_a_break, metric};
use super::support::{Line, SOON, Stopwatch, directive, options, seen};

/// A look at the files is at most 6 s away, and what is new is tried first.
const NOTICED: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_client_certificate_that_rotates_is_taken_and_a_bad_one_is_not() -> Result<()> {
    let mut secure = Secure::start().await?;
    let plane = ControlPlane::start().await?;
    let file = |flag: &str, name: &str| {
        format!("--etcd-{flag}-file={}", secure.secret.path(name).display())
    };
    let files = [
        file("ca", "ca.crt"),
        file("cert", "tls.crt"),
        file("key", "tls.key"),
    ];
    let options = options()
        .etcd_endpoints(vec![secure.endpoint()])
        .values(json!({ "extraArgs": files }));
    let operator = Operator::start(&plane, &secure.etcd, options).await?;
    operator.wait_ready().await?;
    let replica = operator.replica(0);
    leads(replica, true, SOON).await?;
    apply(&plane, "a").await?;
    ids(&secure.writer, &["default/a"], SOON).await?;

    // Half written, of another key, of a stranger: the old connection stays, and everything says why.
    let next = secure.authority.identity("next")?;
    let stranger = Authority::new("stranger")?.identity("next")?;
    let before = secure.way.counts().accepted;
    for (certificate, key, reason) in [
        (&next.certificate[..100], &next.key[..], "file_without_pem"),
        (&next.certificate, &stranger.key, "etcd_options"),
        // etcd refuses a stranger once the handshake is over, and then the connection just ends.
        (&stranger.certificate, &stranger.key, "etcd_unavailable"),
    ] {
        secure.rotate(certificate, key)?;
        eventually("the refusal", NOTICED, async || {
            let log = replica.process().log_text()?;
            let mut told = log.lines().filter(|line| line.contains("cannot be used"));
            let last = told.next_back().context("no word of it")?;
            ensure!(last.contains(&format!(r#""reason":"{reason}"#)), "{last}");
            ensure!(metric(replica, "etcd_files_refused").await? == 1);
            Ok(())
        })
        .await?;
    }
    apply(&plane, "b").await?;
    ids(&secure.writer, &["default/a", "default/b"], SOON).await?;

    let rotated = Stopwatch::start();
    let refused = secure.way.counts().accepted;
    ensure!(refused > before, "nothing was tried");
    secure.rotate(&next.certificate, &next.key)?;
    eventually("the new certificate", NOTICED, async || {
        ensure!(metric(replica, "etcd_files_refused").await? == 0);
        ensure!(secure.way.counts().accepted > refused);
        Ok(())
    })
    .await?;
    let what = "operator: a client certificate that rotates";
    seen("W28", what, NOTICED, &rotated)?;
    // Only the new connection is left, and the term has gone on over it.
    eventually("the old connection to close", SOON, async || {
        let open = secure.way.counts().open;
        ensure!(open == 1, "{open} connections");
        Ok(())
    })
    .await?;
    // It is in use: at the next look there is nothing new to try.
    let tried = secure.way.counts().accepted;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let again = secure.way.counts().accepted - tried;
    ensure!(again == 0, "{again} connections more");
    apply(&plane, "c").await?;
    ids(
        &secure.writer,
        &["default/a", "default/b", "default/c"],
        SOON,
    )
    .await?;
    led_without_a_break(replica)
}

#[tokio::test]
async fn a_login_that_is_not_good_any_more_logs_in_anew() -> Result<()> {
    let keys = Secret::new(&[("private", ""), ("public", "")])?;
    let pair = KeyPair::generate()?;
    std::fs::write(keys.path("private"), pair.serialize_pem())?;
    std::fs::write(keys.path("public"), pair.public_key_pem())?;
    let token = format!(
        "--auth-token=jwt,pub-key={},priv-key={},sign-method=ES256,ttl=3s",
        keys.path("public").display(),
        keys.path("private").display()
    );
    let etcd = Etcd::start(EtcdOptions::new().flag(token)).await?;
    let mut root = with_users(&etcd, "geheim").await?;
    let mut password = Secret::new(&[("password", "geheim\n")])?;
    let file = password.path("password");
    let login = json!({ "extraArgs": [
        "--etcd-user=operator",
        format!("--etcd-password-file={}", file.display()),
        "--etcd-allow-insecure-credentials",
    ] });
    let plane = ControlPlane::start().await?;
    let operator = Operator::start(&plane, &etcd, options().values(login)).await?;
    operator.wait_ready().await?;

    // The token is over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let bound = Duration::from_secs(10);
    let what = "operator: a login that is not good any more";
    published(&plane, &root, "a", &["default/a"], bound, what).await?;
    // Every one is void: the revision of the users has moved on.
    root.user_add("somebody", "x", None).await?;
    published(&plane, &root, "b", &["default/a", "default/b"], bound, what).await?;

    // Another password, in etcd and then in the file.
    root.user_change_password("operator", "neu").await?;
    let all = ["default/a", "default/b", "default/c"];
    let what = "operator: a password that changes in its file";
    tokio::time::sleep(Duration::from_secs(5)).await;
    password.replace(&[("password", "neu")])?;
    published(&plane, &root, "c", &all, NOTICED, what).await?;
    let log = operator.replica(0).process().log_text()?;
    for secret in ["geheim", "neu\""] {
        ensure!(!log.contains(secret), "a password in the log");
    }
    Ok(())
}

/// Applies a directive and waits until the document says so.
async fn published(
    plane: &ControlPlane,
    root: &Client,
    name: &str,
    expected: &[&str],
    bound: Duration,
    what: &str,
) -> Result<()> {
    apply(plane, name).await?;
    let applied = Stopwatch::start();
    ids(root, expected, bound).await?;
    seen("W15", what, bound, &applied)
}

/// Users `root` and `operator`, the latter with the rights that the writer needs; returns root's client.
async fn with_users(etcd: &Etcd, password: &str) -> Result<Client> {
    let mut client = etcd.client().await?;
    client.user_add("root", password, None).await?;
    client.user_grant_role("root", "root").await?;
    client.user_add("operator", password, None).await?;
    client.role_add("writer").await?;
    let below = Permission::new(PermissionType::Readwrite, "osproxy/directives").with_prefix();
    client.role_grant_permission("writer", below).await?;
    client.user_grant_role("operator", "writer").await?;
    client.auth_enable().await?;
    let login = etcd_client::ConnectOptions::new()
        .with_user("root", password)
        .with_auto_token_refresh(true);
    Ok(Client::connect(etcd.endpoints(), Some(login)).await?)
}

async fn apply(plane: &ControlPlane, name: &str) -> Result<()> {
    let input = directive(name, "1h").to_string();
    let args = ["apply", "--server-side", "-f", "-"];
    plane.kubectl_with_input(&args, &input).await?.success()?;
    Ok(())
}

/// How long the member that the operator talks to may be frozen before the operator has published by another one: a refresh of its
/// lease each 5 s that waits 2 s, or a write that waits 5 s and ends the term; then a new term, beside an election in etcd itself.
const FROZEN: Duration = Duration::from_secs(25);

#[tokio::test]
async fn s7_a_frozen_member_is_left_whether_or_not_it_leads() -> Result<()> {
    for frozen_leads in [false, true] {
        let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
        let leader = eventually("a leader", SOON, async || etcd.leader().await).await?;
        let frozen = if frozen_leads {
            leader
        } else {
            (leader + 1) % 3
        };
        let others = [(frozen + 1) % 3, (frozen + 2) % 3];
        // The operator keeps to the first that is named.
        let mut endpoints = etcd.endpoints();
        endpoints.rotate_left(frozen);
        let line = Line::start_on(etcd, options().etcd_endpoints(endpoints)).await?;
        leads(line.operator.replica(0), true, SOON).await?;
        let witness = client(&line.etcd, &others).await?;

        line.etcd.member(frozen).pause()?;
        let paused = Stopwatch::start();
        line.apply(&directive("a", "1h")).await?;
        ids(&witness, &["default/a"], FROZEN).await?;
        let what = if frozen_leads {
            "operator: etcd's leader frozen"
        } else {
            "operator: its member of etcd frozen"
        };
        seen("S7", what, FROZEN, &paused)?;
        // While it is frozen nothing more is lost: the operator has left it for good.
        line.apply(&directive("b", "1h")).await?;
        let left = Stopwatch::start();
        ids(&witness, &["default/a", "default/b"], SOON).await?;
        seen(
            "S7",
            "operator: the next change meanwhile",
            Duration::from_secs(5),
            &left,
        )?;
        line.etcd.member(frozen).resume()?;
        line.state("b", "Active").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_member_costs_the_operator_one_change_of_connection() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    let leader = eventually("a leader", SOON, async || etcd.leader().await).await?;
    let dead = (leader + 1) % 3;
    let mut endpoints = etcd.endpoints();
    endpoints.rotate_left(dead);
    let line = Line::start_on(etcd, options().etcd_endpoints(endpoints)).await?;
    leads(line.operator.replica(0), true, SOON).await?;
    let witness = client(&line.etcd, &[(dead + 1) % 3]).await?;
    line.etcd.member(dead).kill()?;
    let killed = Stopwatch::start();
    line.apply(&directive("a", "1h")).await?;
    ids(&witness, &["default/a"], SOON).await?;
    let bound = Duration::from_secs(10);
    seen("S6", "operator: its member of etcd dead", bound, &killed)?;
    // Its twenty next calls are answered, with one of three members dead.
    for n in 0..20 {
        line.apply(&directive(&format!("b{n}"), "1h")).await?;
    }
    eventually("all of them", SOON, async || {
        let mut kv = witness.kv_client();
        let keys = Some(GetOptions::new());
        let answer = kv.get(super::support::KEY, keys).await?;
        let kv = answer.kvs().first().context("absent")?;
        ensure!(kv.value_str()?.contains("default/b19"), "not yet");
        Ok(())
    })
    .await?;
    let failed = metric(line.operator.replica(0), "document_write_failures_total").await?;
    ensure!(failed <= 1, "{failed} writes failed");
    Ok(())
}
