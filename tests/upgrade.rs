//! Upgrades: operator n with store n−1 and back, and one operator rolled into the other and back while directives come and go.
//!
//! What was before is built by `hack/before` from the last tag or, while there is none, from the commit that closed the main job:
//! d91d885, the first at which the whole line ran from an apply to three proxies and to the end (`make demo`), and the first whose
//! test of that (`testbed/tests/demo.rs`) there is. Chart and CRD are that commit's too.

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osproxy_core::{Clock, EndpointKind, PartitionId, PrincipalId, RequestId, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::RequestAttrs;
use support::sampler::Sampler;
use support::{KEY, Line, SOON, Stopwatch, condition, directive, document, options, store};
use testbed::operator::Replica;
use testbed::proxy::{Attributes, Proxy, ProxyOptions};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions, eventually};

/// From an apply to both stores, also where one operator hands over to the other meanwhile.
const THERE: Duration = Duration::from_secs(15);
/// How late a store may be that looks at its clock for itself: the proxy is asked over HTTP.
const ON_TIME: Duration = Duration::from_millis(500);

/// What was before, as files.
struct Before {
    place: PathBuf,
}

impl Before {
    fn build() -> Result<Self> {
        let mut build = Command::new("hack/before");
        build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(std::process::Stdio::inherit());
        let output = build.output().context("hack/before")?;
        ensure!(output.status.success(), "hack/before: its reason is above");
        let place = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        Ok(Self { place })
    }

    /// The operator as its own chart installs it, CRD included.
    fn operator(&self) -> OperatorOptions {
        let chart = self.place.join("charts/osproxy-directives");
        OperatorOptions::new(self.place.join("osproxy-directives")).chart(chart)
    }

    async fn proxy(&self, etcd: &Etcd, name: &str) -> Result<Proxy> {
        let options = ProxyOptions::new(self.place.join("proxy"), etcd.endpoints());
        Proxy::start(options.name(name)).await
    }
}

/// Both readers of one key.
struct Readers {
    before: Proxy,
    now: EtcdDirectiveStore,
}

impl Readers {
    /// Whether each of them traces a request of `tenant`.
    async fn trace(&self, tenant: &str) -> Result<[bool; 2]> {
        let answer = self
            .before
            .decide(&Attributes::new(tenant, "orders"))
            .await?;
        Ok([!answer.is_off(), traces(&self.now, tenant)])
    }

    async fn both(&self, tenant: &str, expected: bool) -> Result<()> {
        eventually(
            &format!("both readers to say {expected} of {tenant}"),
            THERE,
            async || {
                let said = self.trace(tenant).await?;
                ensure!(said == [expected; 2], "before and now say {said:?}");
                Ok(())
            },
        )
        .await
    }
}

fn traces(store: &EtcdDirectiveStore, tenant: &str) -> bool {
    let (tenant, principal) = (PartitionId::from(tenant), PrincipalId::from("anonymous"));
    let request = RequestAttrs {
        tenant: Some(&tenant),
        index: "orders",
        principal: &principal,
        endpoint: EndpointKind::Search,
    };
    let decided = store.decide(&request, SystemClock.now(), &RequestId::from("none"));
    decided.level != osproxy_observe::DiagLevel::Off
}

/// Directives that come and go, one after the other, each of a tenant of its own: applied, on at both readers, deleted, off at both.
struct Flow {
    stop: AtomicBool,
    rounds: AtomicUsize,
}

impl Flow {
    async fn run(&self, line: &Line, readers: &Readers) -> Result<Duration> {
        let mut worst = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            let name = format!("flow-{}", self.rounds.load(Ordering::Relaxed));
            let mut manifest = directive(&name, "1h");
            manifest["spec"]["match"][0]["value"] = name.clone().into();
            line.apply(&manifest).await?;
            let applied = Stopwatch::start();
            readers.both(&name, true).await?;
            worst = worst.max(applied.elapsed());
            line.delete(&name).await?;
            readers.both(&name, false).await?;
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
        Ok(worst)
    }

    /// Waits until so many more have come and gone.
    async fn goes_on(&self, rounds: usize) -> Result<()> {
        let until = self.rounds.load(Ordering::Relaxed) + rounds;
        eventually("directives to come and go", THERE * 4, async || {
            let now = self.rounds.load(Ordering::Relaxed);
            ensure!(now >= until, "{now} of {until}");
            Ok(())
        })
        .await
    }
}

async fn leads(replica: &Replica) -> Result<()> {
    eventually("it to lead", SOON, async || {
        let metrics = replica.metrics().await?;
        ensure!(
            metrics
                .lines()
                .any(|line| line == "osproxy_directives_leader 1")
        );
        Ok(())
    })
    .await
}

