//! Strict parse: what is not exactly a document is refused, with a reason.
//!
//! The shared decoder reads through `serde_json::Value`, and so takes `{"tenant": 5}` or
//! `{"tenant": null}` for a directive without a tenant, which is one for *every request*; the last of two
//! equal keys wins; `"capture": "true"` is no capture. None of these can be told from what somebody
//! meant, so none of them passes here. What passes, the shared decoder accepts with the same meaning.
//!
//! The parse never recurses below a directive's members, so nesting costs nothing, and it allocates for
//! nothing but the entries it keeps.

mod scalar;

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Entry, Reason, Refusal, RelativeEntry, Selector};
use scalar::{Key, Member};

/// The largest document that is read, in bytes: etcd's own default limit for a request (1.5 MiB).
pub const MAX_DOCUMENT_BYTES: usize = 1_572_864;
/// The most directives that a document may hold.
pub const MAX_DIRECTIVES: usize = 20_000;
/// The longest id, in bytes: `namespace/name` needs 317 at most.
pub const MAX_ID_BYTES: usize = 512;
/// The longest selector value, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 1_024;
/// The longest `ttl_secs`: the 168 hours that a resource may ask for, and a day for an API server
/// whose clock is ahead of the operator's.
pub const MAX_TTL_SECS: u64 = 192 * 3_600;

/// Parses a document by shape alone. [`super::Accepted::from_bytes`] is what readers want: it asks the shared decoder too.
///
/// # Errors
/// The first fault found, in reading order.
pub fn parse(bytes: &[u8]) -> Result<Vec<RelativeEntry>, Refusal> {
    let of_document = |reason| Refusal {
        reason,
        directive: None,
    };
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(of_document(Reason::TooLarge));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| of_document(Reason::InvalidUtf8))?;
    let progress = Progress::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let entries = Document(&progress)
        .deserialize(&mut json)
        .map_err(|error| progress.refusal(&error))?;
    json.end().map_err(|_| of_document(Reason::InvalidJson))?;

    let mut ids = HashSet::with_capacity(entries.len());
    for (index, RelativeEntry { entry, .. }) in entries.iter().enumerate() {
        if !ids.insert(entry.id.as_str()) {
            return Err(Refusal {
                reason: Reason::DuplicateId,
                directive: Some(index),
            });
        }
    }
    Ok(entries)
}

/// Where the parse is, so that a failure inside serde comes out with our reason.
struct Progress {
    refused: Cell<Option<Reason>>,
    /// What a value of another type than the expected one means here.
    otherwise: Cell<Reason>,
    directive: Cell<Option<usize>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            refused: Cell::new(None),
            otherwise: Cell::new(Reason::NotAnObject),
            directive: Cell::new(None),
        }
    }
}

impl Progress {
    fn refuse<E: serde::de::Error>(&self, reason: Reason) -> E {
        self.refused.set(Some(reason));
        E::custom(reason.slug())
    }

    fn refusal(&self, error: &serde_json::Error) -> Refusal {
        let reason = match self.refused.get() {
            Some(reason) => reason,
            None if error.is_data() => self.otherwise.get(),
            None => Reason::InvalidJson,
        };
        // Broken JSON is the document's fault, wherever it was noticed.
        let directive = self
            .directive
            .get()
            .filter(|_| reason != Reason::InvalidJson);
        Refusal { reason, directive }
    }
}

/// `{"directives": [...]}`
struct Document<'p>(&'p Progress);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Vec<RelativeEntry>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        self.0.otherwise.set(Reason::NotAnObject);
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<RelativeEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(progress) = self;
        let mut directives = None;
        while let Some(known) = map.next_key_seed(Key(is_directives))? {
            if known.is_none() {
                return Err(progress.refuse(Reason::UnknownField));
            }
            if directives.is_some() {
                return Err(progress.refuse(Reason::DuplicateField));
            }
            directives = Some(map.next_value_seed(Directives(progress))?);
            progress.directive.set(None);
        }
        directives.ok_or_else(|| progress.refuse(Reason::MissingDirectives))
    }
}

