use serde_json::json;

use super::*;
use crate::resource::Phase;

const CREATED: u64 = 1_795_000_000;

fn read(spec: &Value) -> Result<Directive, Refusal> {
    parse("checkout", "inc-4711", CREATED, spec)
}

/// A good spec, of which `changes` replace members; null in them takes one away.
fn spec_with(changes: &Value) -> Value {
    let mut spec = json!({
        "match": [{"key": "tenant", "value": "canary-tenant"}, {"key": "index", "value": "canary-index"}],
        "level": "ShapeTiming",
        "samplePerMille": 50,
        "ttl": "30m",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(name);
        } else {
            spec[name] = value.clone();
        }
    }
    spec
}

fn refused(spec: &Value) -> Refusal {
    let refusal = read(spec).expect_err(&format!("{spec} was accepted"));
    assert!(
        !refusal.message.contains("canary"),
        "a value got into {refusal}"
    );
    assert!(refusal.message.contains('`') || refusal.reason == Reason::NoTarget);
    refusal
}

fn refused_with(changes: &Value) -> Reason {
    refused(&spec_with(changes)).reason
}

#[test]
fn the_whole_vocabulary_comes_through() {
    let spec = json!({
        "match": [
            {"key": "endpoint", "value": "Search"},
            {"key": "principal", "value": "svc"},
            {"key": "index", "value": "orders"},
            {"key": "tenant", "value": "acme"},
        ],
        "level": "ShapeRewriteDiff",
        "samplePerMille": 1000,
        "ttl": "1h30m",
        "ringBuffer": true,
        "capture": true,
        "activeFrom": "2026-11-22T14:00:00Z",
        "suspend": true,
        "createdBy": "ana",
        "comment": "INC-4711, slow searches",
    });
    let directive = read(&spec).unwrap();
    assert_eq!(
        directive.entry,
        Entry {
            id: "checkout/inc-4711".into(),
            selector: Selector {
                tenant: Some("acme".into()),
                index: Some("orders".into()),
                principal: Some("svc".into()),
                endpoint: Some(Endpoint(EndpointKind::Search)),
            },
            level: DiagLevel::ShapeRewriteDiff,
            sample_per_mille: 1000,
            ring_buffer: true,
            capture: true,
        }
    );
    assert_eq!(directive.window.start, 1_795_356_000);
    assert_eq!(directive.window.end_secs, 1_795_356_000 + 5400);
    assert!(directive.suspend);
    assert_eq!(directive.created_by.as_deref(), Some("ana"));
    assert_eq!(
        directive.comment.as_deref(),
        Some("INC-4711, slow searches")
    );
}

#[test]
fn what_is_left_out_is_the_quiet_thing() {
    let directive = read(&json!({
        "match": [{"key": "tenant", "value": "acme"}],
        "samplePerMille": 0,
        "ttl": "5s",
        "capture": true,
    }))
    .unwrap();
    assert_eq!(directive.entry.level, DiagLevel::Off);
    assert!(!directive.entry.ring_buffer);
    assert!(!directive.suspend);
    assert_eq!(directive.window, Window::from_creation(CREATED, 5_000));
    assert_eq!(directive.window.phase(0), Phase::Active);
}

#[test]
fn every_request_has_to_be_said_out_loud() {
    let directive = read(&spec_with(&json!({"match": null, "allRequests": true}))).unwrap();
    assert!(directive.entry.selector.is_every_request());

    assert_eq!(refused_with(&json!({"match": null})), Reason::NoTarget);
    assert_eq!(refused_with(&json!({"match": []})), Reason::NoTarget);
    assert_eq!(
        refused_with(&json!({"allRequests": true})),
        Reason::BothTargets
    );
    assert_eq!(
        refused_with(&json!({"match": null, "allRequests": false})),
        Reason::AllRequestsNotTrue
    );
    assert_eq!(
        refused_with(&json!({"match": [], "allRequests": true})),
        Reason::BothTargets
    );
    assert_eq!(
        refused_with(&json!({"match": null, "allRequests": "true"})),
        Reason::WrongType
    );
}

