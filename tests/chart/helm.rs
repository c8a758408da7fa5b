//! Helm without a cluster: what the chart renders, as values to look at.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::assets::{self, HELM};
use testbed::command::{self, Output};
use testbed::process::Launch;

/// The chart of this repository.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/osproxy-directives");

/// Runs the pinned Helm, with homes of its own.
pub(crate) async fn helm(args: &[&str]) -> Result<Output> {
    let home = tempfile::tempdir()?;
    let launch = Launch::new(assets::tool(HELM, "helm").await?)
        .env("HOME", home.path())
        .env("HELM_CACHE_HOME", home.path().join("cache"))
        .env("HELM_CONFIG_HOME", home.path().join("config"))
        .env("HELM_DATA_HOME", home.path().join("data"))
        .args(args.iter().copied());
    command::run(&launch, None).await
}

/// Every manifest of the release `osd` in the namespace `diagnostics`, with these values and, unless they name others,
/// one endpoint.
pub(crate) async fn render(values: Value) -> Result<Vec<Value>> {
    let text = template(values, &[]).await?;
    let all: Vec<Value> =
        serde_saphyr::from_multiple(&text).context("the chart renders unreadable YAML")?;
    Ok(all
        .into_iter()
        .filter(|manifest| !manifest.is_null())
        .collect())
}

/// The text of one template, without Helm's own first lines.
pub(crate) async fn render_text(values: Value, template_file: &str) -> Result<String> {
    let text = template(values, &["--show-only", template_file]).await?;
    let (_, body) = text
        .strip_prefix("---\n# Source: ")
        .and_then(|rest| rest.split_once('\n'))
        .context("Helm starts a template in another way")?;
    Ok(body.to_owned())
}

/// The manifests of one kind.
pub(crate) fn of_kind<'a>(all: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    all.iter().filter(move |manifest| manifest["kind"] == kind)
}

async fn template(mut values: Value, more: &[&str]) -> Result<String> {
    if values.get("etcd").is_none() {
        values["etcd"] = json!({"endpoints": ["http://etcd:2379"]});
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string())?;
    let file = file.to_string_lossy();
    let args = [
        "template",
        "osd",
        CHART,
        "--namespace",
        "diagnostics",
        "--values",
        &*file,
    ];
    helm(&[&args[..], more].concat()).await?.success()
}
