use super::*;

fn report(text: &str) -> Report {
    let mut report = Report::default();
    if let Err(fault) = report.add("f", text.as_bytes()) {
        report.unreadable.push(fault);
    }
    report
}

fn lines(text: &str) -> Vec<(usize, &'static str)> {
    let report = report(text);
    assert!(report.unreadable.is_empty(), "{:?}", report.unreadable);
    report
        .resources
        .iter()
        .map(|line| (line.line, line.reason.unwrap_or(line.verdict)))
        .collect()
}

const HEAD: &str = "apiVersion: osproxy.io/v1alpha1\nkind: DiagnosticsDirective\nmetadata: {name: a, namespace: b}\n";
const SPEC: &str = "spec:\n  match: [{key: tenant, value: acme}]\n  level: Shape\n  samplePerMille: 50\n  ttl: 30m\n";

fn with(more: &str) -> String {
    format!("{HEAD}{SPEC}{more}")
}

#[test]
fn a_good_manifest_is_accepted_and_named() {
    let report = report(&with("  createdBy: ana\n"));
    assert_eq!(report.to_string(), "f:1: b/a: accepted\n");
    assert_eq!(report.exit_code(), exit::YES);
}

#[test]
fn a_fault_is_named_with_its_line_its_reason_and_its_remedy() {
    let report = report(&with("  supend: true\n"));
    let text = report.to_string();
    assert!(
        text.starts_with("f:9: b/a: refused: unknown_field: `spec.supend` is not"),
        "{text}"
    );
    assert!(text.contains("correct its name"), "{text}");
    assert_eq!(report.exit_code(), exit::NO);
}

#[test]
fn each_document_of_a_file_is_judged_alone() {
    let text = format!(
        "# first\n{}---\n{}---\n# nothing\n---\n{}",
        with(""),
        with("  ttl: 1h\n").replace("ttl: 30m", "comment: x"),
        with("  tenant: acme\n")
    );
    assert_eq!(
        lines(&text),
        [(2, "accepted"), (11, "accepted"), (31, "unknown_field")]
    );
}

#[test]
fn the_items_of_a_list_are_resources() {
    let item = |n: &str| {
        format!(
            r#"{{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{{"name":"{n}"}},
        "spec":{{"allRequests":true,"level":"Shape","samplePerMille":1,"ttl":"1m"}}}}"#
        )
    };
    let text = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n{},\n{}]}}",
        item("a"),
        item("B")
    );
    assert_eq!(lines(&text), [(2, "accepted"), (4, "invalid_name")]);
}

#[test]
fn values_of_json_may_stand_one_behind_the_other() {
    let one = r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"a"},
"spec":{"match":[{"key":"tenant","value":"\ud83d\ude80"}],"level":"Shape","samplePerMille":5e1,"ttl":"1m"}}"#;
    assert_eq!(
        lines(&format!("{one}\n{one}{one}")),
        [(1, "accepted"), (3, "accepted"), (4, "accepted")]
    );
}

#[test]
fn a_member_that_stands_twice_is_refused_at_any_depth() {
    assert_eq!(lines(&with("  ttl: 168h\n")), [(9, "duplicate_field")]);
    let nested = with("").replace("value: acme", "value: acme, value: globex");
    assert_eq!(lines(&nested), [(5, "duplicate_field")]);
    let text = report(&with("  ttl: 168h\n")).to_string();
    assert!(text.contains("line 8 and again in line 9"), "{text}");
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    for (from, to, reason) in [
        ("value: acme", "value: no", "wrong_type"),
        ("value: acme", "value: 0123", "wrong_type"),
        ("value: acme", "value: \"no\"", "accepted"),
        ("value: acme", "value: !!str 5", "accepted"),
        ("value: acme", "value: 2026-11-22", "accepted"),
        ("level: Shape", "level: Off", "wrong_type"),
        ("level: Shape", "level: Off\n  capture: yes", "wrong_type"),
        ("level: Shape", "capture: on", "accepted"),
        (
            "level: Shape",
            "level: Shape\n  activeFrom: 2026-11-22T14:00:00Z",
            "accepted",
        ),
        ("samplePerMille: 50", "samplePerMille: 50.0", "accepted"),
        ("samplePerMille: 50", "samplePerMille: 5e1", "accepted"),
        ("samplePerMille: 50", "samplePerMille: 0x32", "accepted"),
        ("samplePerMille: 50", "samplePerMille: 50.5", "wrong_type"),
        ("samplePerMille: 50", "samplePerMille: \"50\"", "wrong_type"),
        ("samplePerMille: 50", "samplePerMille: 1e300", "wrong_type"),
        ("samplePerMille: 50", "samplePerMille:", "missing_field"),
    ] {
        let text = with("").replace(from, to);
        assert_eq!(lines(&text)[0].1, reason, "{to}");
    }
}

