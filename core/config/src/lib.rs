//! Text to plan, or every problem in it. Pure: opens nothing.
//!
//! [`plan()`] takes these steps; each one goes on with what the one before could make sense of, so that all problems
//! of a file are reported at once:
//!
//! 1. [`mod@file`]: TOML text to tables with places; the sections; the environment laid over them.
//! 2. [`lookup`]: values such as `{ env = "X" }`, asked of the caller.
//! 3. [`node`], [`read`], [`explain`]: each node's table to the engine's keys and the component's configuration.
//! 4. [`graph`]: who reads whom; cycles; outputs that no node reads.
//! 5. [`schemas`]: Arrow schemas from the sources through the transforms to the sinks.
//! 6. [`resources`], [`fingerprint`]: what only the whole can tell.
//!
//! From the same structs come the JSON Schema of the file ([`schema()`]) and the reference pages ([`reference()`]).

mod explain;
mod file;
mod fingerprint;
mod graph;
mod keys;
mod lookup;
mod node;
mod plan;
mod problem;
mod read;
mod reference;
mod registry;
mod resources;
mod schema;
mod schemas;
mod secrets;
mod shape;
#[cfg(test)]
mod tests;

pub use lookup::Lookup;
pub use plan::{Checked, Metrics, environments, plan};
pub use problem::{Note, Problem, Problems};
pub use reference::{engine_reference, reference};
pub use registry::{About, Kind, Registry};
pub use schema::schema;
