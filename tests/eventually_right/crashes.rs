//! A crash at every call. The operator is killed before and after each call of a cycle, on either server, and started again; the key and
//! the statuses come out as if nothing had happened.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use osproxy_directives::resource::DiagnosticsDirective;
use serde_json::{Map, Value, json};
use testbed::gateway::{Asked, Gateway};
use testbed::interpose::{Interposer, method};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, eventually};

use super::support::{SOON, document, now_secs, options};

/// What is done to the resources while the operator is killed.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    Create,
    Edit,
    Suspend,
    End,
    Delete,
    OverBudget,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_a_creation_shows_in_nothing() -> Result<()> {
    Stage::start().await?.at_every_call(Scenario::Create).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_an_edit_shows_in_nothing() -> Result<()> {
    Stage::start().await?.at_every_call(Scenario::Edit).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_a_suspension_shows_in_nothing() -> Result<()> {
    Stage::start().await?.at_every_call(Scenario::Suspend).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_an_end_shows_in_nothing() -> Result<()> {
    Stage::start().await?.at_every_call(Scenario::End).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_a_deletion_shows_in_nothing() -> Result<()> {
    Stage::start().await?.at_every_call(Scenario::Delete).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_over_budget_shows_in_nothing() -> Result<()> {
    let stage = Stage::start().await?;
    stage.at_every_call(Scenario::OverBudget).await
}

/// A call of the operator, by what it is and its number since the scenario began.
#[derive(Clone, Copy, Debug)]
enum Call {
    Etcd(&'static str, usize),
    Status(usize),
    Event(usize),
}

/// When the operator dies.
#[derive(Clone, Copy, Debug)]
enum When {
    /// The server never hears of the call.
    Before,
    /// The server has done it, and nobody is told.
    After,
}

/// An operator that reaches both servers through somebody in the middle.
struct Stage {
    api: Api<DynamicObject>,
    operator: Operator,
    between: Interposer,
    gateway: Gateway,
    etcd: Etcd,
    // Stopped last.
    _plane: ControlPlane,
}

impl Stage {
    async fn start() -> Result<Self> {
        let (plane, etcd) =
            tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
        let between = Interposer::start(&etcd.member(0).endpoint()).await?;
        let gateway = Gateway::start(&plane).await?;
        let through = options()
            .etcd_endpoints(vec![between.endpoint()])
            .api_server(gateway.endpoint())
            .values(json!({"extraArgs": ["--max-directives=2"]}));
        let operator = Operator::start(&plane, &etcd, through).await?;
        operator.wait_ready().await?;
        let kind = ApiResource::erase::<DiagnosticsDirective>(&());
        Ok(Self {
            api: Api::namespaced_with(plane.client(), "default", &kind),
            operator,
            between,
            gateway,
            etcd,
            _plane: plane,
        })
    }

    async fn at_every_call(&self, scenario: Scenario) -> Result<()> {
        let (undisturbed, calls) = self.undisturbed(scenario).await?;
        ensure!(!calls.is_empty(), "a cycle without a call");
        let mut crashes = 0;
        for (number, call) in calls.iter().enumerate() {
            for when in [When::Before, When::After] {
                let mut run = Run {
                    name: format!(
                        "r{number}{}",
                        if matches!(when, When::Before) {
                            "b"
                        } else {
                            "a"
                        }
                    ),
                    began_secs: now_secs(),
                };
                crashes += usize::from(
                    self.disturbed(scenario, &mut run, *call, when, &undisturbed)
                        .await
                        .with_context(|| format!("killed {when:?} {call:?} of {scenario:?}"))?,
                );
            }
        }
        // Which calls there are depends a little on what coalesces: a late one may not come in every run.
        let points = 2 * calls.len();
        eprintln!("{scenario:?}: killed at {crashes} of {points} points");
        ensure!(
            4 * crashes >= 3 * points,
            "killed at {crashes} of {points} points only"
        );
        Ok(())
    }

    /// What comes of it, and the calls that it takes.
    async fn undisturbed(&self, scenario: Scenario) -> Result<(Value, Vec<Call>)> {
        let mut run = Run {
            name: "plain".to_owned(),
            began_secs: now_secs(),
        };
        self.prepare(scenario, &mut run).await?;
        let (etcd, kube) = (self.between.journal().len(), self.gateway.journal().len());
        self.act(scenario, &run).await?;
        let outcome = eventually("an outcome", SOON, async || {
            let outcome = self.outcome(&run).await?;
            ensure!(is_reached(scenario, &outcome), "it is {outcome}");
            // Events come after the statuses, and what the proxies say may come by a status of its own.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let later = self.outcome(&run).await?;
            ensure!(later == outcome, "it was {outcome} and is {later}");
            Ok(outcome)
        })
        .await?;
        let mut calls = Vec::new();
        for method in [method::LEASE_GRANT, method::TXN] {
            let journal = self.between.journal();
            let made = journal[etcd..]
                .iter()
                .filter(|made| *made == method)
                .count();
            calls.extend((1..=made).map(|nth| Call::Etcd(method, nth)));
        }
        let journal = self.gateway.journal();
        let made =
            |about: fn(&Asked) -> bool| journal[kube..].iter().filter(|asked| about(asked)).count();
        calls.extend((1..=made(Asked::is_status)).map(Call::Status));
        calls.extend((1..=made(Asked::is_event)).map(Call::Event));
        self.clear().await?;
        Ok((outcome, calls))
    }

    /// The same with a crash; says whether the operator came to that call.
    async fn disturbed(
        &self,
        scenario: Scenario,
        run: &mut Run,
        call: Call,
        when: When,
        undisturbed: &Value,
    ) -> Result<bool> {
        self.prepare(scenario, run).await?;
        let run = &*run;
        let replica = self.operator.replica(0);
        let pid = replica.process().id().context("the operator runs")?;
        let killed = self.kill_at(pid, call, when);
        self.act(scenario, run).await?;
        eventually("the crash, or the outcome without it", SOON, async || {
            if !replica.process().is_running() {
                return Ok(());
            }
            let outcome = self.outcome(run).await?;
            ensure!(outcome == *undisturbed, "it is {outcome}");
            // The last calls, of Events, come after the outcome.
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(())
        })
        .await?;
        self.between.heal();
        self.gateway.heal();
        // The signal is sent by a process, which may take its time.
        if killed.load(Ordering::SeqCst) {
            eventually("the killed operator to end", SOON, async || {
                ensure!(!replica.process().is_running(), "it runs");
                Ok(())
            })
            .await?;
        }
        let died = !replica.process().is_running();
        if died {
            // Its election lease ends at once instead of in fifteen seconds.
            let keys = ["del", "--prefix", "osproxy/directives/leader/"];
            self.etcd.etcdctl(&keys).await?.success()?;
            replica.restart()?;
            eventually("the same outcome", SOON, async || {
                let outcome = self.outcome(run).await?;
                ensure!(
                    outcome == *undisturbed,
                    "it is {outcome}, without a crash {undisturbed}"
                );
                Ok(())
            })
            .await?;
        }
        self.clear().await?;
        Ok(died)
    }

    /// Has the operator killed at a call; what it returns says afterwards whether the operator came to it.
    fn kill_at(&self, pid: u32, call: Call, when: When) -> Arc<AtomicBool> {
        let killed = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&killed);
        let kill = move || {
            noted.store(true, Ordering::SeqCst);
            let _ = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
        };
        let kube = |about: fn(&Asked) -> bool, nth: usize| {
            let rule = self.gateway.when(about).nth(nth);
            match when {
                When::Before => rule.run(kill.clone()).lose().arm(),
                When::After => rule.answered(kill.clone()).lose_answer().arm(),
            };
        };
        match call {
            Call::Etcd(method, nth) => {
                match when {
                    When::Before => self.between.request(method).nth(nth).run(kill).lose().arm(),
                    When::After => self.between.answer(method).nth(nth).run(kill).arm(),
                };
            }
            Call::Status(nth) => kube(Asked::is_status, nth),
            Call::Event(nth) => kube(Asked::is_event, nth),
        }
        killed
    }

    /// What is there before. Where that is nothing, the run begins only after it: a short life is not used up by then.
    async fn prepare(&self, scenario: Scenario, run: &mut Run) -> Result<()> {
        let there: &[&str] = match scenario {
            Scenario::Create | Scenario::End => &[],
            Scenario::Edit | Scenario::Suspend => &["a"],
            Scenario::Delete | Scenario::OverBudget => &["a", "b"],
        };
        for name in there {
            self.apply(run, name, &json!({})).await?;
        }
        eventually("what was there before to be published", SOON, async || {
            let outcome = self.outcome(run).await?;
            let active = |name: &&str| outcome["statuses"][name]["state"] == "Active";
            ensure!(there.iter().all(active), "it is {outcome}");
            Ok(())
        })
        .await?;
        // What is reported after that does not belong to the scenario.
        tokio::time::sleep(Duration::from_millis(300)).await;
        if there.is_empty() {
            run.began_secs = now_secs();
        }
        Ok(())
    }

    async fn act(&self, scenario: Scenario, run: &Run) -> Result<()> {
        match scenario {
            Scenario::Create => self.apply(run, "a", &json!({})).await,
            Scenario::Edit => {
                let changed = json!({"samplePerMille": 7, "level": "Shape"});
                self.apply(run, "a", &changed).await
            }
            Scenario::Suspend => self.apply(run, "a", &json!({"suspend": true})).await,
            Scenario::End => self.apply(run, "a", &json!({"ttl": "5s"})).await,
            Scenario::Delete => {
                let name = run.named("a");
                self.api.delete(&name, &DeleteParams::default()).await?;
                Ok(())
            }
            Scenario::OverBudget => self.apply(run, "c", &json!({})).await,
        }
    }

    /// Applies a directive that counts from the beginning of the run.
    async fn apply(&self, run: &Run, name: &str, changes: &Value) -> Result<()> {
        let start = osproxy_directives::operator::report::rfc3339(run.began_secs);
        let mut spec = json!({
            "match": [{"key": "tenant", "value": "acme"}], "level": "ShapeTiming", "samplePerMille": 50, "ttl": "1h",
            "activeFrom": start, "suspend": false,
        });
        for (member, value) in changes.as_object().into_iter().flatten() {
            spec[member] = value.clone();
        }
        let name = run.named(name);
        let object = json!({"apiVersion": "osproxy.io/v1alpha1", "kind": "DiagnosticsDirective", "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("ana").force();
        self.api
            .patch(&name, &params, &Patch::Apply(&object))
            .await?;
        Ok(())
    }

    /// The entries, their ends and the statuses, told by the run's own names and from its beginning.
    async fn outcome(&self, run: &Run) -> Result<Value> {
        let mut entries = Vec::new();
        if let Some(document) = document(&self.etcd).await? {
            let second = document.publication().second();
            let told: Value = serde_json::from_slice(&document.bytes)?;
            for entry in told["directives"].as_array().into_iter().flatten() {
                let mut entry = entry.clone();
                let ttl_secs = entry["ttl_secs"].as_u64().unwrap_or_default();
                entry["ttl_secs"] = json!(second + ttl_secs - run.began_secs);
                entry["id"] = json!(run.plain(entry["id"].as_str().unwrap_or_default()));
                entries.push(entry);
            }
        }
        let mut statuses = Map::new();
        for object in self.api.list(&ListParams::default()).await? {
            let name = object.metadata.name.unwrap_or_default();
            statuses.insert(run.plain(&name), run.undated(&object.data["status"])?);
        }
        Ok(json!({"entries": entries, "statuses": statuses}))
    }

    async fn clear(&self) -> Result<()> {
        let (deletion, all) = (DeleteParams::default(), ListParams::default());
        self.api.delete_collection(&deletion, &all).await?;
        eventually("an empty key", SOON, async || {
            ensure!(document(&self.etcd).await?.is_none(), "it holds a document");
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    }
}

/// Whether an undisturbed scenario is over.
fn is_reached(scenario: Scenario, outcome: &Value) -> bool {
    let (entries, statuses) = (&outcome["entries"], &outcome["statuses"]);
    let many = entries.as_array().map_or(0, Vec::len);
    match scenario {
        Scenario::Create => many == 1 && statuses["a"]["state"] == "Active",
        Scenario::Edit => {
            entries[0]["sample_per_mille"] == 7 && statuses["a"]["observedGeneration"] == 2
        }
        Scenario::Suspend => many == 0 && statuses["a"]["state"] == "Suspended",
        Scenario::End => many == 0 && statuses["a"]["state"] == "Expired",
        Scenario::Delete => many == 1 && statuses.get("a").is_none(),
        Scenario::OverBudget => many == 2 && statuses["c"]["state"] == "Pending",
    }
}

/// One run of a scenario, with names of its own: what is left of an earlier one cannot pass for its outcome.
struct Run {
    name: String,
    began_secs: u64,
}

impl Run {
    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn plain(&self, name: &str) -> String {
        name.replace(&format!("{}-", self.name), "")
    }

    /// A status without the moments at which it was written, and with its end counted from the beginning of the run.
    fn undated(&self, status: &Value) -> Result<Value> {
        let mut status = status.clone();
        if let Some(end) = status["expirationTime"].as_str().map(str::to_owned) {
            let start = osproxy_directives::operator::report::rfc3339(self.began_secs);
            let (end_at, start_at): (jiff::Timestamp, jiff::Timestamp) =
                (end.parse()?, start.parse()?);
            let secs = end_at.as_second() - start_at.as_second();
            status = serde_json::from_str(
                &status
                    .to_string()
                    .replace(&end, &format!("start + {secs} s")),
            )?;
        }
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                condition.remove("lastTransitionTime");
            }
        }
        Ok(status)
    }
}
