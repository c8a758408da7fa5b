//! The `DiagnosticsDirective` resource: what a person applies, and what becomes of it. And the `DiagnosticsFleet`, the operator's report.
//!
//! * [`DiagnosticsDirective`] is the custom resource itself, with the schema and the rules that the API server enforces
//!   at apply time; [`crd_yaml`] prints its definition.
//! * [`parse`] goes from a spec to what the wire carries. It trusts nothing to the schema.
//! * [`Window`] says when a directive is active, as a pure function of the resource.
//! * [`target_summary`] and [`sample`] are the words of the status columns.
//!
//! Everything here is pure: no I/O, no clock, no runtime.

mod crd;
mod fields;
mod fleet;
mod parse;
mod refusal;
mod status;
pub mod vocabulary;
mod window;

pub use crd::{
    DiagnosticsDirective, DiagnosticsDirectiveSpec, MatchItem, PrintError, yaml as crd_yaml,
};
pub use fleet::{
    DiagnosticsFleet, DiagnosticsFleetSpec, DiagnosticsFleetStatus, EtcdServers, MAX_WORST,
    WorstProxy, yaml as fleet_crd_yaml,
};
pub use parse::{Directive, parse, parse_object};
pub use refusal::{Reason, Refusal};
pub use status::{
    DiagnosticsDirectiveStatus, Proxies, State, parse_sample, sample, target_summary,
};
pub use window::{Phase, Window, format_duration, parse_duration_millis, parse_time};
