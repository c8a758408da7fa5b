//! The reference reader (`osproxy-etcd` 1.0.5) reads what we write as our store does, from a real etcd.

use std::sync::Arc;

use anyhow::{Context, Result};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::document::{Accepted, DatedEntry, Publication, render};
use osproxy_directives::store::EtcdDirectiveStore;
use osproxy_observe::DirectiveStore as _;
use testbed::{Etcd, EtcdOptions};

use crate::generated::Doc;
use crate::support::now_secs;
use crate::tables::wire::{ROWS, Verdict};
use crate::tables::{On, Rng, Said, decided, requests};

const REQUESTS: usize = 1_000;
const BY_CHANCE: usize = 40;
/// Long enough that nothing ends while the two are asked: the reference counts each life from its own first read.
const LIFE_SECS: u64 = 3_600;
const LEASE_SECS: i64 = 7_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_reader_answers_on_our_documents_as_our_store_does() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let mut rng = Rng::seeded(0x5eed_000a);
    let mut said_something = 0;
    for (number, (name, column, entries)) in documents(&mut rng).into_iter().enumerate() {
        let key = format!("documents/{number}");
        publish(&etcd, &key, &entries).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let endpoints = etcd.endpoints();
        let ours = EtcdDirectiveStore::connect(&endpoints, key.as_str(), Arc::clone(&clock));
        let theirs =
            osproxy_etcd::EtcdDirectiveStore::connect(&endpoints, key.clone(), Arc::clone(&clock));
        let (ours, theirs) = (ours.await?, theirs.await?);
        assert_eq!(theirs.load().len(), entries.len(), "{name}: it reads all");

        for request in requests(&mut rng, column, REQUESTS) {
            let now = clock.now();
            let expected = decided(&theirs.load(), now, &request);
            let decision = ours.decide(&request.attrs(), now, &request.id);
            let at_once = Said {
                level: decision.level,
                ring_buffer: decision.ring_buffer,
                capture: decision.capture,
            };
            assert_eq!(at_once, expected, "{name}: {request:?}");
            let one_by_one = decided(&ours.load(), now, &request);
            assert_eq!(one_by_one, expected, "{name}: {request:?}");
            said_something += usize::from(expected != Said::NOTHING);
        }
    }
    assert!(said_something > 10 * REQUESTS, "{said_something}");
    Ok(())
}

/// The accepted rows of the table, which say the whole vocabulary, and documents by chance.
fn documents(rng: &mut Rng) -> Vec<(String, &'static [On], Vec<DatedEntry>)> {
    let mut documents = Vec::new();
    for row in ROWS {
        if let Verdict::Accepted(column) = row.verdict {
            documents.push((row.name.to_owned(), column, dated(row.document)));
        }
    }
    for number in 0..BY_CHANCE {
        let doc = Doc::any(rng, 30);
        let text = doc.text(rng);
        documents.push((format!("by chance {number}"), &[], dated(text.as_bytes())));
    }
    documents.retain(|(_, _, entries)| !entries.is_empty());
    documents
}

fn dated(document: &[u8]) -> Vec<DatedEntry> {
    let accepted = Accepted::from_bytes(document).expect("an accepted document");
    let entries = accepted.entries().iter();
    entries
        .map(|relative| DatedEntry {
            entry: relative.entry.clone(),
            end_secs: now_secs() + LIFE_SECS,
        })
        .collect()
}

/// Writes a document as the operator does: rendered, under the lease that dates it.
#[allow(
    clippy::disallowed_methods,
    reason = "the test writes keys of its own, which no operator watches"
)]
async fn publish(etcd: &Etcd, key: &str, entries: &[DatedEntry]) -> Result<()> {
    let random = u16::try_from(key.len() * 97 + entries.len()).unwrap_or(0);
    let publication = Publication::new(now_secs(), random).context("no such second")?;
    let bytes = render(entries, publication).context("nothing to say")?;
    let mut client = etcd.client().await?;
    let lease = publication.lease_id();
    let granted = etcd_client::LeaseGrantOptions::new().with_id(lease);
    // A second document in the same second may have the same lease: it lives long enough for both.
    let _ = client.lease_grant(LEASE_SECS, Some(granted)).await;
    let options = etcd_client::PutOptions::new().with_lease(lease);
    client.put(key, bytes, Some(options)).await?;
    Ok(())
}
