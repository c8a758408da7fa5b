//! The fence, alone on a real etcd: a write is carried out only where all four of its compares hold.

mod support;

use anyhow::{Context, Result, ensure};
use osproxy_directives::etcd::{ConnectOptions, Keys};
use osproxy_directives::operator::publish::fence::Fence;
use osproxy_directives::operator::publish::keys::{Answer, KeyStore, Write};
use support::{KEY, document};
use testbed::{Etcd, EtcdOptions};

struct Bench {
    etcd: Etcd,
    store: KeyStore,
    fence: Fence,
}

impl Bench {
    /// An etcd where we lead, own the key, and have written the document once.
    async fn start(version: &str) -> Result<Self> {
        let etcd = Etcd::start(EtcdOptions::new().version(version)).await?;
        let put = async |key: &str| {
            let mut client = etcd.client().await?;
            #[allow(
                clippy::disallowed_methods,
                reason = "the test plays the rest of the world"
            )]
            let answer = client.put(key, "x", None).await?;
            anyhow::Ok(answer.header().context("no header")?.revision())
        };
        let leader_revision = put("osproxy/directives/leader/1").await?;
        let owner_revision = put("osproxy/directives/owner").await?;
        let document_revision = put(KEY).await?;
        let options = ConnectOptions::new(etcd.endpoints());
        let store = KeyStore::open(options, Keys::new(KEY)?).await?;
        let fence = Fence {
            leader_key: b"osproxy/directives/leader/1".to_vec(),
            leader_revision,
            document_revision,
            owner_revision,
        };
        Ok(Self { etcd, store, fence })
    }

    async fn is_refused(&self, write: &Write) -> Result<()> {
        let before = document(&self.etcd).await?;
        let answer = self.store.write(&self.fence, write).await?;
        ensure!(matches!(answer, Answer::Fenced { .. }), "{answer:?}");
        assert_eq!(document(&self.etcd).await?, before, "nothing was written");
        Ok(())
    }
}

fn writes() -> [Write; 2] {
    let put = Write::Put {
        value: b"{}".to_vec(),
        lease: 0,
    };
    [put, Write::Delete]
}

#[tokio::test]
async fn a_write_whose_four_compares_hold_is_carried_out() -> Result<()> {
    for write in writes() {
        let bench = Bench::start("3.7").await?;
        let answer = bench.store.write(&bench.fence, &write).await?;
        ensure!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_write_is_refused_where_any_of_its_four_compares_fails() -> Result<()> {
    let changes: [&[&str]; 6] = [
        // The leader key is gone, or is another's: deleted and made again it has another create revision.
        &["del osproxy/directives/leader/1"],
        &[
            "del osproxy/directives/leader/1",
            "put osproxy/directives/leader/1 y",
        ],
        // Somebody wrote the document, or deleted it.
        &["put osproxy/directives y"],
        &["del osproxy/directives"],
        // The owner was written, if only with the same value.
        &["put osproxy/directives/owner x"],
        // A person paused.
        &["put osproxy/directives/paused 1"],
    ];
    let versions = |change| [(change, "3.7"), (change, "3.5")];
    for (change, version) in changes.into_iter().flat_map(versions) {
        let bench = Bench::start(version).await?;
        for command in change {
            let args: Vec<&str> = command.split(' ').collect();
            bench.etcd.etcdctl(&args).await?.success()?;
        }
        for write in writes() {
            bench
                .is_refused(&write)
                .await
                .with_context(|| format!("after {change:?}"))?;
        }
    }
    Ok(())
}
