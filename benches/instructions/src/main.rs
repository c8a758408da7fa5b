//! How many instructions `decide` and `load` take, with a ceiling for each. Part of `make test`: unlike a time, a count is the
//! same on a busy machine.
//!
//! Runs itself under valgrind twice, with few calls and with many: the difference is what the calls cost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a measurement: it may stop at once"
)]

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use osproxy_core::{Clock, ManualClock, RequestId};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::DirectiveStore;

#[path = "../../shapes/mod.rs"]
mod shapes;

use shapes::{Request, Targets, document};

/// What is counted: its name, and the most instructions that one call may take.
const CEILINGS: [(&str, u64); 7] = [
    ("load", 130),
    ("decide none of 1", 320),
    ("decide none of 10000", 520),
    ("decide one of 1", 600),
    ("decide one of 10000", 820),
    ("decide all of 10000", 1_630),
    ("decide same of 10000", 630),
];

const FEW: u64 = 500;
const MANY: u64 = 2_500;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--calls") {
        let calls = arguments.next().unwrap().parse().unwrap();
        run(&arguments.next().unwrap(), calls);
        return ExitCode::SUCCESS;
    }
    println!(
        "{:>22} {:>12} {:>8}",
        "instructions a call", "count", "ceiling"
    );
    let mut met = true;
    for (case, ceiling) in CEILINGS {
        let count = (counted(case, MANY) - counted(case, FEW)) / (MANY - FEW);
        let verdict = if count <= ceiling { "" } else { "  TOO MANY" };
        println!("{case:>22} {count:>12} {ceiling:>8}{verdict}");
        met &= count <= ceiling;
    }
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The instructions of a whole run with so many calls.
fn counted(case: &str, calls: u64) -> u64 {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--calls", &calls.to_string(), case])
        .output()
        .expect("valgrind does not start; hack/prerequisites installs it");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let (_, count) = said.split_once("Collected :").expect("valgrind counts");
    count.split_whitespace().next().unwrap().parse().unwrap()
}

fn run(case: &str, calls: u64) {
    let clock = Arc::new(ManualClock::new());
    let now = clock.now();
    let many = if case.ends_with("10000") { 10_000 } else { 1 };
    let (targets, request) = match case.split(' ').nth(1) {
        Some("all") => (Targets::MixedAlike, Request::all()),
        Some("same") => (Targets::One, Request::all()),
        Some("one") => (Targets::Mixed, Request::one()),
        _ => (Targets::Mixed, Request::none()),
    };
    let store =
        EtcdDirectiveStore::from_document(document(many, targets).as_bytes(), clock).unwrap();
    let (attrs, id) = (
        request.attrs(),
        RequestId::from("0af7651916cd43dd8448eb211c80319c"),
    );
    for _ in 0..calls {
        if case == "load" {
            black_box(store.load());
        } else {
            black_box(store.decide(black_box(&attrs), now, &id));
        }
    }
}
