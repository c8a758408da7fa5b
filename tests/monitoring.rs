//! What watches the operator: monitors, alerts, runbooks and the dashboard of the chart, held against what a real operator exports.

#![cfg(feature = "operator")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{KEY, Line, SOON, directive, options, put_by_hand};
use testbed::{EtcdOptions, eventually};

use helm::{CHART, helm, of_kind};
use page::Page;
use promtool::{Case, check, run};
use scrape::Scrape;

#[allow(dead_code, reason = "shared with tests/chart.rs, which uses all of it")]
#[path = "chart/helm.rs"]
mod helm;
#[path = "monitoring/page.rs"]
mod page;
#[path = "monitoring/promtool.rs"]
mod promtool;
#[path = "monitoring/scrape.rs"]
mod scrape;
mod support;

const RUNBOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbooks");
/// Each kind that needs a CRD, with the values that ask for it and the API that it is of. The two monitors exclude each other.
const KINDS: [(&str, &str, &str); 4] = [
    (
        "ServiceMonitor",
        "/metrics/serviceMonitor",
        "monitoring.coreos.com/v1",
    ),
    (
        "PodMonitor",
        "/metrics/podMonitor",
        "monitoring.coreos.com/v1",
    ),
    (
        "PrometheusRule",
        "/metrics/prometheusRule",
        "monitoring.coreos.com/v1",
    ),
    (
        "GrafanaDashboard",
        "/grafanaDashboard/grafanaOperator",
        "grafana.integreatly.org/v1beta1",
    ),
];

// ---- What is rendered, and where ---------------------------------------------------------------

#[tokio::test]
async fn nothing_watches_the_operator_unless_it_is_asked_to() -> Result<()> {
    let all = rendered(&json!({}), &apis()).await?;
    for (kind, _, _) in KINDS {
        ensure!(of_kind(&all, kind).count() == 0, "a {kind}");
    }
    ensure!(of_kind(&all, "ConfigMap").count() == 0, "a dashboard");
    Ok(())
}

