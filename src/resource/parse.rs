//! From spec to wire.
//!
//! Nothing here is trusted to the schema: a CRD can be older than the operator, or loosened by hand. Each level of the
//! spec has a closed list of names, and whatever is not exactly of the expected form is refused by name. In particular the
//! spellings of the wire are refused here: `tenant: acme` beside `match` would otherwise be taken for something or dropped,
//! and either could widen what its author meant.
//!
//! The entry that comes out then goes through the document's own parse and the shared decoder, alone, so that what they
//! refuse is refused for this one resource and with their own word.

use std::fmt;

use osproxy_core::EndpointKind;
use osproxy_observe::DiagLevel;
use serde_json::Value;

use super::fields::Fields;
use super::refusal::{Reason, Refusal, shown};
use super::vocabulary::{
    ENDPOINTS, LEVELS, MATCH_FIELDS, MATCH_KEYS, MAX_ACTIVE_FROM_CHARS, MAX_COMMENT_CHARS,
    MAX_CREATED_BY_CHARS, MAX_NAME_CHARS, MAX_SAMPLE_PER_MILLE, MAX_TTL_CHARS, MAX_TTL_SECS,
    MAX_VALUE_CHARS, MIN_TTL_SECS, SPEC_FIELDS,
};
use super::window::{Window, parse_duration_millis, parse_time};
use crate::document::{self, Accepted, DatedEntry, Endpoint, Entry, Publication, Selector};

/// A resource as it was meant.
#[derive(Clone, PartialEq, Eq)]
pub struct Directive {
    /// What goes to the wire; its id is `namespace/name`.
    pub entry: Entry,
    /// When it is active.
    pub window: Window,
    /// Whether it is held back, whatever the window says.
    pub suspend: bool,
    /// Who says to have made it; for people.
    pub created_by: Option<String>,
    /// Why it was made; for people.
    pub comment: Option<String>,
}

/// Leaves out what people wrote: a comment may well name a tenant.
impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entry,
            window,
            suspend,
            created_by: _,
            comment: _,
        } = self;
        f.debug_struct("Directive")
            .field("entry", entry)
            .field("window", window)
            .field("suspend", suspend)
            .finish_non_exhaustive()
    }
}

/// Reads the resource `name` in `namespace`, whose `creationTimestamp` is `created_secs` (whole seconds since the
/// Unix epoch) and whose `spec` stands in the API server as given.
///
/// Pure. Costs a few microseconds: one rendering and three parses of one entry.
///
/// # Errors
/// The first fault found, the unknown names before all others.
pub fn parse(
    namespace: &str,
    name: &str,
    created_secs: u64,
    spec: &Value,
) -> Result<Directive, Refusal> {
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(Refusal::new(
            Reason::NameTooLong,
            format!(
                "`metadata.name` is too long; at most {MAX_NAME_CHARS} characters are allowed, so that Events can be \
                 named after it: apply it under a shorter name"
            ),
        ));
    }
    let spec = Fields::new("spec", spec, &SPEC_FIELDS)?;
    let selector = target(&spec)?;
    let level = level(&spec)?;
    let sample_per_mille = sample_per_mille(&spec)?;
    let ttl_millis = ttl_millis(&spec)?;
    let ring_buffer = spec.bool("ringBuffer")?.unwrap_or(false);
    let capture = spec.bool("capture")?.unwrap_or(false);
    let window = window(&spec, created_secs, ttl_millis)?;
    let suspend = spec.bool("suspend")?.unwrap_or(false);
    let created_by = spec.text("createdBy", MAX_CREATED_BY_CHARS)?;
    let comment = spec.text("comment", MAX_COMMENT_CHARS)?;

    if level == DiagLevel::Off && !ring_buffer && !capture {
        return Err(Refusal::new(
            Reason::DoesNothing,
            "this directive does nothing: its `spec.level` is Off (the default), and neither `spec.ringBuffer` nor \
             `spec.capture` is true; set the level to Shape, ShapeTiming or ShapeRewriteDiff, or one of the two to true",
        ));
    }
    let entry = Entry {
        id: format!("{namespace}/{name}"),
        selector,
        level,
        sample_per_mille,
        ring_buffer,
        capture,
    };
    pass_decoder_alone(&entry, ttl_millis / 1000)?;
    Ok(Directive {
        entry,
        window,
        suspend,
        created_by: created_by.map(str::to_owned),
        comment: comment.map(str::to_owned),
    })
}

