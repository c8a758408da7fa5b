//! What the comments in the code say of the variants of an enumeration.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What the comments of an enumeration say of each of its variants.
pub(crate) struct Comments(Vec<(String, String)>);

impl Comments {
    pub(crate) fn of(&self, variant: &impl Debug) -> Result<String> {
        let name = format!("{variant:?}");
        let name = name.split(['(', ' ']).next().unwrap_or(&name);
        let found = self.0.iter().find(|(known, _)| known == name);
        let (_, text) = found.with_context(|| format!("no comment on {name}"))?;
        Ok(text.clone())
    }
}

/// Reads them from the source: `/// text` above `Name,` within `pub enum`.
pub(crate) fn comments(file: &str, name: &str) -> Result<Comments> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    let start = format!("pub enum {name} {{\n");
    let (_, rest) = source
        .split_once(&start)
        .with_context(|| format!("{file} has no `pub enum {name}`"))?;
    let (body, _) = rest.split_once("\n}").context("an end")?;
    let mut all = Vec::new();
    let mut text: Vec<String> = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            text.push(plain(comment));
        } else if let Some(variant) = line.strip_suffix(',') {
            let variant = variant.split('(').next().unwrap_or(variant);
            all.push((variant.to_owned(), text.join(" ")));
            text.clear();
        }
    }
    Ok(Comments(all))
}

/// Without the links of rustdoc, and safe in a table.
fn plain(comment: &str) -> String {
    comment
        .replace("[`super::", "`")
        .replace("[`", "`")
        .replace("`]", "`")
        .replace('|', "\\|")
}
