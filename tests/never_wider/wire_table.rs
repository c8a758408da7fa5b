//! The table of documents: what each is taken for, and what the accepted ones decide.

use std::sync::Arc;
use std::time::Duration;

use osproxy_core::{Clock, ManualClock};
use osproxy_directives::document::Accepted;
use osproxy_directives::store::EtcdDirectiveStore;
use osproxy_observe::{DirectiveSet, decode_directive_set};

use crate::tables::wire::{ROWS, Row, Shared, Verdict};
use crate::tables::{On, Rng, Said, decided, oracle, requests};

/// How many requests each accepted document decides.
const REQUESTS: usize = 1_000;

#[test]
fn the_table_is_as_large_as_it_has_to_be() {
    let accepted = ROWS.iter().filter(|row| column(row).is_some()).count();
    assert!(accepted >= 30, "{accepted} accepted rows");
    assert!(ROWS.len() - accepted >= 70, "{} rows", ROWS.len());
    let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROWS.len(), "each row has a name of its own");
}

#[test]
fn an_accepted_document_decides_what_its_row_says_and_nothing_else() {
    let mut rng = Rng::seeded(0x5eed_0001);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    for row in ROWS {
        let Some(column) = column(row) else { continue };
        let accepted = Accepted::from_bytes(row.document)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", row.name));
        let strict =
            DirectiveSet::from_directives(accepted.directives_at(Duration::ZERO, clock.now()));
        let shared = decode_directive_set(row.document, clock.as_ref())
            .unwrap_or_else(|slug| panic!("{}: the shared decoder says {slug}", row.name));
        let store = EtcdDirectiveStore::from_document(row.document, Arc::clone(&clock))
            .unwrap_or_else(|refusal| panic!("{}: the store says {refusal}", row.name));
        for request in requests(&mut rng, column, REQUESTS) {
            let expected = oracle(column, &request);
            let by_strict = decided(&strict, clock.now(), &request);
            let by_shared = decided(&shared, clock.now(), &request);
            let by_store = store.decide(&request.attrs(), clock.now(), &request.id);
            let by_store = Said {
                level: by_store.level,
                ring_buffer: by_store.ring_buffer,
                capture: by_store.capture,
            };
            assert_eq!(by_store, expected, "{}: {request:?}", row.name);
            assert_eq!(by_strict, expected, "{}: {request:?}", row.name);
            assert_eq!(by_shared, expected, "{}: {request:?}", row.name);
        }
    }
}

/// Without this an oracle that says nothing to anybody would agree with a decoder that accepts nothing.
#[test]
fn the_requests_reach_every_directive_of_the_table() {
    let mut rng = Rng::seeded(0x5eed_0002);
    for row in ROWS {
        for on in column(row).unwrap_or_default() {
            let said: Vec<_> = requests(&mut rng, &[*on], REQUESTS)
                .iter()
                .map(|request| oracle(&[*on], request))
                .collect();
            let hits = said.iter().filter(|said| **said != Said::NOTHING).count();
            assert_eq!(hits > 0, says_something(row.name), "{}: {hits}", row.name);
        }
    }
}

#[test]
fn a_refused_document_is_refused_with_the_reason_of_its_row() {
    let clock = ManualClock::new();
    for row in ROWS {
        let Verdict::Refused(slug, shared) = row.verdict else {
            continue;
        };
        let refusal = Accepted::from_bytes(row.document).expect_err(row.name);
        assert_eq!(refusal.reason.slug(), slug, "{}", row.name);
        let alone = match decode_directive_set(row.document, &clock) {
            Ok(_) => Shared::Takes,
            Err(slug) => Shared::Refuses(slug),
        };
        assert_eq!(alone, shared, "{}", row.name);
    }
}

/// The reason to be strict: some of what we refuse, the shared decoder alone takes for a directive for more requests.
#[test]
fn much_of_the_table_would_pass_the_shared_decoder_alone() {
    let taken = |row: &&Row| matches!(row.verdict, Verdict::Refused(_, Shared::Takes));
    let count = ROWS.iter().filter(taken).count();
    assert!(count >= 40, "{count}");
}

fn column(row: &Row) -> Option<&'static [On]> {
    match row.verdict {
        Verdict::Accepted(column) => Some(column),
        Verdict::Refused(..) => None,
    }
}

/// Two rows are about directives that switch nothing on.
fn says_something(name: &str) -> bool {
    !["level Off alone", "no request of a thousand"].contains(&name)
}
