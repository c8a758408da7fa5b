//! Whether something answers what a page shows.
//!
//! Runs of spaces are one. Times, durations, versions, names of Pods, and numbers of more than one digit are masked; a line `…` is any lines, and
//! a last word `…` is any rest of its line.

/// What stands for the rest of a line, or for lines.
const ANY: &str = "…";
/// How the names of the operator's Pods begin.
const REPLICA: &str = "osproxy-directives-";

/// Whether `said` is what the page shows.
pub(crate) fn is_as_shown(shown: &[String], said: &str) -> bool {
    let shown: Vec<Vec<String>> = shown.iter().map(|line| words(line)).collect();
    let said: Vec<Vec<String>> = said.trim_end().lines().map(words).collect();
    lines_match(&shown, &said)
}

/// Whether `said` has lines one behind the other that are what the page shows.
pub(crate) fn is_in(shown: &[String], said: &str) -> bool {
    let any = || ANY.to_owned();
    let around: Vec<String> = [any()]
        .into_iter()
        .chain(shown.iter().cloned())
        .chain([any()])
        .collect();
    is_as_shown(&around, said)
}

fn lines_match(shown: &[Vec<String>], said: &[Vec<String>]) -> bool {
    let Some((first, rest)) = shown.split_first() else {
        return said.is_empty();
    };
    if first == &[ANY] {
        return (0..=said.len()).any(|skipped| lines_match(rest, &said[skipped..]));
    }
    let Some((line, others)) = said.split_first() else {
        return false;
    };
    let is_same = match first.split_last() {
        Some((last, words)) if last == ANY => line.starts_with(words),
        _ => first == line,
    };
    is_same && lines_match(rest, others)
}

/// The words of a line, those that are others each time masked.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut all = line.split_whitespace().peekable();
    while let Some(word) = all.next() {
        let core = word.trim_matches(|c: char| ":,;.()+-\"".contains(c));
        let before = words.last().map(|word| word.to_lowercase());
        let is_counted = before.is_some_and(|word| word.trim_start_matches('-') == "revision")
            || all.peek().is_some_and(|unit| *unit == "ms");
        let mask = if is_time(core) {
            "<time>"
        } else if is_duration(core) {
            "<duration>"
        } else if is_number(core) && (is_counted || core.len() > 1) {
            "<number>"
        } else if is_version(core) {
            "<version>"
        } else if core.starts_with(REPLICA) && core.contains(|c: char| c.is_ascii_digit()) {
            "<replica>"
        } else {
            words.push(word.to_owned());
            continue;
        };
        // A clock may be ahead or behind.
        let unsigned = word.trim_start_matches(['+', '-']);
        words.push(unsigned.replace(core, mask));
    }
    words
}

/// As in `v1.36.3`.
fn is_version(word: &str) -> bool {
    let parts: Vec<&str> = word.trim_start_matches('v').split('.').collect();
    parts.len() == 3 && parts.into_iter().all(is_number)
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

fn is_time(word: &str) -> bool {
    word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T'
}

/// As in `29m58s` and `1.5s`.
fn is_duration(word: &str) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = ["ms", "d", "h", "m", "s"]
            .into_iter()
            .find_map(|unit| digits.strip_prefix(unit));
        match unit {
            Some(behind) if digits.len() < rest.len() => rest = behind,
            _ => return false,
        }
    }
    !word.is_empty()
}

#[test]
fn what_is_another_each_time_does_not_count_and_all_else_does() {
    let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let page = shown("NAME   ENDS                   LEFT\none    2026-11-26T12:00:00Z   29m");
    assert!(is_as_shown(
        &page,
        "NAME ENDS LEFT\none 2031-01-01T00:00:09Z 1h5m\n"
    ));
    assert!(!is_as_shown(
        &page,
        "NAME ENDS LEFT\ntwo 2031-01-01T00:00:09Z 1h5m\n"
    ));
    assert!(!is_as_shown(&page, "NAME ENDS LEFT\n"));
    let page = shown("first\n…\nrevision 7, and …");
    assert!(is_as_shown(
        &page,
        "first\nany\n\nlines\nrevision 812, and so on\n"
    ));
    assert!(is_as_shown(&page, "first\nrevision 8, and\n"));
    assert!(!is_as_shown(&page, "first\nrevision seven, and\n"));
    assert!(is_in(&shown("b\nc"), "a\nb\nc\nd\n") && !is_in(&shown("b\nd"), "a\nb\nc\nd\n"));
    assert!(!is_as_shown(&shown("1 of 3"), "2 of 3"));
    let page = shown("osproxy-directives-7c4cbc895b-f5rnn-1898 of v1.36.3, +3ms, leads");
    let said = "osproxy-directives-5d-x2-7 of v1.37.2, -12ms, leads";
    assert!(is_as_shown(&page, said), "{:?}", words(said));
}
