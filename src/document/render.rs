//! Bytes out: the plan's entries as the document that every reader understands.

use serde::Serialize;

use super::{DatedEntry, Publication};

/// The value for `entries` when it is written at `publication`: sorted by id, `ttl_secs` the exact
/// distance from the publication's second to each end.
///
/// An entry whose end is not after the publication is left out: it has nothing left to say. Where nothing is left the result is
/// `None`, since an absent key says that better than an empty document.
#[must_use]
pub fn render(entries: &[DatedEntry], publication: Publication) -> Option<Vec<u8>> {
    let mut directives: Vec<Directive<'_>> = entries
        .iter()
        .filter_map(|dated| Directive::at(dated, publication.second()))
        .collect();
    if directives.is_empty() {
        return None;
    }
    directives.sort_by(|a, b| a.id.cmp(b.id));
    let mut bytes = Vec::with_capacity(160 * directives.len());
    serde_json::to_writer(&mut bytes, &Body { directives }).ok()?;
    Some(bytes)
}

/// How many bytes `entry` takes in the document, its comma included, with a `ttl_secs` of
/// `ttl_secs`. For budgets: what counts there is the longest `ttl_secs`, so that an entry's size does not change as it ages.
#[must_use]
pub fn rendered_len(dated: &DatedEntry, ttl_secs: u64) -> usize {
    Directive::at(dated, dated.end_secs.saturating_sub(ttl_secs))
        .and_then(|directive| serde_json::to_vec(&directive).ok())
        .map_or(0, |bytes| bytes.len() + 1)
}

#[derive(Serialize)]
struct Body<'a> {
    directives: Vec<Directive<'a>>,
}

/// One directive in osproxy's wire vocabulary. What is false or unset is left out, as the decoder
/// reads it so; the sample is always said, because its default there is "every request".
#[derive(Serialize)]
struct Directive<'a> {
    id: &'a str,
    level: &'static str,
    ttl_secs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'static str>,
    sample_per_mille: u16,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ring_buffer: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    capture: bool,
}

impl<'a> Directive<'a> {
    fn at(dated: &'a DatedEntry, second: u64) -> Option<Self> {
        let DatedEntry { entry, end_secs } = dated;
        let ttl_secs = end_secs.checked_sub(second).filter(|ttl| *ttl > 0)?;
        let super::Entry {
            id,
            selector,
            level,
            sample_per_mille,
            ring_buffer,
            capture,
        } = entry;
        let super::Selector {
            tenant,
            index,
            principal,
            endpoint,
        } = selector;
        Some(Self {
            id,
            level: level.as_str(),
            ttl_secs,
            tenant: tenant.as_deref(),
            index: index.as_deref(),
            principal: principal.as_deref(),
            endpoint: endpoint.map(super::entry::Endpoint::as_str),
            sample_per_mille: *sample_per_mille,
            ring_buffer: *ring_buffer,
            capture: *capture,
        })
    }
}
