use super::*;

/// 2026-11-22T14:00:00Z
const NOW: u64 = 1_795_356_000;

const PIPE: Look = Look {
    width: None,
    colour: false,
    terminal: false,
};

fn object(name: &str, spec: &Value, published: (&str, &str), applied: &str) -> Value {
    json!({
        "metadata": {"namespace": "checkout", "name": name, "uid": "u", "generation": 1, "creationTimestamp": "2026-11-22T13:50:00Z"},
        "spec": spec,
        "status": {"observedGeneration": 1, "applied": applied, "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Valid", "message": ""},
            {"type": "Published", "status": published.0, "reason": published.1, "message": "Not written: no answer"},
            {"type": "Applied", "status": if applied == "4/4" { "True" } else { "False" }, "reason": "ProxiesLagging", "message": "edge-7f9c is behind"},
        ]},
    })
}

fn spec(ttl: &str, more: &Value) -> Value {
    let mut spec = json!({
        "match": [{"key": "tenant", "value": "acme"}, {"key": "index", "value": "orders"}],
        "level": "ShapeTiming", "samplePerMille": 50, "ttl": ttl, "createdBy": "ana", "comment": "INC-4711, slow searches",
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

fn overview() -> Overview {
    let published = ("True", "Published");
    let objects = [
        object(
            "inc-4712",
            &spec("2h", &json!({"capture": true})),
            published,
            "3/4",
        ),
        object("inc-4711", &spec("30m", &json!({})), published, "4/4"),
        object(
            "held",
            &spec("1h", &json!({})),
            ("False", "EtcdUnavailable"),
            "",
        ),
        object(
            "later",
            &spec("1h", &json!({"activeFrom": "2026-11-22T15:00:00Z"})),
            published,
            "",
        ),
        object(
            "paused",
            &spec("1h", &json!({"suspend": true})),
            published,
            "4/4",
        ),
        object("typo", &spec("1h", &json!({"supend": true})), published, ""),
        object("over", &spec("5m", &json!({})), published, "4/4"),
    ];
    let fleet = json!({"status": {
        "leader": "operator-1",
        "proxies": {"reporting": 4, "applied": 3, "lagging": 1, "rejecting": 0},
        "worst": [{"instance": "edge-7f9c"}],
        "conditions": [{"type": "Ready", "status": "True", "message": "the key is in sync"}],
    }});
    Overview::new(&objects, Some(fleet), NOW)
}

#[test]
fn what_ends_first_comes_first_and_what_is_not_on_says_why() {
    let expected = "\
NAME               LEFT   LEVEL                SAMPLE  APPLIED  TARGET
checkout/inc-4711  20m    ShapeTiming          5%      4/4      tenant=acme, index=orders
    by ana: INC-4711, slow searches
checkout/inc-4712  1h50m  ShapeTiming+capture  5%      3/4      tenant=acme, index=orders
    by ana: INC-4711, slow searches
    ProxiesLagging: edge-7f9c is behind

NOT ON           WHY
checkout/held    Pending (EtcdUnavailable): Not written: no answer
checkout/later   Scheduled: starts 2026-11-22T15:00:00Z (in 1h)
checkout/paused  Suspended
checkout/typo    Refused (UnknownField): ";
    let text = overview().text(PIPE);
    assert!(text.starts_with(expected), "{text}");
    let foot = "

1 directive has ended.

Fleet:    3 of 4 proxies that report are current, 1 behind: edge-7f9c
Operator: operator-1 leads; the key is in sync
";
    assert!(text.ends_with(foot), "{text}");
}

#[test]
fn at_eighty_columns_nothing_is_lost_and_nothing_runs_over() {
    let look = Look {
        width: Some(80),
        colour: false,
        terminal: true,
    };
    let (narrow, wide) = (overview().text(look), overview().text(PIPE));
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 80),
        "{narrow}"
    );
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&narrow).concat(), words(&wide).concat());
}

#[test]
fn without_directives_and_without_a_fleet_it_says_so() {
    let text = Overview::new(&[], None, NOW).text(PIPE);
    assert_eq!(
        text,
        "Nothing is on.\n\nFleet:    unknown: no DiagnosticsFleet can be read\nOperator: unknown: no DiagnosticsFleet can be read\n"
    );
}

#[test]
fn machines_get_every_directive_with_its_state() {
    let machine = overview().machine();
    let states: Vec<&str> = machine["directives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|directive| directive["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "On",
            "On",
            "Pending",
            "Scheduled",
            "Suspended",
            "Refused",
            "Ended"
        ]
    );
    assert_eq!(machine["directives"][0]["leftSeconds"], 1_200);
    assert_eq!(machine["time"], "2026-11-22T14:00:00Z");
}

#[test]
fn time_alone_is_no_news() {
    let objects = [object(
        "a",
        &spec("30m", &json!({})),
        ("True", "Published"),
        "4/4",
    )];
    let at = |secs: u64| Overview::new(&objects, None, NOW + secs).timeless();
    assert_eq!(at(0), at(60));
    assert_ne!(at(0), at(1_200), "it has ended");
}
