//! Helm without a cluster: what the chart renders, as values to look at.

use std::path::Path;

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

/// The Pod's spec out of the one Deployment.
pub(crate) fn pod(all: &[Value]) -> Result<Value> {
    let deployment = of_kind(all, "Deployment").next().context("no Deployment")?;
    Ok(deployment["spec"]["template"]["spec"].clone())
}

/// The text of the whole chart with files of values, and with `last` on top of them.
pub(crate) async fn template_files(files: &[&Path], last: &Value) -> Result<String> {
    template_with(files, last, &[]).await
}

async fn template(mut values: Value, more: &[&str]) -> Result<String> {
    if values.get("etcd").is_none() {
        values["etcd"] = json!({"endpoints": ["http://etcd:2379"]});
    }
    template_with(&[], &values, more).await
}

async fn template_with(files: &[&Path], last: &Value, more: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.json");
    std::fs::write(&file, last.to_string())?;
    let mut args = vec!["template", "osd", CHART, "--namespace", "diagnostics"];
    let names: Vec<_> = files
        .iter()
        .copied()
        .chain([file.as_path()])
        .map(Path::to_string_lossy)
        .collect();
    for name in &names {
        args.extend(["--values", name]);
    }
    helm(&[&args[..], more].concat()).await?.success()
}