#[tokio::test]
async fn what_the_cluster_does_not_have_is_skipped_refused_or_rendered_as_the_values_say()
-> Result<()> {
    for monitors in [[0, 2, 3], [1, 2, 3]] {
        for (mode, apis, expected) in [
            ("skipIfMissing", vec![], 0),
            ("skipIfMissing", apis(), 1),
            ("failIfMissing", apis(), 1),
            ("alwaysRender", vec![], 1),
        ] {
            let values = asked_for(monitors.map(|kind| KINDS[kind]), mode);
            let all = rendered(&values, &apis).await?;
            for kind in monitors {
                let (kind, _, _) = KINDS[kind];
                let found = of_kind(&all, kind).count();
                ensure!(found == expected, "{found} {kind} with {mode} and {apis:?}");
            }
        }
    }
    for (kind, path, api) in KINDS {
        let values = asked_for([(kind, path, api)], "failIfMissing");
        let error = rendered(&values, &[]).await.err().context("rendered")?;
        let value = path.trim_start_matches('/').replace('/', ".");
        let said = format!("{value}.enabled is true, and this cluster does not have {api} {kind}");
        ensure!(format!("{error:#}").contains(&said), "{error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_skipped_is_said_after_the_installation() -> Result<()> {
    let values = asked_for([KINDS[0], KINDS[3]], "skipIfMissing");
    let notes = notes(&values).await?;
    for said in [
        "WARNING: metrics.serviceMonitor.enabled is true, but this cluster does not have monitoring.coreos.com/v1 ServiceMonitor",
        "WARNING: grafanaDashboard.grafanaOperator.enabled is true, but",
    ] {
        ensure!(notes.contains(said), "{notes}");
    }
    ensure!(!notes.contains("PrometheusRule"), "{notes}");
    let there = self::notes(&asked_for([KINDS[0], KINDS[3]], "alwaysRender")).await?;
    ensure!(!there.contains("WARNING: metrics"), "{there}");
    Ok(())
}

#[tokio::test]
async fn values_that_contradict_each_other_are_refused_with_a_sentence() -> Result<()> {
    let both = asked_for([KINDS[0], KINDS[1]], "alwaysRender");
    let lone = json!({"grafanaDashboard": {"grafanaOperator": {"enabled": true}}});
    for (values, said) in [
        (
            both,
            "every replica would be scraped twice, and counted twice",
        ),
        (
            lone,
            "the GrafanaDashboard refers to the ConfigMap. Set both to true",
        ),
    ] {
        let error = rendered(&values, &apis()).await.err().context("rendered")?;
        ensure!(format!("{error:#}").contains(said), "{error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_monitor_finds_the_port_that_serves_metrics() -> Result<()> {
    let all = rendered(&asked_for([KINDS[0]], "alwaysRender"), &[]).await?;
    let monitor = of_kind(&all, "ServiceMonitor")
        .next()
        .context("no monitor")?;
    let services = of_kind(&all, "Service");
    let selected = &monitor["spec"]["selector"]["matchLabels"];
    let chosen: Vec<_> = services
        .filter(|s| contains(&s["metadata"]["labels"], selected))
        .collect();
    let [service] = chosen.as_slice() else {
        anyhow::bail!("the monitor selects {} Services", chosen.len());
    };
    // The alerts look for this name: a ServiceMonitor's job is the Service's name.
    ensure!(
        service["metadata"]["name"] == "osd-osproxy-directives",
        "{service}"
    );
    let port = &monitor["spec"]["endpoints"][0]["port"];
    let ports = service["spec"]["ports"].as_array().context("no ports")?;
    let served = ports
        .iter()
        .find(|p| &p["name"] == port)
        .context("no such port")?;
    let deployment = of_kind(&all, "Deployment")
        .next()
        .context("no Deployment")?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    ensure!(
        served["targetPort"] == container["ports"][0]["name"],
        "{served}"
    );

    let all = rendered(&asked_for([KINDS[1]], "alwaysRender"), &[]).await?;
    let monitor = of_kind(&all, "PodMonitor").next().context("no monitor")?;
    let pod = &of_kind(&all, "Deployment")
        .next()
        .context("no Deployment")?["spec"]["template"];
    ensure!(
        contains(
            &pod["metadata"]["labels"],
            &monitor["spec"]["selector"]["matchLabels"]
        ),
        "{monitor}"
    );
    ensure!(
        monitor["spec"]["podMetricsEndpoints"][0]["port"] == container["ports"][0]["name"],
        "{monitor}"
    );
    Ok(())
}

#[tokio::test]
async fn each_alert_can_be_switched_off_and_tuned() -> Result<()> {
    let all = rules(&json!({})).await?;
    for alert in names(&all) {
        let off = json!({"rules": {&alert: {"enabled": false}}});
        // Rendering takes a third of a second; two alerts stand for the others, whose template is the same.
        if alert.ends_with("Leader") || alert.ends_with("Differs") {
            let left = names(&rules(&off).await?);
            ensure!(
                !left.contains(&alert) && left.len() + 1 == names(&all).len(),
                "{left:?}"
            );
        }
    }
    let tuned = json!({
        "selector": r#"cluster="c1""#,
        "alertLabels": {"team": "search"},
        "runbookBaseUrl": "https://runbooks.example/",
        "rules": {"OsproxyDirectivesClockDiffers": {"threshold": 2.5, "for": "1m", "severity": "page"}},
    });
    let all = rules(&tuned).await?;
    let clock = all
        .iter()
        .find(|rule| rule["alert"] == "OsproxyDirectivesClockDiffers");
    let clock = clock.context("no alert")?;
    ensure!(
        clock["expr"]
            == r#"max by (job, instance, pod) (abs(osproxy_directives_kube_clock_ahead_seconds{cluster="c1"})) > 2.5"#,
        "{clock}"
    );
    ensure!(clock["for"] == "1m", "{clock}");
    ensure!(
        clock["labels"]
            == json!({"severity": "page", "namespace": "diagnostics", "team": "search"}),
        "{clock}"
    );
    let url = "https://runbooks.example/OsproxyDirectivesClockDiffers.md";
    ensure!(clock["annotations"]["runbook_url"] == url, "{clock}");
    ensure!(
        !all.iter()
            .any(|rule| rule.to_string().contains("$threshold")
                || rule.to_string().contains("$selector"))
    );
    Ok(())
}

#[tokio::test]
async fn every_alert_has_a_runbook_and_every_runbook_an_alert() -> Result<()> {
    let alerts: BTreeSet<String> = names(&rules(&json!({})).await?).into_iter().collect();
    let values: Value =
        serde_saphyr::from_str(&fs::read_to_string(Path::new(CHART).join("values.yaml"))?)?;
    let own = values["metrics"]["prometheusRule"]["rules"]
        .as_object()
        .context("no rules in values.yaml")?;
    assert_eq!(
        alerts,
        own.keys().cloned().collect(),
        "each alert has its values"
    );
    let mut books = BTreeSet::new();
    for entry in fs::read_dir(RUNBOOKS)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .context("no name")?
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path)?;
        ensure!(
            text.starts_with(&format!("# {name}\n")),
            "{name} is not called so"
        );
        for part in [
            "## Meaning",
            "## Impact",
            "## Diagnosis",
            "## Mitigation",
            "## Escalation",
        ] {
            ensure!(
                text.contains(&format!("\n{part}\n")),
                "{name} has no {part}"
            );
        }
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next())
        {
            let target = Path::new(RUNBOOKS).join(link);
            ensure!(target.exists(), "{name} links to {link}");
        }
        let diagnosis = text.split("## Diagnosis").nth(1).unwrap_or_default();
        ensure!(diagnosis.contains("```console"), "{name} names no command");
        books.insert(name);
    }
    assert_eq!(
        alerts, books,
        "docs/runbooks has one page an alert, of its name"
    );
    Ok(())
}

// ---- Against what is really exported -----------------------------------------------------------

#[tokio::test]
async fn rules_and_dashboard_are_what_prometheus_can_evaluate() -> Result<()> {
    let all = rules(&json!({})).await?;
    check(&all).await?;
    let panels = panels()?;
    let recorded = panels.iter().enumerate().map(|(n, expr)| {
        let expr = expr.replace("$__rate_interval", "5m");
        json!({"record": format!("panel:{n}"), "expr": expr})
    });
    check(&recorded.collect::<Vec<_>>()).await
}

#[tokio::test]
async fn the_right_alerts_fire_for_an_operator_in_trouble_and_none_for_a_healthy_one() -> Result<()>
{
    let rules = rules(&json!({})).await?;
    let page = Page::read().await?;
    let sights = Sights::take().await?;
    page.knows_all(
        &sights.healthy,
        rules.iter().filter_map(|rule| rule["expr"].as_str()),
    )?;
    page.knows_all(&sights.healthy, panels()?.iter().map(String::as_str))?;

    let mut cases = sights.cases();
    cases.extend(cases_of_edited_scrapes(&sights.healthy, &page)?);
    cases.push(a_case_of_words(&sights.healthy, &rules)?);
    let fired: BTreeSet<&str> = cases.iter().flat_map(Case::fired).collect();
    let all = names(&rules);
    assert_eq!(
        fired,
        all.iter().map(String::as_str).collect(),
        "each alert is seen to fire"
    );
    run(&rules, &cases).await
}

/// What a real operator exported, in health and in real trouble.
struct Sights {
    healthy: Scrape,
    refused: Scrape,
    paused: Scrape,
    unseen: Scrape,
    contested: Scrape,
    full: Scrape,
    no_etcd: Scrape,
}

impl Sights {
    async fn take() -> Result<Self> {
        let values = json!({"policy": {"enabled": false}, "extraArgs": ["--max-directives=5"]});
        let line = Line::start_with(EtcdOptions::new(), options().values(values)).await?;
        line.apply(&directive("d0", "1h")).await?;
        line.state("d0", "Active").await?;
        let healthy = seen(&line, r#"resources{state="active"}"#, 1).await?;

        let mut wrong = directive("wrong", "1h");
        wrong["spec"]["supend"] = json!(true);
        line.apply(&wrong).await?;
        let refused = seen(&line, r#"resources{state="refused"}"#, 1).await?;
        line.delete("wrong").await?;
        // The next sight is of another trouble, and of that alone.
        seen(&line, r#"resources{state="refused"}"#, 0).await?;

        let paused_key = format!("{KEY}/paused");
        line.etcd
            .etcdctl(&["put", &paused_key, "ana"])
            .await?
            .success()?;
        let paused = seen(&line, r#"held{reason="paused"}"#, 1).await?;
        line.etcd.etcdctl(&["del", &paused_key]).await?.success()?;
        eventually("the pause to end", SOON, async || {
            let now = scrape(&line).await?;
            ensure!(now.value(r#"held{reason="paused"}"#).is_none(), "held");
            Ok(())
        })
        .await?;

        line.plane.api_server().kill()?;
        seen(&line, r#"kube_fault{reason="kube_unavailable"}"#, 1).await?;
        // The key is looked after all the same.
        line.etcd.etcdctl(&["del", KEY]).await?.success()?;
        let unseen = seen_in_sync(&line, "document_foreign_writes_total", 1).await?;
        line.plane.restart_api_server().await?;
        // It looks there again after a while, and the next sights are of other troubles.
        eventually("the API server to be seen again", SOON, async || {
            ensure!(!scrape(&line).await?.has("kube_fault"), "it is not");
            Ok(())
        })
        .await?;

        for n in 2..=4 {
            put_by_hand(&line.etcd, r#"{"directives":[]}"#, 0).await?;
            seen(&line, "document_foreign_writes_total", n).await?;
        }
        let contested = seen(&line, r#"resources{state="active"}"#, 1).await?;

        for n in 1..=5 {
            line.apply(&directive(&format!("d{n}"), "1h")).await?;
        }
        let full = seen_in_sync(&line, r#"resources{state="no_room"}"#, 1).await?;

        line.etcd.kill()?;
        seen(&line, "leader", 0).await?;
        let no_etcd = eventually("etcd to be out of sight", SOON, async || {
            let now = scrape(&line).await?;
            ensure!(now.has("etcd_fault"), "it is seen");
            Ok(now)
        })
        .await?;
        Ok(Self {
            healthy,
            refused,
            paused,
            unseen,
            contested,
            full,
            no_etcd,
        })
    }

    /// Ten minutes of health, and then each trouble for as long as it takes.
    fn cases(&self) -> Vec<Case> {
        let case = |name, sight: &Scrape| Case::new(name).phase(&self.healthy, 10).phase(sight, 80);
        vec![
            Case::new("healthy")
                .phase(&self.healthy, 90)
                .expect(30, &[])
                .expect(89, &[]),
            case("refused", &self.refused)
                .expect(39, &[])
                .expect(41, &["OsproxyDirectivesRefused"]),
            case("paused", &self.paused)
                .standing_still()
                .expect(69, &[])
                .expect(71, &["OsproxyDirectivesPaused"]),
            case("no API server", &self.unseen)
                .expect(14, &[])
                .expect(16, &["OsproxyDirectivesResourcesUnseen"]),
            case("a rival", &self.contested)
                .expect(9, &[])
                .expect(13, &["OsproxyDirectivesKeyContested"])
                .expect(40, &[]),
            Case::new("full")
                .phase(&self.contested, 20)
                .phase(&self.full, 40)
                .expect(29, &[])
                .expect(31, &["OsproxyDirectivesNoRoom"])
                .expect(
                    36,
                    &[
                        "OsproxyDirectivesNoRoom",
                        "OsproxyDirectivesDocumentNearLimit",
                    ],
                ),
            Case::new("no etcd")
                .phase(&self.contested, 20)
                .phase(&self.no_etcd, 40)
                .standing_still()
                .expect(21, &[])
                .expect(23, &["OsproxyDirectivesNoLeader"])
                .expect(
                    26,
                    &[
                        "OsproxyDirectivesNoLeader",
                        "OsproxyDirectivesEtcdUnreachable",
                    ],
                )
                .expect(
                    59,
                    &[
                        "OsproxyDirectivesNoLeader",
                        "OsproxyDirectivesEtcdUnreachable",
                    ],
                ),
            Case::new("nothing is scraped")
                .phase(&self.healthy, 10)
                .nothing(20)
                .expect(11, &[])
                .expect(13, &["OsproxyDirectivesNoLeader"]),
        ]
    }
}

/// The troubles that take too long, or too much, to bring about here: the healthy operator's own scrape with a series of
/// its own registry changed.
fn cases_of_edited_scrapes(healthy: &Scrape, page: &Page) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (series, value, minutes, alert) in [
        (
            r#"held{reason="etcd_permission_denied"}"#,
            1,
            5,
            "NotPublished",
        ),
        (r#"held{reason="etcd_no_space"}"#, 1, 2, "NoSpace"),
        (r#"held{reason="foreign_value"}"#, 1, 15, "ForeignValue"),
        ("etcd_files_refused", 1, 10, "EtcdFilesRefused"),
        ("kube_definition_outdated", 1, 15, "DefinitionOutdated"),
        ("kube_clock_ahead_seconds", -7, 10, "ClockDiffers"),
        // For want of a leader nobody says what is wrong but the owner key.
        (
            r#"owner_fault{reason="owned_by_another"}"#,
            1,
            2,
            "OwnedByAnother",
        ),
    ] {
        page.knows(series)?;
        let leader = i64::from(alert != "OwnedByAnother");
        let sick = healthy.with(series, value).with("leader", leader);
        let alert = format!("OsproxyDirectives{alert}");
        cases.push(
            Case::new(series)
                .phase(healthy, 10)
                .phase(&sick, 80)
                .expect(10 + minutes - 1, &[])
                .expect(10 + minutes + 1, &[&alert]),
        );
    }
    let stuck = Case::new("a leader that is stuck")
        .phase(healthy, 10)
        .phase(healthy, 30)
        .standing_still();
    cases.push(
        stuck
            .expect(18, &[])
            .expect(22, &["OsproxyDirectivesOutOfSync"]),
    );
    let two = Case::new("two leaders")
        .phase(healthy, 20)
        .beside(healthy, 20);
    cases.push(
        two.expect(1, &[])
            .expect(3, &["OsproxyDirectivesManyLeaders"]),
    );

    let mut unsteady = Case::new("unsteady").phase(healthy, 20);
    let mut failing = Case::new("statuses").phase(healthy, 20);
    for minute in 0..30 {
        unsteady = unsteady.phase(&healthy.with("leader", minute % 2), 1);
        failing = failing.phase(&healthy.with("status_write_failures_total", minute), 1);
    }
    cases.push(
        unsteady
            .expect(22, &[])
            .expect(36, &["OsproxyDirectivesLeaderChanges"]),
    );
    cases.push(
        failing
            .expect(29, &[])
            .expect(33, &["OsproxyDirectivesStatusWritesFailing"]),
    );
    Ok(cases)
}

/// What an alert says to whoever it wakes: its template is filled in from the series of the moment.
fn a_case_of_words(healthy: &Scrape, rules: &[Value]) -> Result<Case> {
    let name = "OsproxyDirectivesNotPublished";
    let rule = rules.iter().find(|rule| rule["alert"] == name);
    let sick = healthy.with(r#"held{reason="etcd_tls"}"#, 1);
    let case = Case::new("words").phase(healthy, 10).phase(&sick, 20);
    Ok(case.says(20, rule.context("no such alert")?, "etcd_tls"))
}

// ---- Helpers -----------------------------------------------------------------------------------

async fn scrape(line: &Line) -> Result<Scrape> {
    Scrape::parse(&line.operator.replica(0).metrics().await?)
}

/// The first scrape in which a series has this value.
async fn seen(line: &Line, series: &str, value: i64) -> Result<Scrape> {
    eventually(&format!("{series} to be {value}"), SOON, async || {
        let now = scrape(line).await?;
        let is = now.value(series);
        ensure!(is == Some(value), "it is {is:?}");
        Ok(now)
    })
    .await
}

/// The first in which the key is in sync as well: what is counted is counted a moment before the key is put right.
async fn seen_in_sync(line: &Line, series: &str, value: i64) -> Result<Scrape> {
    eventually(&format!("{series} to be {value}"), SOON, async || {
        let now = scrape(line).await?;
        let is = now.value(series);
        ensure!(is == Some(value), "it is {is:?}");
        now.is_fresh()?;
        Ok(now)
    })
    .await
}

/// The alerts of the chart, with these values for `metrics.prometheusRule`.
async fn rules(values: &Value) -> Result<Vec<Value>> {
    let mut asked = asked_for([KINDS[0], KINDS[2]], "alwaysRender");
    for (key, value) in values.as_object().into_iter().flatten() {
        asked["metrics"]["prometheusRule"][key] = value.clone();
    }
    let all = rendered(&asked, &[]).await?;
    let rule = of_kind(&all, "PrometheusRule")
        .next()
        .context("no PrometheusRule")?;
    let rules = rule["spec"]["groups"][0]["rules"].as_array();
    Ok(rules.context("no rules")?.clone())
}

fn names(rules: &[Value]) -> Vec<String> {
    let names = rules.iter().filter_map(|rule| rule["alert"].as_str());
    names.map(str::to_owned).collect()
}

/// Every expression of the dashboard.
fn panels() -> Result<Vec<String>> {
    let text = fs::read_to_string(Path::new(CHART).join("files/grafana-dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    ensure!(
        dashboard["uid"] == "osproxy-directives",
        "links to it need its uid"
    );
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let found: Vec<_> = targets
        .filter_map(|target| target["expr"].as_str())
        .map(str::to_owned)
        .collect();
    ensure!(found.len() >= 20, "{} expressions", found.len());
    Ok(found)
}

fn asked_for<const N: usize>(kinds: [(&str, &str, &str); N], mode: &str) -> Value {
    let mut values = json!({"metrics": {}, "grafanaDashboard": {"enabled": true}});
    for (_, path, _) in kinds {
        let mut parts = path.trim_start_matches('/').split('/');
        let (section, object) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        values[section][object] = json!({"enabled": true, "renderMode": mode});
    }
    values
}

fn apis() -> Vec<&'static str> {
    KINDS.iter().map(|(_, _, api)| *api).collect()
}

async fn rendered(values: &Value, apis: &[&str]) -> Result<Vec<Value>> {
    let flags: Vec<&str> = apis
        .iter()
        .flat_map(|api| ["--api-versions", api])
        .collect();
    let text = with_values("template", values, &flags).await?;
    let all: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(all
        .into_iter()
        .filter(|manifest| !manifest.is_null())
        .collect())
}

/// What Helm says after an installation on a cluster that has no CRD.
async fn notes(values: &Value) -> Result<String> {
    with_values("install", values, &["--dry-run=client"]).await
}

async fn with_values(command: &str, values: &Value, more: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.json");
    fs::write(&file, with_endpoint(values).to_string())?;
    let file = file.to_string_lossy();
    let mut args = vec![
        command,
        "osd",
        CHART,
        "--namespace",
        "diagnostics",
        "--values",
        &file,
    ];
    args.extend(more);
    helm(&args).await?.success()
}

fn with_endpoint(values: &Value) -> Value {
    let mut values = values.clone();
    values["etcd"] = json!({"endpoints": ["http://etcd:2379"]});
    values
}

fn contains(all: &Value, some: &Value) -> bool {
    let some = some.as_object();
    some.is_some_and(|some| !some.is_empty() && some.iter().all(|(key, value)| &all[key] == value))
}
