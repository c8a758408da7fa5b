//! Every figure that was measured, or is promised, names what shows it again: a command, a test, or the page that does.

use anyhow::{Result, ensure};

use crate::shell::read;

/// The pages with figures; each part of one, from a heading to the next, says where they are from.
const PAGES: [&str; 11] = [
    "README.md",
    "docs/comparison.md",
    "docs/concepts.md",
    "docs/embedding.md",
    "docs/faq.md",
    "docs/fuzzing.md",
    "docs/install.md",
    "docs/measurements.md",
    "docs/model.md",
    "docs/operations.md",
    "docs/promises.md",
];
const UNITS: [&str; 10] = [
    "ns", "µs", "ms", "s", "MiB", "MB", "minutes", "seconds", "million", "times",
];

#[test]
fn every_figure_names_what_shows_it_again() -> Result<()> {
    let mut figures = 0;
    for page in PAGES {
        let text = read(page)?;
        for part in text.split("\n## ") {
            let heading = part.lines().next().unwrap_or_default();
            let has = has_figure(part);
            figures += usize::from(has);
            // Measurements are commands alone: a test that holds a bound is no measurement.
            let names = names_command(part) || page != "docs/measurements.md" && names_proof(part);
            ensure!(
                !has || names,
                "{page}, `{heading}`: nothing says what shows its figures again"
            );
        }
    }
    ensure!(figures > 20, "only {figures} parts have figures");
    Ok(())
}

/// A number and a unit behind it, outside of what is typed.
fn has_figure(part: &str) -> bool {
    let prose: String = part.split("```").step_by(2).collect();
    let words: Vec<&str> = prose
        .split(|c: char| c.is_whitespace() || ",;:()|/".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).any(|pair| {
        let is_number = pair[0].chars().next().is_some_and(|c| c.is_ascii_digit())
            && pair[0].chars().all(|c| c.is_ascii_digit() || c == '.');
        is_number && UNITS.contains(&pair[1].trim_end_matches('.'))
    })
}

fn names_command(part: &str) -> bool {
    ["make ", "cargo "].iter().any(|program| {
        part.contains(&format!("`{program}")) || part.contains(&format!("$ {program}"))
    }) || part.contains("by the commands above")
}

/// A test, a source, or the page that has the command.
fn names_proof(part: &str) -> bool {
    let quoted = part.split('`').skip(1).step_by(2);
    let mut tests = quoted.filter(|word| {
        let is_name = word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_…".contains(c));
        let is_number = word.len() <= 3 && word.ends_with(|c: char| c.is_ascii_digit());
        is_name && (is_number || word.matches('_').count() >= 3) || word.starts_with("tests/")
    });
    let leads = ["measurements.md", "promises.md"]
        .iter()
        .any(|page| part.contains(page));
    tests.next().is_some() || leads
}

#[test]
fn a_figure_is_told_from_a_number() {
    assert!(has_figure("within 3 s where it refuses") && has_figure("| 28,150 ns |"));
    assert!(
        !has_figure("etcd 3.5 or later, 2 replicas") && !has_figure("```console\n$ sleep 3 s\n```")
    );
}
