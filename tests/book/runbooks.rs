//! The runbooks, on a release that Helm installed: first in the trouble that each is about, where that is made in a moment.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use testbed::{Etcd, EtcdOptions};

use crate::cluster::Cluster;
use crate::shell::Shell;
use crate::site::{FOREIGN, event, put};
use crate::support::{KEY, directive};

/// etcd's room, small enough to be filled at once.
const QUOTA: &str = "--quota-backend-bytes=16777216";

/// Every page that is typed here.
pub(crate) fn pages() -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let mut pages = vec!["README.md".to_owned(), "docs/runbooks.md".to_owned()];
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        pages.push(format!("docs/runbooks/{name}"));
    }
    pages.sort();
    Ok(pages)
}

#[tokio::test]
async fn every_runbook_holds_word_for_word() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().flag(QUOTA)).await?;
    let cluster = Cluster::start().await?;
    let mut shell = Shell::new(cluster.plane.kubeconfig(), &etcd.endpoint_list()).await?;
    shell.instead_of("http://etcd-0.etcd:2379", etcd.endpoint_list());
    let mut left = pages()?;
    let mut types = async |name: &str| {
        left.retain(|page| page != name);
        shell.types(name).await
    };

    put(&etcd, KEY, FOREIGN).await?;
    types("README.md").await?;
    event(&cluster, "ForeignValue").await?;
    types("docs/runbooks.md").await?;
    types("docs/runbooks/OsproxyDirectivesForeignValue.md").await?;
    is_well(&cluster, "first").await?;

    put(&etcd, KEY, FOREIGN).await?;
    event(&cluster, "DocumentChanged").await?;
    types("docs/runbooks/OsproxyDirectivesKeyContested.md").await?;

    put(&etcd, &format!("{KEY}/paused"), "ana").await?;
    types("docs/runbooks/OsproxyDirectivesPaused.md").await?;
    is_well(&cluster, "after-the-pause").await?;

    let owner = anothers(&etcd).await?;
    put(&etcd, &format!("{KEY}/owner"), &owner).await?;
    event(&cluster, "OwnedByAnother").await?;
    types("docs/runbooks/OsproxyDirectivesOwnedByAnother.md").await?;
    is_well(&cluster, "ours-again").await?;

    fill(&etcd).await?;
    types("docs/runbooks/OsproxyDirectivesNoSpace.md").await?;
    is_well(&cluster, "inc-4711").await?;

    for page in pages()? {
        if left.contains(&page) {
            shell.types(&page).await?;
        }
    }
    Ok(())
}

/// Whether a directive gets through, from its apply to the document.
async fn is_well(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.apply(&directive(name, "1h")).await?;
    cluster.is_ready(name).await
}

/// What the owner would be, were it another release.
async fn anothers(etcd: &Etcd) -> Result<String> {
    let key = format!("{KEY}/owner");
    let present = etcd.client().await?.get(key, None).await?;
    let owner = present.kvs().first().context("nobody owns the key")?;
    let mut owner: Value = serde_json::from_slice(owner.value())?;
    owner["release"] = "elsewhere/osproxy-directives".into();
    Ok(owner.to_string())
}

/// Writes one key over and over until etcd is full of what it was.
async fn fill(etcd: &Etcd) -> Result<()> {
    let (mut client, page) = (etcd.client().await?, vec![b'x'; 1 << 20]);
    for _ in 0..64 {
        if client.put("filler", page.clone(), None).await.is_err() {
            return Ok(());
        }
    }
    anyhow::bail!("etcd takes more than its room")
}
