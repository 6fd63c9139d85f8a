//! What a component author sees: traits and types. No runtime, no I/O.
//!
//! Read the modules in this order:
//!
//! 1. [`position`] — where a row stands in a log: [`Partition`], [`Position`], [`Span`].
//! 2. [`source`] — a [`Source`] is pulled for a [`Read`]: rows, and the span they came from.
//! 3. [`transform`] — a [`Transform`] is planned against a schema, then is a pure function of a batch.
//! 4. [`sink`] — a [`Sink`] stages rows in a [`Draft`] and makes them visible under a [`DeliveryId`].
//! 5. [`component`] — what stands in the file: [`Config`], [`Secret`], [`ByteSize`], and [`Wrong`], an error with a place.
//! 6. [`claim`] — partitions that several processes share: a [`Claim`] is one of them, held by this process.
//! 7. [`plan`] — the graph after checking, which the engine runs.
//!
//! # The contract
//!
//! Every source is a replayable log, every sink is an idempotent writer, and the engine only moves positions.
//!
//! - A component never acknowledges anything. It says where rows came from, or that a delivery is durable;
//!   the engine draws the conclusions.
//! - A row ends in exactly one of: *delivered*, *filtered* (counted), *refused* (kept in the dead letters).
//! - What is forgotten counts as *abandoned*: it is read again.

pub mod claim;
pub mod component;
pub mod plan;
pub mod position;
pub mod sink;
pub mod source;
pub mod transform;

use std::error::Error;

pub use claim::{Claim, ClaimError, Claims, Kept};
pub use component::{
    Age, ByteSize, Config, Dialect, Resource, Secret, Whereabouts, Wrong, column, nearest, same_type, shown,
};
pub use plan::Plan;
pub use position::{Partition, Position, Span};
pub use sink::{
    Batch, Deliver, DeliveryId, Draft, Promise, Refused, RefusedRow, Sink, SinkConfig, SinkError, nth_row, whole,
};
pub use source::{Positions, Read, Refusal, Resume, Settler, Source, SourceConfig, Stats};
pub use transform::{Outputs, Transform, TransformConfig};

/// Any error, where the caller does nothing but report it.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// An error and everything behind it, from the outermost to the first cause.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |it: &&'a (dyn Error + 'static)| (*it).source())
}

/// The same in one line.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
