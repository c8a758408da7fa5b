//! What differs from run to run is masked, as wide as it was where something stands to the right of it.

/// A text with times, addresses, ids and counters masked, and escapes as `\e`.
pub(super) fn masked(text: &str) -> String {
    let text = without_in_between(text);
    let text = times(&text);
    let text = numbers_after(&text, "127.0.0.1:", 5);
    let text = numbers_after(&text, "revision ", 3);
    let text = members(&text);
    let lines = text
        .split_inclusive('\n')
        .map(|line| words(line, &mut word));
    let lines: String = lines.collect();
    let lines = lines.split_inclusive('\n').map(cells);
    joined(&lines.collect::<String>()).replace('\u{1b}', "\\e")
}

/// Whether every time that is left has two digits of minutes and of seconds.
pub(super) fn settled(text: &str) -> bool {
    let mut settled = true;
    for line in text.lines() {
        words(line, &mut |before, word, _| {
            settled &= !is_left(before, word) || word.ends_with("00m00s");
            word.to_owned()
        });
    }
    settled
}

/// Whether they still have in a quarter of a minute.
pub(super) fn settled_for_a_while(text: &str) -> bool {
    let mut settled = true;
    for line in text.lines() {
        words(line, &mut |before, word, _| {
            let seconds = word.trim_end_matches('s').rsplit(['m', 'h']).next();
            let seconds = seconds.and_then(|digits| digits.parse::<u64>().ok());
            settled &= !is_left(before, word) || seconds.is_some_and(|seconds| seconds >= 24);
            word.to_owned()
        });
    }
    settled
}

/// What a command says on its way to the end depends on when it looks. On a terminal it takes several lines.
fn without_in_between(text: &str) -> String {
    const OTHERS: [&str; 3] = ["error: ", "hint: ", "---"];
    let mut inside = false;
    let kept = text.split_inclusive('\n').filter(|line| {
        if line.starts_with("default/") {
            inside = [
                " is pending (NotLookedAt)",
                " is published (Pending)",
                " is suspended (Pending)",
            ]
            .iter()
            .any(|said| line.contains(said));
        } else if OTHERS.iter().any(|start| line.starts_with(start)) {
            inside = false;
        }
        !inside
    });
    kept.collect()
}

/// Who leads has a name as long as the number of its process, and where the line about it is broken depends on that.
fn joined(text: &str) -> String {
    const BELOW: &str = "          ";
    let mut out = String::new();
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        inside = line.starts_with("Operator: ") || inside && line.starts_with(BELOW);
        if inside && line.starts_with(BELOW) {
            out.truncate(out.trim_end_matches('\n').len());
            out.push(' ');
            out += line.trim_start();
        } else {
            out += line;
        }
    }
    out
}

/// `2026-11-22T14:00:00Z`, wherever it stands.
fn times(text: &str) -> String {
    const MASK: &str = "0000-00-00T00:00:00Z";
    let mut out = text.to_owned();
    for at in 0..out.len() {
        let Some(found) = out.get(at..at + MASK.len()) else {
            continue;
        };
        let is_time = found.bytes().zip(MASK.bytes()).all(|(found, mask)| {
            if mask == b'0' {
                found.is_ascii_digit()
            } else {
                found == mask
            }
        });
        if is_time {
            out.replace_range(at..at + MASK.len(), MASK);
        }
    }
    out
}

/// The number behind `before`, where it has so many digits that it was counted, and is nobody's choice.
fn numbers_after(text: &str, before: &str, digits: usize) -> String {
    let mut pieces = text.split(before);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let found = piece.bytes().take_while(u8::is_ascii_digit).count();
        out += before;
        if found < digits {
            out += piece;
        } else {
            out += &"0".repeat(digits);
            out += &piece[found..];
        }
    }
    out
}

