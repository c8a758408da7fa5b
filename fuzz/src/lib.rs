//! What the fuzzer asks of any bytes. Plain functions that panic where a promise is broken, so that `cargo test` can
//! replay the corpora without a fuzzer.

use std::time::Duration;

use osproxy_core::{Clock as _, EndpointKind, ManualClock, PartitionId, PrincipalId, RequestId};
use osproxy_directives::document::{self, Accepted, Entry, Publication, Reason, Selector, render};
use osproxy_directives::resource;
use osproxy_observe::{DirectiveSet, RequestAttrs, decode_directive_set};
use serde_json::Value;

/// Whatever the strict parse accepts, the shared decoder accepts with the same meaning, and it survives being written
/// and read again.
///
/// # Panics
/// Where it does not.
pub fn strict(bytes: &[u8]) {
    let parsed = document::parse(bytes);
    let accepted = match (Accepted::from_bytes(bytes), &parsed) {
        (Ok(accepted), Ok(entries)) => {
            assert_eq!(accepted.entries(), entries);
            accepted
        }
        (Err(refusal), Err(first)) => {
            assert_eq!(refusal, *first, "one reason");
            return;
        }
        (Err(refusal), Ok(_)) => panic!("only the shared decoder refuses: {refusal}"),
        (Ok(_), Err(refusal)) => panic!("the strict parse alone refuses: {refusal}"),
    };
    let clock = ManualClock::new();
    let now = clock.now();
    let shared = decode_directive_set(bytes, &clock).expect("accepted by from_bytes");
    let ours = DirectiveSet::from_directives(accepted.directives_at(Duration::ZERO, now));
    for relative in accepted.entries() {
        answers_agree(&ours, &shared, &relative.entry.selector);
    }

    let written_at = Publication::new(1_795_000_000, 1).expect("a second in range");
    let dated = accepted.dated(written_at);
    match render(&dated, written_at) {
        None => assert!(dated.is_empty()),
        Some(rendered) => {
            let again = Accepted::from_bytes(&rendered).expect("what we write, we read");
            assert_eq!(again.dated(written_at), dated);
        }
    }
}

/// For the request that fits `selector`, and for those that miss it by one attribute.
fn answers_agree(ours: &DirectiveSet, shared: &DirectiveSet, selector: &Selector) {
    let clock = ManualClock::new();
    let now = clock.now();
    let tenant = PartitionId::from(selector.tenant.as_deref().unwrap_or("any"));
    let principal = PrincipalId::from(selector.principal.as_deref().unwrap_or("any"));
    let other = PrincipalId::from("other");
    let fits = RequestAttrs {
        tenant: Some(&tenant),
        index: selector.index.as_deref().unwrap_or("any"),
        principal: &principal,
        endpoint: selector.endpoint.map_or(EndpointKind::Search, |e| e.0),
    };
    let misses = [
        RequestAttrs {
            tenant: None,
            ..fits
        },
        RequestAttrs {
            index: "other",
            ..fits
        },
        RequestAttrs {
            principal: &other,
            ..fits
        },
        RequestAttrs {
            endpoint: EndpointKind::Unknown,
            ..fits
        },
    ];
    for attrs in std::iter::once(fits).chain(misses) {
        for id in ["r1", "r2"] {
            let id = RequestId::from(id);
            let of = |set: &DirectiveSet| {
                (
                    set.evaluate(&attrs, now, &id),
                    set.wants_ring_buffer(&attrs, now, &id),
                    set.wants_capture(&attrs, now, &id),
                )
            };
            assert_eq!(of(ours), of(shared));
        }
    }
}

/// Whatever spec is accepted says what the entry says, nothing less, as a second and simpler reading sees it.
///
/// # Panics
/// Where it does not.
pub fn mapping(bytes: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let created_secs = 1_795_000_000;
    let first = resource::parse("ns", "name", created_secs, &spec);
    assert_eq!(first, resource::parse("ns", "name", created_secs, &spec));
    let directive = match first {
        Ok(directive) => directive,
        Err(refusal) => {
            assert!(!refusal.reason.slug().is_empty() && !refusal.message.is_empty());
            let disagrees = resource::Reason::Document(Reason::SharedDisagrees);
            assert!(refusal.reason != disagrees);
            return;
        }
    };
    let members = spec.as_object().expect("only an object is accepted");
    let known = [
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
    for (name, value) in members {
        assert!(
            known.contains(&name.as_str()),
            "an unknown member got through"
        );
        assert!(!value.is_null(), "a null got through");
    }
    same_target(
        members.get("match"),
        members.get("allRequests"),
        &directive.entry,
    );
    same_rest(&spec, &directive.entry);
    assert_eq!(directive.suspend, spec["suspend"] == Value::Bool(true));

    let window = directive.window;
    let life = window.end_secs.saturating_sub(window.start);
    assert!(life <= resource::vocabulary::MAX_TTL_SECS);
    assert!(window.waits == members.contains_key("activeFrom"));
    assert!(window.waits || window.start == created_secs);
}

fn same_target(given: Option<&Value>, all_requests: Option<&Value>, entry: &Entry) {
    let Selector {
        tenant,
        index,
        principal,
        endpoint,
    } = &entry.selector;
    let Some(given) = given else {
        assert_eq!(
            all_requests,
            Some(&Value::Bool(true)),
            "nobody said all requests"
        );
        assert!(entry.selector.is_every_request());
        return;
    };
    assert_eq!(all_requests, None);
    let items = given.as_array().expect("a list");
    let set = usize::from(tenant.is_some())
        + usize::from(index.is_some())
        + usize::from(principal.is_some())
        + usize::from(endpoint.is_some());
    assert_eq!(items.len(), set, "an item was lost");
    assert!(set > 0);
    for item in items {
        let item = item.as_object().expect("an object");
        assert_eq!(item.len(), 2);
        let value = item["value"].as_str().expect("a string");
        let mapped = match item["key"].as_str().expect("a string") {
            "tenant" => tenant.as_deref(),
            "index" => index.as_deref(),
            "principal" => principal.as_deref(),
            "endpoint" => endpoint.map(document::Endpoint::as_str),
            _ => None,
        };
        assert_eq!(mapped, Some(value));
        assert!(!value.is_empty());
    }
}

fn same_rest(spec: &Value, entry: &Entry) {
    assert_eq!(entry.id, "ns/name");
    assert_eq!(
        spec["samplePerMille"].as_u64(),
        Some(u64::from(entry.sample_per_mille))
    );
    assert!(entry.sample_per_mille <= 1000);
    assert_eq!(
        spec.get("level").map_or(Some("Off"), Value::as_str),
        Some(entry.level.as_str())
    );
    assert_eq!(entry.ring_buffer, spec["ringBuffer"] == Value::Bool(true));
    assert_eq!(entry.capture, spec["capture"] == Value::Bool(true));
    assert!(entry.ring_buffer || entry.capture || entry.level.as_str() != "Off");
}