/// Reads a whole resource, as [`parse`] does. `data` is what the API server hands out beside `apiVersion`, `kind` and
/// `metadata`.
///
/// The definition that is shipped lets nothing stand beside `spec`. Under one that was loosened by hand a
/// `suspend: true` that slipped out of the spec would be there, and be overlooked.
///
/// # Errors
/// As [`parse`], and for any member but `spec` and `status`.
pub fn parse_object(
    namespace: &str,
    name: &str,
    created_secs: u64,
    data: &Value,
) -> Result<Directive, Refusal> {
    let beside = |member: &&String| !["spec", "status"].contains(&member.as_str());
    let members = data.as_object();
    if let Some(member) = members.and_then(|members| members.keys().filter(beside).min()) {
        return Err(Refusal::new(
            Reason::UnknownField,
            format!(
                "`{}` stands beside `spec`, where nothing is read; write it inside of `spec`, or take it away",
                shown(member)
            ),
        ));
    }
    let spec = data.get("spec").unwrap_or(&Value::Null);
    parse(namespace, name, created_secs, spec)
}

/// What `match` or `allRequests` says. With neither there is no target: the empty selector, which is every request on
/// the wire, comes from nothing but `allRequests: true`.
fn target(spec: &Fields<'_>) -> Result<Selector, Refusal> {
    let all_requests = spec.bool("allRequests")?;
    let items = match spec.get("match") {
        None => None,
        Some(Value::Array(items)) => Some(items),
        Some(other) => return Err(spec.wrong_type("match", other, "a list of {key, value}")),
    };
    match (items, all_requests) {
        (Some(_), Some(_)) => Err(Refusal::new(
            Reason::BothTargets,
            "`spec.match` and `spec.allRequests` exclude each other: keep the one that is meant",
        )),
        (None, Some(true)) => Ok(Selector::default()),
        (None, Some(false)) => Err(Refusal::new(
            Reason::AllRequestsNotTrue,
            "`spec.allRequests` may only be true; to select requests, leave it out and give `spec.match`",
        )),
        (Some(items), None) if !items.is_empty() => selector(items),
        (Some(_) | None, None) => Err(Refusal::new(
            Reason::NoTarget,
            "there is no target: give `spec.match` with at least one item, such as {key: tenant, value: acme}, or say \
             `allRequests: true`",
        )),
    }
}

fn selector(items: &[Value]) -> Result<Selector, Refusal> {
    let mut selector = Selector::default();
    for (index, item) in items.iter().enumerate() {
        let item = Fields::new(&format!("spec.match[{index}]"), item, &MATCH_FIELDS)?;
        // A key is at most a known word, so there is no bound to give.
        let key = item.required("key", "one of", &MATCH_KEYS.join(", "))?;
        let value = item.required("value", "the value that the request must have", "")?;
        if !MATCH_KEYS.contains(&key) {
            return Err(Refusal::new(
                Reason::UnknownMatchKey,
                format!(
                    "`{}.key` is none that requests can be selected by; allowed are {}",
                    item.path,
                    MATCH_KEYS.join(", ")
                ),
            ));
        }
        item.fits("value", value, MAX_VALUE_CHARS)?;
        if value.is_empty() {
            return Err(Refusal::new(
                Reason::EmptyValue,
                format!(
                    "`{}.value`, of the key {key}, is empty, which no request has; give the value, or take the item \
                     away to select by the others alone",
                    item.path
                ),
            ));
        }
        let duplicate = match key {
            "tenant" => selector.tenant.replace(value.to_owned()).is_some(),
            "index" => selector.index.replace(value.to_owned()).is_some(),
            "principal" => selector.principal.replace(value.to_owned()).is_some(),
            _ => selector.endpoint.replace(endpoint(&item, value)?).is_some(),
        };
        if duplicate {
            return Err(Refusal::new(
                Reason::DuplicateMatchKey,
                format!(
                    "`{}.key`: {key} stands in `spec.match` twice, and no request can have both values; keep one, and \
                     apply a second directive for the other",
                    item.path
                ),
            ));
        }
    }
    Ok(selector)
}

fn endpoint(item: &Fields<'_>, value: &str) -> Result<Endpoint, Refusal> {
    EndpointKind::from_name(value).map(Endpoint).ok_or_else(|| {
        Refusal::new(
            Reason::UnknownEndpoint,
            format!(
                "`{}.value` is no endpoint class; allowed are {}",
                item.path,
                ENDPOINTS.join(", ")
            ),
        )
    })
}

