//! `make demo`: watch a directive go through real servers into three proxies, and end.
//!
//! Exits with 0 when everything went as told, with 1 and the step that did not, with 130 after
//! Ctrl-C. In each case nothing that it started is left.

use std::process::ExitCode;

use anyhow::Result;
use testbed::{SystemOptions, demo, stage, system};

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        told = tell() => match told {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("\ndemo: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ = system::interrupted() => {
            eprintln!("\ndemo: interrupted; everything that it started is stopped");
            ExitCode::from(130)
        }
    }
}

async fn tell() -> Result<()> {
    let options = SystemOptions::from_args(std::env::args().skip(1))?;
    demo::run(options, std::io::stdout(), stage::wants_colour()).await
}
