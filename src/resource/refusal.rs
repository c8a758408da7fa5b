//! Why a resource is refused, for people and for machines.

use std::fmt;

use crate::document;

/// Why a resource was refused.
///
/// Each has a stable, value-free slug for metrics and logs, and a word for the reason of the condition `Accepted`.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// `allRequests` is there and not `true`.
    AllRequestsNotTrue,
    /// Both `match` and `allRequests` are given.
    BothTargets,
    /// The definition in the cluster drops what it does not know, so parts of the resource may be missing.
    DefinitionPrunes,
    /// `Off`, with neither `ringBuffer` nor `capture`.
    DoesNothing,
    /// The mapped entry was refused by the document's own parse or by the shared decoder, alone; its slug.
    Document(document::Reason),
    /// A key stands twice in `match`.
    DuplicateMatchKey,
    /// A selector value is the empty string.
    EmptyValue,
    /// `activeFrom` is no RFC 3339 time.
    InvalidActiveFrom,
    /// `ttl` is no duration.
    InvalidTtl,
    /// A member that is required is not there.
    MissingField,
    /// The name is too long for an Event about the resource.
    NameTooLong,
    /// Neither `match` nor `allRequests` is given, or `match` is empty.
    NoTarget,
    /// A member is `null`, which is neither a value nor an absence that anybody meant.
    NullValue,
    /// `samplePerMille` is out of its bounds.
    SampleOutOfBounds,
    /// `spec` is missing, or not an object.
    SpecNotAnObject,
    /// A string is longer than its field allows.
    TooLong,
    /// `ttl` is out of its bounds.
    TtlOutOfBounds,
    /// The object is not what the API server promises of every object.
    Undecodable,
    /// An endpoint class that the decoder does not know.
    UnknownEndpoint,
    /// A member that this level of the spec does not have.
    UnknownField,
    /// A level that the decoder does not know.
    UnknownLevel,
    /// A key of `match` that is none of the four.
    UnknownMatchKey,
    /// A member has another JSON type than its field.
    WrongType,
}

impl Reason {
    /// Every one that is our own; [`Reason::Document`] carries the decoder's.
    pub const ALL: [Self; 22] = [
        Self::AllRequestsNotTrue,
        Self::BothTargets,
        Self::DefinitionPrunes,
        Self::DoesNothing,
        Self::DuplicateMatchKey,
        Self::EmptyValue,
        Self::InvalidActiveFrom,
        Self::InvalidTtl,
        Self::MissingField,
        Self::NameTooLong,
        Self::NoTarget,
        Self::NullValue,
        Self::SampleOutOfBounds,
        Self::SpecNotAnObject,
        Self::TooLong,
        Self::TtlOutOfBounds,
        Self::Undecodable,
        Self::UnknownEndpoint,
        Self::UnknownField,
        Self::UnknownLevel,
        Self::UnknownMatchKey,
        Self::WrongType,
    ];

    /// The stable slug that metrics and logs share.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            // The decoder's own word, so that it can be looked up where the decoder is described.
            Self::Document(reason) => reason.slug(),
            known => known.words().0,
        }
    }

    /// The reason of the condition `Accepted`: one CamelCase word.
    #[must_use]
    pub fn condition_reason(self) -> &'static str {
        self.words().1
    }

    /// The one table of both spellings.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::AllRequestsNotTrue => ("all_requests_not_true", "AllRequestsNotTrue"),
            Self::BothTargets => ("both_targets", "BothTargets"),
            Self::DefinitionPrunes => ("definition_prunes", "DefinitionPrunes"),
            Self::DoesNothing => ("does_nothing", "DoesNothing"),
            Self::Document(_) => ("refused_by_decoder", "RefusedByDecoder"),
            Self::DuplicateMatchKey => ("duplicate_match_key", "DuplicateMatchKey"),
            Self::EmptyValue => ("empty_value", "EmptyValue"),
            Self::InvalidActiveFrom => ("invalid_active_from", "InvalidActiveFrom"),
            Self::InvalidTtl => ("invalid_ttl", "InvalidTTL"),
            Self::MissingField => ("missing_field", "MissingField"),
            Self::NameTooLong => ("name_too_long", "NameTooLong"),
            Self::NoTarget => ("no_target", "NoTarget"),
            Self::NullValue => ("null_value", "NullValue"),
            Self::SampleOutOfBounds => ("sample_out_of_bounds", "SampleOutOfBounds"),
            Self::SpecNotAnObject => ("spec_not_an_object", "SpecNotAnObject"),
            Self::TooLong => ("too_long", "TooLong"),
            Self::TtlOutOfBounds => ("ttl_out_of_bounds", "TTLOutOfBounds"),
            Self::Undecodable => ("undecodable", "Undecodable"),
            Self::UnknownEndpoint => ("unknown_endpoint", "UnknownEndpoint"),
            Self::UnknownField => ("unknown_field", "UnknownField"),
            Self::UnknownLevel => ("unknown_level", "UnknownLevel"),
            Self::UnknownMatchKey => ("unknown_match_key", "UnknownMatchKey"),
            Self::WrongType => ("wrong_type", "WrongType"),
        }
    }
}

/// A refused resource.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Refusal {
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for the person who applied it: what is wrong, where, what is allowed and what to do. It names fields and
    /// keys and never carries the value of a selector, so it may be logged.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// Of an object whose member at `path`, which the API server sets itself, cannot be read.
    pub(crate) fn undecodable(path: &str) -> Self {
        Self::new(
            Reason::Undecodable,
            format!(
                "`{path}` cannot be read, so it is not known when this directive would start and end; delete it and apply it again"
            ),
        )
    }

    /// Of any object that passed through a definition that drops what it does not know.
    pub(crate) fn pruned() -> Self {
        Self::new(
            Reason::DefinitionPrunes,
            "The CRD in the cluster drops fields that it does not know, and one that narrows this directive may be among them. \
             Apply the CRD of the operator's release (`osproxy-directives crd`)",
        )
    }

    /// Where the fault is, as a path such as `spec.match[0].value`; `None` where it is in no single place. A message
    /// names it first and in backticks, so that people and editors find the same place.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        let path = self.message.split('`').nth(1)?;
        (path.starts_with("spec") || path.starts_with("metadata")).then_some(path)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The most characters of an unknown name that a message shows.
const SHOWN_CHARS: usize = 64;

/// A name that somebody else chose, safe to print: short, and nothing in it that a terminal or a log would act on.
pub(super) fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.$/".contains(c);
    let mut text: String = name
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if plain(c) { c } else { '?' })
        .collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_short_and_without_control_characters() {
        assert_eq!(shown("tennant"), "tennant");
        assert_eq!(shown("a\u{1b}[31mb\nc"), "a??31mb?c");
        assert_eq!(shown(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
        assert_eq!(shown(&"x".repeat(64)), "x".repeat(64));
    }

    #[test]
    fn a_message_says_first_where_the_fault_is() {
        let at = |message| Refusal::new(Reason::WrongType, message);
        let fault = at("`spec.match[1].value` is null; `spec.match` is a list");
        assert_eq!(fault.field(), Some("spec.match[1].value"));
        assert_eq!(at("see `kubectl explain diag`").field(), None);
        assert_eq!(at("all of it").field(), None);
    }

    #[test]
    fn the_decoders_slug_is_kept() {
        let reason = Reason::Document(document::Reason::Shared("unknown_level"));
        assert_eq!(reason.slug(), "unknown_level");
        assert_eq!(reason.condition_reason(), "RefusedByDecoder");
    }
}
