//! Manifests as text: documents whose every value knows its line.

use std::collections::HashMap;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::scalar::resolve;

/// A value, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// From 1. A member's is that of its name.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar(Value),
    List(Vec<Node>),
    Map {
        /// In the order of the text.
        members: Vec<(String, Node)>,
        /// Where a name stands that stood there before.
        twice: Option<Twice>,
    },
}

/// The lines of a member that a map names twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Twice {
    pub(super) first: usize,
    pub(super) second: usize,
}

/// Where reading stopped, and why.
pub(super) type Fault = (usize, String);

/// The most values of a file, counted after its aliases are written out, which is where a small file becomes a large
/// one.
const MAX_NODES: usize = 1_000_000;

/// Reads the documents of a file, up to the first that cannot be read. What holds nothing (comments alone) is none.
///
/// JSON is YAML, but for several values one behind the other; these are told apart first.
pub(super) fn documents(text: &str) -> (Vec<Node>, Option<Fault>) {
    let mut documents = Vec::new();
    for (first_line, part) in parts(text) {
        let mut reader = Reader::new(first_line);
        let fault = reader.read(part).err();
        documents.append(&mut reader.documents);
        if fault.is_some() {
            return (documents, fault);
        }
    }
    (documents, None)
}

/// The values of a stream of JSON, each with its first line; where the text is no such stream, the text.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let whole = vec![(1, text)];
    if !text.trim_start().starts_with('{') {
        return whole;
    }
    let mut parts = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let mut start = 0;
    while let Some(value) = values.next() {
        let end = values.byte_offset();
        let (Ok(_), Some(part)) = (value, text.get(start..end)) else {
            return whole;
        };
        let lines_before = text.get(..start).map_or(0, |t| t.matches('\n').count());
        parts.push((1 + lines_before, part));
        start = end;
    }
    parts
}

impl Node {
    /// The member `name`, of a map that has one.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map { members, .. } => members
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, node)| node),
            Kind::Scalar(_) | Kind::List(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null))
    }

    /// The line of what stands at `path`, such as `spec.match[0].value`, or of the nearest thing around it.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        for step in path.split(['.', '[']) {
            let next = match step.strip_suffix(']') {
                None => node.get(step),
                Some(index) => match &node.kind {
                    Kind::List(items) => index.parse().ok().and_then(|n: usize| items.get(n)),
                    Kind::Scalar(_) | Kind::Map { .. } => None,
                },
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }

    /// The same as JSON, without the lines.
    pub(super) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Kind::Map { members, .. } => Value::Object(
                members
                    .iter()
                    .map(|(name, node)| (name.clone(), node.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map { members, .. } => members.iter().map(|(_, node)| node.size()).sum(),
        }
    }

    /// The first member, at any depth, that a map names twice.
    pub(super) fn twice(&self) -> Option<Twice> {
        match &self.kind {
            Kind::Scalar(_) => None,
            Kind::List(items) => items.iter().find_map(Self::twice),
            Kind::Map { members, twice } => {
                twice.or_else(|| members.iter().find_map(|(_, node)| node.twice()))
            }
        }
    }
}

/// Builds nodes from events.
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    first_line: usize,
}

/// A list or a map that is not complete yet.
struct Open {
    line: usize,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map {
        members: Vec<(String, Node)>,
        /// The name whose value comes next, its line, and whether it asks for a merge.
        name: Option<(String, usize, bool)>,
        merged: Vec<(String, Node)>,
        twice: Option<Twice>,
    },
}

impl Reader {
    fn new(first_line: usize) -> Self {
        Self {
            documents: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            first_line,
        }
    }

    fn read(&mut self, text: &str) -> Result<(), Fault> {
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|error| self.unreadable(&error))?;
            self.take(event, self.line(span))?;
        }
        Ok(())
    }

    fn line(&self, span: Span) -> usize {
        span.start.line() + self.first_line - 1
    }

    fn unreadable(&self, error: &ScanError) -> Fault {
        let line = error.marker().line() + self.first_line - 1;
        (line, format!("is neither YAML nor JSON: {}", error.info()))
    }

    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().and_then(|tag| tag.core_suffix());
                let plain = match tag {
                    Some("str") => false,
                    Some(_) => true,
                    None => style == ScalarStyle::Plain,
                };
                // Of a plain `<<` alone a merge is asked for.
                let merge = plain && text == "<<";
                let value = if plain && !merge {
                    resolve(&text).ok_or_else(|| {
                        let message = "holds a number that JSON cannot say: give a finite one";
                        (line, message.to_owned())
                    })?
                } else {
                    Value::String(text.into_owned())
                };
                let kind = Kind::Scalar(value);
                self.put(Node { line, kind }, anchor, merge)
            }
            Event::Alias(anchor) => {
                let mut node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    (line, "has an alias inside of what it stands for".to_owned())
                })?;
                node.line = line;
                self.nodes += node.size();
                self.put(node, 0, false)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(line, anchor, Inside::List(Vec::new()));
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                let inside = Inside::Map {
                    members: Vec::new(),
                    name: None,
                    merged: Vec::new(),
                    twice: None,
                };
                self.open(line, anchor, inside);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: usize, anchor: usize, inside: Inside) {
        self.open.push(Open {
            line,
            anchor,
            inside,
        });
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Open {
            line,
            anchor,
            inside,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let kind = match inside {
            Inside::List(items) => Kind::List(items),
            Inside::Map {
                mut members,
                merged,
                twice,
                ..
            } => {
                // What the map says itself counts; of what is merged, the first.
                for (name, node) in merged {
                    if !members.iter().any(|(n, _)| *n == name) {
                        members.push((name, node));
                    }
                }
                Kind::Map { members, twice }
            }
        };
        self.put(Node { line, kind }, anchor, false)
    }

    /// Puts a complete value where it belongs: into the list or map around it, or among the documents.
    fn put(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err((node.line, format!("holds more than {MAX_NODES} values")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(around) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut around.inside {
            Inside::List(items) => items.push(node),
            Inside::Map {
                members,
                name,
                merged,
                twice,
            } => match name.take() {
                None => *name = Some((name_of(&node)?, node.line, merge)),
                Some((_, _, true)) => merged.extend(members_to_merge(node)?),
                Some((given, line, false)) => {
                    if let Some((_, first)) = members.iter().find(|(n, _)| *n == given) {
                        *twice = twice.or(Some(Twice {
                            first: first.line,
                            second: line,
                        }));
                    }
                    members.push((given, Node { line, ..node }));
                }
            },
        }
        Ok(())
    }
}

/// A member's name. What YAML takes for a number or a boolean becomes its text, as in JSON.
fn name_of(node: &Node) -> Result<String, Fault> {
    match &node.kind {
        Kind::Scalar(Value::String(name)) => Ok(name.clone()),
        Kind::Scalar(value) => Ok(value.to_string()),
        Kind::List(_) | Kind::Map { .. } => Err((
            node.line,
            "has a list or a map for the name of a member: give a string".to_owned(),
        )),
    }
}

fn members_to_merge(node: Node) -> Result<Vec<(String, Node)>, Fault> {
    let line = node.line;
    match node.kind {
        Kind::Map { members, .. } => Ok(members),
        Kind::List(maps) => {
            let mut all = Vec::new();
            for map in maps {
                let Kind::Map { mut members, .. } = map.kind else {
                    return Err((line, "merges what is no map".to_owned()));
                };
                all.append(&mut members);
            }
            Ok(all)
        }
        Kind::Scalar(_) => Err((line, "merges what is no map".to_owned())),
    }
}
