//! The values of a directive's members, and the members' names.

use std::borrow::Cow;
use std::fmt;

use osproxy_core::EndpointKind;
use osproxy_observe::DiagLevel;
use serde::de::{DeserializeSeed, Deserializer, Visitor};

use super::super::{Endpoint, Reason};
use super::{MAX_ID_BYTES, MAX_SELECTOR_BYTES, MAX_TTL_SECS, Progress};

/// The value of a member: one of the three types that the vocabulary has.
pub(super) enum Scalar<'de> {
    Text(Cow<'de, str>),
    Number(u64),
    Bool(bool),
}

impl Scalar<'_> {
    fn text(self) -> Result<String, Reason> {
        match self {
            Self::Text(text) => Ok(text.into_owned()),
            Self::Number(_) | Self::Bool(_) => Err(Reason::WrongType),
        }
    }

    fn number(&self) -> Result<u64, Reason> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(_) | Self::Bool(_) => Err(Reason::WrongType),
        }
    }

    pub(super) fn bool(&self) -> Result<bool, Reason> {
        match self {
            Self::Bool(value) => Ok(*value),
            Self::Text(_) | Self::Number(_) => Err(Reason::WrongType),
        }
    }

    pub(super) fn id(self) -> Result<String, Reason> {
        let id = self.text()?;
        match id.len() {
            0 => Err(Reason::EmptyId),
            1..=MAX_ID_BYTES if id.chars().any(char::is_control) => {
                Err(Reason::IdWithControlCharacter)
            }
            1..=MAX_ID_BYTES => Ok(id),
            _ => Err(Reason::IdTooLong),
        }
    }

    pub(super) fn selector(self) -> Result<String, Reason> {
        let value = self.text()?;
        match value.len() {
            0 => Err(Reason::EmptySelector),
            1..=MAX_SELECTOR_BYTES => Ok(value),
            _ => Err(Reason::SelectorTooLong),
        }
    }

    pub(super) fn endpoint(self) -> Result<Endpoint, Reason> {
        let name = self.text()?;
        if name.is_empty() {
            return Err(Reason::EmptySelector);
        }
        EndpointKind::from_name(&name)
            .map(Endpoint)
            .ok_or(Reason::UnknownEndpoint)
    }

    pub(super) fn level(self) -> Result<DiagLevel, Reason> {
        DiagLevel::from_name(&self.text()?).ok_or(Reason::UnknownLevel)
    }

    pub(super) fn ttl_secs(&self) -> Result<u64, Reason> {
        match self.number()? {
            0 => Err(Reason::ZeroTtl),
            secs if secs > MAX_TTL_SECS => Err(Reason::TtlTooLong),
            secs => Ok(secs),
        }
    }

    pub(super) fn sample_per_mille(&self) -> Result<u16, Reason> {
        u16::try_from(self.number()?)
            .ok()
            .filter(|per_mille| *per_mille <= 1000)
            .ok_or(Reason::BadSampleRate)
    }
}

/// Reads any value as a [`Scalar`]; null, fractions, negative numbers, lists and objects are refused on sight.
pub(super) struct Member<'p>(pub(super) &'p Progress);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        self.0.otherwise.set(Reason::WrongType);
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a whole number or a boolean")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Err(self.0.refuse(Reason::NullValue))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
}

/// A member's name, told apart without keeping it; escaped spellings arrive here unescaped.
pub(super) struct Key<T>(pub(super) fn(&str) -> Option<T>);

impl<'de, T> DeserializeSeed<'de> for Key<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Key<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0(name))
    }
}
