//! What the chart says of itself to those who look for one, and to Artifact Hub.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::helm::{CHART, pod, render};

#[test]
fn the_chart_and_the_operator_have_one_version() -> Result<()> {
    assert_eq!(chart()?["appVersion"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

#[test]
fn every_definition_is_listed_under_its_own_name() -> Result<()> {
    let mut definitions = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"))? {
        let definition: Value = serde_saphyr::from_str(&fs::read_to_string(entry?.path())?)?;
        definitions.push(json!({
            "kind": definition["spec"]["names"]["kind"],
            "version": definition["spec"]["versions"][0]["name"],
            "name": definition["metadata"]["name"],
        }));
    }
    let mut listed: Vec<Value> = annotation("crds")?
        .as_array()
        .context("no list")?
        .iter()
        .map(|one| json!({"kind": one["kind"], "version": one["version"], "name": one["name"]}))
        .collect();
    definitions.sort_by_key(ToString::to_string);
    listed.sort_by_key(ToString::to_string);
    assert_eq!(listed, definitions);
    Ok(())
}

#[tokio::test]
async fn the_image_that_is_listed_is_the_one_that_runs() -> Result<()> {
    let pod = pod(&render(json!({})).await?)?;
    assert_eq!(
        annotation("images")?[0]["image"],
        pod["containers"][0]["image"]
    );
    Ok(())
}

/// An annotation of Artifact Hub, which is YAML in YAML.
pub(crate) fn annotation(name: &str) -> Result<Value> {
    let chart = chart()?;
    let text = &chart["annotations"][format!("artifacthub.io/{name}")];
    let text = text.as_str().with_context(|| format!("no {name}"))?;
    Ok(serde_saphyr::from_str(text)?)
}

fn chart() -> Result<Value> {
    let text = fs::read_to_string(Path::new(CHART).join("Chart.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}
