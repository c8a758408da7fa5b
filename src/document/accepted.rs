//! A document that passed both parses: strict before shared.

use std::time::Duration;

use osproxy_core::{Clock, Instant, ManualClock};
use osproxy_observe::{DiagnosticsDirective, DirectiveSet, decode_directive_set};
use serde_json::Value;

use super::strict::parse;
use super::{DatedEntry, Entry, Publication, Reason, Refusal, RelativeEntry, Selector};

/// A document that the strict parse let pass, that the shared decoder accepted, and that both
/// understand alike. There is no other way to come by one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Accepted {
    entries: Vec<RelativeEntry>,
}

impl Accepted {
    /// Reads a document.
    ///
    /// The shared decoder's word is final twice over: what it refuses is refused, and where it
    /// understood something else than the strict parse did (by its own introspection) nobody can say what was
    /// meant, so that is refused too.
    ///
    /// Costs about three parses of the bytes; readers do it once a publication.
    ///
    /// # Errors
    /// The first fault, value-free.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        let accepted = Self {
            entries: parse(bytes)?,
        };
        let refused = |reason| Refusal {
            reason,
            directive: None,
        };
        // Any clock serves to compare meanings; this one never moves.
        let clock = ManualClock::new();
        let shared =
            decode_directive_set(bytes, &clock).map_err(|slug| refused(Reason::Shared(slug)))?;
        if accepted.is_what_is_held_in(&shared, clock.now()) {
            Ok(accepted)
        } else {
            Err(refused(Reason::SharedDisagrees))
        }
    }

    /// Whether a set that was decoded at `start` holds what we have read, by its own introspection.
    fn is_what_is_held_in(&self, shared: &DirectiveSet, start: Instant) -> bool {
        let told = shared.introspect(start);
        let Some(told) = told.get("directives").and_then(Value::as_array) else {
            return false;
        };
        told.len() == self.entries.len()
            && self
                .entries
                .iter()
                .zip(told)
                .all(|(relative, told)| is_told(&relative.entry, told))
    }

    /// What it says, in the document's own order.
    #[must_use]
    pub fn entries(&self) -> &[RelativeEntry] {
        &self.entries
    }

    /// The entries with their absolute ends, when the document was written at `publication`; sorted by id.
    #[must_use]
    pub fn dated(&self, publication: Publication) -> Vec<DatedEntry> {
        let mut dated: Vec<_> = self
            .entries
            .iter()
            .map(|RelativeEntry { entry, ttl_secs }| DatedEntry {
                entry: entry.clone(),
                end_secs: publication.second().saturating_add(*ttl_secs),
            })
            .collect();
        dated.sort_by(|a, b| a.entry.id.cmp(&b.entry.id));
        dated
    }

    /// The directives that are still alive when the document is `age` old at `now`, each with its exact end.
    ///
    /// The ends are computed here, not by decoding reduced seconds: `ttl_secs` is whole, so an entry in
    /// its last second could only be decoded as gone, or under a back-dated clock, which underflows in
    /// a young process.
    #[must_use]
    pub fn directives_at(&self, age: Duration, now: Instant) -> Vec<DiagnosticsDirective> {
        self.entries
            .iter()
            .filter_map(|RelativeEntry { entry, ttl_secs }| {
                let left = Duration::from_secs(*ttl_secs).checked_sub(age)?;
                (!left.is_zero()).then(|| entry.to_directive(now.saturating_add(left)))
            })
            .collect()
    }

    /// How long until the next directive ends, of those alive at `age`.
    #[must_use]
    pub fn next_end(&self, age: Duration) -> Option<Duration> {
        self.entries
            .iter()
            .filter_map(|relative| Duration::from_secs(relative.ttl_secs).checked_sub(age))
            .filter(|left| !left.is_zero())
            .min()
    }
}

/// Whether an introspected directive that has not ended says exactly what the entry says.
fn is_told(entry: &Entry, told: &Value) -> bool {
    const ALWAYS_TOLD: usize = 6;
    let Entry {
        id,
        selector,
        level,
        sample_per_mille,
        ring_buffer,
        capture,
    } = entry;
    let Selector {
        tenant,
        index,
        principal,
        endpoint,
    } = selector;
    let Some(told) = told.as_object() else {
        return false;
    };
    let selected = [
        ("tenant", tenant.as_deref()),
        ("index", index.as_deref()),
        ("principal", principal.as_deref()),
        ("endpoint", endpoint.map(super::Endpoint::as_str)),
    ];
    let given = selected.iter().filter(|(_, value)| value.is_some()).count();
    let text = |member: &str| told.get(member).and_then(Value::as_str);
    let flag = |member: &str| told.get(member).and_then(Value::as_bool);
    told.len() == ALWAYS_TOLD + given
        && selected
            .iter()
            .all(|(member, value)| text(member) == *value)
        && text("id") == Some(id)
        && text("level") == Some(level.as_str())
        && told.get("sample_per_mille").and_then(Value::as_u64)
            == Some(u64::from(*sample_per_mille))
        && flag("ring_buffer") == Some(*ring_buffer)
        && flag("capture") == Some(*capture)
        && flag("expired") == Some(false)
}
