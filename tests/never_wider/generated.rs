//! Documents by chance: whole ones, and ways to spoil them.

use std::fmt::Write as _;

use crate::tables::{ENDPOINTS, Rng, VALUES};

/// A document before it is written down. Names and values are JSON text, so that they can be spoiled as text.
#[derive(Clone, Debug)]
pub(crate) struct Doc {
    pub(crate) directives: Vec<Vec<Member>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The four members that narrow.
pub(crate) const SELECTORS: [&str; 4] = ["tenant", "index", "principal", "endpoint"];

impl Member {
    fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: format!("\"{name}\""),
            value: value.into(),
        }
    }

    pub(crate) fn is_selector(&self) -> bool {
        SELECTORS.contains(&self.name.trim_matches('"'))
    }
}

impl Doc {
    /// A whole document of `0..=max` directives that both parses accept.
    pub(crate) fn any(rng: &mut Rng, max: usize) -> Self {
        let directives = (0..rng.below(max + 1)).map(|n| directive(rng, n)).collect();
        Self { directives }
    }

    /// One that has a selector to spoil, and where it stands.
    pub(crate) fn with_selector(rng: &mut Rng, max: usize) -> (Self, usize, usize) {
        loop {
            let doc = Self::any(rng, max);
            let places: Vec<_> = doc.selectors().collect();
            if !places.is_empty() {
                let (directive, member) = *rng.pick(&places);
                return (doc, directive, member);
            }
        }
    }

    fn selectors(&self) -> impl Iterator<Item = (usize, usize)> {
        self.directives.iter().enumerate().flat_map(|(d, members)| {
            members
                .iter()
                .enumerate()
                .filter(|(_, member)| member.is_selector())
                .map(move |(m, _)| (d, m))
        })
    }

    /// The document as text, with space here and there.
    pub(crate) fn text(&self, rng: &mut Rng) -> String {
        let mut text = String::with_capacity(160 * (1 + self.directives.len()));
        text.push_str("{\"directives\":[");
        for (d, members) in self.directives.iter().enumerate() {
            text.push_str(if d > 0 { "," } else { "" });
            text.push('{');
            for (m, Member { name, value }) in members.iter().enumerate() {
                text.push_str(if m > 0 { "," } else { "" });
                let space = if rng.chance(10) { " " } else { "" };
                write!(text, "{space}{name}{space}:{space}{value}").unwrap();
            }
            text.push('}');
        }
        text.push_str("]}");
        text
    }
}

fn directive(rng: &mut Rng, n: usize) -> Vec<Member> {
    let levels = ["Off", "Shape", "ShapeTiming", "ShapeRewriteDiff"];
    let mut members = vec![
        Member::new("id", format!("\"ns/{n}\"")),
        Member::new("level", format!("\"{}\"", rng.pick(&levels))),
        Member::new("ttl_secs", (1 + rng.below(600_000)).to_string()),
    ];
    for name in ["tenant", "index", "principal"] {
        if rng.chance(50) {
            members.push(Member::new(name, quoted(rng)));
        }
    }
    if rng.chance(30) {
        let endpoint = rng.pick(&ENDPOINTS).as_str();
        members.push(Member::new("endpoint", format!("\"{endpoint}\"")));
    }
    if rng.chance(60) {
        members.push(Member::new("sample_per_mille", rng.below(1001).to_string()));
    }
    for name in ["ring_buffer", "capture"] {
        if rng.chance(30) {
            members.push(Member::new(name, rng.chance(50).to_string()));
        }
    }
    rng.shuffle(&mut members);
    members
}

/// A string of a selector, at times in an escaped spelling.
fn quoted(rng: &mut Rng) -> String {
    let value = rng.pick(&VALUES);
    if rng.chance(90) {
        return format!("\"{value}\"");
    }
    let mut escaped = String::from('"');
    for c in value.chars() {
        write!(escaped, "\\u{:04x}", u32::from(c)).unwrap();
    }
    escaped.push('"');
    escaped
}

/// Values of every type, most of them wrong wherever they stand.
const ANY_VALUES: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "5",
    "-1",
    "1000",
    "1001",
    "5.0",
    "1e3",
    "1e-9",
    "18446744073709551616",
    "\"\"",
    "\"acme\"",
    "\"*\"",
    "\"null\"",
    "[]",
    "[\"acme\"]",
    "{}",
    "{\"a\":null}",
    "[[[]]]",
    "\"\\u0000\"",
];

/// Names of members: known, foreign, mistyped.
pub(crate) const ANY_NAMES: [&str; 18] = [
    "id",
    "level",
    "ttl_secs",
    "tenant",
    "index",
    "principal",
    "endpoint",
    "sample_per_mille",
    "ring_buffer",
    "capture",
    "tennant",
    "Tenant",
    "tenant ",
    "samplePerMille",
    "match",
    "",
    "t\\u0065nant",
    "directives",
];

pub(crate) fn any_value(rng: &mut Rng) -> String {
    (*rng.pick(&ANY_VALUES)).to_owned()
}

/// How the selector `member` of `directive` is spoiled, once.
pub(crate) fn spoil_selector(rng: &mut Rng, doc: &mut Doc, directive: usize, member: usize) {
    let members = &mut doc.directives[directive];
    match rng.below(8) {
        0 => members[member].value = any_value(rng),
        1 => members[member].name = format!("\"{}\"", rng.pick(&ANY_NAMES)),
        2 => {
            // Once more, before or behind, in this spelling or another.
            let mut twin = members[member].clone();
            if rng.chance(50) {
                twin.value = any_value(rng);
            }
            if rng.chance(50) {
                twin.name = escape_one(rng, &twin.name);
            }
            let place = rng.below(members.len() + 1);
            members.insert(place, twin);
        }
        3 => {
            let other = rng.below(members.len());
            let value = members[other].value.clone();
            members[other].value = std::mem::replace(&mut members[member].value, value);
        }
        4 => {
            let name = members[member].name.clone();
            members[member].name = change_one_char(rng, &name);
        }
        5 => {
            let value = members[member].value.clone();
            members[member].value = change_one_char(rng, &value);
        }
        6 => {
            // The value goes, its name stays, and the other way round.
            let emptied = if rng.chance(50) {
                &mut members[member].value
            } else {
                &mut members[member].name
            };
            emptied.clear();
        }
        _ => {
            let value = &mut members[member].value;
            *value = match rng.below(4) {
                0 => format!("[{value}]"),
                1 => format!("{{\"value\":{value}}}"),
                2 => format!("{value},{value}"),
                _ => format!("{value}:{value}"),
            };
        }
    }
}

/// Deletes, inserts or replaces one character. (Names and values are ASCII here.)
pub(crate) fn change_one_char(rng: &mut Rng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let any = *rng.pick(b"\"\\{}[]:,nulltrue0159.eE+- \t/*TtIi_\x00");
    let place = rng.below(bytes.len().max(1));
    match rng.below(3) {
        0 if !bytes.is_empty() => {
            bytes.remove(place);
        }
        1 if !bytes.is_empty() => bytes[place] = any,
        _ => bytes.insert(place, any),
    }
    String::from_utf8(bytes).unwrap()
}

fn escape_one(rng: &mut Rng, name: &str) -> String {
    let letters = name.len() - 2;
    if letters == 0 {
        return name.to_owned();
    }
    let place = 1 + rng.below(letters);
    let (head, tail) = name.split_at(place);
    format!("{head}\\u{:04x}{}", tail.as_bytes()[0], &tail[1..])
}
