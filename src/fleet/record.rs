//! What one proxy says.

use serde::{Deserialize, Serialize};

use crate::document::Publication;

/// The most bytes of a record. A larger one is not read.
pub const MAX_RECORD_BYTES: usize = 1_024;
/// The most bytes of the version, and of a refusal's reason.
const MAX_WORD_BYTES: usize = 64;
/// The most bytes of an instance's name.
const MAX_INSTANCE_BYTES: usize = 128;

/// What one proxy says of itself: the value at `<key>/fleet/<instance>`, as JSON.
///
/// ```json
/// {"version":"0.1.0","revision":812,"publication_secs":1795356000,"clock_ahead_ms":-3}
/// {"version":"0.1.0","revision":812,"absent":true,"refused":{"reason":"unknown_member","revision":840}}
/// ```
///
/// It holds revisions, times and reasons, and no selector value. Fields that are not known are passed over, so that proxies of several
/// versions report side by side.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The version of this crate in the proxy.
    pub version: String,
    /// Up to which etcd revision the proxy is current: the one that wrote the document in force, or the one as of which it saw that there
    /// is none. 0 where it has never seen either.
    pub revision: i64,
    /// Whether the proxy saw the key absent, so that nothing is in force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// When the document in force was published, in whole seconds since the Unix epoch; `None` for one that a hand wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication_secs: Option<u64>,
    /// By how many milliseconds the proxy's wall clock is ahead of what etcd says of the document's age, to about a second; negative where it
    /// is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// The document that stands at the key and that the proxy refused, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A document that a proxy refused.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Refused {
    /// The slug of the reason.
    pub reason: String,
    /// The revision that wrote the document; 0 where it was too large to be received.
    pub revision: i64,
}

/// Why a record cannot be read.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is larger than 1 KiB.
    #[error("the record is larger than 1 KiB")]
    TooLarge,
    /// It is no JSON object of the form of a [`Record`].
    #[error("the record is not of the form that this version reads")]
    Form,
    /// A member of it is beyond its bounds.
    #[error("a member of the record is beyond its bounds")]
    Bounds,
    /// It claims a revision later than the one that wrote it: it speaks of an etcd that has been restored or exchanged since.
    #[error("the record speaks of another history of etcd")]
    AnotherHistory,
}

impl Unreadable {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::TooLarge,
        Self::Form,
        Self::Bounds,
        Self::AnotherHistory,
    ];

    /// The stable slug.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::TooLarge => "record_too_large",
            Self::Form => "record_form",
            Self::Bounds => "record_bounds",
            Self::AnotherHistory => "record_of_another_history",
        }
    }
}

impl Record {
    /// The bytes for the key; at most [`MAX_RECORD_BYTES`] for a record within its bounds.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|_| Unreadable::Form)?;
        let refused = record.refused.as_ref();
        let words = [
            Some(&record.version),
            refused.map(|refused| &refused.reason),
        ];
        let revisions = [
            Some(record.revision),
            refused.map(|refused| refused.revision),
        ];
        let bounded = words.into_iter().flatten().all(|word| is_word(word))
            && revisions
                .into_iter()
                .flatten()
                .all(|revision| revision >= 0);
        if bounded {
            Ok(record)
        } else {
            Err(Unreadable::Bounds)
        }
    }
}

/// The lease of the session that `instance` keeps for the document at `key`: an id that follows from both.
///
/// So a second process of the same name finds the lease taken, and notices without any right to read what stands below `<key>/fleet/`.
/// Always positive; part of the contract between versions.
#[must_use]
pub fn session_lease(key: &str, instance: &str) -> i64 {
    let bytes = key.bytes().chain([0]).chain(instance.bytes());
    // FNV-1a, and the finaliser of SplitMix64 over it.
    let mut z = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let id = ((z ^ (z >> 31)) >> 1).max(1).cast_signed();
    // One in 65,536 would pass for a document's.
    if Publication::from_lease_id(id).is_some() {
        id ^ 1
    } else {
        id
    }
}

