//! The lines of the table that `make faults` makes.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test binary compiles this file for itself and uses a part of it"
)]

use std::time::Duration;

/// One line: the fault's number in the catalogue, its bound, the worst that this run saw, and what the reference made of it.
pub fn line(number: &str, what: &str, bound: Duration, seen: Duration, reference: &str) {
    println!(
        "\nFAULT|{number}|{what}|{}|{}|{reference}",
        seconds(bound),
        seconds(seen)
    );
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
