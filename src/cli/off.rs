//! `osproxy-directives off`: takes directives off.

use clap::Args;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;

use super::exit::{self, Failure};
use super::kube::{Cluster, KubeArguments, block_on};
use super::standing::{Standing, judge};
use super::terminal::{say, tell};
use super::wait::{Bound, wait_off};

/// Take directives off: suspend them, and wait until no document holds them.
///
/// A suspended directive stays to be looked at, and its time goes on running. To resume one, set its spec.suspend to false.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// The names of the directives.
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,

    /// Every directive of the namespace that is on, or is going to be.
    #[arg(long, conflicts_with = "names")]
    all: bool,

    /// With --all: those of every namespace.
    #[arg(short = 'A', long, requires = "all", conflicts_with = "namespace")]
    all_namespaces: bool,

    /// Delete them instead.
    #[arg(long)]
    delete: bool,

    #[command(flatten)]
    bound: Bound,

    #[command(flatten)]
    kube: KubeArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(switch_off(arguments))
}

async fn switch_off(arguments: &Arguments) -> Result<u8, Failure> {
    let cluster = arguments.kube.cluster().await?;
    let chosen = if arguments.all {
        what_is_on(&cluster, arguments.all_namespaces).await?
    } else {
        let namespace = &cluster.namespace;
        let named = arguments.names.iter();
        named
            .map(|name| (namespace.clone(), name.clone()))
            .collect()
    };
    if chosen.is_empty() {
        tell(&if arguments.all_namespaces {
            "Nothing is on.".to_owned()
        } else {
            format!("Nothing is on in namespace {}.", cluster.namespace)
        })?;
        return Ok(exit::YES);
    }
    // All of them first, so that none stays on while another one is waited for.
    let mut worst = exit::YES;
    let mut done = Vec::new();
    for (namespace, name) in chosen {
        let directives = cluster.directives(Some(&namespace));
        match take_off(&cluster, &directives, (&namespace, &name), arguments.delete).await {
            Ok(()) => done.push((namespace, name)),
            Err(failure) => worst = worst.max(told(&failure)),
        }
    }
    for (namespace, name) in done {
        if arguments.delete {
            tell(&format!("{namespace}/{name} is deleted"))?;
            continue;
        }
        match wait_off(&cluster, &namespace, &name, arguments.bound).await {
            Ok(sentence) => tell(&sentence)?,
            Err(failure) => worst = worst.max(told(&failure)),
        }
    }
    Ok(worst)
}

fn told(failure: &Failure) -> u8 {
    say(&format!("error: {failure}"));
    failure.status
}

async fn what_is_on(cluster: &Cluster, everywhere: bool) -> Result<Vec<(String, String)>, Failure> {
    let namespace = (!everywhere).then_some(cluster.namespace.as_str());
    let directives = cluster.directives(namespace);
    let params = ListParams::default();
    let list = cluster
        .ask("list the directives", directives.list(&params))
        .await?;
    let now_secs = cluster.now_secs();
    let seen = list
        .items
        .iter()
        .filter_map(|object| judge(&serde_json::to_value(object).ok()?, now_secs));
    let on = seen.filter(|seen| {
        matches!(
            seen.standing,
            Standing::On | Standing::Pending | Standing::Scheduled
        )
    });
    Ok(on.map(|seen| (seen.namespace, seen.name)).collect())
}

async fn take_off(
    cluster: &Cluster,
    directives: &Api<DynamicObject>,
    (namespace, name): (&str, &str),
    delete: bool,
) -> Result<(), Failure> {
    if delete {
        let params = DeleteParams::default();
        let deletion = directives.delete(name, &params);
        return cluster
            .ask(&format!("delete {namespace}/{name}"), deletion)
            .await
            .map(drop);
    }
    let params = PatchParams {
        field_manager: Some(super::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let suspend = Patch::Merge(json!({ "spec": { "suspend": true } }));
    let patch = directives.patch(name, &params, &suspend);
    cluster
        .ask(&format!("suspend {namespace}/{name}"), patch)
        .await
        .map(drop)
}
