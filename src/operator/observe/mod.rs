//! Step one, **observe**: what the API server holds, as far as the plan needs it.
//!
//! Nothing is published before the first complete list, and a list that failed is never an empty list.
//! Objects that vanished while a watch was down are dropped when the next list completes. What is older than what was
//! seen before is not believed at once. A projection of each object is kept, not the object: ten thousand of them fit
//! into a few megabytes.

mod definition;
mod fault;
mod inventory;
mod observed;
mod project;
mod watch;

pub use definition::Definition;
pub use fault::Fault;
pub use inventory::{Change, Inventory, Taken};
pub use observed::Observed;
pub use project::{Id, Projected, Resource, Shown, project};
pub use watch::{Scope, observe};