/// The owner key: what stands there, and since which revision.
async fn owner(etcd: &Etcd) -> Result<(Vec<u8>, i64)> {
    let mut client = etcd.client().await?;
    let answer = client.get(format!("{KEY}/owner"), None).await?;
    let owner = answer.kvs().first().context("no owner")?;
    Ok((owner.value().to_vec(), owner.mod_revision()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_understand_each_other_and_are_rolled_one_into_the_other_and_back()
-> Result<()> {
    let before = Before::build()?;
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let first = Operator::start(&plane, &etcd, before.operator()).await?;
    first.wait_ready().await?;
    // What the functions of `Line` ask of an operator is nothing: who it is changes below.
    let line = Line {
        operator: first,
        etcd,
        plane,
    };

    // The operator of before, and a store of each version.
    line.apply(&directive("kept", "1h")).await?;
    let kept = line.ids(&["default/kept"]).await?.context("a document")?;
    let end = kept.end_secs("default/kept");
    let owned = owner(&line.etcd).await?;
    let readers = Readers {
        before: before.proxy(&line.etcd, "before").await?,
        now: store(&line.etcd, Arc::new(SystemClock)).await?,
    };
    readers.both("acme", true).await?;
    let applied = readers.now.status().applied.context("nothing applied")?;
    ensure!(
        applied.publication_secs == Some(kept.publication().second()),
        "{applied:?}"
    );
    line.state("kept", "Active").await?;
    let sampler = Sampler::start(readers.now.clone(), end);

    let flow = Flow {
        stop: AtomicBool::new(false),
        rounds: AtomicUsize::new(0),
    };
    let rolled = async {
        let rolled = roll(&before, &line, &flow).await;
        flow.stop.store(true, Ordering::Relaxed);
        rolled
    };
    let never_off = async {
        let mut looks = 0_u32;
        while !flow.stop.load(Ordering::Relaxed) {
            let answer = readers
                .before
                .decide(&Attributes::new("acme", "orders"))
                .await?;
            ensure!(!answer.is_off(), "the proxy of before was blank");
            looks += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ensure!(looks >= 100, "only {looks} looks");
        anyhow::Ok(())
    };
    let ends = ends_on_time(&line, &readers);
    let (rolled, flowed, never_off, ends) =
        tokio::join!(rolled, flow.run(&line, &readers), never_off, ends);
    let rounds = flow.rounds.load(Ordering::Relaxed);
    let _leads = rolled?;
    let worst = flowed.with_context(|| format!("in round {rounds}"))?;
    never_off?;
    println!("{rounds} directives came and went; the worst of them took {worst:?}");
    ends?;
    sampler.finish(100).await?;

    let after = line.ids(&["default/kept"]).await?.context("a document")?;
    assert_eq!(after.end_secs("default/kept"), end, "the end moved");
    assert_eq!(owner(&line.etcd).await?, owned, "the owner key was written");
    Ok(())
}

/// The operator of before is rolled into the one of now, and that one back into the one of before, as `helm upgrade` and `helm
/// rollback` do: CRD and rights first, then a new replica, then the end of the old one. Returns the one that leads now.
async fn roll(before: &Before, line: &Line, flow: &Flow) -> Result<Operator> {
    let old = line.operator.replica(0);
    leads(old).await?;
    flow.goes_on(2).await.context("the operator of before")?;

    let now = Operator::start(&line.plane, &line.etcd, options()).await?;
    now.wait_ready().await?;
    leads(old).await?;
    flow.goes_on(2)
        .await
        .with_context(|| told("the operator of before, with the CRD of now", old))?;
    old.stop(Duration::from_secs(5)).await?;
    let now = now.replica(0);
    leads(now).await?;
    flow.goes_on(3)
        .await
        .with_context(|| told("the operator of now", now))?;
    settled(line).await.context("the operator of now")?;
    // A proxy of before that starts only now.
    let late = before.proxy(&line.etcd, "late").await?;
    let answer = late.decide(&Attributes::new("acme", "orders")).await?;
    ensure!(!answer.is_off(), "it starts blank");

    let back = Operator::start(&line.plane, &line.etcd, before.operator()).await?;
    back.wait_ready().await?;
    leads(now).await?;
    flow.goes_on(2)
        .await
        .with_context(|| told("the operator of now, with the CRD of before", now))?;
    now.stop(Duration::from_secs(5)).await?;
    let again = back.replica(0);
    leads(again).await?;
    flow.goes_on(3)
        .await
        .with_context(|| told("the operator of before, again", again))?;
    settled(line)
        .await
        .context("the operator of before, again")?;
    refused_is_known(line)?;
    Ok(back)
}

/// With the rights of before, the operator of now may not look at the CRD; it says that it does not know it, and goes on.
fn refused_is_known(line: &Line) -> Result<()> {
    line.plane.expect_refusals();
    let user = "system:serviceaccount:osproxy-directives:osproxy-directives";
    let asked = line.plane.audited(user)?;
    let unknown = |audited: &&testbed::kube::Audited| {
        audited.forbidden && audited.resource != "customresourcedefinitions"
    };
    let refused: Vec<_> = asked
        .iter()
        .filter(unknown)
        .map(ToString::to_string)
        .collect();
    ensure!(refused.is_empty(), "refused: {refused:?}");
    Ok(())
}

fn told(who: &str, replica: &Replica) -> String {
    format!("{who} says {}", replica.process().log_excerpt())
}

/// The one that stays has its status, whoever wrote it.
async fn settled(line: &Line) -> Result<()> {
    let status = line.state("kept", "Active").await?;
    for type_ in ["Accepted", "Published", "Ready"] {
        let said = condition(&status, type_)?;
        ensure!(said.starts_with("True/"), "{type_} is {said}: {status}");
    }
    Ok(())
}

/// One that ends while operators are exchanged is off at both readers at its end.
async fn ends_on_time(line: &Line, readers: &Readers) -> Result<()> {
    let mut manifest = directive("brief", "20s");
    manifest["spec"]["match"][0]["value"] = "brief".into();
    line.apply(&manifest).await?;
    readers.both("brief", true).await?;
    let document = document(&line.etcd).await?.context("a document")?;
    let end = Duration::from_secs(document.end_secs("default/brief"));
    let clock = || Duration::from_nanos(SystemClock.unix_nanos());
    let mut seen = [true; 2];
    while seen != [false; 2] {
        let asked = clock();
        let said = readers.trace("brief").await?;
        if asked < end {
            ensure!(said == [true; 2] || clock() >= end, "off before its end");
        } else {
            let late = asked.saturating_sub(end);
            ensure!(
                late <= ON_TIME || said == [false; 2],
                "{said:?}, {late:?} after its end"
            );
        }
        seen = said;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
