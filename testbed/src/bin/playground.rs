//! `make playground`: the system of the demo, up until Ctrl-C.
//!
//! Exits with 0 after Ctrl-C, with 1 when something could not be started. In both cases nothing
//! that it started is left.

use std::process::ExitCode;

use anyhow::Result;
use testbed::{SystemOptions, playground, stage, system};

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        ended = play() => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("\nplayground: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ = system::interrupted() => {
            eprintln!("\nplayground: everything is stopped and removed");
            ExitCode::SUCCESS
        }
    }
}

async fn play() -> Result<()> {
    let options = SystemOptions::from_args(std::env::args().skip(1))?;
    let _system = playground::start(options, std::io::stdout(), stage::wants_colour()).await?;
    std::future::pending().await
}
