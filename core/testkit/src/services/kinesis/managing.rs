//! Streams, shards and consumers: made, listed, cut, joined, removed.

use serde_json::{Value, json};

use super::input::{Input, consumer_arn, consumer_of, seal, stream_arn, stream_of, unseal, validation};
use super::reading::range_json;
use super::state::{Refusal, State};
use super::stream::{Consumer, Shard, Stream, shard_id};

const CONSUMERS_MAX: usize = 20;

/// How long a `NextToken` can be used.
const TOKEN_LIFETIME: u64 = 300_000;

pub fn create_stream(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let name = input.required("StreamName")?;
    let is_on_demand = input.object("StreamModeDetails").is_ok_and(|it| it.text("StreamMode") == Some("ON_DEMAND"));
    let shards = match is_on_demand {
        true => 4,
        false => input.bounded("ShardCount", 0, 10_000)? as u32,
    };
    if shards == 0 {
        return Err(validation("shardCount", "Member must have value greater than or equal to 1"));
    }
    let now = state.now();
    if state.streams.contains_key(name) {
        let account = super::state::ACCOUNT;
        let message = format!("Stream {name} under account {account} already exists.");
        return Err(Refusal::new("ResourceInUseException", message));
    }
    let mut stream = Stream::new(name, shards, is_on_demand, now);
    stream.active = now + state.limits.transition.as_millis() as u64;
    state.streams.insert(name.into(), stream);
    Ok(Value::Null)
}

pub fn delete_stream(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let name = input.stream()?;
    state.stream(name)?;
    state.streams.remove(name);
    Ok(Value::Null)
}

pub fn list_streams(state: &mut State) -> Value {
    let names: Vec<&String> = state.streams.keys().collect();
    json!({ "StreamNames": names, "HasMoreStreams": false })
}

pub fn describe_stream_summary(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, retention) = (state.now(), state.limits.retention);
    let stream = state.stream(input.stream()?)?;
    let status = match now < stream.active {
        false => "ACTIVE",
        true if stream.shards().all(|it| it.closed.is_none()) => "CREATING",
        true => "UPDATING",
    };
    Ok(json!({ "StreamDescriptionSummary": {
        "StreamName": stream.name,
        "StreamARN": stream_arn(&stream.name),
        "StreamStatus": status,
        "StreamModeDetails": { "StreamMode": if stream.is_on_demand { "ON_DEMAND" } else { "PROVISIONED" } },
        "RetentionPeriodHours": retention.as_secs().div_ceil(3600),
        "StreamCreationTimestamp": seconds(stream.created),
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": "NONE",
        "OpenShardCount": stream.shards().filter(|it| it.closed.is_none()).count(),
        "ConsumerCount": stream.consumers.len(),
    } }))
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

pub fn list_shards(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, retention) = (state.now(), state.limits.retention.as_millis() as u64);
    let page = input.bounded("MaxResults", 1000, 10_000)?.min(state.limits.shards_per_page as u64) as usize;
    // What is listed, and after which shard.
    let (name, after, filter) = match input.text("NextToken") {
        Some(_) if input.stream().is_ok() => {
            return Err(Refusal::invalid("NextToken and StreamName cannot be provided together."));
        }
        Some(token) => {
            let [kind, name, after, filter, made] =
                unseal(token).filter(|it| it[0] == "shards").ok_or_else(|| Refusal::invalid("Invalid NextToken."))?;
            let made: u64 = made.parse().map_err(|_| Refusal::invalid(format!("Invalid NextToken of {kind}.")))?;
            if made + TOKEN_LIFETIME <= now {
                return Err(Refusal::new("ExpiredNextTokenException", "The pagination token has expired."));
            }
            (name, Some(after), filter)
        }
        None => {
            let filter = input.0.get("ShardFilter").map_or_else(String::new, Value::to_string);
            (input.stream()?.to_owned(), input.text("ExclusiveStartShardId").map(str::to_owned), filter)
        }
    };
    let stream = state.stream(&name)?;
    let horizon = stream.created.max(now.saturating_sub(retention));
    let given = serde_json::from_str(&filter).unwrap_or(Value::Null);
    let mut listed = Vec::new();
    for shard in stream.shards() {
        if after.as_ref().is_none_or(|after| shard.id() > *after) && fits(shard, Input(&given), horizon, now)? {
            listed.push(shard);
        }
    }
    let more = listed.len() > page;
    listed.truncate(page);
    let last = listed.last().map(|it| it.id());
    let mut answer = json!({ "Shards": listed.into_iter().map(shard_json).collect::<Vec<_>>() });
    if let (true, Some(last)) = (more, last) {
        answer["NextToken"] = seal(&["shards", &name, &last, &filter, &now.to_string()]).into();
    }
    Ok(answer)
}

/// Whether a shard passes a `ShardFilter`.
fn fits(shard: &Shard, filter: Input<'_>, horizon: u64, now: u64) -> Result<bool, Refusal> {
    let is_open_at = |time: u64| shard.created <= time && shard.closed.is_none_or(|closed| closed > time);
    Ok(match filter.text("Type") {
        None | Some("FROM_TRIM_HORIZON") => true,
        Some("AFTER_SHARD_ID") => shard.id().as_str() > filter.required("ShardId")?,
        Some("AT_TRIM_HORIZON") => is_open_at(horizon),
        Some("AT_LATEST") => is_open_at(now),
        Some("AT_TIMESTAMP") => is_open_at(filter.time("Timestamp")?),
        Some("FROM_TIMESTAMP") => {
            let time = filter.time("Timestamp")?;
            shard.closed.is_none_or(|closed| closed >= time)
        }
        Some(other) => return Err(Refusal::invalid(format!("Invalid ShardFilter type {other}"))),
    })
}