/// Members of JSON and YAML whose values nobody can know.
fn members(text: &str) -> String {
    const NAMES: &[&str] = &[
        "directives",
        "leftSeconds",
        "revision",
        "behind",
        "uid",
        "resourceVersion",
        "generation",
        "documentBytes",
        "databaseMebibytes",
    ];
    let lines = text.split_inclusive('\n').map(|line| {
        let Some((name, value)) = line.split_once(": ") else {
            return line.to_owned();
        };
        let bare = name.trim_matches(|c: char| " \"-".contains(c));
        let is_one = value.starts_with(|c: char| c == '"' || c.is_ascii_hexdigit());
        if !NAMES.contains(&bare) || !is_one {
            return line.to_owned();
        }
        let end = value.trim_start_matches(|c: char| !",\n".contains(c));
        let mask = if value.starts_with('"') { "\"0\"" } else { "0" };
        format!("{name}: {mask}{end}")
    });
    lines.collect()
}

/// What becomes of each word of a line, in view of what stands before and behind it; the escapes of a terminal are no words.
fn words(line: &str, become_of: &mut impl FnMut(&str, &str, &str) -> String) -> String {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-.+/".contains(c);
    let mut out = String::new();
    let mut seen = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let escape = rest.starts_with('\u{1b}');
        let end = if escape {
            rest.find(|c: char| c.is_ascii_alphabetic())
                .map_or(rest.len(), |at| at + 1)
        } else if is_inside(first) {
            rest.find(|c| !is_inside(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (piece, after) = rest.split_at(end);
        if escape || !is_inside(first) {
            out += piece;
        } else {
            let core = piece.trim_end_matches('.');
            out += &become_of(&seen, core, after);
            out += &piece[core.len()..];
        }
        if !escape {
            seen += piece;
        }
        rest = after;
    }
    out
}

fn word(before: &str, word: &str, after: &str) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let zeros = || word.replace(|c: char| c.is_ascii_digit(), "0");
    let (v, version) = word
        .strip_prefix('v')
        .map_or(("", word), |rest| ("v", rest));
    if word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) {
        return "00000000-0000-0000-0000-000000000000".to_owned();
    }
    if version.split('.').count() == 3 && version.split('.').all(is_number) {
        return format!("{v}0.0.0");
    }
    let process = word.strip_prefix("osproxy-directives-");
    if process.is_some_and(is_number) {
        return "osproxy-directives-00000".to_owned();
    }
    if is_duration(word) && before.ends_with("would last ") {
        return "168h00s".to_owned();
    }
    if is_duration(word) && before.ends_with(" ttl: ") && word.ends_with('s') {
        return "00m00s".to_owned();
    }
    if is_duration(word) && after.starts_with(" ago") || is_left(before, word) {
        return zeros();
    }
    let counted = ["behind ", "revision "];
    if counted.iter().any(|name| before.ends_with(name)) && word.len() > 1 && is_number(word) {
        return zeros();
    }
    word.to_owned()
}

fn is_duration(word: &str) -> bool {
    let mut rest = word;
    for unit in ['h', 'm', 's'] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest[digits..].starts_with(unit) {
            rest = &rest[digits + 1..];
        }
    }
    rest.is_empty() && !word.is_empty()
}

/// Whether it is a time that is left: in a cell of its own, or behind `in` or `left`.
fn is_left(before: &str, word: &str) -> bool {
    let places = ["(in ", "  ", "left "];
    is_duration(word) && places.iter().any(|place| before.ends_with(place))
}

/// Counters that stand in a cell of their own, whose column is wider than they are.
fn cells(line: &str) -> String {
    let mut out = String::new();
    for (index, cell) in line.split("  ").enumerate() {
        if index > 0 {
            out += "  ";
        }
        let bare = cell.trim_start();
        if bare.len() > 1 && bare.bytes().all(|b| b.is_ascii_digit()) {
            out += &cell.replace(|c: char| c.is_ascii_digit(), "0");
        } else {
            out += cell;
        }
    }
    out
}
