//! A lease as an item of DynamoDB: names and types of attributes as the Kinesis Client Library 3.5 writes them
//! (its class `DynamoDBLeaseSerializer`; for several streams `DynamoDBMultiStreamLeaseSerializer`), and one of ours.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::checkpoint::Checkpoint;
use crate::lease::Lease;

/// The key of the table.
pub const KEY: &str = "leaseKey";
pub const OWNER: &str = "leaseOwner";
pub const COUNTER: &str = "leaseCounter";
pub const CHECKPOINT: &str = "checkpoint";
pub const SUB: &str = "checkpointSubSequenceNumber";
pub const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub const CHILDREN: &str = "childShardIds";
pub const CHECKPOINT_OWNER: &str = "checkpointOwner";
/// What the library had under way when it wrote the checkpoint; void once the checkpoint moves.
pub const PENDING: [&str; 3] = ["pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"];
/// Ours alone.
pub const OURS: &str = "forebay";
const PARENTS: &str = "parentShardId";
const FIRST_HASH_KEY: &str = "startingHashKey";
const LAST_HASH_KEY: &str = "endingHashKey";
const STREAM: &str = "streamName";
const SHARD: &str = "shardId";
/// Since version 3.5 a table may hold rows of other kinds: the leader's lock, the workers' metrics. Rows without it are
/// leases.
const KIND: &str = "entityType";
const KIND_LEASE: &str = "LEASE";

pub type Item = HashMap<String, AttributeValue>;

pub fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub fn bytes(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub fn texts(texts: &BTreeSet<String>) -> AttributeValue {
    AttributeValue::Ss(texts.iter().cloned().collect())
}

/// A whole new item.
pub fn item(lease: &Lease) -> Item {
    let mut item = Item::from([
        (KEY.into(), text(&lease.key)),
        (KIND.into(), text(KIND_LEASE)),
        (COUNTER.into(), number(lease.counter)),
        (SWITCHES.into(), number(lease.switches)),
        (CHECKPOINT.into(), text(lease.checkpoint.to_string())),
        (SUB.into(), number(lease.checkpoint.sub())),
    ]);
    let mut put = |name: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(name.into(), value);
        }
    };
    // A set must not be empty.
    let some = |it: &BTreeSet<String>| (!it.is_empty()).then(|| texts(it));
    put(OWNER, lease.owner.as_ref().map(text));
    put(CHECKPOINT_OWNER, lease.checkpoint_owner.as_ref().map(text));
    put(PARENTS, some(&lease.parents));
    put(CHILDREN, some(&lease.children));
    put(FIRST_HASH_KEY, lease.hash_keys.as_ref().map(|it| text(it.start().to_string())));
    put(LAST_HASH_KEY, lease.hash_keys.as_ref().map(|it| text(it.end().to_string())));
    put(OURS, lease.ours.as_ref().map(|it| bytes(it.clone())));
    if let Some(stream) = &lease.stream {
        put(STREAM, Some(text(stream)));
        put(SHARD, Some(text(&lease.shard)));
    }
    item
}

/// A lease out of an item; `None`: the item is something else. An error says what is odd about it.
pub fn lease(item: &Item) -> Result<Option<Lease>, String> {
    let text = |name: &str| item.get(name).and_then(|it| it.as_s().ok()).filter(|it| !it.is_empty()).cloned();
    let number = |name: &str| item.get(name).and_then(|it| it.as_n().ok()).and_then(|it| it.parse::<u64>().ok());
    let texts = |name: &str| -> BTreeSet<String> {
        let set = item.get(name).and_then(|it| it.as_ss().ok());
        set.into_iter().flatten().cloned().collect()
    };
    if text(KIND).is_some_and(|it| it != KIND_LEASE) {
        return Ok(None);
    }
    let key = text(KEY).ok_or_else(|| format!("`{KEY}` is no text"))?;
    let odd = |name: &str| format!("`{name}` of `{key}` is missing or is odd");
    let checkpoint = text(CHECKPOINT).and_then(|it| Checkpoint::parse(&it, number(SUB)));
    let hash_key = |name: &str| text(name).and_then(|it| it.parse::<u128>().ok());
    let stream = text(STREAM);
    let shard = stream.as_ref().and_then(|_| text(SHARD)).unwrap_or_else(|| key.clone());
    Ok(Some(Lease {
        stream,
        shard,
        owner: text(OWNER),
        counter: number(COUNTER).ok_or_else(|| odd(COUNTER))?,
        checkpoint: checkpoint.ok_or_else(|| odd(CHECKPOINT))?,
        switches: number(SWITCHES).unwrap_or(0),
        parents: texts(PARENTS),
        children: texts(CHILDREN),
        hash_keys: hash_key(FIRST_HASH_KEY).zip(hash_key(LAST_HASH_KEY)).map(|(first, last)| first..=last),
        checkpoint_owner: text(CHECKPOINT_OWNER),
        ours: item.get(OURS).and_then(|it| it.as_b().ok()).map(|it| it.as_ref().to_vec()),
        key,
    }))
}
