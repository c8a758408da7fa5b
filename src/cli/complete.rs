//! `kubectl_complete-diag`: what kubectl's own completion asks of a plugin.
//!
//! kubectl looks for a program of that name in PATH, runs it with the words behind `kubectl diag`, the last of which is being typed, and
//! reads what cobra's `__complete` prints. Standard error is the person's terminal, so nothing is ever said there.

mod words;

use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches as _};
use kube::api::ListParams;

use super::etcd::runtime;
use super::kube::KubeArguments;
use super::standing::judge;
use words::{Candidate, Wanted, printed, wanted};

/// Print what may stand where the last word is being typed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[arg(last = true)]
    words: Vec<String>,
}

/// Whoever presses Tab does not wait for longer.
const WITHIN: Duration = Duration::from_secs(1);

/// Prints the candidates of `command` to standard output.
pub(super) fn run(arguments: &Arguments, mut command: Command) {
    // Only then it has all flags that it takes.
    command.build();
    let server = KubeArguments::augment_args(Command::new("server").no_binary_name(true));
    let text = match wanted(&command, &server, &arguments.words) {
        Wanted::Words(candidates) => printed(&candidates, false),
        Wanted::File => printed(&[], true),
        Wanted::Directive {
            flags,
            except,
            typed,
        } => {
            let mut names = in_time(move || directives(server, &flags).unwrap_or_default());
            names.retain(|(name, _)| name.starts_with(&typed) && !except.contains(name));
            printed(&names, false)
        }
    };
    // Nobody can be told that it cannot be written to.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// What `ask` finds, or nothing where it takes too long. On a thread that is left alone then: a login may be a program that blocks.
fn in_time(ask: impl FnOnce() -> Vec<Candidate> + Send + 'static) -> Vec<Candidate> {
    let (found, finds) = mpsc::channel();
    thread::spawn(move || {
        let _ = found.send(ask());
    });
    finds.recv_timeout(WITHIN).unwrap_or_default()
}

/// The directives of the namespace that `flags` name, each with how it stands; `None` where they cannot be had.
fn directives(server: Command, flags: &[String]) -> Option<Vec<Candidate>> {
    let matches = server.try_get_matches_from(flags).ok()?;
    let kube = KubeArguments::from_arg_matches(&matches).ok()?;
    runtime().ok()?.block_on(async {
        let cluster = kube.cluster().await.ok()?;
        let listed = cluster.directives(Some(&cluster.namespace));
        let listed = listed.list(&ListParams::default()).await.ok()?;
        let now_secs = cluster.now_secs();
        let names = listed.items.iter().filter_map(|object| {
            let seen = judge(&serde_json::to_value(object).ok()?, now_secs)?;
            Some((seen.name, seen.standing.word().to_owned()))
        });
        Some(names.collect())
    })
}
