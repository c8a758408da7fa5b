//! What holds of every document, shown on documents by chance: a million of them, from one seed.

use std::time::Duration;

use osproxy_core::{Clock, ManualClock};
use osproxy_directives::document::{self, Accepted, Publication, Selector, render};
use osproxy_observe::{DirectiveSet, decode_directive_set};

use crate::generated::{ANY_NAMES, Doc, Member, any_value, change_one_char, spoil_selector};
use crate::tables::{Rng, decided, requests};

const DIFFERENTIAL_CASES: usize = 400_000;
const MUTATIONS: usize = 500_000;
const ORDER_CASES: usize = 100_000;

/// What the strict parse accepts, the shared decoder accepts, and the two answer every request alike.
#[test]
fn what_the_strict_parse_accepts_the_shared_decoder_accepts_with_the_same_meaning() {
    let mut rng = Rng::seeded(0x5eed_0003);
    let clock = ManualClock::new();
    let now = clock.now();
    let mut accepted = 0;
    for _ in 0..DIFFERENTIAL_CASES {
        let text = any_text(&mut rng);
        let Ok(entries) = document::parse(text.as_bytes()) else {
            continue;
        };
        accepted += 1;
        let shared = decode_directive_set(text.as_bytes(), &clock)
            .unwrap_or_else(|slug| panic!("only the shared decoder refuses, with {slug}: {text}"));
        let ours = DirectiveSet::from_directives(
            entries
                .iter()
                .map(|relative| {
                    let life = Duration::from_secs(relative.ttl_secs);
                    relative.entry.to_directive(now.saturating_add(life))
                })
                .collect(),
        );
        assert_eq!(ours.introspect(now), shared.introspect(now), "{text}");
        let last = entries.iter().map(|relative| relative.ttl_secs).min();
        let near_an_end = now.saturating_add(Duration::from_secs(last.unwrap_or(1)));
        for request in requests(&mut rng, &[], 2) {
            for moment in [now, near_an_end] {
                let by_ours = decided(&ours, moment, &request);
                let by_shared = decided(&shared, moment, &request);
                assert_eq!(by_ours, by_shared, "{text}");
            }
        }
    }
    // Neither all nor none: the cases speak about both sides.
    assert!(accepted > DIFFERENTIAL_CASES / 5, "{accepted} accepted");
    assert!(accepted < DIFFERENTIAL_CASES * 4 / 5, "{accepted} accepted");
}

/// One mutation of a selector never yields an accepted document whose directive is for all the same requests and more.
#[test]
fn no_single_mutation_of_a_selector_widens_a_directive() {
    let mut rng = Rng::seeded(0x5eed_0004);
    let mut accepted = 0;
    let mut changed = 0;
    for _ in 0..MUTATIONS {
        let (doc, directive, member) = Doc::with_selector(&mut rng, 3);
        let before = parsed(&doc.text(&mut rng)).expect("a whole document is accepted");
        let mut mutated = doc.clone();
        spoil_selector(&mut rng, &mut mutated, directive, member);
        let text = mutated.text(&mut rng);
        let Some(after) = parsed(&text) else { continue };
        accepted += 1;
        changed += usize::from(before != after);
        assert_eq!(before.len(), after.len(), "{text}");
        for (before, after) in before.iter().zip(&after) {
            assert!(!is_wider(after, before), "{doc:?} became {text}");
        }
    }
    assert!(accepted > MUTATIONS / 20, "{accepted} accepted");
    assert!(changed > MUTATIONS / 50, "{changed} changed");
}

/// The one exception that the property above names, and the proof that its measure of width can tell.
#[test]
fn a_selector_that_is_taken_out_whole_does_widen() {
    let mut rng = Rng::seeded(0x5eed_0005);
    for _ in 0..1_000 {
        let (mut doc, directive, member) = Doc::with_selector(&mut rng, 3);
        let before = parsed(&doc.text(&mut rng)).unwrap();
        doc.directives[directive].remove(member);
        let after = parsed(&doc.text(&mut rng)).expect("what is left is whole");
        assert!(is_wider(&after[directive], &before[directive]));
    }
}

/// Neither the order of the directives nor that of their members nor the spelling changes what a document says; and
/// what is rendered reads as it was, and renders as it was.
#[test]
fn order_means_nothing_and_rendering_is_idempotent() {
    let mut rng = Rng::seeded(0x5eed_0006);
    let publication = Publication::new(1_795_000_000, 7).unwrap();
    for _ in 0..ORDER_CASES {
        let mut doc = Doc::any(&mut rng, 5);
        let text = doc.text(&mut rng);
        let first = Accepted::from_bytes(text.as_bytes()).unwrap();
        rng.shuffle(&mut doc.directives);
        doc.directives.iter_mut().for_each(|d| rng.shuffle(d));
        let shuffled = Accepted::from_bytes(doc.text(&mut rng).as_bytes()).unwrap();
        let dated = first.dated(publication);
        assert_eq!(dated, shuffled.dated(publication), "{text}");

        let Some(bytes) = render(&dated, publication) else {
            assert!(dated.is_empty(), "{text}");
            continue;
        };
        let again = Accepted::from_bytes(&bytes).unwrap();
        assert_eq!(again.dated(publication), dated, "{text}");
        assert_eq!(render(&again.dated(publication), publication), Some(bytes));
    }
}

/// A whole document, most of the time spoiled somewhere.
fn any_text(rng: &mut Rng) -> String {
    let mut doc = Doc::any(rng, 3);
    if rng.chance(45) && !doc.directives.is_empty() {
        let directive = rng.below(doc.directives.len());
        let members = &mut doc.directives[directive];
        let place = rng.below(members.len());
        match rng.below(5) {
            0 => drop(members.remove(place)),
            1 => members[place].value = any_value(rng),
            2 => members[place].name = format!("\"{}\"", rng.pick(&ANY_NAMES)),
            3 => {
                let name = format!("\"{}\"", rng.pick(&ANY_NAMES));
                let value = any_value(rng);
                members.insert(place, Member { name, value });
            }
            _ => {
                let twin = doc.directives[directive].clone();
                doc.directives.push(twin);
            }
        }
    }
    let text = doc.text(rng);
    if rng.chance(25) {
        change_one_char(rng, &text)
    } else {
        text
    }
}

fn parsed(text: &str) -> Option<Vec<Selector>> {
    let accepted = Accepted::from_bytes(text.as_bytes()).ok()?;
    let selectors = accepted.entries().iter().map(|r| r.entry.selector.clone());
    Some(selectors.collect())
}

/// Whether `a` is for all requests that `b` is for, and for others too: what `a` demands, `b` demands as well, and `b`
/// demands something more.
fn is_wider(a: &Selector, b: &Selector) -> bool {
    fn demands<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
        a.is_none() || a == b
    }
    a != b
        && demands(a.tenant.as_ref(), b.tenant.as_ref())
        && demands(a.index.as_ref(), b.index.as_ref())
        && demands(a.principal.as_ref(), b.principal.as_ref())
        && demands(a.endpoint.as_ref(), b.endpoint.as_ref())
}
