//! What the processes that share a stream have in common.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use forebay_api::Secret;
use forebay_aws::Aws;
use forebay_testkit::proof::{Pipeline, Place, STREAM, aws, create_table};
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, DynamoDb, FaultProxy, KinesisServer, S3Server, SECRET_KEY};

use super::program;

/// The shortest that is good on a machine with other things to do.
pub const LEASE: Duration = Duration::from_secs(3);

/// The bucket with the files, and the table with the leases.
const BUCKET: &str = "lake";
const LEASES: &str = "proof";

/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything outside of the processes.
pub struct World {
    pub kinesis: Arc<KinesisServer>,
    pub clickhouse: ClickHouse,
    s3: S3Server,
    pub leases: Table,
    /// What stands between the processes and the table, the bucket and the leases.
    pub before_table: FaultProxy,
    pub before_bucket: FaultProxy,
    pub before_leases: FaultProxy,
}

impl World {
    pub fn start(shards: u32) -> Self {
        let (clickhouse, s3, leases) = (ClickHouse::start(), S3Server::start(), Table::start());
        let before = |endpoint: String| FaultProxy::start(&endpoint, vec![]);
        let world = Self {
            kinesis: Arc::new(KinesisServer::start()),
            before_table: before(clickhouse.endpoint()),
            before_bucket: before(s3.endpoint()),
            before_leases: before(leases.server.endpoint()),
            clickhouse,
            s3,
            leases,
        };
        world.kinesis.create_stream(STREAM, shards);
        create_table(&world.clickhouse, 1_000);
        world.s3.create_bucket(BUCKET);
        world
    }

    /// A place for one more process, with a state of its own.
    pub fn place(&self) -> Place {
        self.place_with(&aws(&self.before_leases.endpoint()))
    }

    /// Such a place with a way of its own to the leases, which can be broken for it alone.
    pub fn place_apart(&self) -> (Place, FaultProxy) {
        let way = FaultProxy::start(&self.leases.server.endpoint(), vec![]);
        let aws = format!(
            "{{ region = \"us-east-1\", access_key_id = \"{ACCESS_KEY}\", secret_access_key = \"{SECRET_KEY}\" }}"
        );
        (self.place_with(&aws).variable("AWS_ENDPOINT_URL_DYNAMODB", way.endpoint()), way)
    }

    fn place_with(&self, aws_of_leases: &str) -> Place {
        let s3 = aws(&self.before_bucket.endpoint());
        let duration = LEASE.as_secs();
        let pipeline = Pipeline {
            clickhouse: self.before_table.endpoint(),
            source: format!("leases = {{ table = \"{LEASES}\", duration = \"{duration}s\", aws = {aws_of_leases} }}"),
            lake: format!("path = \"s3://{BUCKET}/rows\"\naws = {s3}"),
            letters: format!("path = \"s3://{BUCKET}/refused\"\naws = {s3}"),
            ..Pipeline::local(&self.kinesis, &self.clickhouse)
        };
        Place::new(program(), &pipeline)
    }

    /// The first and the last hash key of each shard, in digits.
    pub fn hash_keys(&self) -> BTreeMap<String, [String; 2]> {
        let aws = Table::aws(self.kinesis.endpoint());
        let listed = self
            .leases
            .runtime
            .block_on(async { aws.kinesis().await.unwrap().list_shards().stream_name(STREAM).send().await.unwrap() });
        let keys = listed.shards().iter().map(|it| {
            let range = it.hash_key_range().unwrap();
            (it.shard_id().to_owned(), [range.starting_hash_key(), range.ending_hash_key()].map(str::to_owned))
        });
        keys.collect()
    }

    /// Where objects with this prefix lie.
    pub fn objects(&self, prefix: &str) -> PathBuf {
        self.s3.directory().join(BUCKET).join(prefix)
    }
}

/// A row of the table.
pub type Row = HashMap<String, AttributeValue>;

/// The table of leases, as somebody else sees it.
pub struct Table {
    server: DynamoDb,
    runtime: tokio::runtime::Runtime,
    client: aws_sdk_dynamodb::Client,
    /// The checkpoints that were seen last.
    seen: BTreeMap<String, Checkpoint>,
}

