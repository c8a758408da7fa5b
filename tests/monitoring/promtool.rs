//! promtool's tests of rules, fed with what real operators export.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::assets::{self, PROMETHEUS};
use testbed::command::{self, Output};
use testbed::process::Launch;

use crate::scrape::{STAMP, Scrape};

/// Each expression of these rules is one that Prometheus can evaluate, and each template one that it can fill in.
pub(crate) async fn check(rules: &[Value]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rules.yaml");
    fs::write(&file, groups(rules).to_string())?;
    promtool(&["check", "rules", &file.to_string_lossy()])
        .await?
        .success()?;
    Ok(())
}

/// In each case exactly the alerts fire that it expects, and what they say is filled in.
pub(crate) async fn run(rules: &[Value], cases: &[Case]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("rules.yaml"), groups(rules).to_string())?;
    let tests = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": cases.iter().map(Case::test).collect::<Vec<_>>(),
    });
    let file = folder.path().join("tests.yaml");
    fs::write(&file, tests.to_string())?;
    let output = promtool(&["test", "rules", &file.to_string_lossy()]).await?;
    let text = output.success()?;
    ensure!(text.contains("SUCCESS"), "{text}");
    Ok(())
}

async fn promtool(args: &[&str]) -> Result<Output> {
    let launch = Launch::new(assets::tool(PROMETHEUS, "promtool").await?);
    command::run(&launch.args(args.iter().copied()), None).await
}

fn groups(rules: &[Value]) -> Value {
    json!({"groups": [{"name": "osproxy-directives", "rules": rules}]})
}

/// A course of events, minute by minute, and the alerts that fire in it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    name: String,
    replicas: Vec<Vec<Phase>>,
    expected: Vec<(usize, BTreeSet<String>)>,
    said: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Phase {
    scrape: Option<Scrape>,
    minutes: usize,
    stands_still: bool,
}

impl Case {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            replicas: vec![Vec::new()],
            expected: Vec::new(),
            said: Vec::new(),
        }
    }

    /// For so many minutes the first replica exports this.
    pub(crate) fn phase(self, scrape: &Scrape, minutes: usize) -> Self {
        self.then(Some(scrape.clone()), minutes)
    }

    /// For so many minutes nothing is scraped.
    pub(crate) fn nothing(self, minutes: usize) -> Self {
        self.then(None, minutes)
    }

    fn then(mut self, scrape: Option<Scrape>, minutes: usize) -> Self {
        self.replicas[0].push(Phase {
            scrape,
            minutes,
            stands_still: false,
        });
        self
    }

    /// In the latest phase the key is not found in sync any more.
    pub(crate) fn standing_still(mut self) -> Self {
        if let Some(phase) = self.replicas[0].last_mut() {
            phase.stands_still = true;
        }
        self
    }

    /// A second replica, that exports this from the beginning.
    pub(crate) fn beside(mut self, scrape: &Scrape, minutes: usize) -> Self {
        let phase = Phase {
            scrape: Some(scrape.clone()),
            minutes,
            stands_still: false,
        };
        self.replicas.push(vec![phase]);
        self
    }

    /// At this minute exactly these alerts fire.
    pub(crate) fn expect(mut self, minute: usize, alerts: &[&str]) -> Self {
        let alerts = alerts.iter().map(|alert| (*alert).to_owned()).collect();
        self.expected.push((minute, alerts));
        self
    }

    /// At this minute the alert of this rule fires with its own labels, and its description names this reason where it asks for one.
    pub(crate) fn says(mut self, minute: usize, rule: &Value, reason: &str) -> Self {
        let mut annotations = rule["annotations"].clone();
        let description = annotations["description"].as_str().unwrap_or_default();
        let (before, query) = description.split_once("{{ range query").unwrap_or_default();
        let (_, after) = query.split_once("{{ end }}").unwrap_or_default();
        annotations["description"] = format!("{before}{reason} {after}").into();
        self.said.push(json!({
            "eval_time": format!("{minute}m"),
            "alertname": rule["alert"],
            "exp_alerts": [{"exp_labels": rule["labels"], "exp_annotations": annotations}],
        }));
        self
    }

    /// Every alert that fires at some time.
    pub(crate) fn fired(&self) -> impl Iterator<Item = &str> {
        self.expected
            .iter()
            .flat_map(|(_, alerts)| alerts.iter().map(String::as_str))
    }

    fn test(&self) -> Value {
        let series = self
            .replicas
            .iter()
            .enumerate()
            .flat_map(|(n, phases)| input(n, phases));
        let checks = self.expected.iter().map(|(minute, alerts)| {
            let fire = alerts
                .iter()
                .map(|alert| json!({"labels": format!("{{alertname={alert:?}}}"), "value": 1}));
            json!({
                "expr": r#"count by (alertname) (ALERTS{alertstate="firing"})"#,
                "eval_time": format!("{minute}m"),
                "exp_samples": fire.collect::<Vec<_>>(),
            })
        });
        json!({
            "name": self.name,
            "interval": "1m",
            "input_series": series.collect::<Vec<_>>(),
            "promql_expr_test": checks.collect::<Vec<_>>(),
            "alert_rule_test": self.said,
        })
    }
}

/// Every series of one replica as Prometheus would store it.
fn input(replica: usize, phases: &[Phase]) -> Vec<Value> {
    let names: BTreeSet<&String> = phases
        .iter()
        .filter_map(|p| p.scrape.as_ref())
        .flat_map(|s| s.samples.keys())
        .collect();
    let mut all: BTreeMap<&String, Vec<String>> =
        names.iter().map(|name| (*name, Vec::new())).collect();
    let mut minute = 0_i64;
    let mut stamp = 0_i64;
    for phase in phases {
        for _ in 0..phase.minutes {
            if let Some(scrape) = phase.scrape.as_ref().filter(|_| !phase.stands_still) {
                // promtool's clock begins at zero.
                stamp = minute * 60 - scrape.stamp_age_secs();
            }
            for (name, values) in &mut all {
                let sample = phase
                    .scrape
                    .as_ref()
                    .and_then(|scrape| scrape.samples.get(*name));
                let was_there = values
                    .last()
                    .is_some_and(|last| last != "_" && last != "stale");
                values.push(match sample {
                    Some(_) if name.as_str() == STAMP => stamp.to_string(),
                    Some(value) => value.to_string(),
                    None if was_there => "stale".to_owned(),
                    None => "_".to_owned(),
                });
            }
            minute += 1;
        }
    }
    let labels = format!(
        r#"namespace="diagnostics",job="osd-osproxy-directives",instance="10.0.0.{replica}:8080",pod="osd-{replica}""#
    );
    let line = |(name, values): (&String, Vec<String>)| {
        let series = match name.strip_suffix('}') {
            Some(open) => format!("{open},{labels}}}"),
            None => format!("{name}{{{labels}}}"),
        };
        json!({"series": series, "values": values.join(" ")})
    };
    all.into_iter().map(line).collect()
}
