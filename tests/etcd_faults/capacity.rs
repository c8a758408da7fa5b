//! Much at once, too much, and etcd's own housekeeping.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use osproxy_core::SystemClock;
use osproxy_directives::etcd::{ConnectOptions, Fault, Keys};
use osproxy_directives::operator::publish::fence::Fence;
use osproxy_directives::operator::publish::keys::{Answer, KeyStore, Write};
use osproxy_observe::DirectiveStore;
use serde_json::json;
use testbed::{Etcd, EtcdOptions, eventually};

use super::stage::{leads, led_without_a_break, metric};
use super::support::{
    KEY, Line, SOON, Stopwatch, condition, directive, now_secs, options, seen, store,
};

/// Requests that are under way at the API server at a time.
const AT_ONCE: usize = 16;

fn api(line: &Line) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "osproxy.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "osproxy.io/v1alpha1".to_owned(),
        kind: "DiagnosticsDirective".to_owned(),
        plural: "diagnosticsdirectives".to_owned(),
    };
    Api::namespaced_with(line.plane.client(), "default", &resource)
}

/// Creates directives of these names, each as large as the schema allows.
async fn create_large(line: &Line, names: impl Iterator<Item = String>) -> Result<()> {
    let api = &api(line);
    stream::iter(names.map(anyhow::Ok))
        .try_for_each_concurrent(AT_ONCE, |name| async move {
            let mut large = directive(&name, "1h");
            let value = |letter: &str| letter.repeat(256);
            large["spec"]["match"] = json!([
                { "key": "tenant", "value": value("t") },
                { "key": "index", "value": value("i") },
                { "key": "principal", "value": value("p") },
            ]);
            let object: DynamicObject = serde_json::from_value(large)?;
            api.create(&PostParams::default(), &object).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn l14_a_thousand_edits_are_a_few_writes_a_second_and_the_last_one_counts() -> Result<()> {
    let line = Line::start().await?;
    for n in 0..10 {
        line.apply(&directive(&format!("d{n}"), "1h")).await?;
    }
    eventually("all of them", SOON, async || {
        let ids = line.document().await?.context("absent")?.ids();
        ensure!(ids.len() == 10, "{ids:?}");
        Ok(())
    })
    .await?;
    let replica = line.operator.replica(0);
    let before = metric(replica, "document_puts_total").await?;
    let began = Stopwatch::start();
    let edits = api(&line);
    stream::iter(0..1_000_u32)
        .map(|n| {
            let edits = &edits;
            async move {
                // The last edit of each says 999.
                let sample = if n >= 990 { 999 } else { n % 900 };
                let patch = Patch::Merge(json!({ "spec": { "samplePerMille": sample } }));
                let name = format!("d{}", n % 10);
                edits.patch(&name, &PatchParams::default(), &patch).await?;
                anyhow::Ok(())
            }
        })
        // In their order for each resource: ten are edited at a time, each by one.
        .buffered(10)
        .try_collect::<Vec<()>>()
        .await?;
    let edited = began.elapsed();
    let last = Stopwatch::start();
    eventually("the last edits", SOON, async || {
        let document = line.document().await?.context("absent")?;
        let samples: Vec<_> = document
            .dated()
            .iter()
            .map(|dated| dated.entry.sample_per_mille)
            .collect();
        ensure!(samples == [999; 10], "{samples:?}");
        Ok(())
    })
    .await?;
    let bound = Duration::from_secs(2);
    seen(
        "L14",
        "1,000 edits, from the last one to the key",
        bound,
        &last,
    )?;
    let writes = metric(replica, "document_puts_total").await? - before;
    let most = i64::try_from((edited + last.elapsed()).as_millis() / 100)? + 2;
    ensure!(writes <= most, "{writes} writes in {edited:?}");
    ensure!(writes < 1_000, "a write for each edit");
    println!("1,000 edits in {edited:?} made {writes} writes");
    Ok(())
}

#[tokio::test]
async fn s1_a_document_that_is_too_large_for_etcd_is_said_to_be_and_nothing_is_lost() -> Result<()>
{
    let etcd = EtcdOptions::new().flag("--max-request-bytes=8192");
    let line = Line::start_with(etcd, options()).await?;
    line.apply(&directive("a", "1h")).await?;
    line.ids(&["default/a"]).await?;
    let replica = line.operator.replica(0);

    create_large(&line, (0..12).map(|n| format!("large-{n:02}"))).await?;
    let applied = Stopwatch::start();
    eventually("the status to say so", SOON, async || {
        let status = line.status("large-11").await?;
        let said = condition(&status, "Published")?;
        ensure!(said == "False/DocumentFull", "{status}");
        ensure!(
            status.to_string().contains("--max-request-bytes"),
            "{status}"
        );
        Ok(())
    })
    .await?;
    let what = "a document too large for etcd, until the status says so";
    seen("S1", what, Duration::from_secs(10), &applied)?;
    let held = r#"held{reason="etcd_too_large"}"#;
    // Each try sets it anew.
    eventually("the metric to say so", SOON, async || {
        ensure!(metric(replica, held).await? == 1);
        Ok(())
    })
    .await?;
    // The last one that etcd took stands there, with what came before.
    let standing = line.document().await?.context("absent")?;
    ensure!(standing.ids().contains(&"default/a".to_owned()));
    ensure!(
        standing.bytes.len() < 8_192,
        "{} bytes",
        standing.bytes.len()
    );
    // It keeps trying, and leaves no lease behind each time.
    let leases = async || -> Result<usize> {
        let leases = line.etcd.etcdctl(&["lease", "list"]).await?.success()?;
        Ok(leases.lines().count())
    };
    let before = leases().await?;
    let refused = metric(replica, "document_write_failures_total").await?;
    eventually("another try", SOON, async || {
        ensure!(metric(replica, "document_write_failures_total").await? >= refused + 2);
        Ok(())
    })
    .await?;
    // That of a try that is under way may be among them, and goes with it.
    eventually("no more leases than before", SOON, async || {
        let after = leases().await?;
        ensure!(after <= before, "{before} leases, and then {after}");
        Ok(())
    })
    .await?;

    let args = ["delete", "diag", "--all", "--wait=false"];
    line.plane.kubectl(&args).await?.success()?;
    let deleted = Stopwatch::start();
    line.ids(&[]).await?;
    seen(
        "S1",
        "what was too large is deleted",
        Duration::from_secs(10),
        &deleted,
    )?;
    led_without_a_break(replica)
}

/// Beyond etcd's limit the request is an invalid argument; beyond gRPC's, half a megabyte further, a resource is exhausted.
#[tokio::test]
async fn s1_both_ways_in_which_a_request_is_too_large_are_one_reason() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let options = ConnectOptions::new(etcd.endpoints());
    let store = KeyStore::open(options, Keys::new(KEY)?).await?;
    let fence = Fence {
        leader_key: b"osproxy/directives/leader/1".to_vec(),
        leader_revision: 0,
        document_revision: 0,
        owner_revision: 0,
    };
    for (bytes, taken) in [(1_570_000, true), (1_572_864, false), (3_000_000, false)] {
        let value = vec![b' '; bytes];
        let answer = store.write(&fence, &Write::Put { value, lease: 0 }).await;
        if taken {
            ensure!(matches!(answer, Ok(Answer::Done { .. })), "{answer:?}");
        } else {
            ensure!(answer == Err(Fault::TooLarge), "{bytes}: {answer:?}");
        }
    }
    ensure!(Fault::TooLarge.is_certain());
    Ok(())
}

#[tokio::test]
async fn s3_defragmentation_of_each_member_ends_no_term_and_blanks_nothing() -> Result<()> {
    let line = Line::start_with(EtcdOptions::new().members(3), options()).await?;
    leads(line.operator.replica(0), true, SOON).await?;
    let blob = "x".repeat(1_000_000);
    for n in 0..60 {
        let args = ["put", &format!("filler/{n}")];
        // One that meets an election is put again.
        eventually("a filler", SOON, async || {
            let put = line.etcd.etcdctl_with_input(&args, Some(&blob));
            put.await?.success()
        })
        .await?;
    }
    line.apply(&directive("kept", "1h")).await?;
    line.ids(&["default/kept"]).await?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    for (n, member) in line.etcd.members().iter().enumerate() {
        let endpoint = format!("--endpoints={}", member.endpoint());
        let args = [endpoint.as_str(), "--command-timeout=30s", "defrag"];
        let name = format!("d{n}");
        let change = directive(&name, "1h");
        // From when the change is there: the start of kubectl is no part of it.
        let apply = async {
            line.apply(&change).await?;
            anyhow::Ok(Stopwatch::start())
        };
        let (defragmented, changed) = tokio::join!(line.etcd.etcdctl(&args), apply);
        defragmented?.success()?;
        let changed = changed?;
        line.ids(&[&format!("default/{name}"), "default/kept"])
            .await?;
        let what = "a member is defragmented (60 MB), a change meanwhile";
        seen("S3", what, Duration::from_secs(10), &changed)?;
        ensure!(!reader.load().is_empty(), "blank");
        line.delete(&name).await?;
        line.ids(&["default/kept"]).await?;
    }
    ensure!(
        reader.status().counters.restarts == 0,
        "{:?}",
        reader.status()
    );
    led_without_a_break(line.operator.replica(0))
}

#[tokio::test]
async fn s4_compaction_every_100_ms_loses_nothing_for_writer_or_reader() -> Result<()> {
    let line = Line::start().await?;
    line.apply(&directive("kept", "1h")).await?;
    line.ids(&["default/kept"]).await?;
    let reader = store(&line.etcd, Arc::new(SystemClock)).await?;
    let admin = line.etcd.client().await?;
    let compacting = tokio::spawn(async move {
        let mut compactions = 0_u32;
        loop {
            let mut kv = admin.kv_client();
            if let Ok(answer) = kv.get(KEY, None).await
                && let Some(header) = answer.header()
            {
                // One that is compacted already is no failure.
                compactions += u32::from(kv.compact(header.revision(), None).await.is_ok());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            if compactions > 1_000 {
                return;
            }
        }
    });
    let until = now_secs() + 15;
    let mut round = 0;
    let edits = api(&line);
    while now_secs() < until {
        round += 1;
        let sample = json!({ "spec": { "samplePerMille": round % 1_000 } });
        let patch = Patch::Merge(sample);
        edits.patch("kept", &PatchParams::default(), &patch).await?;
        ensure!(!reader.load().is_empty(), "blank");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = Stopwatch::start();
    eventually("the last edit at both ends", SOON, async || {
        let document = line.document().await?.context("absent")?;
        let sample = document.dated()[0].entry.sample_per_mille;
        ensure!(u32::from(sample) == round % 1_000, "{sample}");
        let applied = reader.status().applied.context("nothing applied")?;
        ensure!(applied.revision == document.mod_revision, "{applied:?}");
        Ok(())
    })
    .await?;
    compacting.abort();
    let bound = Duration::from_secs(2);
    let what = "compaction every 100 ms and edits, the last of them";
    seen("S4", what, bound, &last)?;
    led_without_a_break(line.operator.replica(0))
}