fn level(spec: &Fields<'_>) -> Result<DiagLevel, Refusal> {
    let allowed = LEVELS.join(", ");
    match spec.get("level") {
        None => Ok(DiagLevel::Off),
        Some(Value::String(name)) => DiagLevel::from_name(name).ok_or_else(|| {
            Refusal::new(
                Reason::UnknownLevel,
                format!("`spec.level` is no level; allowed are {allowed}"),
            )
        }),
        Some(other @ Value::Bool(_)) => Err(spec.wrong_type(
            "level",
            other,
            &format!("one of {allowed} (YAML reads an unquoted Off as false; Off is the default, so leave it out)"),
        )),
        Some(other) => Err(spec.wrong_type("level", other, &format!("one of {allowed}"))),
    }
}

fn sample_per_mille(spec: &Fields<'_>) -> Result<u16, Refusal> {
    let what = format!(
        "a whole number from 0 to {MAX_SAMPLE_PER_MILLE} (requests in a thousand; 50 is 5%)"
    );
    let given = spec
        .get("samplePerMille")
        .ok_or_else(|| spec.missing("samplePerMille", &what))?;
    let Value::Number(number) = given else {
        return Err(spec.wrong_type("samplePerMille", given, &what));
    };
    if number.is_f64() {
        return Err(spec.wrong_type("samplePerMille", given, &what));
    }
    number
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|per_mille| *per_mille <= MAX_SAMPLE_PER_MILLE)
        .ok_or_else(|| {
            Refusal::new(
                Reason::SampleOutOfBounds,
                format!("`spec.samplePerMille` is out of bounds: give {what}"),
            )
        })
}

fn ttl_millis(spec: &Fields<'_>) -> Result<u64, Refusal> {
    let what = format!(
        "a duration from {MIN_TTL_SECS}s to {}h, such as 30m or 1h30m (units h, m, s and ms, whole numbers)",
        MAX_TTL_SECS / 3600
    );
    let text = spec
        .text("ttl", MAX_TTL_CHARS)?
        .ok_or_else(|| spec.missing("ttl", &what))?;
    let millis = parse_duration_millis(text).ok_or_else(|| {
        Refusal::new(
            Reason::InvalidTtl,
            format!("`spec.ttl` is no duration: give {what}"),
        )
    })?;
    if (MIN_TTL_SECS * 1000..=MAX_TTL_SECS * 1000).contains(&millis) {
        Ok(millis)
    } else {
        Err(Refusal::new(
            Reason::TtlOutOfBounds,
            format!("`spec.ttl` is out of bounds: give {what}"),
        ))
    }
}

fn window(spec: &Fields<'_>, created_secs: u64, ttl_millis: u64) -> Result<Window, Refusal> {
    let Some(text) = spec.text("activeFrom", MAX_ACTIVE_FROM_CHARS)? else {
        return Ok(Window::from_creation(created_secs, ttl_millis));
    };
    parse_time(text)
        .map(|start| Window::from_start(start, ttl_millis))
        .ok_or_else(|| {
            Refusal::new(
                Reason::InvalidActiveFrom,
                "`spec.activeFrom` is no time: give one in RFC 3339, from 1970 to 2199, such as \"2026-11-22T14:00:00Z\" or \
                 \"2026-11-22T15:00:00+01:00\", or leave it out to start at once",
            )
        })
}

/// Sends the entry through both parses of a reader, in a document of its own, and holds what comes back against what
/// went in.
fn pass_decoder_alone(entry: &Entry, ttl_secs: u64) -> Result<(), Refusal> {
    let refused = |reason: document::Reason| {
        Refusal::new(
            Reason::Document(reason),
            format!(
                "proxies would refuse this directive ({}): compare it with the examples of `kubectl explain diag.spec`",
                reason.slug()
            ),
        )
    };
    let dated = DatedEntry {
        entry: entry.clone(),
        end_secs: 1 + ttl_secs,
    };
    let bytes = Publication::new(1, 0)
        .and_then(|second_one| document::render(&[dated], second_one))
        .ok_or_else(|| refused(document::Reason::ZeroTtl))?;
    let accepted = Accepted::from_bytes(&bytes).map_err(|refusal| refused(refusal.reason))?;
    match accepted.entries() {
        [only] if only.entry == *entry && only.ttl_secs == ttl_secs => Ok(()),
        _ => Err(refused(document::Reason::SharedDisagrees)),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
