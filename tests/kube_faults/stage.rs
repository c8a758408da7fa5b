//! The whole line, with a gateway between the operator and its API server.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::GetOptions;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use osproxy_directives::document::Accepted;
use serde_json::{Value, json};
use testbed::gateway::{Asked, Gateway};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions, eventually};

use super::support::{Document, KEY, Line, SOON, Stopwatch, directive, options};

/// After what can be gone on from at once: a back-off of half a second, and a list.
pub(super) const AT_ONCE: Duration = Duration::from_secs(10);
/// After what has failed for a while: the longest back-off, 15 s, and a list.
pub(super) const HEALED: Duration = Duration::from_secs(20);
/// Where nothing tells but that nothing is said: 65 s, and a list.
pub(super) const MUTE: Duration = Duration::from_secs(75);
/// Where nothing tells at all: the next regular list.
pub(super) const RELIST: Duration = Duration::from_secs(370);

pub(super) struct Stage {
    pub(super) line: Line,
    pub(super) gateway: Gateway,
}

impl Stage {
    /// With these directives published, an hour long each.
    pub(super) async fn with(names: &[&str]) -> Result<Self> {
        let stage = Self::start(options()).await?;
        for name in names {
            stage.apply(name).await?;
        }
        stage.holds(names).await?;
        for name in names {
            stage.line.state(name, "Active").await?;
        }
        Ok(stage)
    }

    pub(super) async fn start(options: OperatorOptions) -> Result<Self> {
        let (plane, etcd) =
            tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
        Self::on(plane, etcd, options).await
    }

    pub(super) async fn on(
        plane: ControlPlane,
        etcd: Etcd,
        options: OperatorOptions,
    ) -> Result<Self> {
        let gateway = Gateway::start(&plane).await?;
        let options = options.api_server(gateway.endpoint());
        let operator = Operator::start(&plane, &etcd, options).await?;
        operator.wait_ready().await?;
        let line = Line {
            operator,
            etcd,
            plane,
        };
        Ok(Self { line, gateway })
    }

    pub(super) async fn apply(&self, name: &str) -> Result<()> {
        self.line.apply(&directive(name, "1h")).await.map(drop)
    }

    /// Waits until the key holds these directives of the default namespace and no others.
    pub(super) async fn holds(&self, names: &[&str]) -> Result<Option<Document>> {
        self.line.ids(&ids(names)).await
    }

    /// The key holds these directives within the bound, counted from now; writes the fault's line.
    pub(super) async fn right_within(
        &self,
        number: &str,
        what: &str,
        names: &[&str],
        bound: Duration,
    ) -> Result<()> {
        let expected = ids(names);
        let watch = Stopwatch::start();
        eventually(what, bound, async || {
            let document = self.line.document().await?;
            let ids: Vec<_> = document.iter().flat_map(Document::ids).collect();
            ensure!(ids == expected, "the key holds {ids:?}");
            Ok(())
        })
        .await
        .with_context(|| self.log_end())?;
        fault(number, what, bound, watch.elapsed());
        Ok(())
    }

    /// The key holds these directives, and goes on to for so long.
    pub(super) async fn keeps(&self, names: &[&str], time: Duration) -> Result<()> {
        let before = self.line.document().await?;
        ensure!(before.iter().flat_map(Document::ids).eq(ids(names)));
        tokio::time::sleep(time).await;
        ensure!(self.line.document().await? == before, "the key was written");
        Ok(())
    }

