//! Each proxy's word: whoever applied a directive learns whether every proxy that reports has it.

#![allow(
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "a test writes what proxies write, takes the time, and tells one story on one system, which takes seconds to start"
)]

#[path = "on_call/rights.rs"]
mod rights;
#[path = "cli/shell.rs"]
mod shell;
mod support;
#[path = "on_call/thousand.rs"]
mod thousand;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{GetOptions, PutOptions};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::fleet::{Record, Refused};
use serde_json::Value;
use shell::Shell;
use support::{
    KEY, Line, SOON, Stopwatch, condition, directive, options, put_by_hand, seen, traces,
};
use testbed::gateway::{Asked, Gateway};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, Proxy, ProxyOptions, eventually};

/// Up to 500 proxies.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A proxy that is behind is named.
const NAMED: Duration = Duration::from_secs(30);
/// A dead proxy's record goes with its lease, which etcd looks at twice a second.
const FORGOTTEN: Duration = Duration::from_secs(65);
/// One directive, in its life.
const STATUSES: usize = 6;
const FLEETS: &str = "/apis/osproxy.io/v1alpha1/diagnosticsfleets";

/// The whole line with a gateway that counts, two stores in this process, and a proxy that can be stopped.
struct Stage {
    stores: Vec<EtcdDirectiveStore>,
    proxy: Proxy,
    gateway: Gateway,
    line: Line,
}

impl Stage {
    async fn start() -> Result<Self> {
        let (plane, etcd) =
            tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
        let gateway = Gateway::start(&plane).await?;
        let options = options().api_server(gateway.endpoint());
        let operator = Operator::start(&plane, &etcd, options).await?;
        operator.wait_ready().await?;
        let line = Line {
            operator,
            etcd,
            plane,
        };
        let proxy = ProxyOptions::new(example()?, line.etcd.endpoints())
            .name("proxy-3")
            .arg("--instance")
            .arg("proxy-3");
        Ok(Self {
            stores: vec![
                named(&line.etcd, "proxy-1").await?,
                named(&line.etcd, "proxy-2").await?,
            ],
            proxy: Proxy::start(proxy).await?,
            gateway,
            line,
        })
    }

    /// Waits until the fleet at a glance names a proxy as one of the worst and in its condition, or in neither place.
    async fn at_a_glance(&self, instance: &str, named: bool, within: Duration) -> Result<()> {
        let what = format!("{instance} at a glance: {named}");
        eventually(&what, within, async || {
            let all = self.line.plane.get(FLEETS).await?;
            let all: Value = serde_json::from_str(&all)?;
            let places = glance(&all);
            let as_it_should = |(_, says): &(&str, String)| says.contains(instance) == named;
            ensure!(places.iter().all(as_it_should), "{places:?}");
            Ok(())
        })
        .await
    }

    /// Applies a directive and waits until the condition Applied is `expected`.
    async fn apply(&self, name: &str, expected: &str, within: Duration) -> Result<Value> {
        self.line.apply(&directive(name, "1h")).await?;
        self.applied(name, expected, within).await
    }

    async fn applied(&self, name: &str, expected: &str, within: Duration) -> Result<Value> {
        let what = format!("{name} to be Applied={expected}");
        eventually(&what, within.max(SOON), async || {
            let status = self.line.status(name).await?;
            ensure!(condition(&status, "Applied")? == expected, "{status}");
            Ok(status)
        })
        .await
    }

    /// How many statuses of a directive were written so far.
    fn statuses(&self, name: &str) -> usize {
        let path = format!("/{name}/status");
        let about = |asked: &Asked| asked.is_status() && asked.path.ends_with(&path);
        self.gateway.asked(about).len()
    }

    fn everybody_traces(&self) -> Result<()> {
        let now = SystemClock.now();
        let traced = self
            .stores
            .iter()
            .filter(|store| traces(store, now))
            .count();
        ensure!(traced == self.stores.len(), "only {traced} trace");
        Ok(())
    }
}

/// A store with a name, as a proxy embeds it.
async fn named(etcd: &Etcd, name: &str) -> Result<EtcdDirectiveStore> {
    let store = EtcdDirectiveStore::builder(etcd.endpoints(), KEY, Arc::new(SystemClock));
    Ok(store.instance(name).build().await?)
}

/// The example, which cargo builds beside every test.
fn example() -> Result<PathBuf> {
    let operator = support::binary();
    let directory = operator.parent().context("no directory")?;
    Ok(directory.join("examples/proxy"))
}