/// Whether `name` can be an instance's: 1 to 128 letters, digits, `-`, `_` and `.`, nothing that would need quoting anywhere.
#[must_use]
pub fn is_instance(name: &str) -> bool {
    (1..=MAX_INSTANCE_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A version or a slug: it ends up in conditions and on terminals.
fn is_word(word: &str) -> bool {
    word.len() <= MAX_WORD_BYTES
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            version: "0.1.0".into(),
            revision: 812,
            publication_secs: Some(1_795_356_000),
            clock_ahead_ms: Some(-3),
            refused: Some(Refused {
                reason: "unknown_member".into(),
                revision: 840,
            }),
            ..Record::default()
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let absent = Record {
            absent: true,
            refused: None,
            ..record()
        };
        for record in [record(), absent, Record::default()] {
            assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
        }
    }

    #[test]
    fn the_largest_record_within_its_bounds_is_read() {
        let word = "w".repeat(MAX_WORD_BYTES);
        let record = Record {
            version: word.clone(),
            revision: i64::MAX,
            absent: true,
            publication_secs: Some(u64::MAX),
            clock_ahead_ms: Some(i64::MIN),
            refused: Some(Refused {
                reason: word,
                revision: i64::MAX,
            }),
        };
        assert!(record.to_bytes().len() <= MAX_RECORD_BYTES);
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = br#"{"version":"9.0.0","revision":7,"colour":"blue","refused":{"reason":"r","revision":8,"line":3}}"#;
        let record = Record::from_bytes(later).unwrap();
        assert_eq!((record.revision, record.refused.unwrap().revision), (7, 8));
    }

    #[test]
    fn what_is_no_record_is_refused_by_its_reason() {
        let long = format!(r#"{{"version":"{}","revision":1}}"#, "v".repeat(65));
        let huge = format!(
            r#"{{"version":"1","revision":1,"x":"{}"}}"#,
            "x".repeat(1_024)
        );
        for (bytes, reason) in [
            (&b""[..], Unreadable::Form),
            (b"null", Unreadable::Form),
            (b"\xff\xfe", Unreadable::Form),
            (br#"{"version":"1"}"#, Unreadable::Form),
            (br#"{"version":"1","revision":"7"}"#, Unreadable::Form),
            (
                br#"{"version":"1","revision":1,"revision":2}"#,
                Unreadable::Form,
            ),
            (br#"{"version":"1","revision":1} "x""#, Unreadable::Form),
            (br#"{"version":"1","revision":-1}"#, Unreadable::Bounds),
            (
                b"{\"version\":\"\\u001b[2J\",\"revision\":1}",
                Unreadable::Bounds,
            ),
            (long.as_bytes(), Unreadable::Bounds),
            (huge.as_bytes(), Unreadable::TooLarge),
        ] {
            assert_eq!(Record::from_bytes(bytes), Err(reason), "{bytes:?}");
        }
    }

    #[test]
    fn a_session_has_a_lease_of_its_own_which_stays_the_same() {
        let lease = session_lease("osproxy/directives", "proxy-1");
        assert_eq!(lease, 8_348_119_850_854_886_356);
        let mut all: Vec<_> = (0..10_000)
            .map(|n| session_lease("osproxy/directives", &format!("proxy-{n}")))
            .collect();
        assert!(
            all.iter()
                .all(|id| *id > 0 && Publication::from_lease_id(*id).is_none())
        );
        all.push(session_lease("osproxy/directivesproxy", "-1"));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_001);
    }

    #[test]
    fn an_instance_is_a_part_of_a_key_and_nothing_else() {
        assert!(is_instance("proxy-7.eu_1"));
        let long = "x".repeat(129);
        for name in ["", "a/b", "a b", "ä", "\u{1b}", long.as_str()] {
            assert!(!is_instance(name), "{name:?}");
        }
    }
}
