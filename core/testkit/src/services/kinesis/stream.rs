//! A stream, its shards, and their records. Pure: the time is given, in milliseconds since 1970.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::hash::{HashRange, evenly};
use super::limits::{Allowance, Calls, KinesisLimits};
use super::sequence::Sequence;

/// The most that one `GetRecords` gives: 10 MiB of data and partition keys.
const READ_BYTES_MAX: usize = 10 << 20;

/// What is put.
#[derive(Debug)]
pub struct Record {
    pub arrived: u64,
    pub key: Box<str>,
    pub data: Bytes,
}

impl Record {
    /// What it counts for in every limit.
    fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

#[derive(Debug)]
pub struct Shard {
    pub index: u32,
    pub parents: Vec<u32>,
    pub hashes: HashRange,
    /// In milliseconds.
    pub created: u64,
    /// The first part of its sequence numbers, in seconds.
    series: u64,
    pub closed: Option<u64>,
    records: VecDeque<Record>,
    /// The number of the oldest record that is kept; records count from 1.
    first: u64,
    pub reads: Calls,
    pub iterators: Calls,
    pub read: Allowance,
    pub writes: Allowance,
    pub written: Allowance,
}

/// A number from which a shard is read: that of the next record.
pub type Next = u64;

impl Shard {
    fn new(index: u32, parents: Vec<u32>, hashes: HashRange, now: u64, series: u64) -> Self {
        Self {
            index,
            parents,
            hashes,
            created: now,
            series,
            closed: None,
            records: VecDeque::new(),
            first: 1,
            reads: Calls::default(),
            iterators: Calls::default(),
            read: Allowance::default(),
            writes: Allowance::default(),
            written: Allowance::default(),
        }
    }

    /// `shardId-000000000007`
    pub fn id(&self) -> String {
        shard_id(self.index)
    }

    fn sequence(&self, nth: u64, arrived: u64) -> String {
        Sequence { created: self.series, nth, arrived: arrived / 1000, shard: self.index }.to_string()
    }

    pub fn starting_sequence(&self) -> String {
        self.sequence(0, self.created)
    }

    pub fn ending_sequence(&self) -> Option<String> {
        self.closed.map(|closed| self.sequence(self.end(), closed))
    }

    /// A sequence number from which on reading is the same as from `next`, when used with `AFTER_SEQUENCE_NUMBER`.
    pub fn before(&self, next: Next, now: u64) -> String {
        let last = next.checked_sub(1 + self.first).and_then(|at| self.records.get(at as usize));
        self.sequence(next - 1, last.map_or(now, |it| it.arrived))
    }

    /// The number that the next record would get.
    pub fn end(&self) -> Next {
        self.first + self.records.len() as u64
    }

    pub fn oldest(&self) -> Next {
        self.first
    }

    /// The number of a record of this shard, whether it is kept or not.
    pub fn find(&self, sequence: &str) -> Option<u64> {
        let sequence = Sequence::parse(sequence)?;
        (sequence.shard == self.index && sequence.created == self.series).then_some(sequence.nth)
    }

    /// The first record that came at this time or later.
    pub fn since(&self, time: u64) -> Next {
        self.first + self.records.partition_point(|it| it.arrived < time) as u64
    }

    pub fn push(&mut self, key: &str, data: Bytes, now: u64) -> String {
        let nth = self.end();
        // Time never falls within a shard, so that `since` can search.
        let arrived = now.max(self.records.back().map_or(0, |it| it.arrived));
        self.records.push_back(Record { arrived, key: key.into(), data });
        self.sequence(nth, arrived)
    }

    /// The records from `next` on, as many as one answer holds, each with its sequence number.
    pub fn read(&self, next: Next, records_max: usize, bytes_max: usize) -> Vec<(String, &Record)> {
        let skipped = next.max(self.first) - self.first;
        let mut read = Vec::new();
        let mut bytes = 0;
        for (record, nth) in self.records.iter().skip(skipped as usize).zip(self.first + skipped..) {
            bytes += record.bytes();
            if read.len() == records_max || (!read.is_empty() && bytes > bytes_max.min(READ_BYTES_MAX)) {
                break;
            }
            read.push((self.sequence(nth, record.arrived), record));
        }
        read
    }

