//! Records, and the shards that they come from.

use std::ops::RangeInclusive;
use std::sync::Arc;

use forebay_api::Partition;
use forebay_api::position::Sequence;

use crate::stream::Stream;

/// The whole range of hash keys.
pub const ALL_HASH_KEYS: RangeInclusive<u128> = 0..=u128::MAX;

/// A record, as it lies in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: Sequence,
    pub partition_key: Option<String>,
    /// Milliseconds since 1970.
    pub arrival_millis: Option<i64>,
    pub data: Vec<u8>,
    /// Whether records were aggregated in it, as far as the digest at its end tells.
    pub is_aggregate: bool,
    /// Whether all that was aggregated in it belongs to its shard, once somebody wanted to know it.
    pub is_of_shard: Option<bool>,
}

impl Record {
    /// How much memory it takes, more or less.
    pub fn bytes(&self) -> usize {
        let key = self.partition_key.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.sequence.as_str().len() + key + self.data.len()
    }
}

/// A shard as the service describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    /// The one or two shards that it was made of. They may have expired.
    pub parents: Vec<String>,
    pub hash_keys: RangeInclusive<u128>,
    /// Whether it takes records, as far as it is known.
    pub is_open: bool,
}

/// A shard that is read.
#[derive(Clone, Debug)]
pub struct Shard {
    pub stream: Arc<Stream>,
    pub id: String,
    pub partition: Partition,
    /// Records that were aggregated for another shard have hash keys that are not among these.
    pub hash_keys: RangeInclusive<u128>,
    /// Whether it is known to be closed, so that it has an end that can be reached.
    pub is_closed: bool,
}

impl Shard {
    pub fn new(stream: Arc<Stream>, id: String, hash_keys: RangeInclusive<u128>, is_closed: bool) -> Self {
        Self { partition: stream.partition(&id), stream, id, hash_keys, is_closed }
    }
}