#[test]
fn a_name_that_no_level_has_is_refused() {
    for name in [
        "supend",
        "activFrom",
        "tenant",
        "index",
        "principal",
        "endpoint",
        "ttl_secs",
        "sample_per_mille",
        "ring_buffer",
        "all_requests",
        "id",
        "Match",
        "match ",
        "",
        "matches",
        "spec",
        "LEVEL",
    ] {
        let refusal = refused(&spec_with(&json!({ name: true })));
        assert_eq!(refusal.reason, Reason::UnknownField, "{name}");
        assert!(refusal.message.contains("samplePerMille"), "{refusal}");
    }
    let refusal = refused(&spec_with(&json!({
        "match": [{"key": "tenant", "value": "a", "op": "prefix"}]
    })));
    assert_eq!(refusal.reason, Reason::UnknownField);
    assert!(refusal.message.contains("`spec.match[0].op`"), "{refusal}");
}

#[test]
fn an_unknown_name_is_refused_whatever_its_value() {
    // `Value::Null` would vanish from `spec_with`.
    let mut spec = spec_with(&json!({}));
    spec["supend"] = Value::Null;
    assert_eq!(refused(&spec).reason, Reason::UnknownField);
}

#[test]
fn a_wire_spelling_is_told_apart_and_corrected() {
    let refusal = refused(&spec_with(&json!({"tenant": "canary"})));
    assert!(refusal.message.contains("spec.match"), "{refusal}");
    let refusal = refused(&spec_with(&json!({"ttl_secs": 5})));
    assert!(refusal.message.contains("`ttl` with a unit"), "{refusal}");
}

#[test]
fn a_long_or_hostile_name_is_shown_harmless() {
    let name = format!("\u{1b}[31m\n{}", "x".repeat(1000));
    let refusal = refused(&spec_with(&json!({ name: 1 })));
    assert!(refusal.message.chars().count() < 400, "{refusal}");
    assert!(!refusal.message.chars().any(char::is_control), "{refusal}");
}

#[test]
fn a_null_is_refused_wherever_it_stands() {
    for name in SPEC_FIELDS {
        let mut spec = spec_with(&json!({}));
        spec[name] = Value::Null;
        assert_eq!(refused(&spec).reason, Reason::NullValue, "{name}");
    }
    for item in [
        json!(null),
        json!({"key": null, "value": "canary"}),
        json!({"key": "tenant", "value": null}),
    ] {
        assert_eq!(refused_with(&json!({"match": [item]})), Reason::NullValue);
    }
    assert_eq!(refused(&Value::Null).reason, Reason::SpecNotAnObject);
}

#[test]
fn another_type_is_refused_wherever_it_stands() {
    let of_every_type = [
        json!(true),
        json!(5),
        json!(-1),
        json!(0.5),
        json!("canary"),
        json!(["canary"]),
        json!({"canary-free": 1}),
    ];
    let fitting = |name: &str, value: &Value| match name {
        "match" => value.is_array(),
        "samplePerMille" => value.is_i64(),
        "allRequests" | "ringBuffer" | "capture" | "suspend" => value.is_boolean(),
        _ => value.is_string(),
    };
    for name in SPEC_FIELDS {
        for value in of_every_type.iter().filter(|value| !fitting(name, value)) {
            assert_eq!(
                refused_with(&json!({ name: value })),
                Reason::WrongType,
                "{name}: {value}"
            );
        }
    }
    for value in of_every_type.iter().filter(|value| !value.is_string()) {
        for item in [
            json!({"key": value, "value": "canary"}),
            json!({"key": "tenant", "value": value}),
        ] {
            assert_eq!(refused_with(&json!({"match": [item]})), Reason::WrongType);
        }
        if !value.is_object() {
            assert_eq!(refused_with(&json!({"match": [value]})), Reason::WrongType);
            assert_eq!(refused(value).reason, Reason::SpecNotAnObject);
        }
    }
}

