//! How a store connects: TLS, certificates that rotate, logins that expire, a start that does not wait.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use authority::{Authority, Secret};
use bench::{Bench, KEY, SOON, clock, connected, disconnected, document, ids_are, ids_become};
use etcd_client::{Client, Permission, PermissionType};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::store::StoreBuilder;
use osproxy_directives::{EtcdDirectiveStore, EtcdError};
use rcgen::KeyPair;
use secure::Secure;
use table::line;
use testbed::{Cut, Direction, Etcd, EtcdOptions, FaultProxy, eventually};

#[path = "store/authority.rs"]
mod authority;
#[path = "store/bench.rs"]
mod bench;
#[path = "store/secure.rs"]
mod secure;
#[path = "support/faults.rs"]
mod table;

/// A look at the files is at most 6 s away, and what is new is tried first.
const NOTICED: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_client_certificate_that_rotates_is_taken_and_a_bad_one_is_not() -> Result<()> {
    let mut secure = Secure::start().await?;
    secure.publish(&["a"]).await?;
    let store = secure.builder().instance("proxy-1").build().await?;
    ids_are(&store, &["a"])?;
    connected(&store, SOON).await?;
    ensure!(store.status().instance.as_deref() == Some("proxy-1"));

    // Half written, of another key, of a stranger: the old connection stays, and the status says why.
    let next = secure.authority.identity("next")?;
    let stranger = Authority::new("stranger")?.identity("next")?;
    let before = secure.way.counts().accepted;
    for (certificate, key, reason) in [
        (&next.certificate[..100], &next.key[..], "file_without_pem"),
        (&next.certificate, &stranger.key, "etcd_options"),
        (&stranger.certificate, &stranger.key, "etcd_"),
    ] {
        secure.rotate(certificate, key)?;
        eventually("the refusal", NOTICED, async || {
            let unused = store.status().unused_files.unwrap_or_default();
            ensure!(unused.starts_with(reason), "{unused:?}, not {reason}");
            Ok(())
        })
        .await?;
        ensure!(store.status().connected, "{:?}", store.status());
    }
    secure.publish(&["b"]).await?;
    ids_become(&store, &["b"]).await?;
    ensure!(
        store.status().counters.restarts == 0,
        "{:?}",
        store.status()
    );

    secure.rotate(&next.certificate, &next.key)?;
    let began = SystemClock.now();
    eventually("the new certificate", NOTICED, async || {
        let status = store.status();
        ensure!(
            status.unused_files.is_none() && status.connected,
            "{status:?}"
        );
        ensure!(secure.way.counts().accepted > before);
        Ok(())
    })
    .await?;
    let took = SystemClock.now().saturating_duration_since(began);
    line(
        "W28",
        "a client certificate that rotates",
        NOTICED,
        took,
        "",
    );
    // Only the new connection is left.
    eventually("the old connection to close", SOON, async || {
        let open = secure.way.counts().open;
        ensure!(open == 1, "{open} connections");
        Ok(())
    })
    .await?;
    secure.publish(&["c"]).await?;
    ids_become(&store, &["c"]).await?;
    ensure!(
        store.status().counters.restarts == 0,
        "a rotation is no failure: {:?}",
        store.status()
    );
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_cannot_prove_its_name_is_not_believed() -> Result<()> {
    let mut secure = Secure::start().await?;
    let error = start(secure.builder().server_name("elsewhere")).await?;
    ensure!(error.to_string().contains("server name"), "{error}");

    let other = Authority::new("other")?;
    secure.files[0].1.clone_from(&other.certificate);
    secure.replace()?;
    let error = start(secure.builder()).await?;
    ensure!(error.to_string().contains("CA file"), "{error}");

    let mute = FaultProxy::start(&secure.way.address().to_string()).await?;
    mute.blackhole(Direction::Down);
    let began = SystemClock.now();
    let error = start(secure.builder_to(&mute)).await?;
    let took = SystemClock.now().saturating_duration_since(began);
    ensure!(took < Duration::from_secs(11), "{took:?}: {error}");
    line(
        "N8",
        "a TLS handshake that stalls at the start",
        Duration::from_secs(11),
        took,
        "",
    );
    Ok(())
}

#[tokio::test]
async fn a_start_that_does_not_wait_begins_empty_and_follows_later() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    bench.way.cut(Cut::Rst);
    // The fastest of a few: one that waits for etcd does so each time, and another process may hold up any one.
    let mut starts = Vec::new();
    for _ in 0..4 {
        let began = SystemClock.now();
        let store = EtcdDirectiveStore::builder([bench.way.endpoint()], KEY, clock())
            .start_empty()
            .build()
            .await?;
        let took = SystemClock.now().saturating_duration_since(began);
        starts.push((took, store));
    }
    let fastest = starts.into_iter().min_by_key(|(took, _)| *took);
    let (took, store) = fastest.context("no start")?;
    ensure!(took < Duration::from_millis(200), "{took:?}");
    line(
        "W30",
        "a cold start with etcd down",
        Duration::from_millis(200),
        took,
        "",
    );
    ids_are(&store, &[])?;
    disconnected(&store, SOON).await?;
    eventually("the status to say why", SOON, async || {
        ensure!(store.status().last_fault.is_some());
        Ok(())
    })
    .await?;
    ensure!(store.status().stale && store.status().revision == 0);
    bench.way.heal();
    eventually("the document", Duration::from_secs(10), async || {
        ids_are(&store, &["a"])
    })
    .await
}

