//! What holds of the budget for any crowd of candidates, shown on crowds by chance.

use osproxy_observe::DiagLevel;

use super::*;
use crate::document::{Entry, Publication, Selector, render};

const T0: u64 = 1_795_000_000;
const CROWDS: usize = 20_000;

/// Small numbers that repeat: xorshift, from one seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What wants in: owns what a [`Candidate`] borrows.
#[derive(Clone, Debug)]
struct Want {
    id: Id,
    since_secs: u64,
    tenant_bytes: usize,
}

impl Want {
    fn new(namespace: &str, name: &str, age_secs: u64, tenant_bytes: usize) -> Self {
        Self {
            id: Id {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            since_secs: T0 - age_secs,
            tenant_bytes,
        }
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: &self.id,
            since_secs: self.since_secs,
            dated: DatedEntry {
                entry: Entry {
                    id: self.id.to_string(),
                    selector: Selector {
                        tenant: Some("t".repeat(self.tenant_bytes)),
                        ..Selector::default()
                    },
                    level: DiagLevel::Shape,
                    sample_per_mille: 1000,
                    ring_buffer: false,
                    capture: false,
                },
                end_secs: T0 + 60,
            },
        }
    }

    fn bytes(&self) -> usize {
        rendered_len(&self.candidate().dated, MAX_TTL_SECS)
    }

    fn cost(&self, limits: &Limits) -> u64 {
        cost(self.bytes(), limits)
    }
}

fn crowd(chance: &mut Chance) -> (Vec<Want>, Limits) {
    let namespaces = 1 + chance.below(4);
    let wants = (0..chance.below(14))
        .map(|n| {
            let namespace = format!("ns{}", chance.below(namespaces));
            // Ages that often coincide, and a few that are much larger than others.
            let tenant_bytes = match chance.below(6) {
                0 => 200 + usize::try_from(chance.below(300)).unwrap(),
                _ => 1 + usize::try_from(chance.below(30)).unwrap(),
            };
            Want::new(
                &namespace,
                &format!("n{n:02}"),
                chance.below(6),
                tenant_bytes,
            )
        })
        .collect();
    let limits = Limits::new(
        usize::try_from(chance.below(12)).unwrap(),
        usize::try_from(chance.below(2_000)).unwrap(),
    );
    (wants, limits)
}

/// The admitted ones, in the order in which their namespaces were served.
fn admitted<'a>(wants: &'a [Want], limits: &Limits) -> Vec<&'a Want> {
    let decided = admit(wants.iter().map(Want::candidate).collect(), limits);
    assert_eq!(decided.len(), wants.len(), "one answer each");
    decided
        .iter()
        .filter(|(_, fits)| *fits)
        .map(|(candidate, _)| wants.iter().find(|w| w.id == *candidate.id).unwrap())
        .collect()
}

fn sorted(mut wants: Vec<&Want>) -> Vec<&Id> {
    wants.sort_by_key(|want| &want.id);
    wants.into_iter().map(|want| &want.id).collect()
}

/// What `want`'s namespace holds of what is older than it.
fn held_before(want: &Want, admitted: &[&Want], limits: &Limits) -> u64 {
    admitted
        .iter()
        .filter(|other| other.id.namespace == want.id.namespace && older(other, want))
        .map(|other| other.cost(limits))
        .sum()
}

fn older(a: &Want, b: &Want) -> bool {
    (a.since_secs, &a.id) < (b.since_secs, &b.id)
}

fn for_many_crowds(mut check: impl FnMut(&mut Chance, &[Want], &Limits)) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..CROWDS {
        let (wants, limits) = crowd(&mut chance);
        check(&mut chance, &wants, &limits);
    }
}

#[test]
fn a_document_is_never_above_its_limits() {
    let publication = Publication::new(T0, 1).unwrap();
    for_many_crowds(|_, wants, limits| {
        let admitted = admitted(wants, limits);
        assert!(admitted.len() <= limits.max_directives);
        let mut dated: Vec<_> = admitted.iter().map(|w| w.candidate().dated).collect();
        // As large as it can become: with the longest life.
        for entry in &mut dated {
            entry.end_secs = T0 + MAX_TTL_SECS;
        }
        let bytes = render(&dated, publication).map_or(0, |bytes| bytes.len());
        assert!(bytes <= limits.max_document_bytes, "{bytes}: {limits:?}");
    });
}

