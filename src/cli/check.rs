//! `osproxy-directives check`: what is wrong, and what to do about it.

mod judge;
mod line;
mod look;
mod operator;

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Failure};
use super::kube::{KubeArguments, block_on};
use super::terminal::{Format, Look, Tone, plain, wrap};
pub(super) use line::Found;
use line::{Line, Verdict};
pub(super) use look::fleets;
use look::{before, evidence};

/// Check the whole line, from the API server to the proxies, and say what to do where something is wrong.
///
/// Ends with 0 where nothing is broken, and 1 where something is; what is doubtful or could not be looked at does not count. Where the API
/// server does not answer it ends with 2. It asks the
/// API server alone: what it says of etcd and the proxies is what the operator reported last. Writes nothing.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// Before an installation: only what it takes for one.
    #[arg(long)]
    pre: bool,

    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,

    #[command(flatten)]
    kube: KubeArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(async {
        let cluster = arguments.kube.cluster().await?;
        let lines = if arguments.pre {
            before(&cluster).await
        } else {
            let namespace = arguments.kube.namespace.as_deref();
            judge::judge(&Box::pin(evidence(&cluster, namespace)).await)
        };
        let text = match arguments.output {
            Format::Text => text(&lines, Look::of_stdout()),
            Format::Json => machine(&lines)?,
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        Ok(verdict(&lines))
    })
}

fn verdict(lines: &[Line]) -> u8 {
    let bad = |line: &&Line| line.verdict == Verdict::Bad;
    match lines.iter().find(bad) {
        None => exit::YES,
        // Nothing could be looked at.
        Some(line) if line.id == "api-server" => exit::CANNOT,
        Some(_) => exit::NO,
    }
}

fn text(lines: &[Line], look: Look) -> String {
    let mut out = String::new();
    let mut room = "";
    for line in lines {
        if room != line.room {
            let gap = if room.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}{}", look.paint(Tone::Strong, line.room));
            room = line.room;
        }
        let tone = match line.verdict {
            Verdict::Good => Tone::Good,
            Verdict::Doubtful => Tone::Doubtful,
            Verdict::Bad => Tone::Bad,
        };
        let (mark, indent) = if look.terminal {
            (line.verdict.symbol().to_owned(), 2)
        } else {
            (format!("{:<4}", line.verdict.word()), 5)
        };
        let text = wrap(&plain(&line.text), indent, look.width);
        let _ = writeln!(out, "{} {text}", look.paint(tone, &mark));
        if let Some(hint) = &line.hint {
            let indent = indent + 2;
            let hint = wrap(&format!("hint: {}", plain(hint)), indent, look.width);
            let _ = writeln!(
                out,
                "{:indent$}{hint}\n{:indent$}see {}",
                "",
                "",
                line.link()
            );
        }
    }
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let (bad, doubtful) = (count(Verdict::Bad), count(Verdict::Doubtful));
    out += "\n";
    out += &match (bad, doubtful) {
        (0, 0) => look.paint(Tone::Good, "Everything is as it should be."),
        (0, some) => look.paint(
            Tone::Doubtful,
            &format!("Nothing is broken; {some} to look at."),
        ),
        (1, _) => look.paint(Tone::Bad, &format!("1 of {} is broken.", lines.len())),
        (some, _) => look.paint(Tone::Bad, &format!("{some} of {} are broken.", lines.len())),
    };
    out.push('\n');
    out
}

fn machine(lines: &[Line]) -> Result<String, Failure> {
    let checks: Vec<Value> = lines.iter().map(Line::machine).collect();
    let whole = json!({ "success": verdict(lines) == exit::YES, "checks": checks });
    let text = serde_json::to_string_pretty(&whole);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::cannot(format!("cannot print JSON: {error}")))
}
