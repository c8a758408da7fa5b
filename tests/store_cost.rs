//! What the request path costs: no allocation, at any size.
//!
//! Instructions are counted by `benches/instructions.rs`, which needs optimized code.

use std::hint::black_box;
use std::sync::Arc;

use osproxy_core::{Clock, ManualClock, RequestId};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::DirectiveStore;

#[path = "../benches/shapes/mod.rs"]
mod shapes;

use shapes::{Request, Targets, document};

#[test]
fn a_request_allocates_nothing() {
    let clock = Arc::new(ManualClock::new());
    let now = clock.now();
    let id = RequestId::from("r");
    for (many, targets, request) in [
        (0, Targets::Mixed, Request::none()),
        (1, Targets::Mixed, Request::one()),
        (10_000, Targets::Mixed, Request::none()),
        (10_000, Targets::Mixed, Request::one()),
        (10_000, Targets::MixedAlike, Request::all()),
        (10_000, Targets::One, Request::all()),
    ] {
        let bytes = document(many, targets);
        let store = EtcdDirectiveStore::from_document(bytes.as_bytes(), clock.clone()).unwrap();
        let attrs = request.attrs();
        let ask = || {
            black_box(store.decide(black_box(&attrs), now, &id));
            black_box(store.load());
        };
        // A thread's first request makes its place in the list of readers.
        ask();
        let allocated = allocation_counter::measure(|| (0..100).for_each(|_| ask()));
        assert_eq!(allocated.count_total, 0, "at {many} directives");
    }
}

#[test]
fn the_counter_counts() {
    let allocated = allocation_counter::measure(|| drop(black_box(Box::new(7))));
    assert_eq!(allocated.count_total, 1);
}
