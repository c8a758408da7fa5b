//! Step one, **observe**: what the API server holds, as far as the plan needs it.
//!
//! Nothing is published before the first complete list, and a list that failed is never an empty list.
//! Objects that vanished while a watch was down are dropped when the next list completes. A projection of each object is kept,
//! not the object: ten thousand of them fit into a few megabytes.

mod inventory;
mod project;
mod watch;

pub use inventory::{Change, Inventory};
pub use project::{Id, Resource, project};
pub use watch::{Fault, Observed, Scope, observe};