    /// How long ago the record at `next` came, if there is one; else 0.
    pub fn behind(&self, next: Next, now: u64) -> u64 {
        let waiting = next.max(self.first).checked_sub(self.first).and_then(|at| self.records.get(at as usize));
        waiting.map_or(0, |it| now - it.arrived.min(now))
    }

    /// Whether there will be nothing from `next` on.
    pub fn is_drained(&self, next: Next) -> bool {
        self.closed.is_some() && next >= self.end()
    }

    /// Forgets the oldest records.
    pub fn trim(&mut self, records: usize) {
        let records = records.min(self.records.len());
        self.records.drain(..records);
        self.first += records as u64;
    }

    fn expire(&mut self, before: u64) {
        self.trim(self.records.partition_point(|it| it.arrived < before));
    }
}

/// The bytes of some records, as every limit counts them.
pub fn bytes_of(records: &[(String, &Record)]) -> usize {
    records.iter().map(|it| it.1.bytes()).sum()
}

#[derive(Debug)]
pub struct Consumer {
    pub created: u64,
    pub active: u64,
}

#[derive(Debug)]
pub struct Stream {
    pub name: String,
    pub created: u64,
    /// Until then it is being made, or resharded.
    pub active: u64,
    pub is_on_demand: bool,
    shards: BTreeMap<u32, Shard>,
    shards_ever: u32,
    pub consumers: BTreeMap<String, Consumer>,
}

impl Stream {
    pub fn new(name: &str, shards: u32, is_on_demand: bool, now: u64) -> Self {
        let mut stream = Self {
            name: name.into(),
            created: now,
            active: now,
            is_on_demand,
            shards: BTreeMap::new(),
            shards_ever: 0,
            consumers: BTreeMap::new(),
        };
        for hashes in evenly(shards) {
            stream.add(Vec::new(), hashes, now);
        }
        stream
    }

    fn add(&mut self, parents: Vec<u32>, hashes: HashRange, now: u64) -> u32 {
        let index = self.shards_ever;
        let older = parents.iter().filter_map(|it| self.shards.get(it)).map(|it| it.series + 1).max();
        let series = (now / 1000).max(older.unwrap_or(0));
        self.shards.insert(index, Shard::new(index, parents, hashes, now, series));
        self.shards_ever += 1;
        index
    }

    /// All shards that are kept, in the order in which they were made.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    pub fn shard(&self, id: &str) -> Option<&Shard> {
        self.shards.get(&shard_index(id)?)
    }

    pub fn shard_mut(&mut self, id: &str) -> Option<&mut Shard> {
        self.shards.get_mut(&shard_index(id)?)
    }

    pub fn children(&self, shard: u32) -> impl Iterator<Item = &Shard> {
        self.shards().filter(move |it| it.parents.contains(&shard))
    }

    /// The shard that takes this hash key now.
    pub fn open_for(&mut self, hash: u128) -> Option<&mut Shard> {
        self.shards.values_mut().find(|it| it.closed.is_none() && it.hashes.contains(hash))
    }

    /// Closes an open shard and makes two of it. `None` if the second cannot begin at `at`.
    pub fn split(&mut self, shard: u32, at: u128, now: u64) -> Option<[u32; 2]> {
        let parent = self.shards.get_mut(&shard)?;
        let [low, high] = parent.hashes.split(at)?;
        parent.closed = Some(now);
        Some([self.add(vec![shard], low, now), self.add(vec![shard], high, now)])
    }

    /// Closes two open neighbours and makes one of them. `None` if they are none.
    pub fn merge(&mut self, one: u32, other: u32, now: u64) -> Option<u32> {
        let joined = self.shards.get(&one)?.hashes.join(self.shards.get(&other)?.hashes)?;
        for shard in [one, other] {
            self.shards.get_mut(&shard)?.closed = Some(now);
        }
        Some(self.add(vec![one, other], joined, now))
    }

    /// Forgets what is too old: records, and closed shards that hold none any more.
    pub fn expire(&mut self, limits: &KinesisLimits, now: u64) {
        let before = now.saturating_sub(limits.retention.as_millis() as u64);
        for shard in self.shards.values_mut() {
            shard.expire(before);
        }
        self.shards.retain(|_, shard| shard.closed.is_none_or(|closed| closed >= before));
    }
}

pub fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

fn shard_index(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("shardId-").filter(|it| it.len() == 12)?;
    digits.parse().ok()
}
