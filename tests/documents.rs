//! The pages in `docs/` name tests as the proof of what they say: each of those has to be there.

#![allow(
    clippy::unwrap_used,
    reason = "a test, its helpers included: without the files there is nothing to look at"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGES: [&str; 6] = [
    "docs/install.md",
    "docs/operations.md",
    "docs/promises.md",
    "docs/metrics.md",
    "docs/rights.md",
    "docs/etcd-rights.md",
];

/// The names of all functions below a directory.
fn functions(below: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1);
            into.extend(names.filter_map(|rest| rest.split(['(', '<']).next().map(str::to_owned)));
        }
    }
}

/// What stands between backticks.
fn quoted(page: &str) -> Vec<&str> {
    let outside_of_blocks = page.split("```").step_by(2);
    outside_of_blocks
        .flat_map(|text| text.split('`').skip(1).step_by(2))
        .collect()
}

/// A test as a page names it: in full, by its beginning and `…`, or by its number.
fn as_test(word: &str) -> Option<String> {
    let begun = word.strip_suffix('…');
    let name = begun.unwrap_or(word);
    let is_metric = name.starts_with("osproxy_directives_");
    if is_metric
        || !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        return None;
    }
    let number = name.len() <= 3 && name.ends_with(|c: char| c.is_ascii_digit());
    let long = name.matches('_').count() >= 4;
    (number || begun.is_some() || long).then(|| name.trim_end_matches('_').to_owned())
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let mut there = BTreeSet::new();
    for part in ["tests", "src"] {
        functions(&Path::new(ROOT).join(part), &mut there);
    }
    let mut named = 0;
    for page in PAGES {
        let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        for test in quoted(&text).into_iter().filter_map(as_test) {
            named += 1;
            assert!(
                there.iter().any(|name| name.starts_with(&test)),
                "{page} names `{test}`, and there is no such test"
            );
        }
    }
    assert!(named >= 60, "only {named} tests are named");
}

#[test]
fn every_file_that_a_page_names_is_there() {
    for page in PAGES {
        let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        for word in quoted(&text) {
            let is_path = ["tests/", "src/", "docs/", "benches/"]
                .iter()
                .any(|part| word.starts_with(part));
            assert!(
                !is_path || Path::new(ROOT).join(word).exists(),
                "{page} names {word}"
            );
        }
    }
}
