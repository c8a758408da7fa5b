//! Reads Rust just well enough to see what a file names: words without prose, and paths from the
//! crate's root. It is no parser; what it cannot see, a reviewer has to.

/// One word or one mark of the code, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Words and marks; `::` is one mark.
pub(crate) fn tokens(lines: &[(usize, String)]) -> Vec<Token> {
    let mut found = Vec::new();
    for (line, text) in lines {
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            if !first.is_whitespace() {
                found.push(Token {
                    line: *line,
                    text: token.to_owned(),
                });
            }
            rest = after;
        }
    }
    found
}

/// Where one of `names` stands. A name of several segments (`Instant::now`) is one after the other.
pub(crate) fn named<'a>(
    tokens: &'a [Token],
    names: &'static [&'static str],
) -> impl Iterator<Item = (usize, &'static str)> + 'a {
    names.iter().flat_map(move |name| {
        let wanted: Vec<&str> = name
            .split_inclusive("::")
            .flat_map(|part| match part.strip_suffix("::") {
                Some(word) => vec![word, "::"],
                None => vec![part],
            })
            .collect();
        tokens
            .windows(wanted.len())
            .filter(move |window| {
                window
                    .iter()
                    .zip(&wanted)
                    .all(|(token, word)| token.text == *word)
            })
            .map(move |window| (window[0].line, *name))
    })
}

/// The first name below the crate's root of each path that starts at `crate`, or climbs there with `super`.
/// A group (`crate::{store, document::Entry}`) is several.
pub(crate) fn imports(tokens: &[Token], module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let follows_a_path = at > 0 && tokens[at - 1].text == "::";
        let is_a_path = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if follows_a_path || !is_a_path {
            continue;
        }
        // How far below the root the path starts, and where its first own name stands.
        let (depth, mut next) = match token.text.as_str() {
            "crate" => (0, at + 2),
            "super" => (module.len().saturating_sub(1), at + 2),
            _ => continue,
        };
        let mut depth = depth;
        while tokens.get(next).is_some_and(|token| token.text == "super") {
            depth = depth.saturating_sub(1);
            next += 2;
        }
        if depth > 0 {
            continue;
        }
        match tokens.get(next) {
            Some(group) if group.text == "{" => found.extend(group_heads(&tokens[next + 1..])),
            Some(head) => found.push((head.line, head.text.clone())),
            None => {}
        }
    }
    // `pub(crate)` is not a path, and a macro's `$crate::` is one from its own place.
    found.retain(|(_, name)| {
        name.chars()
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_')
    });
    found
}

/// The first name of each entry of a group whose opening brace has been read.
fn group_heads(tokens: &[Token]) -> Vec<(usize, String)> {
    let mut heads = Vec::new();
    let mut depth = 0usize;
    let mut expect = true;
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => expect = true,
            _ if expect => {
                heads.push((token.line, token.text.clone()));
                expect = false;
            }
            _ => {}
        }
    }
    heads
}

/// The lines of a file, numbered from 1, with comments and the insides of strings blanked out.
pub(crate) fn code_of(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_prose(&chars, at);
        if end > at {
            code.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect()
}

/// Where the comment, string or character that starts at `at` ends; `at` itself when none does.
fn end_of_prose(chars: &[char], at: usize) -> usize {
    let starts = |text: &str, from: usize| {
        text.chars()
            .enumerate()
            .all(|(i, c)| chars.get(from + i) == Some(&c))
    };
    let until = |from: usize, end: &str| {
        (from..chars.len())
            .find(|i| starts(end, *i))
            .map_or(chars.len(), |i| i + end.chars().count())
    };
    if starts("//", at) {
        return (at..chars.len())
            .find(|i| chars[*i] == '\n')
            .unwrap_or(chars.len());
    }
    if starts("/*", at) {
        let (mut depth, mut i) = (0, at);
        while i < chars.len() {
            if starts("/*", i) {
                depth += 1;
                i += 2;
            } else if starts("*/", i) {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    break;
                }
            } else {
                i += 1;
            }
        }
        return i.min(chars.len());
    }
    let in_a_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if chars[at] == 'r' && (!in_a_word || chars[at - 1] == 'b') {
        let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
        if chars.get(at + 1 + hashes) == Some(&'"') {
            return until(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    let quoted = |quote: char| {
        let mut i = at + 1;
        while i < chars.len() && chars[i] != quote {
            i += if chars[i] == '\\' { 2 } else { 1 };
        }
        (i + 1).min(chars.len())
    };
    match chars[at] {
        '"' => quoted('"'),
        // A character and not a lifetime: something quoted closes after it.
        '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
            quoted('\'')
        }
        _ => at,
    }
}

/// The lines without the items under `#[cfg(test)]`.
pub(crate) fn without_tests(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].1.trim_start().starts_with("#[cfg(test)]") {
            at = end_of_item(lines, at);
        } else {
            kept.push(lines[at].clone());
            at += 1;
        }
    }
    kept
}

/// The line after the item that starts at `at`: it ends with the brace that closes its first one, or
/// with a semicolon before any.
fn end_of_item(lines: &[(usize, String)], at: usize) -> usize {
    let mut depth = 0usize;
    for (index, (_, line)) in lines.iter().enumerate().skip(at) {
        let mut ended = false;
        for mark in line.chars() {
            match mark {
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    ended = depth == 0;
                }
                ';' if depth == 0 => ended = true,
                _ => {}
            }
        }
        if ended {
            return index + 1;
        }
    }
    lines.len()
}