#[test]
fn anchors_and_merges_are_written_out() {
    let text = format!(
        "{HEAD}spec:\n  <<: &base {{level: Shape, samplePerMille: 50}}\n  ttl: &ttl 30m\n  match:\n  - {{key: tenant, value: *ttl}}\n"
    );
    assert_eq!(lines(&text), [(1, "accepted")]);
    let bomb: String = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    assert_eq!(report(&bomb).exit_code(), exit::CANNOT);
}

#[test]
fn what_is_not_ours_is_skipped_and_what_means_to_be_ours_is_not() {
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    assert_eq!(lines(other), [(1, "skipped")]);
    assert_eq!(report(other).exit_code(), exit::YES);
    for (from, to, line, reason) in [
        ("osproxy.io/v1alpha1", "osproxy.io/v1", 1, "unknown_kind"),
        ("osproxy.io/v1alpha1", "v1", 1, "unknown_kind"),
        (
            "DiagnosticsDirective",
            "DiagnosticDirective",
            2,
            "unknown_kind",
        ),
        ("kind: DiagnosticsDirective\n", "", 1, "missing_field"),
        ("name: a", "name: A", 3, "invalid_name"),
        ("name: a", "nam: a", 3, "unknown_field"),
        ("name: a", "name: 5", 3, "wrong_type"),
        ("namespace: b", "namespace: b.c", 3, "invalid_name"),
        ("name: a", "name: a, labels: {x: 1}", 3, "wrong_type"),
        ("spec:", "spce:", 4, "unknown_field"),
    ] {
        assert_eq!(lines(&with("").replace(from, to)), [(line, reason)], "{to}");
    }
    let long = with("").replace("name: a", &format!("name: {}", "a".repeat(201)));
    assert_eq!(lines(&long)[0].1, "name_too_long");
}

#[test]
fn what_cannot_be_read_is_said_with_its_line_and_what_stood_before_is_judged() {
    let report = report(&format!("{}---\n\"abc\n", with("")));
    assert_eq!(report.resources.len(), 1);
    assert_eq!(report.exit_code(), exit::CANNOT);
    assert!(report.unreadable[0].line.is_some_and(|line| line >= 10));
    let mut report = Report::default();
    let fault = report.add("f", b"a: b\nc: \xff\n").unwrap_err();
    assert_eq!(fault.line, Some(2));
}

#[test]
fn no_value_of_a_selector_is_printed() {
    let secret = "s3cret-tenant";
    for broken in [
        with("  ttl: 1h\n").replace("acme", secret),
        with("  tenant: s3cret-tenant\n"),
        with("").replace("tenant, value: acme", &format!("endpoint, value: {secret}")),
        with("").replace("value: acme", &format!("value: [{secret}]")),
    ] {
        let report = report(&broken);
        assert_eq!(report.exit_code(), exit::NO);
        assert!(!report.to_string().contains(secret), "{report}");
        assert!(!serde_json::to_string(&report).unwrap().contains(secret));
    }
}
