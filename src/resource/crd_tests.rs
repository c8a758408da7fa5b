use super::super::vocabulary::{
    MATCH_FIELDS, MAX_ACTIVE_FROM_CHARS, MAX_COMMENT_CHARS, MAX_CREATED_BY_CHARS, MAX_NAME_CHARS,
    MAX_SAMPLE_PER_MILLE, MAX_TTL_CHARS, MAX_TTL_SECS, MAX_VALUE_CHARS, MIN_TTL_SECS, SPEC_FIELDS,
};
use super::*;

/// The definition as the API server gets it.
fn definition() -> Value {
    serde_saphyr::from_str(&yaml().unwrap()).unwrap()
}

fn schema(pointer: &str) -> Value {
    let all = definition();
    all.pointer("/spec/versions/0/schema/openAPIV3Schema")
        .and_then(|root| root.pointer(pointer))
        .unwrap_or_else(|| panic!("no {pointer}"))
        .clone()
}

const SPEC: &str = "/properties/spec";

/// Calls `look` with every schema in `value`, and where it stands.
fn walk(path: &str, value: &Value, look: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
    let Some(schema) = value.as_object() else {
        return;
    };
    look(path, schema);
    if let Some(items) = schema.get("items") {
        walk(&format!("{path}[]"), items, look);
    }
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(&format!("{path}.{name}"), property, look);
    }
}

#[test]
fn the_definition_that_is_checked_in_is_the_one_that_is_printed() {
    let checked_in = include_str!("../../crds/diagnosticsdirective.yaml");
    assert!(
        checked_in == yaml().unwrap(),
        "crds/diagnosticsdirective.yaml is not what `osproxy-directives crd` prints: run `make crd`"
    );
}

#[test]
fn nothing_in_the_spec_is_nullable() {
    walk("spec", &schema(SPEC), &mut |path, schema| {
        assert!(!schema.contains_key("nullable"), "{path} is nullable");
        let null_in_enum = schema
            .get("enum")
            .and_then(Value::as_array)
            .is_some_and(|values| values.contains(&Value::Null));
        assert!(!null_in_enum, "{path} may be null");
    });
}

#[test]
fn every_object_of_the_spec_keeps_what_it_does_not_know() {
    let mut objects = 0;
    walk("spec", &schema(SPEC), &mut |path, schema| {
        if schema.get("type") == Some(&"object".into()) {
            objects += 1;
            assert_eq!(
                schema.get("x-kubernetes-preserve-unknown-fields"),
                Some(&true.into()),
                "{path} prunes"
            );
        }
    });
    assert_eq!(objects, 2, "the spec and the items of match");
}

#[test]
fn everything_has_a_description_and_a_bound() {
    walk("", &schema(""), &mut |path, schema| {
        if path == ".metadata" {
            return;
        }
        let described = schema
            .get("description")
            .and_then(Value::as_str)
            .is_some_and(|text| text.ends_with('.') && !text.contains('\n'));
        assert!(described, "{path} needs a sentence");
        let bound = match schema.get("type").and_then(Value::as_str) {
            Some("string") => ["maxLength", "enum"].as_slice(),
            Some("array") => ["maxItems"].as_slice(),
            Some("integer") => ["minimum", "format"].as_slice(),
            _ => return,
        };
        assert!(
            bound.iter().any(|name| schema.contains_key(*name)),
            "{path} is unbounded"
        );
    });
}

#[test]
fn every_string_of_the_spec_has_a_longest_length() {
    walk("spec", &schema(SPEC), &mut |path, schema| {
        if schema.get("type") == Some(&"string".into()) {
            assert!(schema.contains_key("maxLength"), "{path}");
        }
    });
}

#[test]
fn every_rule_says_what_is_allowed_and_why_it_refuses() {
    let mut rules = 0;
    walk("", &schema(""), &mut |path, schema| {
        for rule in schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            rules += 1;
            assert!(rule["message"].is_string(), "{path}: {rule}");
            assert!(rule["reason"].is_string(), "{path}: {rule}");
            // A rule about members has to say which; one about a whole object named nowhere cannot.
            if path == ".spec" || path == ".spec.match[]" {
                assert!(rule["fieldPath"].is_string(), "{path}: {rule}");
            }
        }
    });
    assert_eq!(rules, 11);
}

