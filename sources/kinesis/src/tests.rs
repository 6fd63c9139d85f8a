use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use forebay_api::position::Sequence;
use forebay_api::{Read, Source};
use forebay_testkit::services::{ACCESS_KEY, SECRET_KEY};
use serde_json::{Value, json};

use crate::Kinesis;
use crate::aggregate::are_aggregates;
use crate::columns::{Column, schema};
use crate::cut::{Cutter, Framing, OtherShards};
use crate::record::{Record, Shard};

mod aggregates;
mod cutting;
mod deciding;
mod digesting;
mod file;
mod lifting;
mod pushed;
mod remote;
mod shared;
mod trouble;

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source of the stream `cdn` at a server, with more keys. It is impatient, and ends when everything was read.
fn source(endpoint: &str, more: Value) -> Kinesis {
    let aws = json!({
        "region": "us-east-1", "endpoint": endpoint, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY
    });
    let mut keys = json!({ "stream": "cdn", "end": "caught_up", "aws": aws });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut source: Kinesis = serde_json::from_value(keys).unwrap();
    source.tuning.interval = Duration::from_millis(2);
    source.tuning.gone_after = Duration::from_millis(100);
    source
}

/// The next read, which comes within [`PATIENCE`].
async fn next(source: &mut dyn Source) -> Option<Read> {
    let next = tokio::time::timeout(PATIENCE, source.next()).await;
    next.unwrap_or_else(|_| panic!("nothing for {PATIENCE:?}")).unwrap()
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("not so for {PATIENCE:?}: {what}"));
}

/// The next rows, at least so many.
async fn rows(source: &mut dyn Source, count: usize) -> Vec<String> {
    let mut rows = Vec::new();
    while rows.len() < count {
        let read = next(source).await.unwrap_or_else(|| panic!("it ends after {} of {count} rows", rows.len()));
        rows.extend(messages(&[read]));
    }
    rows
}

/// The rows of reads, without what else is known of them.
fn messages(reads: &[Read]) -> Vec<String> {
    let texts = reads.iter().flat_map(|it| it.rows.column(0).as_string::<i32>().iter().flatten());
    texts.map(str::to_owned).collect()
}

/// Each read with its rows and refusals. Sequence numbers are replaced by the order in which they first appear.
fn shown(reads: &[Read]) -> String {
    let mut text = String::new();
    let mut known: Vec<String> = Vec::new();
    let mut place = |it: &forebay_api::Position| match it.to_string().split_once(':') {
        Some((sequence, row)) => {
            let nth = known.iter().position(|it| it == sequence).unwrap_or_else(|| {
                known.push(sequence.to_owned());
                known.len() - 1
            });
            format!("#{}:{row}", nth + 1)
        }
        None => it.to_string(),
    };
    for read in reads {
        let span = &read.span;
        let (from, to) = (place(&span.from), place(&span.to));
        text += &format!("{} ({from}..{to}]\n", span.partition);
        for (nth, row) in messages(std::slice::from_ref(read)).into_iter().enumerate() {
            text += &format!("  {} {row:?}\n", place(&read.position(nth)));
        }
        for refusal in &read.refused {
            let payload = String::from_utf8_lossy(&refusal.payload);
            text += &format!("  {} refused {payload:?}: {}\n", place(&refusal.position), refusal.why);
        }
    }
    text
}

/// How records become rows, by default.
fn cutter(columns: &[Column], framing: Framing, other_shards: OtherShards) -> Cutter {
    Cutter { schema: schema(columns), columns: columns.into(), framing, other_shards }
}

/// A shard with these hash keys.
fn shard(hash_keys: RangeInclusive<u128>) -> Shard {
    let stream = Arc::new("cdn".to_owned().try_into().unwrap());
    Shard::new(stream, "shardId-000000000000".to_owned(), hash_keys, false)
}

fn record(sequence: u64, key: &str, data: &[u8]) -> Record {
    Record {
        sequence: Sequence::new(&sequence.to_string()).unwrap(),
        partition_key: Some(key.to_owned()),
        arrival_millis: Some(1_795_298_400_000),
        data: data.to_vec(),
        is_aggregate: are_aggregates(&[data])[0],
        is_of_shard: None,
    }
}
