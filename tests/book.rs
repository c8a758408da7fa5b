//! The book in `docs/`: its reference is what the code says, and every page has its place.
//!
//! `make reference` writes the pages of `docs/reference` anew; here they are only compared. Every command of every page is typed, on
//! real servers with a real operator, or where that takes too long or something that no test has, what it names is looked up.

#![cfg(feature = "operator")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test breaks what it can, and no clock of the crate is in it"
)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use osproxy_directives::cli::Cli;
use testbed::scratch::Scratch;

mod support;

#[path = "book/acts.rs"]
mod acts;
#[path = "book/answer.rs"]
mod answer;
#[path = "install/cluster.rs"]
#[allow(dead_code, reason = "the stories of tests/install.rs take more of it")]
mod cluster;
#[path = "book/comments.rs"]
mod comments;
#[path = "book/conditions.rs"]
mod conditions;
#[path = "book/events.rs"]
mod events;
#[path = "book/figures.rs"]
mod figures;
#[path = "book/look_up.rs"]
mod look_up;
#[path = "book/on_call.rs"]
mod on_call;
#[path = "book/reasons.rs"]
mod reasons;
#[path = "book/resource.rs"]
mod resource;
#[path = "book/runbooks.rs"]
mod runbooks;
#[path = "book/shell.rs"]
mod shell;
#[path = "book/site.rs"]
mod site;

use acts::{Act, acts, blocks};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Pages that another test types, and its source, which says so.
const ELSEWHERE: &[(&str, &str)] = &[("docs/install.md", "tests/install/page.rs")];
/// What `make demo` prints, and the test that compares it.
const DEMO: (&str, &str) = ("README.md", "testbed/tests/demo.rs");
/// A page whose commands are all on another one.
const AGAIN: (&str, &str) = ("charts/osproxy-directives/README.md", "README.md");
/// Words for the shells of blocks that would be neither typed nor looked up.
const SHELLS: [&str; 5] = ["sh", "bash", "shell", "zsh", "console"];

/// Set, the pages are written instead of compared.
const WRITE: &str = "OSPROXY_WRITE_REFERENCE";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

#[test]
fn the_page_about_the_resource_is_what_the_definition_says() -> Result<()> {
    let definition = fs::read_to_string(docs().join("../crds/diagnosticsdirective.yaml"))?;
    is("resource.md", &resource::page(&definition)?)
}

#[test]
fn the_page_about_the_fleet_is_what_the_definition_says() -> Result<()> {
    let definition = fs::read_to_string(docs().join("../crds/diagnosticsfleet.yaml"))?;
    is("fleet.md", &resource::page(&definition)?)
}

#[test]
fn the_page_about_conditions_is_what_the_code_says() -> Result<()> {
    is("conditions.md", &conditions::page()?)
}

#[test]
fn the_page_about_events_is_what_the_code_says() -> Result<()> {
    is("events.md", &events::page()?)
}

#[test]
fn the_page_about_reasons_is_what_the_code_says() -> Result<()> {
    is("reasons.md", &reasons::page()?)
}

#[test]
fn the_page_about_the_command_line_is_what_the_command_line_says() -> Result<()> {
    let options = clap_markdown::MarkdownOptions::new()
        .title("The command line".to_owned())
        .show_footer(false);
    is(
        "command-line.md",
        &clap_markdown::help_markdown_custom::<Cli>(&options),
    )
}

#[test]
fn no_page_with_commands_is_forgotten() -> Result<()> {
    let source = |file: &str| fs::read_to_string(Path::new(ROOT).join(file));
    let known = [
        "console",
        "console,fails",
        "console,looked-up",
        "console,demo",
    ];
    for page in pages()? {
        let text = shell::read(&page)?;
        for block in blocks(&text) {
            let kind = block.kind.split(',').next().unwrap_or_default();
            ensure!(
                !SHELLS.contains(&kind) || known.contains(&block.kind),
                "{page} has a block `{}` that no test knows",
                block.kind
            );
            ensure!(
                block.kind != "console,demo" || page == DEMO.0 && source(DEMO.1)?.contains(DEMO.0),
                "{page} shows what the demo prints, and no test compares it"
            );
        }
        let is_typed = acts(&text)
            .iter()
            .any(|act| matches!(act, Act::Type { .. }));
        let elsewhere = ELSEWHERE.iter().find(|(known, _)| *known == page);
        let is_covered = match elsewhere {
            Some((_, file)) => source(file)?.contains(&page),
            None => {
                on_call::PAGES.contains(&page.as_str())
                    || runbooks::pages()?.contains(&page)
                    || page == AGAIN.0
            }
        };
        ensure!(
            !is_typed || is_covered,
            "{page} has commands that no test types"
        );
    }
    let (again, whole) = (shell::read(AGAIN.0)?, acts(&shell::read(AGAIN.1)?));
    for act in acts(&again) {
        ensure!(whole.contains(&act), "{act:?} is not in {}", AGAIN.1);
    }
    Ok(())
}

#[tokio::test]
async fn whatever_is_not_typed_names_what_is_there() -> Result<()> {
    let tools = Scratch::new("tools")?;
    shell::tools(tools.path()).await?;
    let (mut seen, mut wrong) = (0, Vec::new());
    // That page is made of the command line itself.
    let pages = pages()?.into_iter();
    for page in pages.filter(|page| page != "docs/reference/command-line.md") {
        let text = shell::read(&page)?;
        let blocks = acts(&text).into_iter().filter_map(|act| match act {
            Act::LookUp { command } => Some(command),
            Act::Save { .. } | Act::Type { .. } => None,
        });
        for command in blocks.chain(look_up::in_sentences(&text)) {
            if let Err(error) = look_up::look_up(&command, tools.path()).await {
                wrong.push(format!("{page} names `{command}`: {error:#}"));
            }
            seen += 1;
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(seen > 100, "only {seen} commands are named");
    Ok(())
}

#[test]
fn every_page_has_its_place_in_the_book() -> Result<()> {
    let summary = fs::read_to_string(docs().join("SUMMARY.md"))?;
    let mut pages = Vec::new();
    below(&docs(), &mut pages)?;
    for page in pages {
        let name = page.strip_prefix(docs())?.to_string_lossy().into_owned();
        ensure!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "docs/{name} is in no chapter of docs/SUMMARY.md"
        );
    }
    Ok(())
}

/// All that people read, from the root of the repository; not what was, and why it became so.
fn pages() -> Result<Vec<String>> {
    let mut pages = Vec::new();
    below(&docs(), &mut pages)?;
    let beside = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "ARCHITECTURE.md",
        AGAIN.0,
    ];
    pages.extend(beside.map(|name| Path::new(ROOT).join(name)));
    let mut names = Vec::new();
    for page in pages {
        let name = page.strip_prefix(ROOT)?.to_string_lossy().into_owned();
        if !name.starts_with("docs/decisions/") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn below(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// Compares a page of the reference, or writes it.
fn is(name: &str, page: &str) -> Result<()> {
    let path = docs().join("reference").join(name);
    let page = format!("{}\n", page.trim_end());
    if std::env::var_os(WRITE).is_some() {
        return fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()));
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        present == page,
        "docs/reference/{name} is not what the code says; `make reference` writes it anew"
    );
    Ok(())
}
