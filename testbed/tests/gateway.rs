//! The gateway before a real API server: what a rule does is what a client gets, and nothing else changes.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use testbed::gateway::{Asked, Gateway};
use testbed::{ControlPlane, eventually};

const SOON: Duration = Duration::from_secs(30);
const CRD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crds/diagnosticsdirective.yaml"
);

/// A client that goes through the gateway, may do everything and does not try again by itself.
async fn client(plane: &ControlPlane, gateway: &Gateway) -> Result<Client> {
    let binding = [
        "create",
        "clusterrolebinding",
        "all",
        "--clusterrole=cluster-admin",
    ];
    let account = "--serviceaccount=default:default";
    plane
        .kubectl(&[&binding[..], &[account]].concat())
        .await?
        .success()?;
    let file = eventually("the ServiceAccount", SOON, async || {
        plane
            .service_account_kubeconfig_for("default", "default", &gateway.endpoint())
            .await
    })
    .await?;
    let kubeconfig = Kubeconfig::read_from(file)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

fn directives(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("osproxy.io", "v1alpha1", "DiagnosticsDirective");
    let resource = ApiResource::from_gvk_with_plural(&kind, "diagnosticsdirectives");
    Api::namespaced_with(client.clone(), "default", &resource)
}

async fn create(plane: &ControlPlane, name: &str) -> Result<()> {
    let manifest = json!({
        "apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "allRequests": true, "level": "Shape", "samplePerMille": 1, "ttl": "1h" },
    });
    let input = manifest.to_string();
    plane
        .kubectl_with_input(&["create", "-f", "-"], &input)
        .await?
        .success()?;
    Ok(())
}

async fn start() -> Result<(ControlPlane, Gateway)> {
    let plane = ControlPlane::start().await?;
    plane.kubectl(&["apply", "-f", CRD]).await?.success()?;
    let established = ["wait", "--for=condition=Established", "crd", "--all"];
    plane.kubectl(&established).await?.success()?;
    // kubectl asks what there is, which is told by another part of the server a moment later.
    eventually("the definition to be served", SOON, async || {
        let told = plane.get("/apis/osproxy.io/v1alpha1").await?;
        ensure!(told.contains("\"diagnosticsdirectives\""), "{told}");
        Ok(())
    })
    .await?;
    let gateway = Gateway::start(&plane).await?;
    Ok((plane, gateway))
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

#[tokio::test]
async fn requests_are_answered_as_the_rules_say_and_otherwise_by_the_server() -> Result<()> {
    let (plane, gateway) = start().await?;
    create(&plane, "one").await?;
    let client = client(&plane, &gateway).await?;
    let api = directives(&client);
    let list = async || api.list(&ListParams::default().limit(500)).await;
    ensure!(list().await?.items.len() == 1);

    // Without its token nobody is anybody.
    let stranger = Client::try_from(Config::new(gateway.endpoint().parse()?))?;
    let error = directives(&stranger).list(&ListParams::default()).await;
    ensure!(code(&error.err().context("taken without a token")?) == 403);

    let gone = gateway
        .when(Asked::is_list)
        .nth(2)
        .refuse(410, "Expired")
        .arm();
    ensure!(list().await.is_ok(), "the first is not the second");
    let error = list().await.err().context("not refused")?;
    ensure!(code(&error) == 410, "{error}");
    ensure!(list().await.is_ok() && gone.hits() == 1);

    let closed = gateway.when(Asked::is_list).every().lose().arm();
    let error = list().await.err().context("not lost")?;
    ensure!(code(&error) == 0, "{error}");
    closed.remove();
    gateway.when(Asked::is_list).cut_after(40).arm();
    let error = list().await.err().context("not cut")?;
    ensure!(code(&error) == 0, "{error}");
    gateway
        .when(Asked::is_list)
        .body(|bytes| bytes[..40].to_vec())
        .arm();
    let error = list().await.err().context("not truncated")?;
    ensure!(matches!(error, kube::Error::SerdeError(_)), "{error}");

    let rewritten = |list: &mut Value| list["items"][0]["metadata"]["name"] = "two".into();
    gateway.when(Asked::is_list).json(rewritten).arm();
    let list_of_two = list().await?;
    ensure!(list_of_two.items[0].metadata.name.as_deref() == Some("two"));

    let held = gateway.when(Asked::is_list).hold_until_released().arm();
    let a_moment = async {
        held.hit(1, SOON).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        anyhow::Ok(())
    };
    tokio::select! {
        biased;
        answer = list() => bail!("it was not held back: {answer:?}"),
        over = a_moment => over?,
    }
    ensure!(held.hits() == 1);
    held.release();
    ensure!(list().await.is_ok());

    let journal = gateway.asked(Asked::is_list);
    ensure!(
        journal
            .iter()
            .all(|asked| asked.authorization.starts_with("Bearer ") || asked.status == Some(403))
    );
    ensure!(journal.iter().any(|asked| asked.status == Some(410)));
    Ok(())
}

#[tokio::test]
async fn watches_say_what_the_rules_and_the_test_let_them_say() -> Result<()> {
    let (plane, gateway) = start().await?;
    let client = client(&plane, &gateway).await?;
    let api = directives(&client);
    let params = WatchParams::default().disable_bookmarks();
    let mut events = api.watch(&params, "0").await?.boxed();

    gateway.events(|mut event| {
        let name = event["object"]["metadata"]["name"].clone();
        match name.as_str() {
            Some("swallowed") => vec![],
            Some("doubled") => {
                let first = event.clone();
                event["object"]["metadata"]["name"] = "again".into();
                vec![first, event]
            }
            _ => vec![event],
        }
    });
    for name in ["swallowed", "doubled"] {
        create(&plane, name).await?;
    }
    for expected in ["doubled", "again"] {
        ensure!(name_of(events.try_next().await?)? == expected);
    }
    let said = json!({"type": "BOOKMARK", "object": {"kind": "DiagnosticsDirective", "apiVersion": "osproxy.io/v1alpha1", "metadata": {"resourceVersion": "7"}}});
    ensure!(gateway.say(&said) == 1);
    ensure!(matches!(
        events.try_next().await?,
        Some(WatchEvent::Bookmark(_))
    ));
    ensure!(gateway.end_watches() == 1);
    ensure!(events.try_next().await?.is_none(), "it ends in good form");

    gateway.heal();
    let mut cut = api.watch(&params, "0").await?.boxed();
    ensure!(name_of(cut.try_next().await?)? != "again");
    gateway.cut_watches();
    while let Ok(Some(event)) = cut.try_next().await {
        ensure!(["swallowed", "doubled"].contains(&name_of(Some(event))?.as_str()));
    }

    let mut hushed = api.watch(&params, "0").await?.boxed();
    for _ in 0..2 {
        hushed.try_next().await?;
    }
    gateway.hush_watches();
    create(&plane, "unheard").await?;
    let silence = tokio::time::timeout(Duration::from_secs(1), hushed.try_next()).await;
    ensure!(silence.is_err(), "it said something");
    Ok(())
}

fn name_of(event: Option<WatchEvent<DynamicObject>>) -> Result<String> {
    match event.context("the watch has ended")? {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            object.metadata.name.context("no name")
        }
        other => anyhow::bail!("{other:?}"),
    }
}
