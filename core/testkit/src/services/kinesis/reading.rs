//! `GetShardIterator` and `GetRecords`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::input::{Input, seal, unseal};
use super::state::{Refusal, State};
use super::stream::{Next, Record, Shard, Stream, bytes_of};

/// Where a shard is read from: the same for an iterator and for a subscription, which calls the kind otherwise.
pub fn place(shard: &Shard, kind: &str, input: Input<'_>, sequence_key: &str) -> Result<Next, Refusal> {
    let numbered = |after: bool| {
        let sequence = input.required(sequence_key)?;
        let nth = shard.find(sequence).ok_or_else(|| {
            Refusal::invalid(format!(
                "{sequence_key} {sequence} used on shard {} is invalid because it did not come from this shard.",
                shard.id()
            ))
        })?;
        Ok(if after { nth + 1 } else { nth.max(1) })
    };
    match kind {
        "TRIM_HORIZON" => Ok(shard.oldest()),
        "LATEST" => Ok(shard.end()),
        "AT_SEQUENCE_NUMBER" => numbered(false),
        "AFTER_SEQUENCE_NUMBER" => numbered(true),
        "AT_TIMESTAMP" => Ok(shard.since(input.time("Timestamp")?)),
        _ => Err(Refusal::new("ValidationException", format!("`{kind}` is no place to begin at"))),
    }
}

fn iterator(stream: &str, shard: &str, next: Next, now: u64) -> String {
    seal(&["iterator", stream, shard, &next.to_string(), &now.to_string()])
}

fn no_shard(stream: &str, shard: &str) -> Refusal {
    Refusal::not_found(format!("Shard {shard} in stream {stream} does not exist"))
}

pub fn get_shard_iterator(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let now = state.now();
    let per_second = state.limits.iterators_per_second;
    let (name, id) = (input.stream()?, input.required("ShardId")?);
    let shard = state.stream(name)?.shard_mut(id).ok_or_else(|| no_shard(name, id))?;
    let next = place(shard, input.required("ShardIteratorType")?, input, "StartingSequenceNumber")?;
    if !shard.iterators.take(now, per_second) {
        return Err(Refusal::throttled(id, name));
    }
    Ok(json!({ "ShardIterator": iterator(name, id, next, now) }))
}

/// The answer as JSON text: it may be long. `nothing`: it is to find no records.
pub fn get_records(state: &mut State, input: Input<'_>, nothing: bool) -> Result<Vec<u8>, Refusal> {
    let now = state.now();
    let records_max = input.bounded("Limit", 10_000, 10_000)?;
    let lifetime = state.limits.iterator_lifetime.as_millis() as u64;
    let (calls, bytes) = (state.limits.reads_per_second, state.limits.read_bytes_per_second);
    let sealed = input.required("ShardIterator")?;
    let invalid = || Refusal::invalid("Invalid ShardIterator.");
    let [kind, name, id, next, made] = unseal(sealed).ok_or_else(invalid)?;
    let (next, made): (Next, u64) = (next.parse().map_err(|_| invalid())?, made.parse().map_err(|_| invalid())?);
    if kind != "iterator" {
        return Err(invalid());
    }
    if made + lifetime <= now {
        return Err(Refusal::new(
            "ExpiredIteratorException",
            format!(
                "Iterator expired. It was created at {made}, now it is {now}, the tolerated delay is {lifetime} milliseconds."
            ),
        ));
    }
    let stream = state.stream(&name)?;
    let shard = stream.shard_mut(&id).ok_or_else(|| no_shard(&name, &id))?;
    if !shard.read.is_left(now, bytes) || !shard.reads.take(now, calls) {
        return Err(Refusal::throttled(&id, &name));
    }
    let read = if nothing { Vec::new() } else { shard.read(next, records_max as usize, usize::MAX) };
    let (records, given) = (records_json(&read), bytes_of(&read));
    let next = next.max(if nothing { 0 } else { shard.oldest() }) + read.len() as u64;
    shard.read.take(given);
    let (behind, drained, index) = (shard.behind(next, now), shard.is_drained(next), shard.index);
    let end = match drained {
        true => format!(",\"ChildShards\":{}", children_json(stream, index)),
        false => format!(",\"NextShardIterator\":\"{}\"", iterator(&name, &id, next, now)),
    };
    let mut answer = b"{\"Records\":".to_vec();
    answer.extend_from_slice(&records);
    answer.extend_from_slice(format!(",\"MillisBehindLatest\":{behind}{end}}}").as_bytes());
    Ok(answer)
}

/// A list of records. Written by hand: there may be ten thousand of them.
pub fn records_json(records: &[(String, &Record)]) -> Vec<u8> {
    let mut json = String::from("[");
    for (nth, (sequence, record)) in records.iter().enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        let key = Value::from(&*record.key);
        let (seconds, millis) = (record.arrived / 1000, record.arrived % 1000);
        json += &format!(
            "{comma}{{\"SequenceNumber\":\"{sequence}\",\"ApproximateArrivalTimestamp\":{seconds}.{millis:03},\
             \"PartitionKey\":{key},\"Data\":\""
        );
        BASE64_STANDARD.encode_string(&record.data, &mut json);
        json += "\"}";
    }
    json.push(']');
    json.into_bytes()
}

/// What comes after a shard that is closed.
pub fn children_json(stream: &Stream, shard: u32) -> Value {
    let child = |it: &Shard| {
        json!({
            "ShardId": it.id(),
            "ParentShards": it.parents.iter().map(|it| super::stream::shard_id(*it)).collect::<Vec<_>>(),
            "HashKeyRange": range_json(it),
        })
    };
    stream.children(shard).map(child).collect()
}

pub fn range_json(shard: &Shard) -> Value {
    json!({
        "StartingHashKey": shard.hashes.first.to_string(),
        "EndingHashKey": shard.hashes.last.to_string(),
    })
}
