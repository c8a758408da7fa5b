//! A release's life: it is installed, tested, upgraded while directives flow, removed, installed again, and gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::document::Accepted;
use serde_json::{Value, json};
use testbed::eventually;

use super::check;
use super::cluster::{Cluster, NAMESPACE, RELEASE};
use super::secure::Secure;
use super::support::{KEY, SOON, Stopwatch, directive, traces};

/// What is promised of an installation.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What a person waits for a deletion before calling it hung.
const GONE_WITHIN: &str = "--timeout=30s";
const TLS: [&str; 2] = ["--set", "etcd.tls.existingSecret=etcd-client-tls"];

#[tokio::test]
async fn a_release_lives_and_goes_without_losing_a_directive() -> Result<()> {
    let mut etcd = Secure::start().await?;
    let cluster = Cluster::start().await?;
    cluster
        .kubectl(&format!("create namespace {NAMESPACE}"))
        .await?;
    cluster.apply(&secret(&etcd)).await?;
    let store = proxy(&etcd).await?;

    installs(&cluster, &etcd).await?;
    cluster.apply(&directive("steady", "1h")).await?;
    eventually("the directive to reach the proxy", SOON, async || {
        ensure!(traces(&store, SystemClock.now()), "it is not there");
        Ok(())
    })
    .await?;
    cluster.is_ready("steady").await?;
    let told = cluster
        .helm(&["test", RELEASE, "-n", NAMESPACE, "--logs"])
        .await?;
    for said in [
        "Phase:          Succeeded",
        "The operator is ready",
        "may list",
    ] {
        ensure!(told.contains(said), "no `{said}`: {told}");
    }

    the_service_is_the_operators(&cluster).await?;
    eventually("check to find all well", SOON, async || {
        check::finds_all_well(&cluster).await
    })
    .await?;

    let reader = Reader::start(store);
    upgrades(&cluster, &mut etcd).await?;
    is_removed_and_comes_back(&cluster, &mut etcd).await?;
    reader.never_saw_it_empty()?;
    goes_for_good(&cluster).await
}

async fn installs(cluster: &Cluster, etcd: &Secure) -> Result<()> {
    let took = Stopwatch::start();
    let wait = ["--wait", "--timeout", "30s"];
    cluster
        .chart("install", &etcd.endpoint(), &[&TLS[..], &wait].concat())
        .await?;
    took.within(READY_WITHIN, "helm install --wait")?;
    let ready = cluster.ready();
    ensure!(ready.len() == 2, "{ready:?}");
    Ok(())
}

/// The Pod of the test is not behind the Service, and no budget counts it.
async fn the_service_is_the_operators(cluster: &Cluster) -> Result<()> {
    let line = format!("get service {RELEASE} -n {NAMESPACE} -o json");
    let service: Value = serde_json::from_str(&cluster.kubectl(&line).await?)?;
    let selector = service["spec"]["selector"].as_object();
    let selector: Vec<String> = selector
        .context("no selector")?
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let selector = selector.join(",");
    let line = format!("get pods -n {NAMESPACE} -l {selector} -o name");
    let pods = cluster.kubectl(&line).await?;
    ensure!(pods.lines().count() == 2, "{pods}");
    Ok(())
}