    /// What the key held after each of its writes, from the first one on; nothing for a deletion.
    pub(super) async fn history(&self) -> Result<Vec<Vec<String>>> {
        let mut client = self.line.etcd.client().await?;
        let now = client.get(KEY, None).await?;
        let now = now.header().context("no header")?.revision();
        let mut history = Vec::new();
        let mut last = 0;
        // One revision at a time: all of them may be more than a message holds.
        for revision in 1..=now {
            let at = GetOptions::new().with_revision(revision);
            let found = client.get(KEY, Some(at)).await?;
            let written = found
                .kvs()
                .first()
                .map_or(0, etcd_client::KeyValue::mod_revision);
            if std::mem::replace(&mut last, written) == written {
                continue;
            }
            let Some(kv) = found.kvs().first() else {
                history.push(Vec::new());
                continue;
            };
            let accepted = Accepted::from_bytes(kv.value());
            let accepted = accepted.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
            let entries = accepted.entries().iter();
            history.push(entries.map(|read| read.entry.id.clone()).collect());
        }
        Ok(history)
    }

    /// From when it first held a directive, the key held it without a break.
    pub(super) async fn never_lost(&self, name: &str) -> Result<()> {
        let id = format!("default/{name}");
        let history = self.history().await?;
        let mut held = history.iter().skip_while(|ids| !ids.contains(&id));
        ensure!(held.clone().next().is_some(), "it was never there");
        ensure!(
            held.all(|ids| ids.contains(&id)),
            "{name} was lost: {history:?}"
        );
        Ok(())
    }

    /// From when it first went, the key never held a directive again.
    pub(super) async fn never_back(&self, name: &str) -> Result<()> {
        let id = format!("default/{name}");
        let history = self.history().await?;
        let mut gone = history
            .iter()
            .skip_while(|ids| !ids.contains(&id))
            .skip_while(|ids| ids.contains(&id));
        ensure!(gone.clone().next().is_some(), "it never went");
        ensure!(
            !gone.any(|ids| ids.contains(&id)),
            "{name} came back: {history:?}"
        );
        Ok(())
    }

    /// The operator's watch is told that its version is too old, until it lists.
    pub(super) async fn makes_it_list(&self) -> Result<()> {
        let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"});
        let before = self.lists();
        eventually("a list", SOON, async || {
            // There may be no watch at the moment to say it on.
            self.gateway.say(&json!({"type": "ERROR", "object": gone}));
            ensure!(self.lists() > before);
            Ok(())
        })
        .await
    }

    /// Waits until a watch has lasted for so long that what failed before it is forgotten: a second, counted from the look at the
    /// definition that follows its opening.
    pub(super) async fn settles(&self) -> Result<()> {
        const LASTS: Duration = Duration::from_secs(3);
        let mut seen: Option<(usize, Stopwatch)> = None;
        eventually("a watch that lasts", SOON, async || {
            let about =
                |asked: &Asked| asked.is_list() || asked.is_watch() || asked.is_definition();
            let asked = self.gateway.asked(about);
            let [.., watch, look] = asked.as_slice() else {
                bail!("nothing asked");
            };
            let opened = watch.is_watch() && watch.status == Some(200);
            let looked = look.is_definition() && look.status == Some(200);
            ensure!(
                opened && looked,
                "the last ones were {watch:?} and {look:?}"
            );
            let since = match seen.take() {
                Some((number, since)) if number == look.number => since,
                _ => Stopwatch::start(),
            };
            let lasted = since.elapsed();
            seen = Some((look.number, since));
            ensure!(lasted >= LASTS, "it has only lasted for {lasted:?}");
            Ok(())
        })
        .await
    }

    /// Waits until all directives of the default namespace are `Active`.
    pub(super) async fn all_active(&self, many: usize) -> Result<()> {
        eventually(&format!("{many} statuses"), SOON, async || {
            let view: Value = serde_json::from_str(&self.view().await?)?;
            let items = view["items"].as_array().context("no items")?.iter();
            let active = items
                .filter(|item| item["status"]["state"] == "Active")
                .count();
            ensure!(active == many, "{active}");
            Ok(())
        })
        .await
    }

