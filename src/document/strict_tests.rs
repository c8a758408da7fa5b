use osproxy_core::EndpointKind;
use osproxy_observe::DiagLevel;

use super::*;
use crate::document::Endpoint;

fn refused(json: &str) -> (&'static str, Option<usize>) {
    let refusal = parse(json.as_bytes()).expect_err(json);
    (refusal.reason.slug(), refusal.directive)
}

fn with(member: &str) -> String {
    format!(r#"{{"directives":[{{"id":"a/b","level":"Shape","ttl_secs":60,{member}}}]}}"#)
}

#[test]
fn a_whole_directive_is_read_as_it_stands() {
    let json = r#"{"directives":[{"id":"a/b","level":"ShapeTiming","ttl_secs":60,"tenant":"t",
        "index":"i","principal":"p","endpoint":"Search","sample_per_mille":5,"ring_buffer":true,"capture":true}]}"#;
    let entries = parse(json.as_bytes()).unwrap();
    let expected = RelativeEntry {
        entry: Entry {
            id: "a/b".into(),
            selector: Selector {
                tenant: Some("t".into()),
                index: Some("i".into()),
                principal: Some("p".into()),
                endpoint: Some(Endpoint(EndpointKind::Search)),
            },
            level: DiagLevel::ShapeTiming,
            sample_per_mille: 5,
            ring_buffer: true,
            capture: true,
        },
        ttl_secs: 60,
    };
    assert_eq!(entries, [expected]);
}

