//! What the README says of the resource and the crate, asked of a real API server and of cargo.

mod support;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::{Line, SOON, directive};
use testbed::{ControlPlane, eventually};

/// Every field of the schema, as `kubectl explain` addresses it.
fn paths(schema: &Value, path: &str, into: &mut Vec<String>) {
    let schema = if schema["type"] == "array" {
        &schema["items"]
    } else {
        schema
    };
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        paths(member, &path, into);
        into.push(path);
    }
}

#[tokio::test]
async fn kubectl_explains_every_field_in_a_sentence() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane
        .kubectl(&["apply", "--server-side", "-f", "crds/"])
        .await?
        .success()?;
    let wait = [
        "wait",
        "crd/diagnosticsdirectives.osproxy.io",
        "--for=condition=Established",
        "--timeout=30s",
    ];
    plane.kubectl(&wait).await?.success()?;
    let crd = plane
        .kubectl(&[
            "get",
            "crd",
            "diagnosticsdirectives.osproxy.io",
            "-o",
            "json",
        ])
        .await?
        .success()?;
    let crd: Value = serde_json::from_str(&crd)?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut fields = Vec::new();
    paths(&schema["properties"]["spec"], "diag.spec", &mut fields);
    paths(&schema["properties"]["status"], "diag.status", &mut fields);
    ensure!(fields.len() > 20, "only {fields:?}");
    // The API server shows a new kind to those who ask what there is a moment after it is established.
    eventually("kubectl to know the kind", SOON, async || {
        plane.kubectl(&["explain", "diag"]).await?.success()
    })
    .await?;
    for field in fields {
        let told = plane.kubectl(&["explain", &field]).await?.success()?;
        let told = told
            .split("DESCRIPTION:")
            .nth(1)
            .with_context(|| format!("{field}: no description"))?;
        let sentence = told.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            sentence.len() > 20 && sentence.contains('.'),
            "{field}: {sentence:?}"
        );
        ensure!(!sentence.contains("<empty>"), "{field} says nothing");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_filled() -> Result<()> {
    let line = Line::start().await?;
    let mut one = directive("inc-4711", "1h");
    one["spec"]["createdBy"] = "ana".into();
    line.apply(&one).await?;
    line.state("inc-4711", "Active").await?;
    let wide = line
        .plane
        .kubectl(&["get", "diag", "-o", "wide"])
        .await?
        .success()?;
    let mut lines = wide.lines();
    let header = lines.next().context("no header")?;
    let columns: Vec<&str> = header.split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "NAME", "LEVEL", "SAMPLE", "TARGET", "STATE", "APPLIED", "EXPIRES", "AGE", "READY",
            "BY", "MESSAGE"
        ]
    );
    let row = lines.next().context("no row")?;
    for (position, column) in columns.iter().enumerate() {
        let from = header.find(column).unwrap_or_default();
        let to = columns.get(position + 1).and_then(|next| header.find(next));
        let cell = row
            .get(from..to.unwrap_or(row.len()))
            .unwrap_or_default()
            .trim();
        // Filled once proxies report.
        ensure!(
            cell.is_empty() == (*column == "APPLIED"),
            "{column} shows {cell:?}"
        );
    }
    let category = line.plane.kubectl(&["get", "osproxy"]).await?.success()?;
    ensure!(category.contains("inc-4711"), "{category}");
    Ok(())
}

#[test]
fn a_proxy_that_takes_the_store_gets_neither_kube_nor_clap_nor_a_crypto_provider() -> Result<()> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--no-default-features",
            "--features",
            "store",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    ensure!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout)?;
    ensure!(tree.contains("etcd-client"), "{tree}");
    for crate_ in tree.lines().filter_map(|line| line.split(' ').next()) {
        for unwanted in ["kube", "clap", "rustls", "k8s-openapi", "ring", "aws-lc"] {
            let named = crate_ == unwanted || crate_.starts_with(&format!("{unwanted}-"));
            ensure!(!named, "the store brings {crate_}");
        }
    }
    Ok(())
}
