//! The chart's rights on the API server: all that the operator uses, and none that it could do without.
//!
//! Every other suite runs the operator under these rights too, and fails where RBAC refuses it anything: the control plane of
//! the testbed sees to that when it is dropped.

mod support;

#[allow(dead_code, reason = "this suite uses a part of it")]
#[path = "chart/helm.rs"]
mod helm;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};
use support::{SOON, directive, options};
use testbed::kube::Audited;
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, Right, eventually};

const PAGE: &str = include_str!("../docs/rights.md");
const DIRECTIVES: (&str, &str) = ("osproxy.io", "diagnosticsdirectives");
const STATUS: (&str, &str) = ("osproxy.io", "diagnosticsdirectives/status");
const EVENTS: (&str, &str) = ("events.k8s.io", "events");
const FLEETS: (&str, &str) = ("osproxy.io", "diagnosticsfleets");
const FLEETS_STATUS: (&str, &str) = ("osproxy.io", "diagnosticsfleets/status");
const DEFINITION: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");

/// A right of the chart's: group and resource, verb, what it is for, and what one sees where it is missing.
type Row = (
    (&'static str, &'static str),
    &'static str,
    &'static str,
    Missing,
);

/// The rights, as docs/rights.md has them. A new right of the chart's is a new row here.
const ROWS: &[Row] = &[
    (
        DEFINITION,
        "get",
        "whether the definition in the cluster is the one of this release; by its name alone",
        Missing::Outdated,
    ),
    (
        ("", "namespaces"),
        "get",
        "the uid of `kube-system`, which names the cluster in `<key>/owner`; of no other namespace",
        Missing::Ready("cluster_unknown", false),
    ),
    (
        EVENTS,
        "create",
        "say what became of a directive, and of the release",
        Missing::Event,
    ),
    (
        EVENTS,
        "patch",
        "count an Event about the release that is repeated, instead of another one",
        Missing::Series,
    ),
    (
        DIRECTIVES,
        "list",
        "what there is to publish",
        Missing::Ready("kube_forbidden", false),
    ),
    (
        DIRECTIVES,
        "watch",
        "what has changed, at once",
        Missing::Ready("kube_forbidden", true),
    ),
    (
        STATUS,
        "patch",
        "answer in the resource's status",
        Missing::Status,
    ),
    (
        FLEETS,
        "create",
        "make the fleet at a glance, in the release's own namespace",
        Missing::Glance,
    ),
    (
        FLEETS,
        "get",
        "whether the fleet at a glance says already what it should; by its name alone",
        Missing::Glance,
    ),
    (
        FLEETS_STATUS,
        "patch",
        "keep the fleet at a glance; by its name alone",
        Missing::Glance,
    ),
];

/// What is missing without a right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// It is not ready, by this word of `/readyz`; and whether it publishes what it was told once.
    Ready(&'static str, bool),
    /// An older definition is not noticed.
    Outdated,
    /// No status.
    Status,
    /// No Event.
    Event,
    /// An Event that was repeated is not counted.
    Series,
    /// No fleet at a glance.
    Glance,
}

impl Missing {
    fn words(self) -> String {
        match self {
            Self::Ready(word, false) => format!("not ready, `{word}`; nothing is published"),
            Self::Ready(word, true) => {
                format!("not ready, `{word}`; a change waits for the next list")
            }
            Self::Outdated => "an older definition goes unnoticed: \
                `osproxy_directives_kube_definition_outdated` stays 0"
                .to_owned(),
            Self::Status => "directives work and their status stays empty; \
                `osproxy_directives_status_write_failures_total` grows"
                .to_owned(),
            Self::Event => "no Event; `osproxy_directives_events_dropped_total` grows".to_owned(),
            Self::Series => "an Event about the release that is repeated shows once".to_owned(),
            Self::Glance => {
                "no fleet at a glance, or one that stands still; the log says so once".to_owned()
            }
        }
    }
}

fn right(row: &Row) -> Right {
    let ((group, resource), verb, ..) = row;
    Right::new(group, resource, verb)
}

