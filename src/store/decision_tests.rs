use std::time::Duration;

use osproxy_core::{Clock, EndpointKind, IndexName, ManualClock, PartitionId, PrincipalId};
use osproxy_observe::DirectiveSet;

use super::*;

const LEVELS: [DiagLevel; 4] = [
    DiagLevel::Off,
    DiagLevel::Shape,
    DiagLevel::ShapeTiming,
    DiagLevel::ShapeRewriteDiff,
];
const ENDPOINTS: [EndpointKind; 3] = [
    EndpointKind::Search,
    EndpointKind::IngestDoc,
    EndpointKind::Unknown,
];

/// Directives and requests from so few names that they meet often.
struct Chance(fastrand::Rng);

impl Chance {
    fn name(&mut self) -> String {
        ["a", "b", "c"][self.0.usize(..3)].to_owned()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| make(self))
    }

    fn directive(&mut self, now: Instant) -> DiagnosticsDirective {
        DiagnosticsDirective {
            id: String::new(),
            match_: DirectiveMatch {
                tenant: self.maybe(|chance| PartitionId::from(chance.name())),
                index: self.maybe(|chance| IndexName::from(chance.name())),
                principal: self.maybe(|chance| PrincipalId::from(chance.name())),
                endpoint: self.maybe(|chance| ENDPOINTS[chance.0.usize(..3)]),
            },
            level: LEVELS[self.0.usize(..4)],
            sample_per_mille: [0, 1, 100, 500, 900, 999, 1000][self.0.usize(..7)],
            expires_at: now.saturating_add(Duration::from_secs(self.0.u64(0..5))),
            ring_buffer: self.0.u8(0..4) == 0,
            capture: self.0.u8(0..4) == 0,
        }
    }
}

#[test]
fn a_million_decisions_equal_the_sets_own_three_answers() {
    let clock = ManualClock::new();
    let now = clock.now();
    let mut chance = Chance(fastrand::Rng::with_seed(6));
    let mut something = 0;
    for _ in 0..10_000 {
        let many = chance.0.usize(..20);
        // Half of the sets have one target, so that directives stand in each other's way.
        let one_target = chance.0.bool().then(|| chance.directive(now).match_);
        let directives: Vec<_> = (0..many)
            .map(|_| {
                let directive = chance.directive(now);
                let match_ = one_target
                    .clone()
                    .unwrap_or_else(|| directive.match_.clone());
                DiagnosticsDirective {
                    match_,
                    ..directive
                }
            })
            .collect();
        let index = Index::new(&directives);
        let set = DirectiveSet::from_directives(directives);
        for _ in 0..100 {
            let tenant = chance.maybe(|chance| PartitionId::from(chance.name()));
            let (name, principal) = (chance.name(), PrincipalId::from(chance.name()));
            let attrs = RequestAttrs {
                tenant: tenant.as_ref(),
                index: &name,
                principal: &principal,
                endpoint: ENDPOINTS[chance.0.usize(..3)],
            };
            let request = RequestId::from(chance.0.u32(..).to_string());
            let at = now.saturating_add(Duration::from_millis(chance.0.u64(0..6_000)));
            let expected = Decision {
                level: set.evaluate(&attrs, at, &request),
                ring_buffer: set.wants_ring_buffer(&attrs, at, &request),
                capture: set.wants_capture(&attrs, at, &request),
            };
            assert_eq!(index.decide(&attrs, at, &request), expected);
            something += u32::from(expected != Decision::default());
        }
    }
    assert!(
        (100_000..900_000).contains(&something),
        "{something} of a million decided something"
    );
}

#[test]
fn a_directive_is_off_from_its_end_on() {
    let clock = ManualClock::new();
    let end = clock.now().saturating_add(Duration::from_secs(5));
    let index = Index::new(&[DiagnosticsDirective {
        id: "a".into(),
        match_: DirectiveMatch::all(),
        level: DiagLevel::Shape,
        sample_per_mille: 1000,
        expires_at: end,
        ring_buffer: false,
        capture: false,
    }]);
    let principal = PrincipalId::from("p");
    let attrs = RequestAttrs {
        tenant: None,
        index: "i",
        principal: &principal,
        endpoint: EndpointKind::Search,
    };
    let request = RequestId::from("r");
    clock.advance(Duration::from_nanos(4_999_999_999));
    assert_eq!(
        index.decide(&attrs, clock.now(), &request).level,
        DiagLevel::Shape
    );
    assert_eq!(index.decide(&attrs, end, &request), Decision::default());
}

#[test]
fn of_many_directives_with_one_target_few_are_candidates() {
    let clock = ManualClock::new();
    let mut chance = Chance(fastrand::Rng::with_seed(1));
    let directives: Vec<_> = (0..10_000)
        .map(|_| DiagnosticsDirective {
            match_: DirectiveMatch::all().for_tenant("acme".into()),
            expires_at: clock
                .now()
                .saturating_add(Duration::from_secs(chance.0.u64(1..600_000))),
            sample_per_mille: chance.0.u16(0..=1000),
            ..chance.directive(clock.now())
        })
        .collect();
    let index = Index::new(&directives);
    let kept: usize = index.targets.values().map(Vec::len).sum();
    assert!((15..300).contains(&kept), "{kept}");
}