#[test]
fn an_item_needs_both_members() {
    assert_eq!(
        refused_with(&json!({"match": [{"key": "tenant"}]})),
        Reason::MissingField
    );
    assert_eq!(
        refused_with(&json!({"match": [{"value": "canary"}]})),
        Reason::MissingField
    );
    assert_eq!(refused_with(&json!({"match": [{}]})), Reason::MissingField);
}

#[test]
fn a_key_stands_once() {
    for second in ["canary-tenant", "canary-other"] {
        let items = json!([
            {"key": "tenant", "value": "canary-tenant"},
            {"key": "index", "value": "canary-index"},
            {"key": "tenant", "value": second},
        ]);
        assert_eq!(
            refused_with(&json!({"match": items})),
            Reason::DuplicateMatchKey
        );
    }
    let items =
        json!([{"key": "endpoint", "value": "Search"}, {"key": "endpoint", "value": "Count"}]);
    assert_eq!(
        refused_with(&json!({"match": items})),
        Reason::DuplicateMatchKey
    );
}

#[test]
fn an_item_that_no_request_can_have_is_refused() {
    let reason =
        |key: &str, value: &str| refused_with(&json!({"match": [{"key": key, "value": value}]}));
    assert_eq!(reason("tennant", "canary"), Reason::UnknownMatchKey);
    assert_eq!(reason("", "canary"), Reason::UnknownMatchKey);
    assert_eq!(reason("Tenant", "canary"), Reason::UnknownMatchKey);
    assert_eq!(reason("tenant", ""), Reason::EmptyValue);
    assert_eq!(reason("endpoint", ""), Reason::EmptyValue);
    assert_eq!(reason("endpoint", "search"), Reason::UnknownEndpoint);
    assert_eq!(reason("endpoint", "*"), Reason::UnknownEndpoint);
    assert_eq!(reason("tenant", &"ü".repeat(257)), Reason::TooLong);
}

#[test]
fn a_value_may_have_as_many_characters_as_the_schema_says() {
    let longest = "💡".repeat(MAX_VALUE_CHARS);
    let spec = spec_with(&json!({"match": [{"key": "index", "value": longest}]}));
    assert_eq!(read(&spec).unwrap().entry.selector.index, Some(longest));
}

#[test]
fn a_star_is_a_value_like_any_other() {
    let spec = spec_with(&json!({"match": [{"key": "tenant", "value": "*"}]}));
    let selector = read(&spec).unwrap().entry.selector;
    assert_eq!(selector.tenant.as_deref(), Some("*"));
}

#[test]
fn a_sample_has_to_be_given_and_in_bounds() {
    let reason = |value: Value| refused_with(&json!({ "samplePerMille": value }));
    assert_eq!(reason(Value::Null), Reason::MissingField);
    assert_eq!(reason(json!(1001)), Reason::SampleOutOfBounds);
    assert_eq!(reason(json!(-1)), Reason::SampleOutOfBounds);
    assert_eq!(reason(json!(u64::MAX)), Reason::SampleOutOfBounds);
    assert_eq!(reason(json!(65_536 + 50)), Reason::SampleOutOfBounds);
    assert_eq!(reason(json!(0.5)), Reason::WrongType);
    for sample in [0, 1, 1000] {
        let spec = spec_with(&json!({"samplePerMille": sample}));
        assert_eq!(read(&spec).unwrap().entry.sample_per_mille, sample);
    }
}

#[test]
fn a_ttl_has_to_be_given_and_in_bounds() {
    let reason = |value: Value| refused_with(&json!({ "ttl": value }));
    assert_eq!(reason(Value::Null), Reason::MissingField);
    assert_eq!(reason(json!("")), Reason::InvalidTtl);
    assert_eq!(reason(json!("30")), Reason::InvalidTtl);
    assert_eq!(reason(json!("1d")), Reason::InvalidTtl);
    assert_eq!(reason(json!("-30m")), Reason::InvalidTtl);
    assert_eq!(reason(json!("4999ms")), Reason::TtlOutOfBounds);
    assert_eq!(reason(json!("168h1ms")), Reason::TtlOutOfBounds);
    assert_eq!(reason(json!("9".repeat(29))), Reason::TooLong);
    for (ttl, secs) in [("5s", 5), ("168h", 604_800), ("5999ms", 5)] {
        let window = read(&spec_with(&json!({ "ttl": ttl }))).unwrap().window;
        assert_eq!(window.end_secs, CREATED + secs, "{ttl}");
    }
}

