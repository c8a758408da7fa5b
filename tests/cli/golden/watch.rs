//! `status --watch`: on a terminal one screen over another, in a pipe what is new.

use std::fs;

use anyhow::{Context, Result, ensure};
use testbed::eventually;
use testbed::process::Process;

use super::mask::{masked, settled, settled_for_a_while};
use super::screens::{Screens, typed};
use crate::shell::Shell;
use crate::support::{Line, SOON, binary};

const WATCH: [&str; 2] = ["status", "--watch"];
/// To the upper left corner, and what was there is gone.
const ANEW: &str = "\\e[H\\e[2J";

pub(super) async fn goes_on_showing_it(
    line: &Line,
    shell: &Shell,
    screens: &mut Screens<'_>,
) -> Result<()> {
    let screen = eventually("two screens that are alike", SOON * 3, async || {
        let said = shell
            .screen("timeout --foreground --signal=INT 5", &WATCH, &[])
            .await?;
        let text = masked(&said.out);
        // The first one may still have been read while minutes were one digit wide.
        let drawn: Vec<&str> = text
            .split(ANEW)
            .filter(|drawn| drawn.contains("Operator:"))
            .collect();
        ensure!(
            drawn.len() > 1 && drawn[0] == drawn[1] && settled(drawn[0]),
            "{text}"
        );
        Ok(format!("{}{ANEW}{}", typed(&WATCH), drawn[0]))
    })
    .await?;
    screens.compare("status-watch.terminal", &screen)?;

    eventually(
        "times that stay as wide as they are",
        SOON * 3,
        async || {
            let said = shell.run(&["status"]).await?;
            ensure!(settled_for_a_while(&said.out), "{said:?}");
            Ok(())
        },
    )
    .await?;
    let log = tempfile::NamedTempFile::new()?;
    let launch = shell.launch(binary()).args(WATCH);
    let process = Process::start("status", launch, log.path().to_owned())?;
    let told = async |many: usize| {
        eventually("the watch to tell what is new", SOON, async || {
            let text = masked(&fs::read_to_string(log.path())?);
            let mut told: Vec<String> = Vec::new();
            for screen in text.split("As of ").skip(1) {
                if told
                    .last()
                    .is_none_or(|last| last.trim_end() != screen.trim_end())
                {
                    told.push(screen.to_owned());
                }
            }
            ensure!(told.len() == many, "{text}");
            Ok(told)
        })
        .await
    };
    told(1).await?;
    // Without kubectl, which could take all of the quarter of a minute.
    let ended = "/apis/osproxy.io/v1alpha1/namespaces/default/diagnosticsdirectives/ended";
    let delete = http::Request::delete(ended).body(Vec::new())?;
    line.plane.client().request_text(delete).await?;
    let both = told(2).await?;
    process.kill()?;
    let last = both.last().context("nothing was told")?;
    ensure!(!last.contains("has ended"), "{last}");
    let text = format!("{}As of {}", typed(&WATCH), both.join("As of "));
    screens.compare("status-watch.pipe", &text)
}
