//! The words and the bounds of a resource.
//!
//! The schema that the API server enforces and the parse that the operator trusts are both made of these, so
//! that neither can allow what the other refuses.

use crate::document;

/// The members of `spec`.
pub const SPEC_FIELDS: [&str; 11] = [
    "match",
    "allRequests",
    "level",
    "samplePerMille",
    "ttl",
    "ringBuffer",
    "capture",
    "activeFrom",
    "suspend",
    "createdBy",
    "comment",
];

/// The members of an item of `match`.
pub const MATCH_FIELDS: [&str; 2] = ["key", "value"];

/// What an item of `match` may compare.
pub const MATCH_KEYS: [&str; 4] = ["tenant", "index", "principal", "endpoint"];

/// The decoder's names of the levels, quietest first.
pub const LEVELS: [&str; 4] = ["Off", "Shape", "ShapeTiming", "ShapeRewriteDiff"];

/// The decoder's names of the endpoint classes.
pub const ENDPOINTS: [&str; 12] = [
    "IngestDoc",
    "IngestBulk",
    "Search",
    "MultiSearch",
    "Count",
    "GetById",
    "MultiGet",
    "DeleteById",
    "DeleteByQuery",
    "Cursor",
    "Admin",
    "Unknown",
];

/// The most characters that a name may have. An Event about a resource is named after it, with a dot and up to
/// 16 hexadecimal digits behind, and 253 characters are the limit of every name; the rest is slack.
pub const MAX_NAME_CHARS: usize = 200;
/// The most characters of a selector value. In UTF-8 they are at most the 1,024 bytes that the document allows.
pub const MAX_VALUE_CHARS: usize = 256;
/// The most characters of `createdBy`.
pub const MAX_CREATED_BY_CHARS: usize = 256;
/// The most characters of `comment`.
pub const MAX_COMMENT_CHARS: usize = 1024;
/// The most characters of `ttl`: four groups of five digits and a unit of two letters.
pub const MAX_TTL_CHARS: usize = 28;
/// The most characters of `activeFrom`: nanoseconds and a numeric offset.
pub const MAX_ACTIVE_FROM_CHARS: usize = 35;
/// The largest `samplePerMille`: every request.
pub const MAX_SAMPLE_PER_MILLE: u16 = 1000;
/// The shortest `ttl`. What is shorter would be over before the slowest proxy has heard of it.
pub const MIN_TTL_SECS: u64 = 5;
/// The longest `ttl`: a week.
pub const MAX_TTL_SECS: u64 = 168 * 3600;

// What a resource may say fits the document. A namespace has 63 characters at most, and the id has a slash.
const _: () = assert!(MAX_VALUE_CHARS * 4 <= document::MAX_SELECTOR_BYTES);
const _: () = assert!(MAX_TTL_SECS <= document::MAX_TTL_SECS);
const _: () = assert!(63 + 1 + MAX_NAME_CHARS <= document::MAX_ID_BYTES);
// And an Event can be named after it.
const _: () = assert!(MAX_NAME_CHARS + 1 + 16 <= 253);

#[cfg(test)]
mod tests {
    use osproxy_core::EndpointKind;
    use osproxy_observe::DiagLevel;

    use super::*;

    #[test]
    fn the_levels_are_the_decoders() {
        for name in LEVELS {
            assert_eq!(DiagLevel::from_name(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn the_endpoints_are_the_decoders() {
        for name in ENDPOINTS {
            assert_eq!(EndpointKind::from_name(name).unwrap().as_str(), name);
        }
    }
}
