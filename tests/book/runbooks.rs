//! The runbooks, on a release that Helm installed: first in the trouble that each is about, where that is made in a moment.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Etcd, EtcdOptions, eventually};

use crate::cluster::{CHART, Cluster, NAMESPACE, RELEASE};
use crate::shell::Shell;
use crate::site::{FOREIGN, event, put};
use crate::support::{KEY, SOON, directive};

/// etcd's room, small enough to be filled at once.
const QUOTA: &str = "--quota-backend-bytes=16777216";

const CRD: &str = "diagnosticsdirectives.osproxy.io";

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
    is_well(&cluster, "with-room-again").await?;

    refused(&cluster, "inc-4711").await?;
    types("docs/runbooks/OsproxyDirectivesRefused.md").await?;

    outdated(&cluster).await?;
    event(&cluster, "DefinitionOutdated").await?;
    types("docs/runbooks/OsproxyDirectivesDefinitionOutdated.md").await?;
    upgrades(&cluster).await?;

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

/// A directive that only the operator refuses, since the policy is off.
async fn refused(cluster: &Cluster, name: &str) -> Result<()> {
    cluster
        .kubectl("delete validatingadmissionpolicybinding --all")
        .await?;
    // The API server goes by it for a moment yet.
    let mut mistyped = directive(name, "1h");
    mistyped["spec"]["supend"] = true.into();
    eventually("the policy to be off", SOON, async || {
        cluster.apply(&mistyped).await
    })
    .await?;
    eventually("the directive to be refused", SOON, async || {
        let all = cluster.kubectl("get diag -A").await?;
        ensure!(all.contains("Rejected"), "there is {all}");
        Ok(())
    })
    .await
}

/// The definition as an older release of the chart would have left it: without a field, and in other words.
async fn outdated(cluster: &Cluster) -> Result<()> {
    let present = cluster.kubectl(&format!("get crd {CRD} -o json")).await?;
    let present: Value = serde_json::from_str(&present)?;
    let mut spec = present["spec"].clone();
    let schema = &mut spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    schema["description"] = "What the author of a directive wants.".into();
    let fields = schema["properties"].as_object_mut().context("no fields")?;
    fields.remove("comment").context("no comment")?;
    let metadata = &present["metadata"];
    let older = json!({
        "apiVersion": present["apiVersion"], "kind": present["kind"], "spec": spec,
        "metadata": {"name": CRD, "labels": metadata["labels"], "annotations": metadata["annotations"]},
    });
    let helm = "apply --server-side --force-conflicts --field-manager=helm -f -";
    let args: Vec<&str> = helm.split(' ').collect();
    let older = older.to_string();
    let applied = cluster.plane.kubectl_with_input(&args, &older).await?;
    applied.success()?;
    Ok(())
}

/// Whether the chart goes on with a definition that a person has applied.
async fn upgrades(cluster: &Cluster) -> Result<()> {
    let present = cluster.kubectl(&format!("get crd {CRD} -o yaml")).await?;
    ensure!(
        present.contains("helm.sh/resource-policy: keep"),
        "{present}"
    );
    let again = ["upgrade", RELEASE, CHART, "-n", NAMESPACE, "--reuse-values"];
    cluster.helm(&again).await?;
    Ok(())
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
