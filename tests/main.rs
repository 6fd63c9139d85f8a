//! The whole program, run as a user runs it; and the laws of the tree.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "what a test helper cannot do fails the test")]

mod attacks;
mod beacon;
mod browser;
mod bucket;
mod deploy;
mod disks;
mod distributions;
mod drain;
mod examples;
mod fan_out;
mod firehose;
mod fleet;
mod full_disk;
mod harness;
mod kill;
mod metrics;
mod overload;
mod pace;
mod power_cut;
mod proof;
mod quickstart;
mod replay;
mod spark;
mod telemetry;
mod tidy;
mod wrong;