fn is_directives(name: &str) -> Option<()> {
    (name == "directives").then_some(())
}

/// `[{…}, …]`
struct Directives<'p>(&'p Progress);

impl<'de> DeserializeSeed<'de> for Directives<'_> {
    type Value = Vec<RelativeEntry>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        self.0.otherwise.set(Reason::WrongType);
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Directives<'_> {
    type Value = Vec<RelativeEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of directives")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Err(self.0.refuse(Reason::NullValue))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Self(progress) = self;
        let mut entries = Vec::new();
        loop {
            progress.directive.set(Some(entries.len()));
            match list.next_element_seed(Directive(progress))? {
                None => break,
                Some(_) if entries.len() >= MAX_DIRECTIVES => {
                    progress.directive.set(None);
                    return Err(progress.refuse(Reason::TooManyDirectives));
                }
                Some(entry) => entries.push(entry),
            }
        }
        progress.directive.set(None);
        Ok(entries)
    }
}

/// The members of a directive, in the decoder's spelling.
#[derive(Clone, Copy)]
enum Field {
    Id,
    Level,
    TtlSecs,
    Tenant,
    Index,
    Principal,
    Endpoint,
    SamplePerMille,
    RingBuffer,
    Capture,
}

impl Field {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "level" => Self::Level,
            "ttl_secs" => Self::TtlSecs,
            "tenant" => Self::Tenant,
            "index" => Self::Index,
            "principal" => Self::Principal,
            "endpoint" => Self::Endpoint,
            "sample_per_mille" => Self::SamplePerMille,
            "ring_buffer" => Self::RingBuffer,
            "capture" => Self::Capture,
            _ => return None,
        })
    }
}

/// `{"id": …, "level": …, "ttl_secs": …, …}`
struct Directive<'p>(&'p Progress);

impl<'de> DeserializeSeed<'de> for Directive<'_> {
    type Value = RelativeEntry;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        self.0.otherwise.set(Reason::NotAnObject);
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Directive<'_> {
    type Value = RelativeEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a directive")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(progress) = self;
        let mut seen = 0_u16;
        let (mut id, mut level, mut ttl_secs) = (None, None, None);
        let mut selector = Selector::default();
        let (mut sample_per_mille, mut ring_buffer, mut capture) = (1000, false, false);
        while let Some(field) = map.next_key_seed(Key(Field::from_name))? {
            let field = field.ok_or_else(|| progress.refuse(Reason::UnknownField))?;
            if seen & (1 << field as u16) != 0 {
                return Err(progress.refuse(Reason::DuplicateField));
            }
            seen |= 1 << field as u16;
            let member = map.next_value_seed(Member(progress))?;
            let read = match field {
                Field::Id => member.id().map(|v| id = Some(v)),
                Field::Level => member.level().map(|v| level = Some(v)),
                Field::TtlSecs => member.ttl_secs().map(|v| ttl_secs = Some(v)),
                Field::Tenant => member.selector().map(|v| selector.tenant = Some(v)),
                Field::Index => member.selector().map(|v| selector.index = Some(v)),
                Field::Principal => member.selector().map(|v| selector.principal = Some(v)),
                Field::Endpoint => member.endpoint().map(|v| selector.endpoint = Some(v)),
                Field::SamplePerMille => member.sample_per_mille().map(|v| sample_per_mille = v),
                Field::RingBuffer => member.bool().map(|v| ring_buffer = v),
                Field::Capture => member.bool().map(|v| capture = v),
            };
            read.map_err(|reason| progress.refuse(reason))?;
        }
        let missing = |reason| move || progress.refuse::<A::Error>(reason);
        Ok(RelativeEntry {
            entry: Entry {
                id: id.ok_or_else(missing(Reason::MissingId))?,
                selector,
                level: level.ok_or_else(missing(Reason::MissingLevel))?,
                sample_per_mille,
                ring_buffer,
                capture,
            },
            ttl_secs: ttl_secs.ok_or_else(missing(Reason::MissingTtlSecs))?,
        })
    }
}

#[cfg(test)]
#[path = "strict_tests.rs"]
mod tests;
