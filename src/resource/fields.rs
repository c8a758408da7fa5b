//! One level of a spec, read member by member.

use serde_json::{Map, Value};

use super::refusal::{Reason, Refusal, shown};

/// One level of the spec: an object with a closed list of members, none of them null.
pub(super) struct Fields<'a> {
    /// Where it stands, for messages.
    pub(super) path: String,
    members: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &str, value: &'a Value, allowed: &[&str]) -> Result<Self, Refusal> {
        let Value::Object(members) = value else {
            let reason = match value {
                _ if path == "spec" => Reason::SpecNotAnObject,
                Value::Null => Reason::NullValue,
                _ => Reason::WrongType,
            };
            return Err(Refusal::new(
                reason,
                format!(
                    "`{path}` is {}; an object with the members {} is required",
                    type_name(value),
                    allowed.join(", ")
                ),
            ));
        };
        let fields = Self {
            path: path.to_owned(),
            members,
        };
        // The first by name, so that the answer does not depend on how a map orders its members.
        let unknown = |name: &&String| !allowed.contains(&name.as_str());
        if let Some(name) = members.keys().filter(unknown).min() {
            return Err(fields.unknown(name, allowed));
        }
        if let Some(name) = allowed.iter().find(|n| fields.get(n) == Some(&Value::Null)) {
            return Err(Refusal::new(
                Reason::NullValue,
                format!(
                    "`{path}.{name}` is null, which could mean anything: give it a value or take it away"
                ),
            ));
        }
        Ok(fields)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_type(name, other, "true or false, without quotes")),
        }
    }

    pub(super) fn text(&self, name: &str, max_chars: usize) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                self.fits(name, text, max_chars)?;
                Ok(Some(text))
            }
            Some(other) => Err(self.wrong_type(name, other, "a string; put it in quotes")),
        }
    }

    /// A string that has to be there, of any length.
    pub(super) fn required(
        &self,
        name: &str,
        what: &str,
        allowed: &str,
    ) -> Result<&'a str, Refusal> {
        let what = format!("{what} {allowed}");
        self.text(name, usize::MAX)?
            .ok_or_else(|| self.missing(name, what.trim_end()))
    }

    pub(super) fn fits(&self, name: &str, text: &str, max_chars: usize) -> Result<(), Refusal> {
        if text.chars().count() <= max_chars {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::TooLong,
            format!(
                "`{}.{name}` is too long; at most {max_chars} characters are allowed: shorten it",
                self.path
            ),
        ))
    }

    pub(super) fn missing(&self, name: &str, what: &str) -> Refusal {
        Refusal::new(
            Reason::MissingField,
            format!("`{}.{name}` is required: give {what}", self.path),
        )
    }

    pub(super) fn wrong_type(&self, name: &str, value: &Value, what: &str) -> Refusal {
        Refusal::new(
            Reason::WrongType,
            format!(
                "`{}.{name}` is {}; allowed is {what}",
                self.path,
                type_name(value)
            ),
        )
    }

    fn unknown(&self, name: &str, allowed: &[&str]) -> Refusal {
        let remedy = match name {
            "tenant" | "index" | "principal" | "endpoint" => {
                format!("write {{key: {name}, value: …}} as an item of `spec.match`")
            }
            "ttl_secs" => "write `ttl` with a unit, such as 30m".to_owned(),
            "sample_per_mille" => "write `samplePerMille`".to_owned(),
            "ring_buffer" => "write `ringBuffer`".to_owned(),
            "id" => "the id is the resource's namespace and name; take it away".to_owned(),
            _ => "correct its name or take it away".to_owned(),
        };
        Refusal::new(
            Reason::UnknownField,
            format!(
                "`{}.{}` is not a field of a directive; allowed are {}: {remedy}",
                self.path,
                shown(name),
                allowed.join(", ")
            ),
        )
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