#[test]
fn what_narrows_is_required() {
    assert_eq!(
        schema("/properties/spec/required"),
        serde_json::json!(["samplePerMille", "ttl"])
    );
    assert_eq!(
        schema("/properties/spec/properties/match/items/required"),
        serde_json::json!(MATCH_FIELDS)
    );
    assert_eq!(schema("/required"), serde_json::json!(["spec"]));
}

#[test]
fn only_what_narrows_nothing_has_a_default() {
    let mut defaults = Vec::new();
    walk("", &schema(SPEC), &mut |path, schema| {
        if let Some(default) = schema.get("default") {
            defaults.push(format!("{path}={default}"));
        }
    });
    defaults.sort();
    assert_eq!(
        defaults,
        [".capture=false", ".level=\"Off\"", ".ringBuffer=false"]
    );
}

#[test]
fn the_schema_and_the_parse_know_the_same_names_and_bounds() {
    let spec = schema(SPEC);
    let mut names: Vec<&str> = spec["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut known = SPEC_FIELDS.to_vec();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);

    let max_chars = [
        ("/properties/ttl/maxLength", MAX_TTL_CHARS),
        ("/properties/activeFrom/maxLength", MAX_ACTIVE_FROM_CHARS),
        ("/properties/createdBy/maxLength", MAX_CREATED_BY_CHARS),
        ("/properties/comment/maxLength", MAX_COMMENT_CHARS),
        (
            "/properties/match/items/properties/value/maxLength",
            MAX_VALUE_CHARS,
        ),
        (
            "/properties/samplePerMille/maximum",
            usize::from(MAX_SAMPLE_PER_MILLE),
        ),
        ("/properties/match/maxItems", MATCH_KEYS.len()),
    ];
    for (pointer, bound) in max_chars {
        assert_eq!(spec.pointer(pointer), Some(&bound.into()), "{pointer}");
    }
    assert_eq!(
        spec.pointer("/properties/level/enum"),
        Some(&serde_json::json!(LEVELS))
    );
    assert_eq!(
        spec.pointer("/properties/match/items/properties/key/enum"),
        Some(&serde_json::json!(MATCH_KEYS))
    );
    let ttl = spec["properties"]["ttl"]["x-kubernetes-validations"][0]["rule"].to_string();
    assert!(ttl.contains(&format!("'{MIN_TTL_SECS}s'")), "{ttl}");
    assert!(
        ttl.contains(&format!("'{}h'", MAX_TTL_SECS / 3600)),
        "{ttl}"
    );
    let name = schema("/x-kubernetes-validations/0/rule").to_string();
    assert!(name.contains(&MAX_NAME_CHARS.to_string()), "{name}");
}

#[test]
fn get_shows_what_an_engineer_on_call_needs() {
    let columns = definition()["spec"]["versions"][0]["additionalPrinterColumns"].clone();
    let shown = |wide: bool| -> Vec<String> {
        columns
            .as_array()
            .unwrap()
            .iter()
            .filter(|column| column["priority"].is_null() || wide)
            .map(|column| column["name"].as_str().unwrap().to_uppercase())
            .collect()
    };
    let narrow = "LEVEL SAMPLE TARGET STATE APPLIED EXPIRES AGE";
    assert_eq!(shown(false).join(" "), narrow);
    assert_eq!(shown(true).join(" "), format!("{narrow} READY BY MESSAGE"));
    // A date column shows a time in the future as <invalid>.
    for column in columns.as_array().unwrap() {
        let expected = if column["name"] == "Age" {
            "date"
        } else {
            "string"
        };
        assert_eq!(column["type"], expected, "{column}");
    }
}

#[test]
fn a_spec_is_written_as_it_is_read() {
    let spec = serde_json::json!({
        "match": [{"key": "tenant", "value": "acme"}],
        "level": "Shape",
        "samplePerMille": 50,
        "ttl": "30m",
        "ringBuffer": true,
        "capture": false,
        "activeFrom": "2026-11-22T14:00:00Z",
        "suspend": false,
        "createdBy": "ana",
        "comment": "INC-4711",
    });
    let typed: DiagnosticsDirectiveSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
}

#[test]
fn a_spec_does_not_tell_its_target_to_a_log() {
    let typed: DiagnosticsDirectiveSpec = serde_json::from_value(serde_json::json!({
        "match": [{"key": "tenant", "value": "canary"}],
        "samplePerMille": 50,
        "ttl": "30m",
        "createdBy": "canary",
        "comment": "canary",
    }))
    .unwrap();
    let object = DiagnosticsDirective::new("inc-4711", typed);
    assert!(!format!("{object:?}").contains("canary"));
}