fn shard_json(shard: &Shard) -> Value {
    let mut numbers = json!({ "StartingSequenceNumber": shard.starting_sequence() });
    if let Some(end) = shard.ending_sequence() {
        numbers["EndingSequenceNumber"] = end.into();
    }
    let mut json = json!({
        "ShardId": shard.id(),
        "HashKeyRange": range_json(shard),
        "SequenceNumberRange": numbers,
    });
    for (key, parent) in ["ParentShardId", "AdjacentParentShardId"].iter().zip(&shard.parents) {
        json[*key] = shard_id(*parent).into();
    }
    json
}

/// The index of an open shard.
fn open(stream: &Stream, id: &str) -> Result<u32, Refusal> {
    let name = &stream.name;
    let shard =
        stream.shard(id).ok_or_else(|| Refusal::not_found(format!("Could not find shard {id} in stream {name}.")))?;
    match shard.closed {
        None => Ok(shard.index),
        Some(_) => Err(Refusal::invalid(format!("Shard {id} in stream {name} has already been merged or split."))),
    }
}

pub fn split_shard(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, transition) = (state.now(), state.limits.transition.as_millis() as u64);
    let at = input.required("NewStartingHashKey")?;
    let stream = state.stream(input.stream()?)?;
    let shard = open(stream, input.required("ShardToSplit")?)?;
    let split = at.parse().ok().and_then(|at| stream.split(shard, at, now));
    split.ok_or_else(|| {
        Refusal::invalid(format!(
            "NewStartingHashKey {at} used in SplitShard() on shard {} is not valid.",
            shard_id(shard)
        ))
    })?;
    stream.active = now + transition;
    Ok(Value::Null)
}

pub fn merge_shards(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, transition) = (state.now(), state.limits.transition.as_millis() as u64);
    let stream = state.stream(input.stream()?)?;
    let one = open(stream, input.required("ShardToMerge")?)?;
    let other = open(stream, input.required("AdjacentShardToMerge")?)?;
    stream.merge(one, other, now).ok_or_else(|| {
        Refusal::invalid(format!("Shards {} and {} are not an adjacent pair.", shard_id(one), shard_id(other)))
    })?;
    stream.active = now + transition;
    Ok(Value::Null)
}

pub fn register_stream_consumer(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (now, transition) = (state.now(), state.limits.transition.as_millis() as u64);
    let name = input.required("ConsumerName")?;
    let stream = state.stream(stream_of(input.required("StreamARN")?)?)?;
    if stream.consumers.contains_key(name) {
        return Err(Refusal::new("ResourceInUseException", format!("Consumer {name} already exists.")));
    }
    if stream.consumers.len() == CONSUMERS_MAX {
        return Err(Refusal::new("LimitExceededException", "The stream has as many consumers as are allowed."));
    }
    stream.consumers.insert(name.into(), Consumer { created: now, active: now + transition });
    let mut described = consumer_json(stream, name, now);
    // As the service has it: it is never there at once.
    described["ConsumerStatus"] = "CREATING".into();
    Ok(json!({ "Consumer": described }))
}

fn consumer_json(stream: &Stream, name: &str, now: u64) -> Value {
    let consumer = &stream.consumers[name];
    json!({
        "ConsumerName": name,
        "ConsumerARN": consumer_arn(&stream.name, name, consumer.created),
        "ConsumerStatus": if now < consumer.active { "CREATING" } else { "ACTIVE" },
        "ConsumerCreationTimestamp": seconds(consumer.created),
    })
}

/// Stream and name of the consumer that a call is about.
fn consumer(state: &mut State, input: Input<'_>) -> Result<(String, String), Refusal> {
    let (stream, name, created) = match input.text("ConsumerARN") {
        Some(arn) => consumer_of(arn).map(|(stream, name, created)| (stream, name, Some(created)))?,
        None => (stream_of(input.required("StreamARN")?)?, input.required("ConsumerName")?, None),
    };
    let known = state.stream(stream)?.consumers.get(name);
    match known {
        Some(known) if created.is_none_or(|it| it == known.created / 1000) => Ok((stream.into(), name.into())),
        _ => Err(Refusal::not_found(format!("Consumer {name} of stream {stream} not found."))),
    }
}

pub fn describe_stream_consumer(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (stream, name) = consumer(state, input)?;
    let mut described = consumer_json(&state.streams[&stream], &name, state.now());
    described["StreamARN"] = stream_arn(&stream).into();
    Ok(json!({ "ConsumerDescription": described }))
}

pub fn list_stream_consumers(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let now = state.now();
    let stream = state.stream(stream_of(input.required("StreamARN")?)?)?;
    let consumers: Vec<Value> = stream.consumers.keys().map(|it| consumer_json(stream, it, now)).collect();
    Ok(json!({ "Consumers": consumers }))
}

pub fn deregister_stream_consumer(state: &mut State, input: Input<'_>) -> Result<Value, Refusal> {
    let (stream, name) = consumer(state, input)?;
    state.stream(&stream)?.consumers.remove(&name);
    Ok(Value::Null)
}