    /// What `/readyz` says, once it says this.
    pub(super) async fn says(&self, word: &str) -> Result<()> {
        let url = format!("{}/readyz", self.line.operator.replica(0).endpoint());
        eventually(&format!("/readyz to say {word}"), SOON, async || {
            let said = testbed::http::get(&url, &[]).await?.body;
            ensure!(said.contains(word), "it says {said}");
            Ok(())
        })
        .await
    }

    /// Waits until a metric has this value.
    pub(super) async fn metric(&self, sample: &str) -> Result<()> {
        eventually(sample, SOON, async || {
            let metrics = self.line.operator.replica(0).metrics().await?;
            let found = metrics.lines().any(|line| line == sample);
            ensure!(found, "{metrics}");
            Ok(())
        })
        .await
    }

    pub(super) fn log(&self) -> Result<String> {
        self.line.operator.replica(0).process().log_text()
    }

    fn log_end(&self) -> String {
        self.line.operator.replica(0).process().log_excerpt()
    }

    /// What kills the operator, for a rule.
    pub(super) fn kill(&self) -> Result<impl FnMut() + Send + 'static + use<>> {
        let process = self.line.operator.replica(0).process();
        let pid = process.id().context("it runs")?.to_string();
        Ok(move || {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        })
    }

    /// Waits until the operator is dead, and starts it again. Its election lease ends, as by its time.
    pub(super) async fn comes_back(&self) -> Result<()> {
        let replica = self.line.operator.replica(0);
        if replica.process().is_running() {
            replica.process().wait(SOON).await?;
        }
        let leader = "osproxy/directives/leader/";
        eventually("the end of its election lease", SOON, async || {
            let keys = ["get", "--prefix", leader, "--keys-only"];
            let keys = self.line.etcd.etcdctl(&keys).await?.success()?;
            for key in keys.split_whitespace() {
                let lease = key.rsplit('/').next().context("a leader's key")?;
                // It may have ended by its time since it was seen, and cannot be revoked then.
                self.line.etcd.etcdctl(&["lease", "revoke", lease]).await?;
            }
            ensure!(keys.trim().is_empty(), "there was still {keys}");
            Ok(())
        })
        .await?;
        replica.restart()?;
        replica.wait_ready().await
    }

    /// Stops the operator in good form and starts it again, without waiting.
    pub(super) async fn restarts(&self) -> Result<()> {
        let replica = self.line.operator.replica(0);
        replica.stop(Duration::from_secs(5)).await?;
        replica.restart()
    }

    /// The directives, for a test that applies many.
    pub(super) fn directives(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("osproxy.io", "v1alpha1", "DiagnosticsDirective");
        let resource = ApiResource::from_gvk_with_plural(&kind, "diagnosticsdirectives");
        Api::namespaced_with(self.line.plane.client(), "default", &resource)
    }

    /// The list of all directives as the real server gives it now: a view that a test can bring back later.
    pub(super) async fn view(&self) -> Result<String> {
        let path = "/apis/osproxy.io/v1alpha1/diagnosticsdirectives";
        self.line.plane.get(path).await
    }

    pub(super) fn lists(&self) -> usize {
        self.gateway.asked(Asked::is_list).len()
    }
}

/// The resourceVersion of a list.
pub(super) fn version_of(view: &str) -> Result<String> {
    let view: Value = serde_json::from_str(view)?;
    let version = view["metadata"]["resourceVersion"].as_str();
    Ok(version.context("no version")?.to_owned())
}

/// One line of the table that `make faults` makes.
pub(super) fn fault(number: &str, what: &str, bound: Duration, seen: Duration) {
    let (bound, seen) = (bound.as_secs_f64(), seen.as_secs_f64());
    println!("\nFAULT|{number}|{what}|{bound:.2} s|{seen:.2} s|");
}

fn ids(names: &[&str]) -> Vec<&'static str> {
    // Leaked: a few bytes a test, and the comparisons read as the rest of the tests do.
    let id = |name: &&str| &*Box::leak(format!("default/{name}").into_boxed_str());
    names.iter().map(id).collect()
}
