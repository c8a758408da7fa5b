//! What each example of values renders, whole. `UPDATE_GOLDEN=1 cargo test --test chart golden` writes the files
//! anew; the difference is then for a person to read.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::helm::{CHART, template_files};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/golden");

#[tokio::test]
async fn each_example_of_values_renders_what_it_did() -> Result<()> {
    let mut different = Vec::new();
    for (name, values) in examples()? {
        // A dashboard and its alerts are long, and have tests of their own.
        if name == "monitoring" {
            continue;
        }
        // The definition is compared byte for byte elsewhere; the policy is shown once.
        let mut less = json!({"crds": {"enabled": false}});
        if name != "site-policy" {
            less["policy"] = json!({"enabled": false});
        }
        let rendered = template_files(&[&values], &less).await?;
        let golden = Path::new(GOLDEN).join(format!("{name}.yaml"));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &rendered)?;
        } else if fs::read_to_string(&golden).ok().as_deref() != Some(&rendered) {
            different.push(first_difference(&golden, &rendered));
        }
    }
    ensure!(
        different.is_empty(),
        "{}\nIf that is wanted: UPDATE_GOLDEN=1 cargo test --test chart golden",
        different.join("\n")
    );
    Ok(())
}

/// Name and file of every `ci/*-values.yaml`.
pub(crate) fn examples() -> Result<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(Path::new(CHART).join("ci"))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.strip_suffix("-values.yaml");
        let name = name.with_context(|| format!("{file} is not called …-values.yaml"))?;
        all.push((name.to_owned(), path.clone()));
    }
    all.sort();
    ensure!(!all.is_empty(), "no example of values");
    Ok(all)
}

fn first_difference(golden: &Path, rendered: &str) -> String {
    let name = golden.display();
    let Ok(expected) = fs::read_to_string(golden) else {
        return format!("{name} is not there");
    };
    let lines = expected.lines().zip(rendered.lines());
    match lines.enumerate().find(|(_, (old, new))| old != new) {
        Some((index, (old, new))) => format!("{name}:{}: `{old}` is now `{new}`", index + 1),
        None => format!("{name} has another length"),
    }
}

/// The examples, as values; for what a real API server makes of them.
pub(crate) async fn manifests(values: &Path) -> Result<Vec<Value>> {
    let text = template_files(&[values], &json!({})).await?;
    let all: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(all.into_iter().filter(|one| !one.is_null()).collect())
}
