//! Somebody between a client and a real etcd changes nothing unasked, and everything that it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp, WatchOptions, WatchStream};
use testbed::interpose::proto::{PbEvent, PbRangeResponse, PbWatchResponse};
use testbed::interpose::{ANY, Armed, Interposer, code, method};
use testbed::{Etcd, EtcdOptions, eventually};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);
/// How long a client is patient in these tests.
const IMPATIENT: Duration = Duration::from_millis(300);

struct Between {
    /// Through the interposer.
    client: Client,
    /// Past it.
    witness: Client,
    interposer: Interposer,
    etcd: Etcd,
}

impl Between {
    async fn start() -> Result<Self> {
        let etcd = Etcd::start(EtcdOptions::new()).await?;
        let interposer = Interposer::start(&etcd.member(0).endpoint()).await?;
        Ok(Self {
            client: Client::connect([interposer.endpoint()], None).await?,
            witness: etcd.client().await?,
            interposer,
            etcd,
        })
    }

    /// What the key really holds.
    async fn value(&mut self, key: &str) -> Result<Option<String>> {
        let answer = self.witness.get(key, None).await?;
        let value = answer.kvs().first().map(|kv| kv.value_str());
        Ok(value.transpose()?.map(str::to_owned))
    }

    async fn value_becomes(&mut self, key: &str, value: &str) -> Result<()> {
        eventually(&format!("{key} to be {value}"), SOON, async || {
            let found = self.value(key).await?;
            ensure!(found.as_deref() == Some(value), "it is {found:?}");
            Ok(())
        })
        .await
    }

    async fn watch(&mut self, key: &str) -> Result<WatchStream> {
        let mut stream = self.client.watch(key, None).await?;
        let created = timeout(SOON, stream.message()).await??;
        ensure!(created.is_some_and(|answer| answer.created()));
        Ok(stream)
    }
}

/// A client that waits for its answer until the rule has acted, and so long after it, and then goes. A client that went by the
/// clock alone might never have asked.
async fn goes_unanswered<T>(
    rule: &Armed,
    patience: Duration,
    call: impl Future<Output = T>,
) -> Result<()> {
    let waits = async {
        rule.hit(1, SOON).await?;
        tokio::time::sleep(patience).await;
        anyhow::Ok(())
    };
    tokio::select! {
        biased;
        _ = call => bail!("it was answered"),
        over = waits => over,
    }
}

fn first_write(key: &str, value: &str) -> Txn {
    Txn::new()
        .when([Compare::create_revision(key, CompareOp::Equal, 0)])
        .and_then([TxnOp::put(key, value, None)])
}

