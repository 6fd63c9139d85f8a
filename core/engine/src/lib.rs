//! Runs a plan. The only crate that moves positions.
//!
//! - A [`lane`] for each source pulls reads, takes them through all transforms ([`flow`]) on their [`route`], and hands
//!   each sink its share.
//! - An [`outlet`] for each sink joins shares into a [`delivery`], writes the intent down, makes the delivery
//!   visible, and keeps the books ([`ledger`]).
//! - A [`part`] puts these together for sources whose positions are kept in one store. After a start, what may or may not
//!   be visible is rebuilt exactly ([`rebuild`]) before anything new is read, and only if rows still go the way that they
//!   went before ([`way`]).
//! - A partition that several processes share is a part of its own, for as long as this process holds the claim to it
//!   ([`share`]); what the process knew of it from before goes along ([`handover`]), and all of them together hold no more
//!   of a sink's rows in memory than one part alone ([`budget`]). [`pipeline`] opens the sinks and
//!   sees all parts through, until their input ends or something else ends them ([`halt`]).
//!
//! What is decided, is decided by pure functions: [`rules`], [`ledger`], [`recovery`]. The seeded simulation in
//! `sim/` runs all of this and pulls the plug before any poll of any task.
//!
//! Time is tokio's, so that the simulation can stop it; the clock of the wall is read only to note when a delivery was
//! intended.

mod budget;
mod counters;
mod delivery;
mod flow;
mod halt;
mod handover;
mod lane;
mod ledger;
mod letters;
mod outlet;
mod pace;
mod part;
mod pipeline;
mod rebuild;
mod recovery;
mod route;
mod rules;
mod settle;
mod share;
mod tasks;
mod waiting;
mod watched;
mod way;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use forebay_api::{BoxError, Deliver, Plan};
use forebay_state::Store;
use tokio_util::sync::CancellationToken;

pub use counters::{Counters, Counts, DEAD_LETTERS, NodeCounters};

use crate::rules::Rules;

/// What a run needs besides the plan.
pub struct Options {
    /// Where progress is kept.
    pub store: Arc<dyn Store>,
    /// Where refused rows are kept that no node reads: what [`Plan::dead_letters`] opens.
    pub letters: Option<Arc<dyn Deliver>>,
    /// Cancelled to stop reading, deliver what was read, and end.
    pub stop: CancellationToken,
    /// Counts what happens; made by [`Counters::new`] for the same plan.
    pub counters: Arc<Counters>,
    /// How many reads of one source are transformed at the same time, in order all the same. At least 1.
    pub workers: usize,
    /// Spreads the waits of several processes that failed together.
    pub jitter_seed: u64,
    /// Give up deliveries that a crash left open instead of rebuilding them. Their rows are read again as far as they
    /// are there, and may be there twice. Go on, too, where the pipeline was changed while some sinks were behind others:
    /// rows between them may be lost or doubled.
    pub abandon_pending: bool,
}

/// How a run ended that nothing went wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Every source ended, and all of it is delivered.
    InputEnded,
    /// A stop was asked for, and everything read is delivered.
    Drained,
    /// A stop was asked for, and the time to drain was over: what was in flight is read again at the next start.
    DrainCut,
}

/// Why a run ended early. No row is lost: the next start goes on where the state says.
#[derive(Debug)]
pub struct RunError {
    /// The node that it is about.
    pub node: String,
    /// What it could not do, in words that follow its name.
    pub what: String,
    /// Why not.
    pub cause: BoxError,
    /// What to do about it.
    pub hint: Option<String>,
}

impl RunError {
    pub(crate) fn new(node: &str, what: &str, cause: BoxError) -> Self {
        Self { node: node.into(), what: what.into(), cause, hint: None }
    }

    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.node, self.what)
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// Runs a plan until its input ends, a stop is asked for, or something goes wrong that waiting does not mend.
pub async fn run(plan: &Plan, options: Options) -> Result<Ending, RunError> {
    pipeline::run(plan, options, Rules::default()).await
}