/// The records that stand below the key, by instance; each with the lease that it hangs on.
async fn records(etcd: &Etcd) -> Result<Vec<(String, Record, i64)>> {
    let mut client = etcd.client().await?;
    let below = format!("{KEY}/fleet/");
    let options = GetOptions::new().with_prefix();
    let answer = client.get(below.as_str(), Some(options)).await?;
    let all = answer.kvs().iter().map(|kv| {
        let instance = kv.key_str()?.trim_start_matches(&below).to_owned();
        Ok((instance, Record::from_bytes(kv.value())?, kv.lease()))
    });
    all.collect()
}

async fn reporting(etcd: &Etcd, expected: &[&str]) -> Result<()> {
    eventually(&format!("{expected:?} to report"), SOON, async || {
        let names: Vec<_> = records(etcd).await?.into_iter().map(|r| r.0).collect();
        ensure!(names == expected, "{names:?}");
        Ok(())
    })
    .await
}

/// A proxy that says what a test has it say, with a proxy's rights and under a lease of its own.
struct Double {
    key: String,
    client: etcd_client::Client,
    lease: i64,
}

impl Double {
    async fn new(etcd: &Etcd, instance: &str) -> Result<Self> {
        let key = format!("{KEY}/fleet/{instance}");
        let mut client = etcd.client().await?;
        // Until it ends itself, however long the test takes.
        let lease = client.lease_grant(600, None).await?.id();
        Ok(Self { key, client, lease })
    }

    async fn says(&mut self, revision: i64, refused: Option<i64>) -> Result<()> {
        let record = Record {
            version: "0.0.1".to_owned(),
            revision,
            refused: refused.map(|revision| Refused {
                reason: "unknown_member".to_owned(),
                revision,
            }),
            ..Record::default()
        };
        let options = PutOptions::new().with_lease(self.lease);
        self.client
            .put(self.key.as_str(), record.to_bytes(), Some(options))
            .await?;
        Ok(())
    }

    async fn ends(mut self) -> Result<()> {
        self.client.lease_revoke(self.lease).await?;
        Ok(())
    }
}

