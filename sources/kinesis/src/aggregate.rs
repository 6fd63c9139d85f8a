//! Records that hold records: the format of the Kinesis Producer Library.
//!
//! Such a record is `F3 89 9A C2`, a protobuf message, and the MD5 of the message ("KPL Aggregated Record Format", the file
//! `aggregation-format.md` of awslabs/amazon-kinesis-producer):
//!
//! ```text
//! message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
//!                            repeated Record records = 3; }
//! message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//!                  required bytes data = 3; repeated Tag tags = 4; }
//! ```
//!
//! What is not exactly that is a record like any other: nothing of it is lost.

use std::ops::RangeInclusive;

use md5::{Digest, Md5};

use crate::digests::digests;
use crate::protobuf::{Fields, Malformed, Value};
use crate::record::ALL_HASH_KEYS;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

/// Which of these records have the frame of an aggregate, with the right digest.
pub fn are_aggregates(records: &[&[u8]]) -> Vec<bool> {
    let framed: Vec<_> = records.iter().map(|it| framed(it)).collect();
    let messages: Vec<&[u8]> = framed.iter().flatten().map(|it| it.0).collect();
    let mut digests = digests(&messages).into_iter();
    framed.iter().map(|it| it.is_some_and(|(_, digest)| digests.next().is_some_and(|it| it == *digest))).collect()
}

/// The message in a record that may be an aggregate, and the digest that it ought to have.
fn framed(record: &[u8]) -> Option<(&[u8], &[u8; DIGEST_BYTES])> {
    let framed = record.strip_prefix(&MAGIC)?.split_last_chunk()?;
    (!framed.0.is_empty()).then_some(framed)
}

/// The records in a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Aggregate<'a> {
    partition_keys: Vec<Key<'a>>,
    explicit_hash_keys: Vec<u128>,
    entries: Vec<Entry<'a>>,
}

/// A partition key, and its hash once somebody wanted to know it.
#[derive(Debug, PartialEq, Eq)]
struct Key<'a> {
    text: &'a str,
    hash: Option<u128>,
}

/// One of the records, with places in the tables of keys that are there.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    partition_key: usize,
    explicit_hash_key: Option<usize>,
    data: &'a [u8],
}

impl<'a> Aggregate<'a> {
    /// Takes a record apart that has the frame of an aggregate; `None` if it is a plain one all the same.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        Self::of_message(framed(record)?.0).ok()
    }

    fn of_message(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut aggregate = Self { partition_keys: Vec::new(), explicit_hash_keys: Vec::new(), entries: Vec::new() };
        for field in Fields::of(message) {
            match field? {
                (1, Value::Bytes(key)) => aggregate.partition_keys.push(Key { text: text(key)?, hash: None }),
                (2, Value::Bytes(key)) => {
                    aggregate.explicit_hash_keys.push(text(key)?.parse().map_err(|_| Malformed)?);
                }
                (3, Value::Bytes(entry)) => aggregate.entries.push(Entry::of_message(entry)?),
                (1..=3, _) => return Err(Malformed),
                _ => {}
            }
        }
        // The tables may come after the records.
        let are_there = |it: &Entry<'_>| {
            it.partition_key < aggregate.partition_keys.len()
                && it.explicit_hash_key.is_none_or(|it| it < aggregate.explicit_hash_keys.len())
        };
        if aggregate.entries.iter().all(are_there) { Ok(aggregate) } else { Err(Malformed) }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The data of a record.
    pub fn data(&self, nth: usize) -> &'a [u8] {
        self.entries[nth].data
    }

    /// The partition key of a record.
    pub fn partition_key(&self, nth: usize) -> &'a str {
        self.partition_keys[self.entries[nth].partition_key].text
    }

    /// Whether every record belongs to a shard with these hash keys: its explicit hash key does, or else the MD5 of its
    /// partition key.
    pub fn is_all_in(&mut self, range: &RangeInclusive<u128>) -> bool {
        if *range == ALL_HASH_KEYS {
            return true;
        }
        let Self { partition_keys, explicit_hash_keys, entries } = self;
        entries.iter().all(|entry| {
            let hash = match entry.explicit_hash_key {
                Some(explicit) => explicit_hash_keys[explicit],
                None => partition_keys[entry.partition_key].hash(),
            };
            range.contains(&hash)
        })
    }
}

impl Key<'_> {
    fn hash(&mut self) -> u128 {
        let text = self.text;
        *self.hash.get_or_insert_with(|| u128::from_be_bytes(Md5::digest(text).into()))
    }
}

impl<'a> Entry<'a> {
    fn of_message(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut partition_key, mut explicit_hash_key, mut data) = (None, None, None);
        for field in Fields::of(message) {
            match field? {
                (1, Value::Varint(index)) => partition_key = Some(place(index)?),
                (2, Value::Varint(index)) => explicit_hash_key = Some(place(index)?),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                (1..=3, _) => return Err(Malformed),
                _ => {}
            }
        }
        let partition_key = partition_key.ok_or(Malformed)?;
        Ok(Self { partition_key, explicit_hash_key, data: data.ok_or(Malformed)? })
    }
}

fn place(index: u64) -> Result<usize, Malformed> {
    usize::try_from(index).map_err(|_| Malformed)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}