#[test]
fn a_start_has_to_be_a_time() {
    for text in ["", "now", "2026-11-22", "2026-11-31T14:00:00Z"] {
        assert_eq!(
            refused_with(&json!({ "activeFrom": text })),
            Reason::InvalidActiveFrom,
            "{text}"
        );
    }
}

#[test]
fn a_directive_that_does_nothing_is_refused() {
    assert_eq!(refused_with(&json!({"level": null})), Reason::DoesNothing);
    assert_eq!(refused_with(&json!({"level": "Off"})), Reason::DoesNothing);
    assert_eq!(
        refused_with(&json!({"level": "Off", "capture": false, "ringBuffer": false})),
        Reason::DoesNothing
    );
    for name in ["capture", "ringBuffer"] {
        assert!(read(&spec_with(&json!({"level": "Off", name: true}))).is_ok());
    }
}

#[test]
fn a_level_is_one_of_the_decoders() {
    for level in ["off", "shape", "Debug", "", "shape_timing"] {
        assert_eq!(
            refused_with(&json!({ "level": level })),
            Reason::UnknownLevel
        );
    }
    let refusal = refused(&spec_with(&json!({"level": false})));
    assert_eq!(refusal.reason, Reason::WrongType);
    assert!(refusal.message.contains("unquoted Off"), "{refusal}");
}

#[test]
fn what_people_write_is_bounded() {
    assert_eq!(
        refused_with(&json!({"createdBy": "x".repeat(MAX_CREATED_BY_CHARS + 1)})),
        Reason::TooLong
    );
    assert_eq!(
        refused_with(&json!({"comment": "x".repeat(MAX_COMMENT_CHARS + 1)})),
        Reason::TooLong
    );
}

#[test]
fn a_name_that_no_event_can_carry_is_refused() {
    let named = |name: &str| parse("checkout", name, CREATED, &spec_with(&json!({})));
    assert!(named(&"x".repeat(MAX_NAME_CHARS)).is_ok());
    assert_eq!(
        named(&"x".repeat(MAX_NAME_CHARS + 1)).unwrap_err().reason,
        Reason::NameTooLong
    );
}

#[test]
fn what_only_the_decoder_refuses_is_refused_with_its_word() {
    let refusal = parse("checkout", "a\nb", CREATED, &spec_with(&json!({}))).unwrap_err();
    assert_eq!(
        refusal.reason,
        Reason::Document(document::Reason::IdWithControlCharacter)
    );
    assert_eq!(refusal.reason.slug(), "id_with_control_character");
}

#[test]
fn a_directive_does_not_tell_its_target_to_a_log() {
    let spec = spec_with(&json!({"comment": "canary", "createdBy": "canary"}));
    assert!(!format!("{:?}", read(&spec).unwrap()).contains("canary"));
}

#[test]
fn a_member_beside_the_spec_is_not_overlooked() {
    let spec = serde_json::json!({"allRequests": true, "level": "Shape", "samplePerMille": 1, "ttl": "1m"});
    let whole = serde_json::json!({"spec": spec, "status": null});
    assert!(parse_object("ns", "name", 0, &whole).is_ok());
    let beside = serde_json::json!({"spec": spec, "suspend": true});
    let refusal = parse_object("ns", "name", 0, &beside).unwrap_err();
    assert_eq!(refusal.reason, Reason::UnknownField);
    assert!(refusal.message.contains("`suspend`"));
    let without = parse_object("ns", "name", 0, &serde_json::json!({})).unwrap_err();
    assert_eq!(without.reason, Reason::SpecNotAnObject);
}