/// The fleet's glance, of a list of one: the two places in it where proxies are named, each with what it says.
fn glance(all: &Value) -> [(&'static str, String); 2] {
    let glance = &all["items"][0]["status"];
    let current = glance["conditions"].as_array().into_iter().flatten();
    let current: Vec<Value> = current
        .filter(|condition| condition["type"] == "ProxiesCurrent")
        .cloned()
        .collect();
    [
        ("diagfleet's worst", glance["worst"].to_string()),
        ("diagfleet's condition", Value::from(current).to_string()),
    ]
}

/// The places where somebody looks beside the condition, each with what it says: two commands, the fleet's glance and its column.
async fn places(line: &Line, shell: &Shell) -> Result<Vec<(&'static str, String)>> {
    let endpoints = format!("--etcd-endpoints={}", line.etcd.endpoint_list());
    let all = ["get", "diagfleet", "-A", "-o", "json"];
    let all: Value = serde_json::from_str(&line.plane.kubectl(&all).await?.success()?)?;
    let mut places = vec![
        ("status", shell.run(&["status"]).await?.out),
        ("proxies", shell.run(&["proxies"]).await?.out),
        (
            "proxies, by etcd",
            shell.run(&["proxies", &endpoints]).await?.out,
        ),
    ];
    places.extend(glance(&all));
    Ok(places)
}

async fn named_everywhere(line: &Line, shell: &Shell, instance: &str) -> Result<()> {
    for (place, says) in places(line, shell).await? {
        ensure!(says.contains(instance), "{place} does not name it: {says}");
    }
    let args = ["get", "diagfleet", "-A"];
    let row = line.plane.kubectl(&args).await?.success()?;
    ensure!(row.contains("2/3"), "the column does not count it: {row}");
    Ok(())
}

async fn named_nowhere(line: &Line, shell: &Shell, instance: &str) -> Result<()> {
    for (place, says) in places(line, shell).await? {
        // With etcd's own records every proxy is named, and this one has none any more.
        ensure!(!says.contains(instance), "{place} still names it: {says}");
    }
    Ok(())
}

/// A person pauses the publishing and writes what is no document: each store says so of itself, and goes on with the last good one.
async fn every_proxy_refuses_what_it_cannot_read(line: &Line, shell: &Shell) -> Result<()> {
    let mut client = line.etcd.client().await?;
    let paused = format!("{KEY}/paused");
    client.put(paused.as_str(), "a person", None).await?;
    let revision = put_by_hand(&line.etcd, r#"{"directives": [{"id""#, 0).await?;
    let written = Stopwatch::start();
    let refused = |record: &Record| record.refused.as_ref().map(|refused| refused.revision);
    eventually("each of them to refuse it", SOON, async || {
        let all = records(&line.etcd).await?;
        let by = all.iter().filter(|one| refused(&one.1) == Some(revision));
        ensure!(by.count() == 3, "{all:?}");
        Ok(())
    })
    .await?;
    let what = "a document that no proxy can read, until each has said so";
    seen("A6", what, AT_ONCE, &written)?;
    let endpoints = format!("--etcd-endpoints={}", line.etcd.endpoint_list());
    let said = shell.run(&["proxies", &endpoints]).await?;
    said.ended(1)?;
    ensure!(
        said.out.matches(" Rejecting ").count() == 3
            && said.out.matches(" invalid_json").count() == 3,
        "{said:?}"
    );
    client.delete(paused.as_str(), None).await?;
    eventually("each of them to take the next one", SOON, async || {
        let all = records(&line.etcd).await?;
        ensure!(all.iter().all(|one| one.1.refused.is_none()), "{all:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn each_proxy_has_its_word_and_none_holds_a_directive_up() -> Result<()> {
    let mut stage = Stage::start().await?;
    let etcd = || &stage.line.etcd;
    reporting(etcd(), &["proxy-1", "proxy-2", "proxy-3"]).await?;

    // True when all of them have it, and not before.
    stage.line.apply(&directive("a", "1h")).await?;
    let applied = Stopwatch::start();
    let status = stage.applied("a", "True/Applied", AT_ONCE).await?;
    let took = "an apply, until three proxies have said that they have it";
    seen("A1", took, AT_ONCE, &applied)?;
    stage.everybody_traces()?;
    let known = stage.proxy.directives().await?;
    ensure!(known.directives.len() == 1, "{known:?}");
    ensure!(status["applied"] == "3/3", "{status}");
    ensure!(status["proxies"]["reporting"] == 3, "{status}");
    eventually("the Event", SOON, async || {
        let args = ["events", "--for", "diag/a"];
        let events = stage.line.plane.kubectl(&args).await?.success()?;
        ensure!(
            events.contains("Applied") && events.contains("3/3"),
            "{events}"
        );
        Ok(())
    })
    .await?;

    // A neighbour costs it nothing, and neither does the restart of a proxy.
    let before = stage.statuses("a");
    ensure!(before <= 3, "{before} statuses for one apply");
    stage.apply("b", "True/Applied", AT_ONCE).await?;
    let gone = stage.stores.pop().context("a store")?;
    drop(gone);
    reporting(etcd(), &["proxy-1", "proxy-3"]).await?;
    let again = named(etcd(), "proxy-2").await?;
    reporting(etcd(), &["proxy-1", "proxy-2", "proxy-3"]).await?;
    ensure!(traces(&again, SystemClock.now()));
    ensure!(
        stage.statuses("a") == before,
        "a neighbour or a restart was told"
    );

    // One that refuses the document turns it False, for what it has not got, and not for what it has.
    let mut double = Double::new(etcd(), "double").await?;
    let first = stage.line.document().await?.context("a document")?;
    double.says(first.mod_revision, None).await?;
    stage.apply("c", "Unknown/Pending", AT_ONCE).await?;
    stage
        .line
        .ids(&["default/a", "default/b", "default/c"])
        .await?;
    let second = stage.line.document().await?.context("a document")?;
    eventually("all others to have it", SOON, async || {
        let all = records(etcd()).await?;
        let have = |record: &Record| record.revision >= second.mod_revision;
        let have = all.iter().filter(|(_, record, _)| have(record)).count();
        ensure!(have == 3, "{all:?}");
        Ok(())
    })
    .await?;
    double
        .says(first.mod_revision, Some(second.mod_revision))
        .await?;
    let refused = Stopwatch::start();
    let status = stage
        .applied("c", "False/ProxiesRejecting", AT_ONCE)
        .await?;
    seen("A2", "a proxy that refuses the document", AT_ONCE, &refused)?;
    ensure!(
        condition(&status, "Ready")? == "False/ProxiesRejecting",
        "{status}"
    );
    let text = status.to_string();
    ensure!(text.contains("double (unknown_member)"), "{status}");
    ensure!(
        status["applied"] == "3/4" && status["state"] == "Active",
        "{status}"
    );
    double.ends().await?;
    let status = stage.applied("c", "True/Applied", AT_ONCE).await?;
    ensure!(condition(&status, "Ready")? == "True/Published", "{status}");
    let other = stage.line.status("a").await?;
    ensure!(condition(&other, "Applied")? == "True/Applied", "{other}");
    ensure!(
        stage.statuses("a") == before,
        "a neighbour's refusal was told"
    );

    let shell = Shell::new(stage.line.plane.kubeconfig())?;
    every_proxy_refuses_what_it_cannot_read(&stage.line, &shell).await?;

    // One that is frozen is named, and forgotten with its lease.
    stage.proxy.process().pause()?;
    let frozen = Stopwatch::start();
    let status = stage.apply("d", "False/ProxiesLagging", NAMED).await?;
    seen("A3", "a frozen proxy, until it is named", NAMED, &frozen)?;
    let text = status.to_string();
    ensure!(
        text.contains("1 of 3 proxies are behind: proxy-3"),
        "{text}"
    );
    ensure!(status["proxies"]["lagging"] == 1, "{status}");
    ensure!(
        condition(&status, "Ready")? == "True/Published",
        "never a gate: {status}"
    );
    let metrics = stage.line.operator.replica(0).metrics().await?;
    ensure!(
        metrics.contains(r#"osproxy_directives_proxies{state="lagging"} 1"#),
        "{metrics}"
    );
    // The commands tell what stands at a glance: the time of five programs more is not the operator's.
    stage.at_a_glance("proxy-3", true, NAMED).await?;
    let took = "a frozen proxy, until status, proxies and diagfleet name it too";
    seen("A3", took, NAMED, &frozen)?;
    named_everywhere(&stage.line, &shell, "proxy-3").await?;
    stage.proxy.process().kill()?;
    let killed = Stopwatch::start();
    let status = stage.applied("d", "True/Applied", FORGOTTEN).await?;
    seen(
        "A4",
        "a dead proxy, until it is forgotten",
        FORGOTTEN,
        &killed,
    )?;
    ensure!(status["applied"] == "2/2", "{status}");
    stage.at_a_glance("proxy-3", false, FORGOTTEN).await?;
    let took = "a dead proxy, until status, proxies and diagfleet forget it too";
    seen("A4", took, FORGOTTEN, &killed)?;
    named_nowhere(&stage.line, &shell, "proxy-3").await?;
    for name in ["a", "b", "c", "d"] {
        let written = stage.statuses(name);
        ensure!(written <= STATUSES, "{written} statuses of {name}");
    }
    Ok(())
}

/// The glance is written every five seconds at most, and a proxy's time may run out between two writes. It is named with the next one then, and
/// not only when everything is looked at again, a quarter of a minute later.
#[tokio::test]
async fn a_proxy_that_is_late_is_named_although_the_glance_was_written_a_moment_before()
-> Result<()> {
    let line = Line::start().await?;
    let fleets =
        async || -> Result<Value> { Ok(serde_json::from_str(&line.plane.get(FLEETS).await?)?) };
    let publishes = async |name: &str, all: &[&str]| -> Result<i64> {
        line.apply(&directive(name, "1h")).await?;
        let document = line.ids(all).await?.context("a document")?;
        Ok(document.mod_revision)
    };
    let first = publishes("a", &["default/a"]).await?;
    let mut late = Double::new(&line.etcd, "late").await?;
    late.says(first, None).await?;
    eventually("the glance to know it", SOON, async || {
        let status = &fleets().await?["items"][0]["status"];
        ensure!(status["applied"] == "1/1", "{status}");
        Ok(())
    })
    .await?;

    let second = publishes("b", &["default/a", "default/b"]).await?;
    let watch = Stopwatch::start();
    // Each publication has ten seconds, the second one after the first one's are over. News makes the glance be written shortly before that.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut other = Double::new(&line.etcd, "other").await?;
    other.says(second, None).await?;
    eventually("it to be named", SOON, async || {
        let fleets = fleets().await?;
        let names = |(_, says): &(&str, String)| says.contains("late");
        ensure!(glance(&fleets).iter().all(names), "{fleets}");
        Ok(())
    })
    .await?;
    let took = "a proxy that is late, the glance having been written a moment before";
    seen("A3", took, NAMED, &watch)
}