#[tokio::test]
async fn the_page_names_every_right_of_the_chart_and_no_other() -> Result<()> {
    let rows: BTreeSet<Right> = ROWS.iter().map(right).collect();
    for values in [json!({}), json!({"watch": {"namespaces": ["a", "b"]}})] {
        let rendered = Right::all(&helm::render(values).await?);
        assert_eq!(rendered, rows, "a right and its row go together");
    }
    let mut table = String::new();
    for row in ROWS {
        let (_, _, why, missing) = row;
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{}` | {why} | {} |", right(row), missing.words());
    }
    ensure!(
        PAGE.contains(&table),
        "docs/rights.md has another table than:\n{table}"
    );
    Ok(())
}

#[tokio::test]
async fn without_any_one_right_something_breaks_and_with_all_nothing_is_refused() -> Result<()> {
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let all = Installed::start(&plane, &etcd, "all", None).await?;
    let each = ROWS.iter().enumerate().map(async |(number, row)| {
        let home = format!("without-{number}");
        Installed::start(&plane, &etcd, &home, Some(row)).await
    });
    let each = try_join_all(each).await?;

    all.publishes(&plane).await?;
    try_join_all(each.iter().map(|one| one.publishes(&plane))).await?;
    for one in each.iter().chain([&all]) {
        one.is_paused_twice(&plane).await?;
    }
    all.tells_the_release(&plane).await?;
    // Last, since it concerns all of them.
    make_the_definition_older(&plane).await?;
    all.sees_the_older_definition().await?;
    for one in &each {
        one.misses(&plane).await?;
    }

    let given: BTreeSet<Right> = ROWS.iter().map(right).collect();
    eventually("what it asked for in the log", SOON, async || {
        let asked: BTreeSet<Right> = all.asked(&plane)?.iter().map(used).collect();
        ensure!(
            asked == given,
            "what the operator asks for is what the chart gives: {asked:?}"
        );
        Ok(())
    })
    .await
}

/// A release of its own: it publishes one namespace's directives to a key of its own.
struct Installed<'t> {
    home: String,
    etcd: &'t Etcd,
    operator: Operator,
    missing: Option<Missing>,
    without: Option<Right>,
}

impl<'t> Installed<'t> {
    async fn start(
        plane: &ControlPlane,
        etcd: &'t Etcd,
        home: &str,
        row: Option<&Row>,
    ) -> Result<Self> {
        // With all rights, the release lives in another namespace than its directives.
        let release = row.map_or("release", |_| home);
        let create = ["create", "namespace", home];
        plane.kubectl(&create).await?.success()?;
        let mut options = options()
            .release(release)
            .namespace(release)
            .directives_key(home)
            .values(json!({
                "watch": {"namespaces": [home]},
                "policy": {"enabled": false},
                "crds": {"enabled": row.is_none()},
            }));
        if let Some(row) = row {
            options = options.without(right(row));
        }
        Ok(Self {
            home: home.to_owned(),
            etcd,
            operator: Operator::start(plane, etcd, options).await?,
            missing: row.map(|(.., missing)| *missing),
            without: row.map(right),
        })
    }

    /// Whether it does what takes this right.
    fn has(&self, missing: Missing) -> bool {
        self.missing != Some(missing)
    }

    /// One directive is published, suspended and resumed, and its author is told, as far as the rights go.
    async fn publishes(&self, plane: &ControlPlane) -> Result<()> {
        let mut manifest = directive("one", "1h");
        manifest["metadata"]["namespace"] = Value::from(&*self.home);
        let directives = self.directives(plane);
        let manifest = serde_json::from_value(manifest)?;
        directives.create(&PostParams::default(), &manifest).await?;
        if let Some(Missing::Ready(word, published)) = self.missing {
            self.is_not_ready(word).await?;
            if published {
                self.at_the_key(true).await?;
            }
            return Ok(());
        }
        self.operator.wait_ready().await?;
        for suspended in [false, true, false] {
            let patch = Patch::Merge(json!({"spec": {"suspend": suspended}}));
            directives
                .patch("one", &PatchParams::default(), &patch)
                .await?;
            self.at_the_key(!suspended).await?;
            if self.has(Missing::Status) {
                let state = if suspended { "Suspended" } else { "Active" };
                self.state(plane, state).await?;
            }
        }
        Ok(())
    }

    /// Twice somebody says stop and takes it back, which is news for the release itself.
    async fn is_paused_twice(&self, plane: &ControlPlane) -> Result<()> {
        if self.has(Missing::Series) && self.missing.is_some() {
            return Ok(());
        }
        let paused = format!("{}/paused", self.home);
        let held = r#"held{reason="paused"} 1"#;
        for _ in 0..2 {
            let put = ["put", &paused, "ana"];
            self.etcd.etcdctl(&put).await?.success()?;
            self.counts(held, true).await?;
            let del = ["del", &paused];
            self.etcd.etcdctl(&del).await?.success()?;
            self.counts(held, false).await?;
            // One that is on its way is none yet that the next one repeats.
            let release = self.missing.map_or("release", |_| &*self.home);
            eventually("the Events", SOON, async || {
                let told = events(plane, release).await?;
                let is_there = |reason: &str| told.iter().any(|event| event["reason"] == reason);
                ensure!(is_there("Paused") && is_there("Resumed"), "{told:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn tells_the_release(&self, plane: &ControlPlane) -> Result<()> {
        eventually("the Events", SOON, async || {
            let told = events(plane, "release").await?;
            let twice = |reason: &str| {
                let mut those = told.iter().filter(|event| event["reason"] == reason);
                those.any(|event| event["series"]["count"] == 2)
            };
            ensure!(twice("Paused") && twice("Resumed"), "{told:?}");
            let told = events(plane, &self.home).await?;
            ensure!(
                told.iter().any(|event| event["reason"] == "Published"),
                "{told:?}"
            );
            Ok(())
        })
        .await
    }

    async fn sees_the_older_definition(&self) -> Result<()> {
        let sample = "osproxy_directives_kube_definition_outdated 1";
        eventually(sample, SOON, async || {
            let metrics = self.operator.replica(0).metrics().await?;
            ensure!(metrics.lines().any(|line| line == sample), "{metrics}");
            Ok(())
        })
        .await
    }

    /// What is missing is missing, and that and nothing else was refused.
    async fn misses(&self, plane: &ControlPlane) -> Result<()> {
        let (missing, without) = (self.missing.context("all")?, self.without.clone());
        match missing {
            Missing::Ready(word, published) => {
                self.is_not_ready(word).await?;
                let found = self.found().await?;
                ensure!(found.is_some() == published, "{}: {found:?}", self.home);
            }
            Missing::Outdated => {
                self.counts("kube_definition_outdated 0", true).await?;
                let log = self.operator.replica(0).process().log_text()?;
                ensure!(log.contains("May not look at the CRD"), "{log}");
            }
            Missing::Status => {
                self.counts("status_write_failures_total 0", false).await?;
                let one = self.directives(plane).get("one").await?;
                ensure!(one.data.get("status").is_none(), "{one:?}");
            }
            Missing::Glance => {
                eventually("the log to say so", SOON, async || {
                    let log = self.operator.replica(0).process().log_text()?;
                    ensure!(log.contains("Cannot write the DiagnosticsFleet"), "{log}");
                    Ok(())
                })
                .await?;
            }
            Missing::Event => {
                self.counts("events_dropped_total 0", false).await?;
                let events = events(plane, &self.home).await?;
                ensure!(events.is_empty(), "{events:?}");
            }
            Missing::Series => {
                eventually("the refusal", SOON, async || {
                    let asked = self.asked(plane)?;
                    ensure!(asked.iter().any(|asked| asked.forbidden), "{asked:?}");
                    Ok(())
                })
                .await?;
                let events = events(plane, &self.home).await?;
                let single = events.iter().all(|event| event["series"].is_null());
                ensure!(!events.is_empty() && single, "{events:?}");
            }
        }
        let without: BTreeSet<Right> = without.into_iter().collect();
        // The server writes its log of a request after it has answered.
        eventually("the refusals in the log", SOON, async || {
            let asked = self.asked(plane)?;
            let refused = asked.iter().filter(|asked| asked.forbidden);
            let refused: BTreeSet<Right> = refused.map(used).collect();
            ensure!(refused == without, "{}: {refused:?}", self.home);
            Ok(())
        })
        .await
    }

    fn directives(&self, plane: &ControlPlane) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("osproxy.io", "v1alpha1", "DiagnosticsDirective");
        let resource = ApiResource::from_gvk_with_plural(&kind, "diagnosticsdirectives");
        Api::namespaced_with(plane.client(), &self.home, &resource)
    }

    async fn is_not_ready(&self, word: &str) -> Result<()> {
        let url = format!("{}/readyz", self.operator.replica(0).endpoint());
        eventually(&format!("/readyz to say {word}"), SOON, async || {
            let said = testbed::http::get(&url, &[]).await?;
            ensure!(
                said.status == 503 && said.body.contains(word),
                "it says {}",
                said.body
            );
            Ok(())
        })
        .await
    }

    /// Whether a line of the metrics is there becomes this.
    async fn counts(&self, sample: &str, there: bool) -> Result<()> {
        let sample = format!("osproxy_directives_{sample}");
        eventually(&sample, SOON, async || {
            let metrics = self.operator.replica(0).metrics().await?;
            ensure!(
                metrics.lines().any(|line| line == sample) == there,
                "{metrics}"
            );
            Ok(())
        })
        .await
    }

    async fn found(&self) -> Result<Option<String>> {
        let mut client = self.etcd.client().await?;
        let found = client.get(&*self.home, None).await?;
        let found = found.kvs().first();
        Ok(found.map(|kv| String::from_utf8_lossy(kv.value()).into_owned()))
    }

    async fn at_the_key(&self, there: bool) -> Result<()> {
        eventually(&format!("{}: there={there}", self.home), SOON, async || {
            let found = self.found().await?;
            ensure!(found.is_some() == there, "{found:?}");
            Ok(())
        })
        .await
    }

    async fn state(&self, plane: &ControlPlane, state: &str) -> Result<()> {
        eventually(&format!("{} to be {state}", self.home), SOON, async || {
            let one = self.directives(plane).get("one").await?;
            let is = &one.data["status"]["state"];
            ensure!(is == state, "it is {is}");
            Ok(())
        })
        .await
    }

    fn asked(&self, plane: &ControlPlane) -> Result<Vec<Audited>> {
        let mut asked = plane.audited(self.operator.user())?;
        if asked.is_empty() {
            bail!("{} has asked for nothing", self.operator.user());
        }
        // What is no resource is open to everybody: which versions there are.
        asked.retain(|asked| !asked.resource.is_empty());
        Ok(asked)
    }
}

fn used(asked: &Audited) -> Right {
    Right::new(&asked.group, &asked.resource, &asked.verb)
}

/// The operator's Events in a namespace; the controller manager's about its disruption budget are not.
async fn events(plane: &ControlPlane, namespace: &str) -> Result<Vec<Value>> {
    let events: Api<Event> = Api::namespaced(plane.client(), namespace);
    let list = events.list(&ListParams::default()).await?;
    Ok(list
        .items
        .iter()
        .filter(|event| event.reporting_controller.as_deref() == Some("osproxy-directives"))
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?)
}

/// Takes a member out of the definition, as one of an earlier release would lack it.
async fn make_the_definition_older(plane: &ControlPlane) -> Result<()> {
    let member = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/comment";
    let patch = json!([{"op": "remove", "path": member}]).to_string();
    let name = "diagnosticsdirectives.osproxy.io";
    let args = ["patch", "crd", name, "--type=json", "-p", &patch];
    plane.kubectl(&args).await?.success().map(drop)
}