/// Other values and another client certificate, while people apply directives.
async fn upgrades(cluster: &Cluster, etcd: &mut Secure) -> Result<()> {
    let before = cluster.ready();
    let next = etcd.authority.identity("second")?;
    etcd.rotate(&next.certificate, &next.key)?;
    cluster.apply(&secret(etcd)).await?;
    let endpoint = etcd.endpoint();
    let more = ["--set", "log.format=text", "--wait", "--timeout", "60s"];
    let more = [&TLS[..], &more].concat();
    let done = AtomicBool::new(false);
    let upgrade = async {
        let told = cluster.chart("upgrade", &endpoint, &more).await;
        done.store(true, Ordering::Relaxed);
        told
    };
    let people = async {
        let mut applied = Vec::new();
        while !done.load(Ordering::Relaxed) || applied.len() < 3 {
            let name = format!("flow-{}", applied.len());
            cluster.apply(&directive(&name, "1h")).await?;
            applied.push(name);
        }
        anyhow::Ok(applied)
    };
    let (_, applied) = tokio::try_join!(upgrade, people)?;
    // Helm does not wait for the old ones to have gone, nor for a new one to lead.
    eventually("the new replicas alone", SOON, async || {
        let after = cluster.ready();
        ensure!(
            after.len() == 2 && !after.iter().any(|pod| before.contains(pod)),
            "{before:?} became {after:?}"
        );
        Ok(())
    })
    .await?;
    for name in &applied {
        cluster.is_ready(name).await?;
    }
    eventually("a new replica to lead", SOON, async || {
        let logs = cluster.logs()?;
        ensure!(
            logs.contains("Leads") && !logs.contains(r#""level":"#),
            "the new values are not in force: {logs}"
        );
        Ok(())
    })
    .await?;
    holds(etcd, "default/steady").await?;
    holds(etcd, &format!("default/flow-{}", applied.len() - 1)).await
}

async fn is_removed_and_comes_back(cluster: &Cluster, etcd: &mut Secure) -> Result<()> {
    cluster
        .helm(&[
            "uninstall",
            RELEASE,
            "-n",
            NAMESPACE,
            "--wait",
            "--timeout",
            "60s",
        ])
        .await?;
    nobody_runs(cluster).await?;
    // The definition and the resources stay, and proxies go on reading.
    let left = cluster.kubectl("get diag -n default -o name").await?;
    ensure!(left.contains("/steady"), "{left}");
    holds(etcd, "default/steady").await?;
    cluster.apply(&directive("meanwhile", "1h")).await?;

    installs(cluster, etcd).await?;
    cluster.is_ready("meanwhile").await?;
    cluster.is_ready("steady").await?;
    holds(etcd, "default/meanwhile").await
}

async fn nobody_runs(cluster: &Cluster) -> Result<()> {
    eventually("the Pods to be gone", SOON, async || {
        let pods = cluster.kubelet.pods();
        let left = pods
            .iter()
            .filter(|pod| !pod.name.ends_with("-test"))
            .count();
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await
}

/// With the operator gone, nothing is left that could hold a deletion up.
async fn goes_for_good(cluster: &Cluster) -> Result<()> {
    let mut here = directive("here", "1h");
    here["metadata"]["namespace"] = json!(NAMESPACE);
    cluster.apply(&here).await?;
    cluster
        .kubectl(&format!(
            "scale deployment -n {NAMESPACE} {RELEASE} --replicas=0"
        ))
        .await?;
    nobody_runs(cluster).await?;
    cluster
        .kubectl(&format!("delete namespace {NAMESPACE} {GONE_WITHIN}"))
        .await?;
    let crd = "diagnosticsdirectives.osproxy.io";
    cluster
        .kubectl(&format!("delete crd {crd} {GONE_WITHIN}"))
        .await?;
    Ok(())
}

/// The Secret with the names that cert-manager gives its keys.
fn secret(etcd: &Secure) -> Value {
    let [ca, certificate, key] = etcd.files.each_ref().map(|(_, text)| text);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "etcd-client-tls", "namespace": NAMESPACE },
        "stringData": { "ca.crt": ca, "tls.crt": certificate, "tls.key": key },
    })
}

/// A store as a proxy embeds it.
async fn proxy(etcd: &Secure) -> Result<EtcdDirectiveStore> {
    let file = |name| etcd.secret.path(name);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = EtcdDirectiveStore::builder([etcd.endpoint()], KEY, clock)
        .ca_file(file("ca.crt"))
        .client_certificate(file("tls.crt"), file("tls.key"));
    Ok(store.build().await?)
}

async fn holds(etcd: &mut Secure, id: &str) -> Result<()> {
    let mut client = etcd.writer.clone();
    eventually(&format!("the key to hold {id}"), SOON, async || {
        let answer = client.get(KEY, None).await?;
        let value = answer.kvs().first().context("it is absent")?;
        let accepted = Accepted::from_bytes(value.value())
            .ok()
            .context("no document")?;
        let mut ids = accepted.entries().iter().map(|entry| &entry.entry.id);
        ensure!(ids.any(|known| known == id), "it does not");
        Ok(())
    })
    .await
}

/// Asks a store every ten milliseconds whether the steady directive still applies.
struct Reader {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    thread: JoinHandle<u32>,
}

impl Reader {
    fn start(store: EtcdDirectiveStore) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut empty = 0;
            while !ended.load(Ordering::Relaxed) {
                empty += u32::from(!traces(&store, SystemClock.now()));
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
            empty
        });
        Self {
            stop,
            asked,
            thread,
        }
    }

    fn never_saw_it_empty(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let empty = self.thread.join().ok().context("the reader panicked")?;
        let asked = self.asked.load(Ordering::Relaxed);
        ensure!(asked > 100, "asked {asked} times only");
        ensure!(empty == 0, "{empty} of {asked} looks saw nothing");
        Ok(())
    }
}