#[test]
fn who_is_refused_would_not_fit_beside_those_that_hold_no_more() {
    let mut refusals = 0;
    for_many_crowds(|_, wants, limits| {
        let admitted = admitted(wants, limits);
        for refused in wants
            .iter()
            .filter(|w| !admitted.iter().any(|a| a.id == w.id))
        {
            refusals += 1;
            let held = held_before(refused, &admitted, limits);
            // Whoever got in while its namespace held more than this one is no excuse.
            let (mut count, mut bytes) = (1, FRAME_BYTES + refused.bytes());
            for other in &admitted {
                if held_before(other, &admitted, limits) <= held {
                    count += 1;
                    bytes += other.bytes();
                }
            }
            assert!(
                count > limits.max_directives || bytes > limits.max_document_bytes,
                "{} was refused without need: {wants:?} {limits:?}",
                refused.id
            );
        }
    });
    assert!(refusals > CROWDS, "{refusals} refusals");
}

#[test]
fn when_all_fit_all_are_in() {
    for_many_crowds(|_, wants, limits| {
        let bytes: usize = FRAME_BYTES + wants.iter().map(Want::bytes).sum::<usize>();
        if wants.len() <= limits.max_directives && bytes <= limits.max_document_bytes {
            assert_eq!(admitted(wants, limits).len(), wants.len());
        }
    });
}

#[test]
fn the_choice_is_the_same_for_any_order() {
    for_many_crowds(|chance, wants, limits| {
        let mut shuffled = wants.to_vec();
        for last in (1..shuffled.len()).rev() {
            let other = usize::try_from(chance.below(last as u64 + 1)).unwrap();
            shuffled.swap(last, other);
        }
        let first = sorted(admitted(wants, limits));
        assert_eq!(first, sorted(admitted(&shuffled, limits)));
    });
}

#[test]
fn the_choice_does_not_change_with_the_time() {
    for_many_crowds(|_, wants, limits| {
        let aged = |left_secs| {
            let mut candidates: Vec<_> = wants.iter().map(Want::candidate).collect();
            for candidate in &mut candidates {
                candidate.dated.end_secs = T0 + left_secs;
            }
            let mut ids: Vec<_> = admit(candidates, limits)
                .into_iter()
                .filter(|(_, fits)| *fits)
                .map(|(candidate, _)| candidate.id)
                .collect();
            ids.sort();
            ids
        };
        assert_eq!(aged(600_000), aged(9));
    });
}

#[test]
fn a_newcomer_takes_nothing_from_its_elders_nor_from_who_holds_no_more() {
    let mut pushed_out = 0;
    for_many_crowds(|chance, wants, limits| {
        let namespace = format!("ns{}", chance.below(5));
        let newcomer = Want::new(
            &namespace,
            "new",
            0,
            1 + usize::try_from(chance.below(300)).unwrap(),
        );
        // Younger than all others.
        let elders: Vec<Want> = wants
            .iter()
            .map(|w| Want {
                since_secs: w.since_secs - 1,
                ..w.clone()
            })
            .collect();
        let mut all = elders.clone();
        all.push(newcomer.clone());
        let before = admitted(&elders, limits);
        let after = admitted(&all, limits);
        let held = held_before(&newcomer, &after, limits);
        for lost in before
            .iter()
            .filter(|b| !after.iter().any(|a| a.id == b.id))
        {
            pushed_out += 1;
            assert!(
                after.iter().any(|a| a.id == newcomer.id),
                "only for one that is in"
            );
            assert_ne!(lost.id.namespace, newcomer.id.namespace);
            assert!(
                held_before(lost, &before, limits) > held,
                "{} lost its place to a newcomer that had as much: {all:?} {limits:?}",
                lost.id
            );
        }
    });
    assert!(pushed_out > 100, "{pushed_out} pushed out");
}

#[test]
fn a_young_namespace_does_not_push_out_an_old_one_by_its_name() {
    let wants = [
        Want::new("zzz", "old", 100, 1),
        Want::new("aaa", "new", 0, 1),
    ];
    let ids = sorted(admitted(&wants, &Limits::new(1, 10_000)));
    assert_eq!(ids, [&wants[0].id]);
}
