//! The rules as data, in a simulation, and all of it on a real DynamoDB.

mod claims;
mod live;
mod rules;
mod simulation;
mod table;
mod takeover;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use forebay_api::{BoxError, Claim, ClaimError, Claims, Partition, Position, Resume, Secret, Source};
use forebay_aws::Aws;
use forebay_testkit::services::{ACCESS_KEY, DynamoDb, SECRET_KEY};

use crate::checkpoint::{Begin, Checkpoint, RowsAre};
use crate::claims::{LeaseClaims, LeasedShard, Shards};
use crate::decide::Worker;
use crate::held::Times;
use crate::item::Item;
use crate::lease::Lease;
use crate::lineage::ListedShard;
use crate::table::LeaseTable;

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// One server for all tests, each of which has a table of its own. It ends with the process.
static SERVER: LazyLock<DynamoDb> = LazyLock::new(DynamoDb::start);

/// The account at a server.
fn aws(endpoint: &str) -> Aws {
    Aws {
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint.into()),
        access_key_id: Some(Secret::new(ACCESS_KEY)),
        secret_access_key: Some(Secret::new(SECRET_KEY)),
        ..Aws::default()
    }
}

/// A table at a server, whose calls may take a while.
async fn table(endpoint: &str, name: &str) -> LeaseTable {
    LeaseTable::new(aws(endpoint).dynamodb().await.unwrap(), name, PATIENCE)
}

/// What comes within [`PATIENCE`].
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Asks until the answer is yes.
async fn until<F: Future<Output = Result<(), String>>>(what: &str, mut ask: impl FnMut() -> F) {
    let mut said = String::new();
    let asked = tokio::time::timeout(PATIENCE, async {
        while let Err(why) = ask().await {
            said = why;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    if asked.await.is_err() {
        panic!("not within {PATIENCE:?}: {what}: {said}");
    }
}

/// The items of a table as they are: one line each, attributes in order.
async fn rows(endpoint: &str, name: &str) -> String {
    let answer = aws(endpoint).dynamodb().await.unwrap().scan().table_name(name).consistent_read(true).send().await;
    let mut rows: Vec<String> = answer.unwrap().items().iter().map(shown).collect();
    rows.sort();
    rows.join("\n")
}

fn shown(item: &Item) -> String {
    let shown = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.clone(),
        AttributeValue::N(number) => format!("#{number}"),
        AttributeValue::Ss(texts) => format!("{:?}", texts.iter().collect::<BTreeSet<_>>()),
        AttributeValue::B(bytes) => format!("{:?}", String::from_utf8_lossy(bytes.as_ref())),
        other => format!("{other:?}"),
    };
    let key = shown(&item["leaseKey"]);
    let rest: BTreeMap<_, _> = item.iter().filter(|(name, _)| *name != "leaseKey").collect();
    let rest: Vec<String> = rest.into_iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
    format!("{key}: {}", rest.join(" "))
}

/// Shards in short: `"a; b; c <- a b"`, of which the last was made of the first two.
fn shards(text: &str) -> Vec<ListedShard> {
    let shard = |it: &str| {
        let (id, parents) = it.split_once(" <- ").unwrap_or((it, ""));
        ListedShard { id: id.into(), parents: set(parents), hash_keys: 0..=u128::MAX }
    };
    text.split("; ").filter(|it| !it.is_empty()).map(shard).collect()
}

/// A stream, or several with the same shards.
struct Streams {
    names: Vec<Option<String>>,
    shards: Mutex<Vec<ListedShard>>,
    begin: Begin,
    rows: RowsAre,
    /// One that never answers.
    silent: Option<String>,
}

/// One stream with shards as [`shards`] takes them.
fn stream(text: &str) -> Arc<Streams> {
    Arc::new(Streams {
        names: vec![None],
        shards: Mutex::new(shards(text)),
        begin: Begin::TrimHorizon,
        rows: RowsAre::UserRecords,
        silent: None,
    })
}

#[async_trait]
impl Shards for Streams {
    fn streams(&self) -> Vec<Option<String>> {
        self.names.clone()
    }

    async fn list(&self, stream: Option<&str>) -> Result<Vec<ListedShard>, BoxError> {
        if stream.is_some() && stream == self.silent.as_deref() {
            std::future::pending::<()>().await;
        }
        Ok(self.shards.lock().unwrap().clone())
    }

    async fn first(&self, stream: Option<&str>) -> Result<(BTreeSet<String>, Begin), BoxError> {
        let listed = self.list(stream).await?.into_iter();
        Ok((listed.filter(|it| it.parents.is_empty()).map(|it| it.id).collect(), self.begin))
    }

    fn partition(&self, stream: Option<&str>, shard: &str) -> Partition {
        Partition::new(format!("{}/{shard}", stream.unwrap_or("cdn")))
    }

    fn rows_are(&self) -> RowsAre {
        self.rows
    }

    /// Nothing here is read: the error says what was asked for.
    async fn open(&self, shard: &LeasedShard, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Err(format!("{} begun at {:?}, {resume:?}", shard.partition, shard.begin).into())
    }
}

/// Takes leases as `id`, each for so many seconds, with as many to finish what another one asks for.
async fn join(endpoint: &str, name: &str, id: &str, streams: &Arc<Streams>, seconds: [u64; 2]) -> LeaseClaims {
    let [duration, hand_over] = seconds.map(Duration::from_secs);
    let table = LeaseTable::new(aws(endpoint).dynamodb().await.unwrap(), name, duration / 4);
    let worker = Worker { id: id.into(), duration, leases_max: usize::MAX, steal_max: 2 };
    LeaseClaims::start(table, streams.clone(), worker, Times::new(duration, hand_over), duration * 3)
}

/// So many claims, sorted by partition.
async fn next(claims: &mut LeaseClaims, count: usize) -> Vec<Box<dyn Claim>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(soon("a claim", claims.next()).await.unwrap().unwrap());
    }
    taken.sort_by_key(|it| it.partition().clone());
    taken
}

