//! `osproxy-directives adopt`: takes a key over for a release.

use clap::Args;

use super::etcd::{EtcdArguments, release, unreadable};
use super::exit::{self, Failure};
use super::kube::{KubeArguments, block_on};
use super::terminal::{plain, say, tell};
use crate::operator::publish::fence::Adoption;
use crate::operator::publish::keys::Answer;
use crate::operator::publish::owner::Ownership;
use crate::operator::read_owner;

/// Take a key over for a release: one with a foreign document, or one that another release owns.
///
/// It writes only who owns the key; the operator of that release then makes the document say what its resources say. Where
/// somebody has written the document since you looked at it, nothing is done, and it ends with 1.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// Namespace and name of the release that shall own the key.
    #[arg(long, env = "OSPROXY_RELEASE", value_name = "NAMESPACE/NAME", value_parser = release)]
    release: String,

    /// The etcd revision of the document that you have seen and mean, as `import` prints it; 0 where there is none.
    #[arg(long)]
    revision: i64,

    #[command(flatten)]
    kube: KubeArguments,

    #[command(flatten)]
    etcd: EtcdArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(adopt(arguments))
}

async fn adopt(arguments: &Arguments) -> Result<u8, Failure> {
    let Arguments {
        kube,
        etcd,
        release,
        revision,
    } = arguments;
    let cluster = kube.cluster().await?;
    let client = cluster.client();
    let asked = read_owner(&client, release);
    let owner = cluster
        .ask(
            "read the namespace kube-system, whose uid names the cluster",
            asked,
        )
        .await?;
    let store = etcd.store().await?;
    let read = store.read().await;
    let state = read.map_err(|fault| unreadable("read the key", fault))?;
    let ownership = owner.judge(state.owner.as_ref());
    if let Ownership::Ours { .. } = ownership {
        tell(&format!("Release {release} owns the key already."))?;
        return Ok(exit::YES);
    }
    if state.document_revision() != *revision {
        return Err(moved(state.document_revision(), *revision));
    }
    match ownership {
        Ownership::Theirs(other) => say(&format!(
            "Taking the key over from release {} of cluster {}.",
            plain(&other.release),
            plain(&other.cluster)
        )),
        Ownership::Unreadable => say("Taking the key over from an owner that cannot be read."),
        Ownership::Ours { .. } | Ownership::Nobody => {}
    }
    let adoption = Adoption {
        document_revision: *revision,
        owner_revision: state.owner.as_ref().map_or(0, |stored| stored.mod_revision),
    };
    match store.adopt(&adoption, &owner).await {
        Ok(Answer::Done { .. }) => {
            tell(&format!("Release {release} owns the key now."))?;
            Ok(exit::YES)
        }
        Ok(Answer::Fenced { state, .. }) => Err(moved(state.document_revision(), *revision)),
        Err(fault) if fault.is_certain() => Err(unreadable("take the key over", fault)),
        Err(fault) => Err(Failure::cannot(format!(
            "the key may or may not have been taken over: {fault}"
        ))
        .hint("run the same command again: it says whether the release owns the key")),
    }
}

fn moved(now: i64, seen: i64) -> Failure {
    Failure::no(if now == 0 {
        format!("there is no document any more, and you have seen one of etcd revision {seen}")
    } else {
        format!("the document is at etcd revision {now}, not {seen}: somebody wrote it meanwhile")
    })
    .hint("look at it again with `import`, and take the revision that it prints")
}
