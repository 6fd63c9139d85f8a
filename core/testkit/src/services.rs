//! Real servers and real readers for tests, and a proxy that breaks what lies between.
//!
//! A test that needs one of them has it or fails: everything panics with what was missing, nothing is skipped. Packages
//! come at exact versions into `target/services`, once. Servers listen on a free port of the loopback address
//! and end with the value that stands for them, or with the test process.
//!
//! - [`S3Server`]: S3 on a directory, in this process, with signatures checked.
//! - [`KinesisServer`]: Kinesis in this process, with the service's limits; [`aggregate()`] makes records for it.
//! - [`KinesisLocal`]: Kinesis by others, to compare.
//! - [`DynamoDb`]: AWS's own DynamoDB for tests.
//! - [`FirehoseServer`]: Data Firehose as its writers see it, in this process.
//! - [`Ministack`]: S3 and SQS with notifications from one to the other.
//! - [`ClickHouse`]: a whole ClickHouse over HTTP, with users and a directory that outlives crashes.
//! - [`Chromium`]: a real browser.
//! - [`FaultProxy`]: stands before an HTTP server and loses answers, cuts bodies, resets, delays, refuses.
//! - [`python()`], [`spark()`]: interpreters with packages.

mod chromium;
mod clickhouse;
mod dynamodb;
mod fault;
mod firehose;
mod kinesis;
mod kinesis_local;
mod ministack;
mod npm;
mod program;
mod proxy;
mod python;
mod s3;
mod thread;

pub use chromium::{Chromium, Page};
pub use clickhouse::ClickHouse;
pub use dynamodb::DynamoDb;
pub use fault::{Fault, Rule, Seen};
pub use firehose::{FirehoseCall, FirehoseMishap, FirehoseServer};
pub use kinesis::{KinesisCalls, KinesisLimits, KinesisMishap, KinesisServer, aggregate};
pub use kinesis_local::KinesisLocal;
pub use ministack::Ministack;
pub use proxy::FaultProxy;
pub use python::{python, spark};
pub use s3::S3Server;
#[cfg(test)]
pub(crate) use thread::Server;

/// The access key that every server here takes: letters alone, as [`DynamoDb`] wants it.
pub const ACCESS_KEY: &str = "forebayaccesskey";

/// The secret that belongs to [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "forebay-secret-key";
