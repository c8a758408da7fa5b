//! Looks at an operator and at what it has at etcd.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use osproxy_directives::document::Accepted;
use testbed::operator::Replica;
use testbed::{Etcd, EtcdOptions, Interposer, eventually};

use super::support::{KEY, Line, SOON, options};

/// A whole line, and somebody in the middle between operator and etcd.
pub(super) struct Between {
    pub(super) line: Line,
    pub(super) between: Interposer,
}

impl Between {
    pub(super) async fn start() -> Result<Self> {
        let etcd = Etcd::start(EtcdOptions::new()).await?;
        let between = Interposer::start(&etcd.member(0).endpoint()).await?;
        let options = options().etcd_endpoints(vec![between.endpoint()]);
        let line = Line::start_on(etcd, options).await?;
        leads(line.operator.replica(0), true, SOON).await?;
        Ok(Self { line, between })
    }
}

/// A metric of one series, by its name without the prefix and with its labels.
pub(super) async fn metric(replica: &Replica, name: &str) -> Result<i64> {
    let metrics = replica.metrics().await?;
    let name = format!("osproxy_directives_{name} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    let value = line.with_context(|| format!("no {name}in {metrics}"))?;
    Ok(value.parse()?)
}

/// Waits until a replica says whether it leads.
pub(super) async fn leads(replica: &Replica, expected: bool, within: Duration) -> Result<()> {
    eventually(&format!("leader to be {expected}"), within, async || {
        ensure!(metric(replica, "leader").await? == i64::from(expected));
        Ok(())
    })
    .await
}

/// Whether a replica has led without a break so far.
pub(super) fn led_without_a_break(replica: &Replica) -> Result<()> {
    let log = replica.process().log_text()?;
    ensure!(!log.contains("Stops leading"), "{log}");
    Ok(())
}

/// The leases of the leader and of the candidates behind it, as etcdctl writes them.
pub(super) async fn candidates(etcd: &Etcd) -> Result<Vec<String>> {
    let keys = [
        "get",
        "--prefix",
        "osproxy/directives/leader/",
        "--keys-only",
        "--sort-by=CREATE",
    ];
    let keys = etcd.etcdctl(&keys).await?.success()?;
    let leases = keys.lines().filter_map(|key| key.rsplit_once('/'));
    Ok(leases.map(|(_, lease)| lease.to_owned()).collect())
}

/// The lease of the leader.
pub(super) async fn leader_lease(etcd: &Etcd) -> Result<String> {
    let candidates = candidates(etcd).await?;
    candidates.into_iter().next().context("nobody leads")
}

/// A client of these members alone.
pub(super) async fn client(etcd: &Etcd, members: &[usize]) -> Result<Client> {
    let endpoints: Vec<_> = members.iter().map(|m| etcd.member(*m).endpoint()).collect();
    Ok(Client::connect(endpoints, None).await?)
}

/// Waits until the document's ids, as a client sees them, are exactly these.
pub(super) async fn ids(client: &Client, expected: &[&str], within: Duration) -> Result<()> {
    eventually(
        &format!("the key to hold {expected:?}"),
        within,
        async || {
            let mut kv = client.kv_client();
            let answer = tokio::time::timeout(Duration::from_secs(2), kv.get(KEY, None)).await??;
            let ids: Vec<String> = match answer.kvs().first() {
                None => Vec::new(),
                Some(kv) => Accepted::from_bytes(kv.value())
                    .ok()
                    .context("no document")?
                    .entries()
                    .iter()
                    .map(|relative| relative.entry.id.clone())
                    .collect(),
            };
            ensure!(ids == expected, "it holds {ids:?}");
            Ok(())
        },
    )
    .await
}