/// Where the table says that a shard is done up to, so that a later one is greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checkpoint {
    Start,
    /// How many digits, the digits, the row in the record.
    After(usize, String, u64),
    End,
}

impl Table {
    fn start() -> Self {
        let server = DynamoDb::start();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let aws = Self::aws(server.endpoint());
        let client = runtime.block_on(aws.dynamodb()).unwrap();
        Self { server, runtime, client, seen: BTreeMap::new() }
    }

    fn aws(endpoint: String) -> Aws {
        Aws {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(endpoint),
            access_key_id: Some(Secret::new(ACCESS_KEY)),
            secret_access_key: Some(Secret::new(SECRET_KEY)),
            ..Aws::default()
        }
    }

    /// The leases, by shard; none if there is no table yet.
    pub fn leases(&self) -> BTreeMap<String, Row> {
        let scan = self.client.scan().table_name(LEASES).consistent_read(true).send();
        let rows = self.runtime.block_on(scan).map(|it| it.items.unwrap_or_default()).unwrap_or_default();
        let leases = rows.into_iter().filter(|it| it.contains_key("checkpoint"));
        leases.map(|it| (it["leaseKey"].as_s().unwrap().clone(), it)).collect()
    }

    /// Makes the table as the Kinesis Client Library does, with these rows.
    pub fn make(&self, rows: Vec<Row>) {
        let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build().unwrap();
        let definition = AttributeDefinition::builder().attribute_name("leaseKey");
        let definition = definition.attribute_type(ScalarAttributeType::S).build().unwrap();
        let call = self.client.create_table().table_name(LEASES).billing_mode(BillingMode::PayPerRequest);
        self.runtime.block_on(call.key_schema(key).attribute_definitions(definition).send()).unwrap();
        rows.into_iter().for_each(|it| self.put(it));
    }

    /// Puts a row in place of what is there.
    pub fn put(&self, row: Row) {
        self.runtime.block_on(self.client.put_item().table_name(LEASES).set_item(Some(row)).send()).unwrap();
    }

    /// Who holds each shard that is not done with, if anybody does. Looks after the checkpoints: none may ever fall.
    pub fn look(&mut self) -> BTreeMap<String, Option<String>> {
        let mut owners = BTreeMap::new();
        for (shard, item) in self.leases() {
            let text = |name: &str| item.get(name).and_then(|it| it.as_s().ok()).cloned();
            let sub = item["checkpointSubSequenceNumber"].as_n().unwrap().parse().unwrap();
            let checkpoint = match text("checkpoint").unwrap().as_str() {
                "TRIM_HORIZON" => Checkpoint::Start,
                "SHARD_END" => Checkpoint::End,
                digits => Checkpoint::After(digits.len(), digits.to_owned(), sub),
            };
            if checkpoint != Checkpoint::End {
                owners.insert(shard.clone(), text("leaseOwner"));
            }
            let before = self.seen.insert(shard.clone(), checkpoint.clone());
            assert!(before.as_ref() <= Some(&checkpoint), "{shard} went back from {before:?} to {checkpoint:?}");
        }
        owners
    }

    /// Waits until so many processes hold all of so many shards, evenly.
    pub fn settles(&mut self, processes: usize, shards: usize) {
        let begun = Instant::now();
        loop {
            let leases = self.look();
            let mut held: BTreeMap<&String, usize> = BTreeMap::new();
            leases.values().flatten().for_each(|it| *held.entry(it).or_default() += 1);
            let (least, most) = (held.values().min().copied(), held.values().max().copied());
            let even = least.zip(most).is_some_and(|(least, most)| most - least <= 1);
            if even && held.len() == processes && held.values().sum::<usize>() == shards && leases.len() == shards {
                println!("{shards} leases have settled with {processes} processes after {:?}", begun.elapsed());
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{processes} processes have not shared {shards} shards: {leases:?}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Looks at the table for so long.
    pub fn watch(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.look();
            sleep(Duration::from_millis(100).min(time));
        }
    }
}
