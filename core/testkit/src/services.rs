//! Real servers and real readers for tests, and a proxy that breaks what lies between.
//!
//! A test that needs one of them has it or fails: everything panics with what was missing, nothing is skipped. Python
//! packages come at exact versions into `target/services`, once. Servers listen on a free port of the loopback address
//! and end with the value that stands for them, or with the test process.
//!
//! - [`S3Server`]: S3 on a directory, in this process, with signatures checked.
//! - [`Ministack`]: S3 and SQS with notifications from one to the other.
//! - [`FaultProxy`]: stands before an HTTP server and loses answers, cuts bodies, resets, delays, refuses.
//! - [`python()`], [`spark()`]: interpreters with packages.

mod fault;
mod ministack;
mod proxy;
mod python;
mod s3;
mod thread;

pub use fault::{Fault, Rule, Seen};
pub use ministack::Ministack;
pub use proxy::FaultProxy;
pub use python::{python, spark};
pub use s3::S3Server;
#[cfg(test)]
pub(crate) use thread::Server;

/// The access key that every server here takes.
pub const ACCESS_KEY: &str = "forebay-access-key";

/// The secret that belongs to [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "forebay-secret-key";
