//! The whole program, run as a user runs it; and the laws of the tree.

mod drain;
mod examples;
mod harness;
mod kill;
mod quickstart;
mod tidy;
mod wrong;
