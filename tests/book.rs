//! The book in `docs/`: its reference is what the code says, and every page has its place.
//!
//! `make reference` writes the pages of `docs/reference` anew; here they are only compared. What the pages for people on call have somebody
//! type is typed, on a real control plane with a real operator.

#![cfg(feature = "operator")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use osproxy_directives::cli::Cli;

mod support;

#[path = "book/reasons.rs"]
mod reasons;
#[path = "book/resource.rs"]
mod resource;
#[path = "book/shell.rs"]
mod shell;

/// The pages with commands for a cluster that has the operator.
const TYPED: &[&str] = &[
    "quick-start.md",
    "how-to/on-call.md",
    "how-to/trace-a-tenant.md",
    "how-to/stop-early.md",
    "how-to/try-first.md",
    "how-to/limit-who-may.md",
];

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

#[tokio::test]
async fn whatever_the_pages_have_somebody_type_does_what_they_say() -> Result<()> {
    let line = support::Line::start().await?;
    for name in TYPED {
        let page = shell::read(&docs(), name)?;
        shell::type_out(name, &page, &line).await?;
    }
    Ok(())
}

#[test]
fn no_page_with_commands_is_forgotten() -> Result<()> {
    let mut pages = Vec::new();
    below(&docs().join("how-to"), &mut pages)?;
    for page in pages {
        let name = page.strip_prefix(docs())?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&page)?;
        ensure!(
            shell::acts(&text).is_empty() || TYPED.contains(&name.as_str()),
            "docs/{name} has commands that no test types"
        );
    }
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
