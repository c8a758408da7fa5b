//! Looks up what a page names and no test types: targets, tests, files, subcommands and flags.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use osproxy_directives::cli::Cli;
use testbed::command;
use testbed::process::Launch;

use crate::acts::blocks;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What answers `--help` for us, and refuses there a flag that it does not have.
const HELPFUL: [&str; 3] = ["kubectl", "helm", "etcdctl"];
/// What is of the machine or of another project, and nobody's here to know.
const FOREIGN: [&str; 11] = [
    "base64", "cd", "curl", "date", "export", "grep", "head", "openssl", "tail", "timeout", "xargs",
];

/// Whether all that `line` names is there. `tools` is a folder with [`HELPFUL`].
pub(crate) async fn look_up(line: &str, tools: &Path) -> Result<()> {
    for command in parts(line) {
        let mut words = words(&command);
        while words
            .first()
            .is_some_and(|word| is_assignment(word) || word == "timeout" || is_number(word))
        {
            words.remove(0);
        }
        let Some((program, rest)) = words.split_first() else {
            continue;
        };
        match program.as_str() {
            "make" => rest
                .iter()
                .filter(|word| !word.contains('='))
                .try_for_each(|word| target(word))?,
            "cargo" => cargo(rest)?,
            "osproxy-directives" => ours(rest)?,
            // Our own program, as a plugin.
            "kubectl" if rest.first().is_some_and(|word| word == "diag") => ours(&rest[1..])?,
            other if HELPFUL.contains(&other) => helps(other, rest, tools).await?,
            other if FOREIGN.contains(&other) => {}
            other if Path::new(other).is_relative() && other.contains('/') => {}
            other => bail!("nobody can look up `{other}`"),
        }
        files(rest)?;
    }
    Ok(())
}

/// What a page names in the midst of a sentence, between backticks, and that begins with one of our programs.
pub(crate) fn in_sentences(page: &str) -> Vec<String> {
    let mut text = page.to_owned();
    for block in blocks(page) {
        text = text.replace(&block.lines.join("\n"), "");
    }
    let quoted = text.split('`').skip(1).step_by(2);
    let ours = ["osproxy-directives ", "make ", "cargo "];
    let all = quoted.filter(|words| {
        let helpful = HELPFUL
            .iter()
            .any(|tool| words.starts_with(&format!("{tool} ")));
        helpful || ours.iter().any(|tool| words.starts_with(tool))
    });
    all.map(|words| words.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The commands of one line.
pub(crate) fn parts(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap_or(line).replace("\\\n", " ");
    let (mut parts, mut is_quoted) = (vec![String::new()], false);
    for c in line.chars() {
        is_quoted ^= c == '\'';
        if !is_quoted && ['|', ';', '&'].contains(&c) {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.into_iter().map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

/// Its words, without what stands for something: `…`, `<key>`, `[OPTIONS]`.
fn words(command: &str) -> Vec<String> {
    let words = command
        .split_whitespace()
        .map(|word| word.trim_matches(['\'', '"']));
    words
        .filter(|word| !word.contains(['…', '[', '>']))
        .map(|word| word.replace('$', ""))
        .collect()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit())
}

fn target(name: &str) -> Result<()> {
    let makefile = std::fs::read_to_string(Path::new(ROOT).join("Makefile"))?;
    let is_there = makefile
        .lines()
        .any(|line| line.starts_with(&format!("{name}:")));
    ensure!(is_there, "the Makefile has no `{name}`");
    Ok(())
}

fn cargo(words: &[String]) -> Result<()> {
    for (flag, folder) in [("--test", "tests"), ("--bench", "benches")] {
        for (at, _) in words.iter().enumerate().filter(|(_, word)| *word == flag) {
            let name = words.get(at + 1).context("a name behind the flag")?;
            let path = Path::new(ROOT).join(folder).join(format!("{name}.rs"));
            ensure!(path.exists(), "there is no {folder}/{name}.rs");
        }
    }
    if let Some(at) = words.iter().position(|word| word == "fuzz") {
        let target = words.get(at + 2).context("a target")?;
        let path = Path::new(ROOT)
            .join("fuzz/fuzz_targets")
            .join(format!("{target}.rs"));
        ensure!(path.exists(), "there is no fuzz/fuzz_targets/{target}.rs");
    }
    Ok(())
}

/// Whether clap knows all of it. What is required and left out is no fault: a sentence names a command, not all of it.
fn ours(words: &[String]) -> Result<()> {
    let all = ["osproxy-directives".to_owned()]
        .into_iter()
        .chain(words.iter().cloned());
    let Err(error) = Cli::command().try_get_matches_from(all) else {
        return Ok(());
    };
    let unknown = [
        ErrorKind::InvalidSubcommand,
        ErrorKind::UnknownArgument,
        ErrorKind::TooManyValues,
    ];
    ensure!(!unknown.contains(&error.kind()), "{error}");
    Ok(())
}

/// Whether the tool knows the subcommand and each flag: it refuses those that it does not, also beside `--help`.
async fn helps(tool: &str, words: &[String], tools: &Path) -> Result<()> {
    // What stands behind `--` is for another program.
    let words = words.split(|word| word == "--").next().unwrap_or(words);
    let ask = async |words: &[String]| {
        let launch = Launch::new(tools.join(tool))
            .env("HOME", tools)
            .args(words)
            .arg("--help");
        command::run(&launch, None).await?.success()
    };
    let root = ask(&[]).await?;
    ensure!(
        words.is_empty() || ask(words).await? != root,
        "`{tool}` has no such subcommand"
    );
    Ok(())
}

/// The files of this repository that it names.
fn files(words: &[String]) -> Result<()> {
    for word in words {
        let path = word.split_once('=').map_or(word.as_str(), |(_, path)| path);
        let is_ours = [
            "fuzz/", "hack/", "tests/", "src/", "docs/", "deploy/", "charts/", "crds/",
        ]
        .iter()
        .any(|folder| path.starts_with(folder));
        ensure!(
            !is_ours || Path::new(ROOT).join(path).exists(),
            "there is no {path}"
        );
    }
    Ok(())
}