#[test]
fn what_narrows_cannot_vanish() {
    for member in ["tenant", "index", "principal", "endpoint"] {
        for (value, reason) in [
            ("null", "null_value"),
            ("5", "wrong_type"),
            ("-1", "wrong_type"),
            ("1.5", "wrong_type"),
            ("true", "wrong_type"),
            ("[]", "wrong_type"),
            (r#"["a"]"#, "wrong_type"),
            ("{}", "wrong_type"),
            (r#""""#, "empty_selector"),
        ] {
            let json = with(&format!(r#""{member}":{value}"#));
            assert_eq!(refused(&json), (reason, Some(0)), "{json}");
        }
    }
}

#[test]
fn a_member_that_stands_twice_is_refused_in_every_spelling() {
    for twice in [
        r#""tenant":"a","tenant":"b""#,
        r#""tenant":"a","t\u0065nant":"b""#,
        r#""id":"x/y""#,
        r#""\u0069d":"x/y""#,
    ] {
        assert_eq!(refused(&with(twice)).0, "duplicate_field", "{twice}");
    }
    assert_eq!(
        refused(r#"{"directives":[],"directives":[]}"#).0,
        "duplicate_field"
    );
}

#[test]
fn the_first_fault_is_named_with_its_place() {
    let json = r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":1},{"id":"b","level":"Loud","ttl_secs":1}]}"#;
    assert_eq!(refused(json), ("unknown_level", Some(1)));
    let json = r#"{"directives":[{"id":"a","level":"Off","ttl_secs":1},{"id":"a","level":"Off","ttl_secs":1}]}"#;
    assert_eq!(refused(json), ("duplicate_id", Some(1)));
}

#[test]
fn a_deep_nest_is_refused_without_descending() {
    let json = with(&format!(r#""tenant":{}"#, "[".repeat(100_000)));
    assert_eq!(refused(&json).0, "wrong_type");
    let json = "[".repeat(1_000_000);
    assert_eq!(refused(&json).0, "not_an_object");
}

#[test]
fn what_is_no_document_says_so() {
    for (json, reason) in [
        ("", "invalid_json"),
        ("null", "not_an_object"),
        ("[]", "not_an_object"),
        ("{}", "missing_directives"),
        (r#"{"directives":null}"#, "null_value"),
        (r#"{"directives":{}}"#, "wrong_type"),
        (r#"{"directives":[1]}"#, "not_an_object"),
        (r#"{"directives":[null]}"#, "not_an_object"),
        (r#"{"directives":[]} x"#, "invalid_json"),
        (r#"{"directives":[],"more":1}"#, "unknown_field"),
        (r#"{"directives":[{}]}"#, "missing_id"),
        (r#"{"directives":[{"id":"a"}]}"#, "missing_level"),
        (
            r#"{"directives":[{"id":"a","level":"Off"}]}"#,
            "missing_ttl_secs",
        ),
    ] {
        assert_eq!(refused(json).0, reason, "{json}");
    }
    assert_eq!(
        parse(b"{\"directives\":[{\"id\":\"\xff\"}]}")
            .unwrap_err()
            .reason,
        Reason::InvalidUtf8
    );
    assert_eq!(
        parse(&vec![b' '; MAX_DOCUMENT_BYTES + 1])
            .unwrap_err()
            .reason,
        Reason::TooLarge
    );
}

#[test]
fn bounds_hold_at_their_edges() {
    let secs = |n: u64| format!(r#"{{"directives":[{{"id":"a","level":"Off","ttl_secs":{n}}}]}}"#);
    assert_eq!(refused(&secs(0)).0, "zero_ttl");
    assert!(parse(secs(MAX_TTL_SECS).as_bytes()).is_ok());
    assert_eq!(refused(&secs(MAX_TTL_SECS + 1)).0, "ttl_too_long");
    assert_eq!(refused(&secs(u64::MAX)).0, "ttl_too_long");
    for (sample, fine) in [
        ("0", true),
        ("1000", true),
        ("1001", false),
        ("70000", false),
    ] {
        let json = with(&format!(r#""sample_per_mille":{sample}"#));
        assert_eq!(parse(json.as_bytes()).is_ok(), fine, "{sample}");
    }
    assert_eq!(refused(&with(r#""sample_per_mille":1e2"#)).0, "wrong_type");
}

#[test]
fn an_id_is_short_and_can_forge_no_log_line() {
    let named =
        |id: &str| format!(r#"{{"directives":[{{"id":"{id}","level":"Off","ttl_secs":1}}]}}"#);
    assert!(parse(named(&"i".repeat(MAX_ID_BYTES)).as_bytes()).is_ok());
    assert_eq!(
        refused(&named(&"i".repeat(MAX_ID_BYTES + 1))).0,
        "id_too_long"
    );
    assert_eq!(refused(&named("")).0, "empty_id");
    for control in [r"a\nb", r"a\u0000", r"a\u007f", r"a\u0085"] {
        assert_eq!(
            refused(&named(control)).0,
            "id_with_control_character",
            "{control}"
        );
    }
}

#[test]
fn a_selector_and_a_document_are_bounded() {
    let long = |bytes| with(&format!(r#""tenant":"{}""#, "t".repeat(bytes)));
    assert!(parse(long(MAX_SELECTOR_BYTES).as_bytes()).is_ok());
    assert_eq!(
        refused(&long(MAX_SELECTOR_BYTES + 1)).0,
        "selector_too_long"
    );

    let many = |count: usize| {
        let directive = |n| format!(r#"{{"id":"{n}","level":"Off","ttl_secs":1}}"#);
        let all: Vec<_> = (0..count).map(directive).collect();
        format!(r#"{{"directives":[{}]}}"#, all.join(","))
    };
    assert!(parse(many(MAX_DIRECTIVES).as_bytes()).is_ok());
    assert_eq!(refused(&many(MAX_DIRECTIVES + 1)).0, "too_many_directives");
}

#[test]
fn a_name_that_is_unknown_is_refused_wherever_it_stands() {
    for name in [
        "tennant",
        "Tenant",
        "tenant ",
        "samplePerMille",
        "match",
        "",
    ] {
        assert_eq!(
            refused(&with(&format!(r#""{name}":"acme""#))).0,
            "unknown_field",
            "{name}"
        );
    }
}

#[test]
fn a_flag_is_true_or_false_and_nothing_that_looks_like_it() {
    for flag in ["capture", "ring_buffer"] {
        for value in ["\"true\"", "1", "[true]"] {
            assert_eq!(
                refused(&with(&format!(r#""{flag}":{value}"#))).0,
                "wrong_type",
                "{value}"
            );
        }
        assert_eq!(refused(&with(&format!(r#""{flag}":null"#))).0, "null_value");
    }
}
