//! What the image says of itself, held against what the chart runs; `make image-check` tries the binary.

#![cfg(feature = "operator")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use helm::{of_kind, render};

#[allow(dead_code, reason = "shared with tests/chart.rs, which uses all of it")]
#[path = "chart/helm.rs"]
mod helm;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every instruction of the Containerfile, its continued lines joined.
fn instructions() -> Result<Vec<(String, String)>> {
    let text = read("Containerfile")?.replace("\\\n", " ");
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = lines.filter_map(|line| line.split_once(' '));
    Ok(split
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect())
}

fn read(path: &str) -> Result<String> {
    let file = Path::new(ROOT).join(path);
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// The last instruction of this name in the last stage.
fn last_stage(word: &str) -> Result<String> {
    let all = instructions()?;
    let stage = all
        .rsplit(|(word, _)| word == "FROM")
        .next()
        .context("no stage")?;
    let found = stage
        .iter()
        .rev()
        .find(|(instruction, _)| instruction == word);
    Ok(found
        .with_context(|| format!("no {word} in the last stage"))?
        .1
        .clone())
}

async fn pod() -> Result<Value> {
    let all = render(json!({})).await?;
    let deployment = of_kind(&all, "Deployment")
        .next()
        .context("no Deployment")?;
    Ok(deployment["spec"]["template"]["spec"].clone())
}

#[tokio::test]
async fn the_chart_runs_the_image_as_the_image_wants_to_be_run() -> Result<()> {
    let pod = pod().await?;
    let container = &pod["containers"][0];
    let entrypoint: Vec<String> = serde_json::from_str(&last_stage("ENTRYPOINT")?)?;
    ensure!(entrypoint == ["/osproxy-directives"], "{entrypoint:?}");
    let copied = last_stage("COPY")?;
    ensure!(copied.ends_with(&format!(" {}", entrypoint[0])), "{copied}");
    // The chart adds arguments to the entry point, and replaces nothing.
    ensure!(container.get("command").is_none(), "{container}");
    ensure!(container["args"][0] == "operator", "{container}");

    let context = &pod["securityContext"];
    let user = format!("{}:{}", context["runAsUser"], context["runAsGroup"]);
    ensure!(last_stage("USER")? == user, "the chart says {user}");
    ensure!(
        context["runAsNonRoot"] == true && context["runAsUser"] != 0,
        "{context}"
    );
    ensure!(
        container["securityContext"]["readOnlyRootFilesystem"] == true,
        "{container}"
    );
    let port = container["ports"][0]["containerPort"].to_string();
    ensure!(last_stage("EXPOSE")? == port, "the chart says {port}");
    Ok(())
}

#[test]
fn the_image_is_one_static_binary_on_an_empty_base() -> Result<()> {
    let all = instructions()?;
    let bases: Vec<&str> = all
        .iter()
        .filter(|(word, _)| word == "FROM")
        .map(|(_, rest)| rest.as_str())
        .collect();
    ensure!(bases.last() == Some(&"scratch"), "{bases:?}");
    let copies = all
        .rsplit(|(word, _)| word == "FROM")
        .next()
        .unwrap_or_default();
    ensure!(
        copies.iter().filter(|(word, _)| word == "COPY").count() == 1,
        "one file"
    );

    let toolchain = read("rust-toolchain.toml")?;
    let channel = toolchain.split('"').nth(1).context("no channel")?;
    for base in &bases[..bases.len() - 1] {
        ensure!(
            base.contains(&format!("/rust:{channel}-")),
            "{base} is not of Rust {channel}"
        );
        ensure!(
            base.starts_with("--platform=$BUILDPLATFORM "),
            "{base} is emulated"
        );
    }
    let built = all
        .iter()
        .any(|(word, rest)| word == "RUN" && rest.contains(r#"hack/static "$TARGETARCH""#));
    ensure!(built, "the image is not made of what `make static` makes");
    let script = read("hack/static")?;
    ensure!(
        script.contains("unknown-linux-musl") && script.contains("--locked"),
        "{script}"
    );
    Ok(())
}

#[test]
fn the_build_gets_what_it_needs_and_nothing_besides() -> Result<()> {
    let ignored = read(".containerignore")?;
    let lines: Vec<&str> = ignored
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    ensure!(lines.first() == Some(&"*"), "everything is left out first");
    ensure!(
        read(".dockerignore")? == ignored,
        "docker and podman take the same files"
    );
    let manifest = read("Cargo.toml")?;
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .context("no members")?;
    let members: Vec<String> = serde_json::from_str(members)?;
    let declared = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "hack/static",
        "benches",
        "examples",
    ];
    for needed in members
        .iter()
        .map(String::as_str)
        .filter(|member| *member != ".")
        .chain(declared)
    {
        let within = |line: &&str| {
            line.strip_prefix('!')
                .is_some_and(|path| Path::new(needed).starts_with(path))
        };
        ensure!(lines.iter().any(within), "{needed} is left out");
    }
    Ok(())
}

#[test]
fn every_action_is_pinned_and_no_workflow_may_more_than_it_says() -> Result<()> {
    let mut pinned = 0;
    for file in ["ci", "release"] {
        let file = format!(".github/workflows/{file}.yml");
        let text = read(&file)?;
        let workflow: Value = serde_saphyr::from_str(&text)?;
        for line in text
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: "))
        {
            let (action, version) = line
                .split_once(" # v")
                .with_context(|| format!("{line} names no version"))?;
            let (_, commit) = action.split_once('@').context("no commit")?;
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            ensure!(is_commit && !version.is_empty(), "{file}: {line}");
            pinned += 1;
        }
        let rights = workflow["permissions"]
            .as_object()
            .with_context(|| format!("{file} takes what it gets"))?;
        let reads = rights
            .iter()
            .all(|(what, right)| what == "contents" && right == "read");
        ensure!(reads, "{file}: a right for every job: {rights:?}");
        for (name, job) in workflow["jobs"].as_object().context("no jobs")? {
            ensure!(job["timeout-minutes"].is_number(), "{name} may hang");
            for step in job["steps"].as_array().context("no steps")? {
                // What others may choose, such as the name of a branch, reaches a shell only as a variable.
                let run = step["run"].as_str().unwrap_or_default();
                ensure!(!run.contains("${{"), "{name}: {run}");
            }
        }
    }
    ensure!(pinned >= 5, "{pinned} actions");
    Ok(())
}