/// Keeps a state, with the position of a record of which the first row is done.
async fn keep(claim: &dyn Claim, state: &str, sequence: &str) -> Result<(), ClaimError> {
    claim.keep(state.as_bytes(), &Position::sequence(sequence, 1).unwrap()).await
}

/// What was kept when a claim was won: `partition: state @ position`.
fn found(claim: &dyn Claim) -> String {
    let kept = claim.kept();
    let state = kept.state.as_ref().map_or("-".into(), |it| String::from_utf8_lossy(it));
    let at = kept.committed.as_ref().map_or("-".into(), ToString::to_string);
    format!("{}: {state} @ {at}", claim.partition())
}

/// A set of texts: `set("a b")`.
fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

/// A lease in short: `"a <- p q: bob/3 5:0"` is that of shard `a`, made of `p` and `q`, held by `bob` with counter 3, done
/// up to record 5; `-` is nobody, `bob>eve` a hand-over from `bob` to `eve`.
fn lease(text: &str) -> Lease {
    let (names, rest) = text.split_once(": ").unwrap();
    let (shard, parents) = names.split_once(" <- ").unwrap_or((names, ""));
    let (owner, checkpoint) = rest.split_once(' ').unwrap();
    let (owner, counter) = owner.split_once('/').unwrap();
    let (holder, owner) = owner.split_once('>').map_or((None, owner), |(holder, owner)| (Some(holder), owner));
    let (checkpoint, sub) = checkpoint.split_once(':').unwrap_or((checkpoint, "0"));
    Lease {
        key: shard.into(),
        stream: None,
        shard: shard.into(),
        owner: (owner != "-").then(|| owner.into()),
        counter: counter.parse().unwrap(),
        checkpoint: Checkpoint::parse(checkpoint, sub.parse().ok()).unwrap(),
        switches: 0,
        parents: set(parents),
        children: BTreeSet::new(),
        hash_keys: None,
        checkpoint_owner: holder.map(Into::into),
        ours: None,
    }
}
