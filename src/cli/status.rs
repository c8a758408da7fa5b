//! `osproxy-directives status`: what is on, for whom, until when, put there by whom and why.

mod view;

use std::io::{self, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use kube::api::ListParams;
use serde_json::Value;

use super::check::{Found, fleets};
use super::exit::{self, Failure};
use super::kube::{Cluster, KubeArguments, block_on};
use super::terminal::{Look, say};
use view::Overview;

/// Show what is on: what ends first comes first.
///
/// Of all namespaces, unless -n names one or only one may be read. Below the directives stand those that are not on, with
/// the reason, then the fleet and the operator. Writes nothing.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// All namespaces, and no other answer.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    /// Go on showing it, as it changes.
    #[arg(short, long)]
    watch: bool,

    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,

    #[command(flatten)]
    kube: KubeArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For people with a wide terminal: one line a directive.
    Wide,
    /// For machines.
    Json,
    /// For machines, as YAML.
    Yaml,
}

/// How often it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(async {
        let cluster = arguments.kube.cluster().await?;
        let mut shown = None;
        loop {
            let looked = look(&cluster, arguments).await;
            if !arguments.watch {
                print(&looked?, arguments.output, Turn::Only)?;
                return Ok(exit::YES);
            }
            match looked {
                Ok(overview) => {
                    let look = Look::of_stdout();
                    // In a pipe only what is new is told; time passes without being told.
                    if look.terminal || shown.as_ref() != Some(&overview.timeless()) {
                        let turn = if shown.is_some() {
                            Turn::Next
                        } else {
                            Turn::First
                        };
                        print(&overview, arguments.output, turn)?;
                        shown = Some(overview.timeless());
                    }
                }
                // A server that is away for a while is what one watches for.
                Err(failure) if shown.is_some() => say(&format!("error: {failure}")),
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
}

async fn look(cluster: &Cluster, arguments: &Arguments) -> Result<Overview, Failure> {
    let namespace = arguments.kube.namespace.as_deref();
    let (listed, fleets) = tokio::join!(list(cluster, arguments), fleets(cluster, namespace));
    let (objects, namespace) = listed?;
    // Nobody is kept from the directives because the fleet cannot be seen.
    let fleet = match fleets {
        Found::Is(fleets) => fleets.into_iter().next(),
        Found::Absent | Found::Forbidden | Found::Failed(_) => None,
    };
    Ok(Overview::new(&objects, fleet, cluster.now_secs()).of_namespace(namespace))
}

/// The directives that may be seen, and of which namespace they are, where of one. Where all were meant and not said, and may not
/// be read, those of one namespace.
async fn list(
    cluster: &Cluster,
    arguments: &Arguments,
) -> Result<(Vec<Value>, Option<String>), Failure> {
    let what = "list the directives";
    let params = ListParams::default();
    let one = arguments.kube.namespace.as_deref();
    let directives = cluster.directives(one);
    let first = cluster.ask(what, directives.list(&params)).await;
    let mut of = arguments.kube.namespace.clone();
    let list = match first {
        Err(failure) if failure.is_forbidden && one.is_none() && !arguments.all_namespaces => {
            let namespace = &cluster.namespace;
            let directives = cluster.directives(Some(namespace));
            let listed = cluster.ask(what, directives.list(&params)).await?;
            say(&format!(
                "You may not list the directives of all namespaces: only those of {namespace} are shown."
            ));
            of = Some(namespace.clone());
            listed
        }
        first => first?,
    };
    let objects = list.items.iter().map(serde_json::to_value);
    Ok((objects.filter_map(Result::ok).collect(), of))
}

/// Which of several screens it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Only,
    First,
    Next,
}

fn print(overview: &Overview, format: Format, turn: Turn) -> Result<(), Failure> {
    let look = Look::of_stdout();
    let again = turn != Turn::Only;
    let as_of = match turn {
        Turn::Only => String::new(),
        Turn::Next if !look.terminal => format!("\n{}", overview.as_of(look)),
        Turn::First | Turn::Next => overview.as_of(look),
    };
    let text = match format {
        Format::Text => as_of + &overview.text(look),
        Format::Wide => as_of + &overview.wide(look),
        Format::Json => {
            let json = serde_json::to_string_pretty(&overview.machine());
            json.map_err(|error| Failure::cannot(format!("cannot print JSON: {error}")))? + "\n"
        }
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(&overview.machine());
            let yaml =
                yaml.map_err(|error| Failure::cannot(format!("cannot print YAML: {error}")))?;
            let separator = if again { "---\n" } else { "" };
            format!("{separator}{}\n", yaml.trim_end())
        }
    };
    let mut out = io::stdout().lock();
    if again && look.terminal {
        // To the upper left corner, and what was there is gone.
        out.write_all(b"\x1b[H\x1b[2J")?;
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