#[tokio::test]
async fn without_a_rule_every_kind_of_call_goes_through() -> Result<()> {
    let mut between = Between::start().await?;
    let mut client = between.client.clone();
    let large = "x".repeat(1 << 20);
    client.put("large", large.as_str(), None).await?;
    let answer = client.get("large", None).await?;
    assert_eq!(answer.kvs()[0].value().len(), large.len());
    assert!(client.txn(first_write("key", "1")).await?.succeeded());
    assert!(!client.txn(first_write("key", "2")).await?.succeeded());

    let mut watch = between.watch("key").await?;
    client.delete("key", None).await?;
    let event = timeout(SOON, watch.message())
        .await??
        .context("an answer")?;
    assert_eq!(event.events()[0].kv().unwrap().key(), b"key");
    watch.request_progress().await?;
    let progress = timeout(SOON, watch.message()).await??.context("progress")?;
    assert!(progress.events().is_empty());

    let lease = client.lease_grant(60, None).await?.id();
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await?;
    for _ in 0..3 {
        keeper.keep_alive().await?;
        let answer = timeout(SOON, kept.message()).await??.context("kept")?;
        assert_eq!(answer.ttl(), 60);
    }
    let won = client.campaign("election", "me", lease).await?;
    assert!(won.leader().is_some());
    assert_eq!(
        client.leader("election").await?.kv().unwrap().value(),
        b"me"
    );
    client.lease_revoke(lease).await?;
    assert!(client.leader("election").await.is_err());
    // The first keep-alive is sent by the client library itself.
    assert_eq!(between.interposer.requests(method::LEASE_KEEP_ALIVE), 4);
    assert_eq!(between.interposer.requests(method::TXN), 2);
    assert_eq!(between.interposer.answers(method::TXN), 2);
    assert_eq!(between.interposer.journal()[0], method::PUT);
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_is_a_commit_that_nobody_is_told_of() -> Result<()> {
    let mut between = Between::start().await?;
    let lost = between.interposer.answer(method::TXN).lose().arm();
    let mut client = between.client.clone();
    goes_unanswered(&lost, IMPATIENT, client.txn(first_write("key", "1"))).await?;
    assert_eq!(between.value("key").await?.as_deref(), Some("1"));
    assert!(!client.txn(first_write("key", "2")).await?.succeeded());
    Ok(())
}

#[tokio::test]
async fn a_held_request_is_committed_after_its_client_has_gone() -> Result<()> {
    let mut between = Between::start().await?;
    let interposer = &between.interposer;
    let held = interposer.request(method::TXN).hold_until_released().arm();
    let mut client = between.client.clone();
    goes_unanswered(&held, IMPATIENT, client.txn(first_write("key", "1"))).await?;
    drop(client);
    assert_eq!(between.value("key").await?, None);
    assert_eq!(between.interposer.answers(method::TXN), 0);
    // Not even the connection is left.
    between.client = between.witness.clone();
    held.release();
    between.value_becomes("key", "1").await?;

    let mut client = Client::connect([between.interposer.endpoint()], None).await?;
    let late = Duration::from_secs(1);
    let late = between.interposer.request(method::PUT).hold(late).arm();
    goes_unanswered(&late, Duration::ZERO, client.put("key", "2", None)).await?;
    drop(client);
    between.value_becomes("key", "2").await
}

#[tokio::test]
async fn a_delayed_request_dies_with_its_client() -> Result<()> {
    let mut between = Between::start().await?;
    let interposer = &between.interposer;
    // Long, for its end has to reach the interposer before the delay is over.
    let delay = Duration::from_secs(3);
    let delayed = interposer.request(method::PUT).delay(delay).arm();
    let mut client = between.client.clone();
    goes_unanswered(&delayed, Duration::ZERO, client.put("key", "1", None)).await?;
    tokio::time::sleep(delay + IMPATIENT).await;
    assert_eq!(between.value("key").await?, None);
    client.put("key", "2", None).await?;
    assert_eq!(between.value("key").await?.as_deref(), Some("2"));
    Ok(())
}

#[tokio::test]
async fn a_call_is_refused_before_or_after_etcd_has_done_it() -> Result<()> {
    let mut between = Between::start().await?;
    let mut client = between.client.clone();
    let interposer = &between.interposer;
    let full = "etcdserver: mvcc: database space exceeded";
    let _before = interposer
        .request(method::PUT)
        .about("second")
        .refuse(code::RESOURCE_EXHAUSTED, full)
        .arm();
    let _after = interposer
        .answer(method::DELETE_RANGE)
        .refuse(code::UNAVAILABLE, "etcdserver: no leader")
        .arm();
    client.put("first", "1", None).await?;
    let error = client.put("second", "1", None).await.unwrap_err();
    assert!(error.to_string().contains(full), "{error}");
    let error = client.delete("first", None).await.unwrap_err();
    assert!(error.to_string().contains("no leader"), "{error}");
    assert_eq!(between.value("first").await?, None);
    assert_eq!(between.value("second").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_closure_runs_at_any_point_of_a_clients_way() -> Result<()> {
    let mut between = Between::start().await?;
    let mut client = between.client.clone();
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    let third = between
        .interposer
        .request(ANY)
        .nth(3)
        .run(move || stop.store(true, Ordering::SeqCst))
        .hold_until_released()
        .arm();
    client.get("key", None).await?;
    client.put("key", "1", None).await?;
    assert!(!stopped.load(Ordering::SeqCst));
    let held = tokio::spawn(async move { client.put("key", "2", None).await });
    third.hit(1, SOON).await?;
    assert!(stopped.load(Ordering::SeqCst));
    assert_eq!(between.value("key").await?.as_deref(), Some("1"));
    third.release();
    held.await??;
    assert_eq!(between.value("key").await?.as_deref(), Some("2"));
    let journal = between.interposer.journal();
    assert_eq!(journal, [method::RANGE, method::PUT, method::PUT]);
    Ok(())
}

#[tokio::test]
async fn a_watch_says_what_a_test_wants_it_to_say() -> Result<()> {
    let mut between = Between::start().await?;
    let mut watch = between.watch("key").await?;
    let swallowed = between
        .interposer
        .answer(method::WATCH)
        .rewrite(|_: PbWatchResponse| Vec::new())
        .arm();
    let _odd = between
        .interposer
        .answer(method::WATCH)
        .nth(2)
        .rewrite(|mut answer: PbWatchResponse| {
            let mut old = answer.clone();
            if let Some(header) = &mut old.header {
                header.revision -= 1;
                header.cluster_id = 7;
            }
            for PbEvent { r#type, .. } in &mut answer.events {
                *r#type = 9;
            }
            vec![answer, old]
        })
        .arm();
    between.witness.put("key", "1", None).await?;
    swallowed.hit(1, SOON).await?;
    let second = between.witness.put("key", "2", None).await?;
    let revision = second.header().context("a header")?.revision();

    let odd = timeout(SOON, watch.message()).await??.context("odd")?;
    assert_eq!(odd.events()[0].kv().unwrap().value(), b"2");
    assert_eq!(odd.header().unwrap().revision(), revision);
    let old = timeout(SOON, watch.message()).await??.context("old")?;
    assert_eq!(old.header().unwrap().revision(), revision - 1);
    assert_eq!(old.header().unwrap().cluster_id(), 7);

    let compacted = PbWatchResponse {
        header: None,
        canceled: true,
        compact_revision: 99,
        cancel_reason: "etcdserver: mvcc: required revision has been compacted".to_owned(),
        ..PbWatchResponse::default()
    };
    assert_eq!(between.interposer.push(method::WATCH, &compacted), 1);
    let cancelled = timeout(SOON, watch.message())
        .await??
        .context("cancelled")?;
    assert!(cancelled.canceled());
    assert_eq!(cancelled.compact_revision(), 99);

    let mut other = between.watch("other").await?;
    let ended = between
        .interposer
        .end(method::WATCH, code::UNAVAILABLE, "etcdserver: no leader");
    assert_eq!(ended, 2);
    let error = timeout(SOON, other.message()).await?.unwrap_err();
    assert!(error.to_string().contains("no leader"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_read_comes_from_another_cluster_when_a_test_says_so() -> Result<()> {
    let between = Between::start().await?;
    let mut client = between.client.clone();
    let other = between
        .interposer
        .answer(method::RANGE)
        .every()
        .rewrite(|mut answer: PbRangeResponse| {
            if let Some(header) = &mut answer.header {
                header.cluster_id = 7;
            }
            vec![answer]
        })
        .arm();
    for hits in 1..=2 {
        let answer = client.get("key", None).await?;
        assert_eq!(answer.header().unwrap().cluster_id(), 7);
        assert_eq!(other.hits(), hits);
    }
    between.interposer.heal();
    let answer = client.get("key", None).await?;
    assert_ne!(answer.header().unwrap().cluster_id(), 7);
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_of_a_stream_leaves_it_open_and_mute() -> Result<()> {
    let mut between = Between::start().await?;
    let mut watch = between.watch("key").await?;
    let mute = between.interposer.answer(method::WATCH).lose().arm();
    between.witness.put("key", "1", None).await?;
    mute.hit(1, SOON).await?;
    between.witness.put("key", "2", None).await?;
    assert!(timeout(IMPATIENT, watch.message()).await.is_err());
    let options = WatchOptions::new().with_start_revision(1);
    let mut again = between.client.watch("key", Some(options)).await?;
    let created = timeout(SOON, again.message()).await??.context("created")?;
    assert!(created.created());
    Ok(())
}

#[tokio::test]
async fn a_client_that_gives_up_is_seen_by_etcd() -> Result<()> {
    let mut between = Between::start().await?;
    let mut client = between.client.clone();
    let first = client.lease_grant(60, None).await?.id();
    let second = client.lease_grant(60, None).await?.id();
    client.campaign("election", "first", first).await?;
    let campaign = client.campaign("election", "second", second);
    assert!(timeout(IMPATIENT, campaign).await.is_err());
    eventually("etcd to take the candidate away", SOON, async || {
        let lease = between.witness.lease_time_to_live(
            second,
            Some(etcd_client::LeaseTimeToLiveOptions::new().with_keys()),
        );
        ensure!(lease.await?.keys().is_empty(), "it is still a candidate");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_end_of_etcd_is_the_end_of_the_connection_and_no_status() -> Result<()> {
    let mut between = Between::start().await?;
    let mut watch = between.watch("key").await?;
    between.etcd.kill()?;
    let ended = timeout(SOON, watch.message()).await?;
    assert!(ended.is_err(), "the watch says {ended:?}");
    between.etcd.restart().await?;
    eventually("the client to be back", SOON, async || {
        between.client.put("key", "1", None).await?;
        Ok(())
    })
    .await
}
