//! Promise 1, never wider: no input, however malformed, makes a directive apply to more requests than its author
//! wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in the helpers of tests"
)]

mod support;
mod tables;

#[path = "never_wider/client.rs"]
mod client;
#[path = "never_wider/corpus.rs"]
mod corpus;
#[path = "never_wider/engine.rs"]
mod engine;
#[path = "never_wider/generated.rs"]
mod generated;
#[path = "never_wider/manifests.rs"]
mod manifests;
#[path = "never_wider/reference.rs"]
mod reference;
#[path = "never_wider/wire_properties.rs"]
mod wire_properties;
#[path = "never_wider/wire_table.rs"]
mod wire_table;
