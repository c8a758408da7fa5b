//! `osproxy-directives adopt`

use anyhow::{Context as _, bail};
use clap::Args;

use super::etcd::{EtcdArguments, block_on, release};
use crate::operator::publish::fence::Adoption;
use crate::operator::publish::keys::Answer;
use crate::operator::publish::owner::Ownership;
use crate::operator::read_owner;

/// Takes a key over for a release: one that holds a document which nobody's operator wrote, or one that another release owns. It
/// writes only who owns the key; the operator of that release then makes the document say what its resources say.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    etcd: EtcdArguments,

    /// Namespace and name of the release that shall own the key, as `namespace/name`.
    #[arg(long, env = "OSPROXY_RELEASE", value_parser = release)]
    release: String,

    /// The etcd revision of the document that you have seen and mean, as `osproxy-directives import` prints it; 0 where there is none. If
    /// it has moved since, nothing is done.
    #[arg(long)]
    revision: i64,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    block_on(adopt(arguments))
}

async fn adopt(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        etcd,
        release,
        revision,
    } = arguments;
    let client = kube::Client::try_default()
        .await
        .context("cannot find the API server, whose cluster shall own the key")?;
    let owner = read_owner(&client, &release)
        .await
        .context("cannot read the namespace kube-system, whose uid names the cluster")?;
    let store = etcd.store().await?;
    let state = store.read().await.context("cannot read the key")?;
    let moved = |now: i64| {
        format!(
            "the document is at etcd revision {now}, not {revision}: somebody wrote it meanwhile. \
             Look at it again with `osproxy-directives import`"
        )
    };
    if state.document_revision() != revision {
        bail!(moved(state.document_revision()));
    }
    match owner.judge(state.owner.as_ref()) {
        Ownership::Ours { .. } => {
            println!("Release {release} owns the key already.");
            return Ok(());
        }
        Ownership::Theirs(other) => eprintln!(
            "Taking the key over from release {} of cluster {}.",
            other.release, other.cluster
        ),
        Ownership::Unreadable => {
            eprintln!("Taking the key over from an owner that cannot be read.");
        }
        Ownership::Nobody => {}
    }
    let adoption = Adoption {
        document_revision: revision,
        owner_revision: state.owner.as_ref().map_or(0, |stored| stored.mod_revision),
    };
    match store.adopt(&adoption, &owner).await {
        Ok(Answer::Done { .. }) => {
            println!("Release {release} owns the key now.");
            Ok(())
        }
        Ok(Answer::Fenced { state, .. }) => bail!(moved(state.document_revision())),
        Err(fault) => Err(fault).context(
            "the key may or may not have been taken over; look with `osproxy-directives import`",
        ),
    }
}