#[tokio::test]
async fn one_dead_member_of_three_is_not_noticed() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    let leader = eventually("a leader", NOTICED, async || etcd.leader().await).await?;
    let follower = (leader + 1) % 3;
    etcd.member(follower).kill()?;
    for _ in 0..10 {
        let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock()).await?;
        connected(&store, SOON).await?;
        ensure!(
            store.status().counters.failed_reads == 0,
            "{:?}",
            store.status()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_login_for_the_key_alone_is_enough_and_its_expiry_is_not_noticed() -> Result<()> {
    let keys = Secret::new(&[("private", ""), ("public", "")])?;
    let pair = KeyPair::generate()?;
    std::fs::write(keys.path("private"), pair.serialize_pem())?;
    std::fs::write(keys.path("public"), pair.public_key_pem())?;
    let token = format!(
        "--auth-token=jwt,pub-key={},priv-key={},sign-method=ES256,ttl=5s",
        keys.path("public").display(),
        keys.path("private").display()
    );
    let bench = Bench::start_with(EtcdOptions::new().flag(token)).await?;
    bench.publish(&["a"], 600).await?;
    let mut root = with_users(&bench.client, "geheim").await?;

    let mut password = Secret::new(&[("password", "geheim\n")])?;
    let store = EtcdDirectiveStore::builder([bench.way.endpoint()], KEY, clock())
        .user_with_password_file("proxy", password.path("password"))
        .allow_insecure_credentials()
        .build()
        .await?;
    ids_are(&store, &["a"])?;
    connected(&store, SOON).await?;
    let unused = store.status().clock_ahead_ms;
    ensure!(
        unused.is_some(),
        "may not ask for the lease: {:?}",
        store.status()
    );

    // The token is over, and every one is void: the revision of the users has moved on.
    tokio::time::sleep(Duration::from_secs(6)).await;
    root.refresh_token().await?;
    root.user_add("somebody", "x", None).await?;
    bench.way.disconnect(Cut::Rst);
    recovers(&mut root, &store, "b").await?;
    root.refresh_token().await?;
    root.user_delete("somebody").await?;
    bench.way.disconnect(Cut::Rst);
    recovers(&mut root, &store, "c").await?;

    // Another password, in etcd and then in the file.
    root.refresh_token().await?;
    root.user_change_password("proxy", "neu").await?;
    bench.way.disconnect(Cut::Rst);
    // After a back-off, which has grown by now.
    eventually("the refusal", NOTICED, async || {
        let fault = store.status().last_fault;
        ensure!(fault == Some("etcd_authentication"), "{fault:?}");
        Ok(())
    })
    .await?;
    ids_are(&store, &["c"])?;
    password.replace(&[("password", "neu")])?;
    eventually("the new password", NOTICED, async || {
        ensure!(store.status().connected, "{:?}", store.status());
        Ok(())
    })
    .await?;
    recovers(&mut root, &store, "d").await
}

#[tokio::test]
async fn credentials_do_not_go_over_plain_http() -> Result<()> {
    let way = FaultProxy::start("127.0.0.1:1").await?;
    let builder = EtcdDirectiveStore::builder([way.endpoint()], KEY, clock()).user("u", "geheim");
    let error = start(builder).await?;
    ensure!(matches!(error, EtcdError::Options(_)), "{error}");
    ensure!(!error.to_string().contains("geheim"), "{error}");
    ensure!(way.counts().accepted == 0, "somebody was asked");
    Ok(())
}

async fn start(builder: StoreBuilder) -> Result<EtcdError> {
    match builder.build().await {
        Ok(_) => bail!("started"),
        Err(error) => Ok(error),
    }
}

/// Users `root` and `proxy`, the latter with the right to read the key and nothing else; returns root's client.
async fn with_users(client: &Client, password: &str) -> Result<Client> {
    let mut client = client.clone();
    client.user_add("root", password, None).await?;
    client.user_grant_role("root", "root").await?;
    client.user_add("proxy", password, None).await?;
    client.role_add("reader").await?;
    client
        .role_grant_permission("reader", Permission::new(PermissionType::Read, KEY))
        .await?;
    client.user_grant_role("proxy", "reader").await?;
    client.auth_enable().await?;
    client
        .update_user(Some(("root".to_owned(), password.to_owned())))
        .await?;
    Ok(client)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the operator's fence is not what is tested here"
)]
async fn recovers(root: &mut Client, store: &EtcdDirectiveStore, id: &str) -> Result<()> {
    root.refresh_token().await?;
    root.put(KEY, document(&[id], 600), None).await?;
    let began = SystemClock.now();
    let bound = Duration::from_secs(10);
    eventually("the login anew", bound, async || ids_are(store, &[id])).await?;
    let took = SystemClock.now().saturating_duration_since(began);
    line("W15", "a login that is not good any more", bound, took, "");
    connected(store, SOON).await
}

impl Secure {
    fn builder(&self) -> StoreBuilder {
        self.builder_to(&self.way)
    }

    fn builder_to(&self, way: &FaultProxy) -> StoreBuilder {
        let endpoint = format!("https://{}", way.address());
        EtcdDirectiveStore::builder([endpoint], KEY, clock())
            .ca_file(self.secret.path("ca.crt"))
            .client_certificate(self.secret.path("tls.crt"), self.secret.path("tls.key"))
    }

    async fn publish(&mut self, ids: &[&str]) -> Result<()> {
        self.put(KEY, document(ids, 600)).await
    }
}
