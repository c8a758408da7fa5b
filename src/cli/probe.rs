//! `osproxy-directives probe`: what `helm test` runs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use clap::Args;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, Config};

use super::etcd::block_on;

/// One question may take this long.
const LIMIT: Duration = Duration::from_secs(5);
/// A Service may be a moment behind its Pods.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Asks an installed operator whether it is ready, and the API server whether the operator's account may list what it publishes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the operator says whether it is ready.
    #[arg(long, value_name = "URL")]
    operator: String,

    /// The namespaces that it watches, separated by commas; all of them if not given.
    #[arg(long, value_delimiter = ',')]
    watch_namespaces: Vec<String>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    block_on(probe(arguments))
}

async fn probe(arguments: Arguments) -> anyhow::Result<()> {
    let answer = patiently(async || ready(&arguments.operator).await).await?;
    println!("The operator is ready: {}\n{answer}", arguments.operator);
    let client = Client::try_default()
        .await
        .context("cannot find the API server")?;
    let mut places: Vec<Option<&str>> = arguments
        .watch_namespaces
        .iter()
        .map(|namespace| Some(namespace.as_str()))
        .collect();
    if places.is_empty() {
        places.push(None);
    }
    for place in places {
        patiently(async || list(&client, place).await).await?;
        let place = place.map_or("all namespaces".to_owned(), |name| {
            format!("namespace {name}")
        });
        println!("Its account may list DiagnosticsDirectives in {place}.");
    }
    Ok(())
}

/// What `/readyz` says, where that is yes.
async fn ready(url: &str) -> anyhow::Result<String> {
    let url: Uri = url.parse().context("--operator is no URL")?;
    let path = url.path().to_owned();
    let client = Client::try_from(Config::new(origin(&url)?)).context("cannot use --operator")?;
    let request = Request::get(path).body(Vec::new())?;
    let answer = client.request_text(request).await;
    answer.with_context(|| format!("the operator at {url} does not say that it is ready"))
}

/// A URL without its path.
fn origin(url: &Uri) -> anyhow::Result<Uri> {
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).context("--operator has to name scheme and host")
}

async fn list(client: &Client, namespace: Option<&str>) -> anyhow::Result<()> {
    let kind = GroupVersionKind::gvk("osproxy.io", "v1alpha1", "DiagnosticsDirective");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let one = ListParams::default().limit(1);
    api.list_metadata(&one)
        .await
        .context("the operator's account may not list DiagnosticsDirectives")?;
    Ok(())
}

/// Asks a few times, for what has just been installed.
async fn patiently<T>(ask: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut tries = 0;
    loop {
        let asked = tokio::time::timeout(LIMIT, ask()).await;
        let answer = asked.unwrap_or_else(|_| bail!("no answer in {LIMIT:?}"));
        tries += 1;
        if answer.is_ok() || tries == TRIES {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
