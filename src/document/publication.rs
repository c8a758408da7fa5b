//! A publication is a lease with a date.
//!
//! etcd lets a client choose the id of the lease that it grants, and shows that id with every read
//! and every put event of a key that hangs on it. So whoever may read the document learns when it
//! was written, with no second key and no change to the value that older readers know.

/// How many bits of a lease id are free for chance.
pub const RANDOM_BITS: u32 = 14;
const CHECK_BITS: u32 = 16;
const SECOND_BITS: u32 = 33;

/// When a document was written, as its lease id says: a whole second, a check that tells our ids from
/// etcd's own (one in 65,536 of those would pass), and random bits so that two writers in one second differ.
///
/// ```text
///   62          30 29        14 13       0
///  ┌──────────────┬────────────┬──────────┐   bit 63 is 0: etcdctl prints ids as unsigned hex,
///  │ second (33)  │ check (16) │ rand (14)│   and a negative one cannot be typed back
///  └──────────────┴────────────┴──────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Publication {
    second: u64,
    random: u16,
}

impl Publication {
    /// The publication of whole second `second`, with the low [`RANDOM_BITS`] bits of `random`.
    ///
    /// `None` outside the years 1970 (its first second excluded: lease id 0 means "no lease") to 2242.
    #[must_use]
    pub fn new(second: u64, random: u16) -> Option<Self> {
        (second > 0 && second < 1 << SECOND_BITS).then_some(Self {
            second,
            random: random & ((1 << RANDOM_BITS) - 1),
        })
    }

    /// Reads a publication back from a lease id; `None` where the id is not one of ours.
    #[must_use]
    pub fn from_lease_id(lease_id: i64) -> Option<Self> {
        let id = u64::try_from(lease_id).ok()?;
        let random = u16::try_from(id & ((1 << RANDOM_BITS) - 1)).ok()?;
        let publication = Self::new(id >> (RANDOM_BITS + CHECK_BITS), random)?;
        (publication.lease_id() == lease_id).then_some(publication)
    }

    /// The lease id that carries this publication; always positive.
    #[must_use]
    pub fn lease_id(self) -> i64 {
        let body = (self.second << RANDOM_BITS) | u64::from(self.random);
        let id = (self.second << (RANDOM_BITS + CHECK_BITS))
            | (check(body) << RANDOM_BITS)
            | u64::from(self.random);
        // 63 bits at most by construction.
        id.cast_signed()
    }

    /// The whole second since the Unix epoch at which the document was written.
    #[must_use]
    pub fn second(self) -> u64 {
        self.second
    }
}

/// Sixteen bits that depend on all others: the finaliser of `SplitMix64`.
fn check(body: u64) -> u64 {
    let mut z = body ^ 0x6f73_7072_6f78_7921;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> (64 - CHECK_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_says_when_the_document_was_written() {
        for (second, random) in [(1, 0), (1_795_000_000, 0x3fff), ((1 << 33) - 1, 7)] {
            let publication = Publication::new(second, random).unwrap();
            let id = publication.lease_id();
            assert!(id > 0);
            assert_eq!(Publication::from_lease_id(id), Some(publication));
            assert_eq!(publication.second(), second);
        }
    }

    #[test]
    fn a_second_that_does_not_fit_is_no_publication() {
        assert_eq!(Publication::new(0, 1), None);
        assert_eq!(Publication::new(1 << 33, 1), None);
    }

    #[test]
    fn ids_that_are_not_ours_are_recognised() {
        for id in [0, 1, -1, i64::MIN, i64::MAX, 7_587_894_912_345_678] {
            assert_eq!(Publication::from_lease_id(id), None, "{id}");
        }
        // Of ids like etcd's own (random in all their bits) at most a few in 65,536 pass the check.
        let mut state = 88_172_645_463_325_252_u64;
        let passed = (0..1_000_000)
            .filter(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                Publication::from_lease_id((state >> 1).cast_signed()).is_some()
            })
            .count();
        assert!(passed < 60, "{passed} of a million passed");
    }

    #[test]
    fn one_changed_bit_is_noticed() {
        let id = Publication::new(1_795_000_000, 99).unwrap().lease_id();
        let passed = (0..63)
            .filter(|bit| Publication::from_lease_id(id ^ (1 << bit)).is_some())
            .count();
        assert_eq!(passed, 0);
    }
}
