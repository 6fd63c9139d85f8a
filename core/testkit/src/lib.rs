//! Fakes and conformance suites for components, ours and third parties'.
//!
//! The engine believes what a component promises; these suites check it. Each of them panics with a sentence
//! that says which promise was broken and where:
//!
//! - [`source()`]: resumes exactly from every position, replays spans with the same rows in the same order, ends.
//! - [`transform()`]: sends the planned columns, and is a pure function: however the rows are cut into batches,
//!   the same comes out.
//! - [`sink()`]: shows nothing before `commit` and everything after, and the same delivery twice once
//!   (where it promises that).
//!
//! Feature `services` has real servers for tests besides: see `services`.
//!
//! [`oracle`] judges whole runs: what went in against what came out.
//!
//! [`CertifiedKey`] has certificates for tests of TLS.
//!
//! The fakes are [`Scripted`], a source that reads what it was given, and [`Memory`], a sink that keeps what it gets.
//!
//! # For your own component
//!
//! Add `forebay-testkit` to the dev-dependencies of your crate, and one test to it:
//!
//! ```
//! use arrow_array::RecordBatch;
//! use arrow_schema::SchemaRef;
//! use forebay_api::{BoxError, Outputs, Transform};
//!
//! /// Takes every row as it is.
//! struct Pass;
//!
//! impl Transform for Pass {
//!     fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
//!         Ok(input.clone())
//!     }
//!
//!     fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
//!         out.send(rows);
//!         Ok(())
//!     }
//! }
//!
//! let input = [forebay_testkit::text("message", ["one", "two"]), forebay_testkit::text("message", ["three"])];
//! let applied = forebay_testkit::transform(|| Box::new(Pass), &input);
//! assert_eq!(applied.sent.num_rows(), 3);
//! ```
//!
//! A source and a sink are tested in the same way, in an async test:
//!
//! ```
//! use arrow_array::Array;
//! use forebay_api::{Promise, SinkConfig};
//! use forebay_testkit::{Memory, Scripted, canonical, text};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let input = text("message", ["one", "two", "three"]);
//!
//! forebay_testkit::source(&Scripted::new(input.schema()).partition("log", &input)).await;
//!
//! let memory = Memory::new();
//! forebay_testkit::sink(
//!     Promise::OncePerId,
//!     &[input.clone()],
//!     async || memory.open(input.schema()).await.unwrap(),
//!     async || canonical(&memory.rows()),
//! )
//! .await;
//! # });
//! ```

mod certificates;
mod fakes;
pub mod oracle;
#[cfg(feature = "services")]
pub mod proof;
mod rows;
#[cfg(feature = "services")]
pub mod services;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod transform;

pub use certificates::CertifiedKey;
pub use fakes::{Memory, Scripted};
pub use rows::{canonical, columns, cut, text};
pub use sink::{delivery, sink};
pub use source::{read, source};
pub use transform::{Applied, apply, transform};
