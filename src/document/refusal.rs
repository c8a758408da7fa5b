//! Why a document is refused.

use std::fmt;

/// Why a document was refused. Each has a stable, value-free slug.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// `sample_per_mille` is not a whole number from 0 to 1000.
    BadSampleRate,
    /// A member stands twice in one object, in whatever spelling.
    DuplicateField,
    /// Two directives have one id.
    DuplicateId,
    /// An id is the empty string.
    EmptyId,
    /// A selector is the empty string.
    EmptySelector,
    /// An id holds a control character, which would let it forge a log line.
    IdWithControlCharacter,
    /// An id is longer than [`super::MAX_ID_BYTES`].
    IdTooLong,
    /// Not JSON, or something stands behind the JSON.
    InvalidJson,
    /// Not UTF-8.
    InvalidUtf8,
    /// The document has no `directives`.
    MissingDirectives,
    /// A directive has no `id`.
    MissingId,
    /// A directive has no `level`.
    MissingLevel,
    /// A directive has no `ttl_secs`.
    MissingTtlSecs,
    /// The document, or a directive in it, is not an object.
    NotAnObject,
    /// A member is `null`, which the shared decoder takes for absent.
    NullValue,
    /// A selector is longer than [`super::MAX_SELECTOR_BYTES`].
    SelectorTooLong,
    /// The shared decoder refused what this parse let pass; its own slug.
    Shared(&'static str),
    /// The shared decoder understood something else than this parse did.
    SharedDisagrees,
    /// The document is longer than [`super::MAX_DOCUMENT_BYTES`].
    TooLarge,
    /// The document holds more than [`super::MAX_DIRECTIVES`] directives.
    TooManyDirectives,
    /// `ttl_secs` is more than [`super::MAX_TTL_SECS`].
    TtlTooLong,
    /// An endpoint class that the decoder does not know.
    UnknownEndpoint,
    /// A member that the vocabulary does not have.
    UnknownField,
    /// A level that the decoder does not know.
    UnknownLevel,
    /// A member has another JSON type than the vocabulary gives it.
    WrongType,
    /// `ttl_secs` is 0.
    ZeroTtl,
}

impl Reason {
    /// Every one that is our own; [`Reason::Shared`] carries the shared decoder's.
    pub const ALL: [Self; 25] = [
        Self::BadSampleRate,
        Self::DuplicateField,
        Self::DuplicateId,
        Self::EmptyId,
        Self::EmptySelector,
        Self::IdWithControlCharacter,
        Self::IdTooLong,
        Self::InvalidJson,
        Self::InvalidUtf8,
        Self::MissingDirectives,
        Self::MissingId,
        Self::MissingLevel,
        Self::MissingTtlSecs,
        Self::NotAnObject,
        Self::NullValue,
        Self::SelectorTooLong,
        Self::SharedDisagrees,
        Self::TooLarge,
        Self::TooManyDirectives,
        Self::TtlTooLong,
        Self::UnknownEndpoint,
        Self::UnknownField,
        Self::UnknownLevel,
        Self::WrongType,
        Self::ZeroTtl,
    ];

    /// The stable slug that status, metrics and logs share. The shared decoder's slugs are kept where it has one for the
    /// same fault.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::BadSampleRate => "bad_sample_rate",
            Self::DuplicateField => "duplicate_field",
            Self::DuplicateId => "duplicate_id",
            Self::EmptyId => "empty_id",
            Self::EmptySelector => "empty_selector",
            Self::IdWithControlCharacter => "id_with_control_character",
            Self::IdTooLong => "id_too_long",
            Self::InvalidJson => "invalid_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MissingDirectives => "missing_directives",
            Self::MissingId => "missing_id",
            Self::MissingLevel => "missing_level",
            Self::MissingTtlSecs => "missing_ttl_secs",
            Self::NotAnObject => "not_an_object",
            Self::NullValue => "null_value",
            Self::SelectorTooLong => "selector_too_long",
            Self::Shared(slug) => slug,
            Self::SharedDisagrees => "shared_decoder_disagrees",
            Self::TooLarge => "too_large",
            Self::TooManyDirectives => "too_many_directives",
            Self::TtlTooLong => "ttl_too_long",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::UnknownField => "unknown_field",
            Self::UnknownLevel => "unknown_level",
            Self::WrongType => "wrong_type",
            Self::ZeroTtl => "zero_ttl",
        }
    }
}

/// A refused document: why, and at which directive. Carries no value from the document.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The position of the directive in the document, from 0; `None` where the document itself is at fault.
    pub directive: Option<usize>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.directive {
            Some(index) => write!(f, "{} in directive {index}", self.reason.slug()),
            None => f.write_str(self.reason.slug()),
        }
    }
}
