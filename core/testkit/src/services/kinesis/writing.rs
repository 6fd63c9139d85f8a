//! `PutRecord` and `PutRecords`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::hash::hash_key;
use super::input::{Input, validation};
use super::limits::KinesisLimits;
use super::state::{Refusal, State};
use super::stream::Stream;

const RECORDS_MAX: usize = 500;
const CALL_BYTES_MAX: usize = 10 << 20;
const KEY_CHARACTERS_MAX: usize = 256;

/// A record that is to be put.
struct Entry<'a> {
    key: &'a str,
    hash: u128,
    data: Vec<u8>,
}

impl<'a> Entry<'a> {
    fn new(input: Input<'a>, record_bytes_max: usize) -> Result<Self, Refusal> {
        let key = input.required("PartitionKey")?;
        if key.is_empty() || key.chars().count() > KEY_CHARACTERS_MAX {
            return Err(validation("partitionKey", "Member must have length between 1 and 256"));
        }
        let hash = match input.text("ExplicitHashKey") {
            None => hash_key(key),
            Some(digits) => {
                digits.parse().map_err(|_| Refusal::invalid(format!("Invalid ExplicitHashKey. {digits}")))?
            }
        };
        let data = input.bytes("Data")?;
        if data.len() > record_bytes_max {
            return Err(validation(
                "data",
                &format!("Member must have length less than or equal to {record_bytes_max}"),
            ));
        }
        Ok(Self { key, hash, data })
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// Shard and sequence number.
fn put(stream: &mut Stream, entry: Entry<'_>, limits: &KinesisLimits, now: u64) -> Result<(String, String), Refusal> {
    let name = stream.name.clone();
    let shard = stream
        .open_for(entry.hash)
        .ok_or_else(|| Refusal { status: 500, ..Refusal::new("InternalFailure", "no shard is open for this key") })?;
    let (records, bytes) = (limits.writes_per_second, limits.write_bytes_per_second);
    if !shard.writes.holds(now, records, 1) || !shard.written.holds(now, bytes, entry.bytes()) {
        return Err(Refusal::throttled(&shard.id(), &name));
    }
    shard.writes.take(1);
    shard.written.take(entry.bytes());
    let sequence = shard.push(entry.key, entry.data.into(), now);
    Ok((shard.id(), sequence))
}

/// Past every limit. Shard and sequence number.
pub fn put_directly(stream: &mut Stream, key: &str, data: Bytes, now: u64) -> (String, String) {
    let shard = stream.open_for(hash_key(key)).expect("every hash key has an open shard");
    let sequence = shard.push(key, data, now);
    (shard.id(), sequence)
}

pub fn put_record(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, limits) = (state.now(), state.limits.clone());
    let entry = Entry::new(input, limits.record_bytes_max)?;
    let (shard, sequence) = put(state.stream(input.stream()?)?, entry, &limits, now)?;
    Ok(json!({ "ShardId": shard, "SequenceNumber": sequence }))
}

pub fn put_records(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, limits) = (state.now(), state.limits.clone());
    let records = input.list("Records")?;
    if records.is_empty() || records.len() > RECORDS_MAX {
        return Err(validation("records", "Member must have length between 1 and 500"));
    }
    let entries = records.into_iter().map(|it| Entry::new(it, limits.record_bytes_max));
    let entries: Vec<Entry<'_>> = entries.collect::<Result<_, _>>()?;
    if entries.iter().map(Entry::bytes).sum::<usize>() > CALL_BYTES_MAX {
        return Err(Refusal::invalid("Records size exceeds 10 MB limit"));
    }
    let stream = state.stream(input.stream()?)?;
    let mut failed = 0;
    let answers: Vec<Value> = entries
        .into_iter()
        .map(|entry| match put(stream, entry, &limits, now) {
            Ok((shard, sequence)) => json!({ "ShardId": shard, "SequenceNumber": sequence }),
            Err(refusal) => {
                failed += 1;
                json!({ "ErrorCode": refusal.code, "ErrorMessage": refusal.message })
            }
        })
        .collect();
    Ok(json!({ "FailedRecordCount": failed, "Records": answers }))
}
