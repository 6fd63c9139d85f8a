//! Leases on shards in a DynamoDB table, as the Kinesis Client Library keeps them.
//!
//! Several processes share a stream: each reads the shards whose leases it holds. A lease is a row of a table. Its holder
//! renews it; who falls silent loses it; who has more than his share is asked to hand some over. What is known of a shard
//! travels with its lease: how far every sink has come, and which deliveries are under way.
//!
//! The table is that of the Kinesis Client Library 2 and 3, to the attribute. Of the two ways to share it with an
//! application of the library there is one:
//!
//! - *Take over*: the application is stopped, these processes are started and go on where it stopped; and the other way
//!   round. Each finds the checkpoints of the other. What the library has no attribute for stands in one of ours, which
//!   it leaves alone; as soon as it has moved a checkpoint, what ours says of that shard is void.
//! - *Cooperate*, as workers among those of a library of version 3, is not there yet. Its leader gives leases only to
//!   workers that write how busy they are, in rows of another kind, and takes those that are free for itself to give; here
//!   nobody leads, and everybody takes. Both at once would pass leases back and forth. It needs these rows, read and
//!   written, and leases that are taken only when they were given; such rows are passed over as yet.
//!
//! - [`checkpoint`], [`lease_state`]: what a row says about the progress of a shard.
//! - [`lease`], [`seen`], [`decide`](mod@decide), [`lineage`]: rows and what is to be done about them. Pure.
//! - [`item`], [`table`]: the same in DynamoDB.
//! - [`held`], [`keeper`], [`claims`](mod@claims): leases that are held, the task that takes them, and the trait that the
//!   engine knows.

mod checkpoint;
mod claims;
mod compare;
mod decide;
mod held;
mod item;
mod keeper;
mod lease;
mod lease_state;
mod lineage;
mod seen;
mod table;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::{Age, BoxError, Claims, Wrong};
use forebay_aws::Aws;
use schemars::JsonSchema;
use serde::Deserialize;

pub use checkpoint::{Begin, RowsAre};
pub use claims::{LeaseClaims, LeasedShard, Shards};
pub use lineage::ListedShard;

use decide::Worker;
use held::Times;
use table::LeaseTable;

/// What DynamoDB allows for the name of a table: its API reference, CreateTable, TableName.
const TABLE_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=255;

/// Shorter ones could not be renewed in time over a network, longer ones help nobody.
const DURATION: std::ops::RangeInclusive<Age> = Age::seconds(2)..=Age::seconds(600);

/// How often the shards of a stream are compared with the table, if nothing gives reason to earlier.
const LIST_EVERY: Duration = Duration::from_secs(30);

/// Shares the shards of a source among several processes, by leases in a DynamoDB table.
///
/// The table has the layout of the Kinesis Client Library, versions 2 and 3: a library application that is stopped is
/// taken over where it stopped, and can take over again. The two must not run at the same time. The table is made if it is
/// not there, paid for by request. The rights that are needed on it are `dynamodb:DescribeTable`, `dynamodb:CreateTable`, `dynamodb:Scan`, `dynamodb:GetItem`,
/// `dynamodb:PutItem`, `dynamodb:UpdateItem` and `dynamodb:DeleteItem`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leases {
    /// The table, such as `"cdn-to-clickhouse"`: one for each pipeline. For the Kinesis Client Library it is named like the
    /// application.
    pub table: String,
    /// How long a lease lasts without a sign of its holder: so much later another process takes over from one that has
    /// failed. By default `"10s"`. The same for all processes.
    #[serde(default = "duration")]
    pub duration: Age,
    /// The most shards that one process reads. By default there is no limit.
    pub leases_max: Option<NonZeroUsize>,
    /// How many shards a process asks others for at a time when it has less than its share. By default `2`.
    #[serde(default = "steal_max")]
    pub steal_max: NonZeroUsize,
    /// How long a process may take to finish what is under way of a shard that another one asks for. By default `"30s"`; then
    /// it is abandoned, and the other one does it again.
    #[serde(default = "hand_over_max")]
    pub hand_over_max: Age,
    /// The account of the table: region, endpoint, credentials. By default that of the source.
    pub aws: Option<Aws>,
}

fn duration() -> Age {
    Age::seconds(10)
}

fn steal_max() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1)
}

fn hand_over_max() -> Age {
    Age::seconds(30)
}

impl Leases {
    /// Leases in a table of this name, everything else as by default.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            duration: duration(),
            leases_max: None,
            steal_max: steal_max(),
            hand_over_max: hand_over_max(),
            aws: None,
        }
    }

    /// What is wrong with it, for a source that has it under the key `leases`.
    pub fn check(&self) -> Result<(), Wrong> {
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        if !TABLE_CHARACTERS.contains(&self.table.len()) || !self.table.bytes().all(fits) {
            return Err(Wrong::new("leases.table", format!("`{}` cannot be the name of a table", self.table))
                .hint("write 3 to 255 of the characters A-Z a-z 0-9 _ . -"));
        }
        if !DURATION.contains(&self.duration) {
            let (min, max) = (DURATION.start(), DURATION.end());
            return Err(Wrong::new("leases.duration", format!("a lease cannot last `{}`", self.duration))
                .hint(format!("write a time from `{min}` to `{max}`")));
        }
        let aws = self.aws.as_ref().map_or(Ok(()), Aws::check);
        aws.map_err(|wrong| Wrong { key: format!("leases.{}", wrong.key), ..wrong })
    }

    /// Joins the processes that share the shards. `aws`: the account of the source.
    ///
    /// Nothing is waited for: a table that cannot be reached is tried until it can be. An error is about credentials or
    /// the region.
    pub async fn claims(&self, aws: &Aws, shards: Arc<dyn Shards>) -> Result<Box<dyn Claims>, BoxError> {
        let client = self.aws.as_ref().unwrap_or(aws).dynamodb().await?;
        let duration = self.duration.duration();
        // A few tries must fit in before a lease has run out.
        let table = LeaseTable::new(client, &self.table, duration / 4);
        let worker = Worker {
            id: worker_id(),
            duration,
            leases_max: self.leases_max.map_or(usize::MAX, NonZeroUsize::get),
            steal_max: self.steal_max.get(),
        };
        let times = Times::new(duration, self.hand_over_max.duration());
        let list_every = LIST_EVERY.min(duration * 3);
        Ok(Box::new(LeaseClaims::start(table, shards, worker, times, list_every)))
    }
}

/// A name for this process that no other one has, nor this one after a restart: `host:0123456789abcdef`.
fn worker_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = std::env::var("HOSTNAME").ok().filter(|it| !it.is_empty()).unwrap_or(host);
    let host = host.trim();
    // The keys of a hasher are random.
    let random = RandomState::new().build_hasher().finish();
    format!("{}:{random:016x}", if host.is_empty() { "host" } else { host })
}
