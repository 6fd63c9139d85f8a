//! The keys that belong to the engine: those of the file as a whole, and those that every node of a kind has.
//! The doc comments are their reference page.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use forebay_api::plan::{OnRefused, Retry};
use forebay_api::{Age, Batch, ByteSize};
use forebay_aws::Aws;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;

use crate::registry::{Kind, schema_of};

/// Keys of the file as a whole.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileKeys {
    /// The pipeline's name, which is part of the identity of all that it delivers: under another name it starts anew.
    /// Default: the name of the file without `.toml`.
    #[schemars(with = "Option<String>", extend("examples" = ["cdn-logs"]))]
    pub(crate) name: Option<Spanned<String>>,
    /// How long a stop may take. What is still on its way then is abandoned, and read again at the next start.
    #[serde(default = "drain_max")]
    pub(crate) drain_max: Age,
    /// Where the pipeline remembers how far it has come.
    pub(crate) state: Option<StateKeys>,
    /// Where refused rows are kept that no node reads; `forebay replay` takes them through the pipeline again.
    pub(crate) dead_letters: Option<DeadLetterKeys>,
    /// Where the running pipeline can be watched: `GET /metrics` for Prometheus, `GET /health` for whatever starts and
    /// stops it. Default: nowhere.
    pub(crate) metrics: Option<MetricsKeys>,
}

impl Default for FileKeys {
    fn default() -> Self {
        Self { name: None, drain_max: drain_max(), state: None, dead_letters: None, metrics: None }
    }
}

fn drain_max() -> Age {
    Age::seconds(10)
}

/// Where the pipeline remembers how far it has come.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateKeys {
    /// A directory. Default: `./.forebay/NAME`, or `./.forebay/NAME-ENV` in the environment `ENV`,
    /// so that a trial run does not move the positions of the real one.
    #[schemars(with = "String", extend("examples" = ["/var/lib/forebay"]))]
    pub(crate) path: Spanned<PathBuf>,
}

/// Where refused rows are kept that no node reads.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterKeys {
    /// A directory of JSON Lines files, or the place of such in S3, `"s3://bucket/prefix"`: each row with the reason, and
    /// its place in the source.
    #[schemars(with = "String", extend("examples" = ["./refused"]))]
    pub(crate) path: Spanned<String>,
    /// The URL of an SQS queue that gets them instead, each as a message. Those that are too large for one are kept at
    /// `path`, and the message says where.
    #[schemars(with = "Option<String>")]
    pub(crate) queue: Option<Spanned<String>>,
    /// The account of the bucket and the queue. Default: the one that all AWS programs find.
    pub(crate) aws: Option<Aws>,
}

/// Where a running pipeline can be watched.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsKeys {
    /// The address and port to listen on, without TLS and without a password: what is said there is how many rows went
    /// where, never what is in them.
    #[schemars(with = "String", extend("examples" = ["127.0.0.1:9464"]))]
    pub(crate) listen: Spanned<SocketAddr>,
    /// `/health` answers 503 when a sink has had rows for so much longer than its `batch.age_max` allows, and none of
    /// them was delivered. Default: `"1m"`.
    #[serde(default = "stuck_after")]
    pub(crate) stuck_after: Age,
}

fn stuck_after() -> Age {
    Age::seconds(60)
}

/// Keys that every source has.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceKeys {
    /// What becomes of refused rows that no node reads.
    #[serde(default)]
    on_refused: WhenRefused,
}

/// Keys that every transform has.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransformKeys {
    /// The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused.
    #[schemars(with = "Vec<String>", extend("examples" = [["access"]]))]
    inputs: Vec<Spanned<String>>,
    /// What becomes of refused rows that no node reads.
    #[serde(default)]
    on_refused: WhenRefused,
}

/// Keys that every sink has.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkKeys {
    /// The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused.
    #[schemars(with = "Vec<String>", extend("examples" = [["event"]]))]
    inputs: Vec<Spanned<String>>,
    /// What becomes of refused rows that no node reads.
    #[serde(default)]
    on_refused: WhenRefused,
    /// When a delivery is full: whichever comes first. What is left out is as the sink's page says.
    #[serde(default)]
    batch: BatchKeys,
    /// How failures are retried: with a wait that doubles from `wait_min` to `wait_max`, for ever if there is no limit.
    #[serde(default)]
    retry: RetryKeys,
    /// How many deliveries may be on their way at a time. A sink that cannot deliver holds back all that read the same
    /// source, once these, one more and a queue of 8 MiB are full.
    #[serde(default = "in_flight_max")]
    in_flight_max: NonZeroUsize,
}

const IN_FLIGHT_MAX: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

fn in_flight_max() -> NonZeroUsize {
    IN_FLIGHT_MAX
}

/// What becomes of refused rows that no node reads.
#[derive(Clone, Copy, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WhenRefused {
    /// They are kept in the dead letters.
    #[default]
    DeadLetters,
    /// The pipeline stops and says so.
    Stop,
}

/// When a delivery is full.
#[derive(Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BatchKeys {
    /// At so many rows.
    #[schemars(extend("examples" = [100_000]))]
    rows_max: Option<NonZeroU64>,
    /// At so many bytes of Arrow data.
    #[schemars(extend("examples" = ["64MiB"]))]
    bytes_max: Option<ByteSize>,
    /// So long after its first row came.
    #[schemars(extend("examples" = ["5s"]))]
    age_max: Option<Age>,
    /// Its age is not enough until so long after the sink's last delivery went out: until then it grows. Where processes
    /// share partitions, the deliveries of each take turns.
    #[schemars(extend("examples" = ["1s"]))]
    interval_min: Option<Age>,
}

/// How failures are retried.
#[derive(Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetryKeys {
    /// The first wait. Default: `"200ms"`.
    #[schemars(extend("examples" = ["1s"]))]
    wait_min: Option<Age>,
    /// The longest wait. Default: `"30s"`.
    #[schemars(extend("examples" = ["5m"]))]
    wait_max: Option<Age>,
    /// How often it is tried, at most. Then the rows go to the dead letters, and the pipeline goes on. If the last answers
    /// were lost on their way, they may have been delivered as well. Default: no limit.
    #[schemars(extend("examples" = [10]))]
    tries_max: Option<NonZeroU32>,
    /// For how long it is tried, at most; then as with `tries_max`. Default: no limit.
    #[schemars(extend("examples" = ["1h"]))]
    age_max: Option<Age>,
}

/// The engine's keys of one node, of whatever kind. A kind that lacks a key has its default.
pub(crate) struct NodeKeys {
    pub(crate) inputs: Vec<Spanned<String>>,
    pub(crate) on_refused: OnRefused,
    batch: BatchKeys,
    pub(crate) retry: Retry,
    pub(crate) in_flight_max: usize,
}

impl Default for NodeKeys {
    fn default() -> Self {
        Self::new(Vec::new(), WhenRefused::default())
    }
}

impl NodeKeys {
    fn new(inputs: Vec<Spanned<String>>, on_refused: WhenRefused) -> Self {
        let on_refused = match on_refused {
            WhenRefused::DeadLetters => OnRefused::DeadLetters,
            WhenRefused::Stop => OnRefused::Stop,
        };
        Self {
            inputs,
            on_refused,
            batch: BatchKeys::default(),
            retry: Retry::default(),
            in_flight_max: IN_FLIGHT_MAX.get(),
        }
    }

    /// When a delivery is full, for a sink that would have it at `sink`.
    pub(crate) fn batch(&self, sink: Batch) -> Batch {
        Batch {
            rows_max: self.batch.rows_max.map_or(sink.rows_max, NonZeroU64::get),
            bytes_max: self.batch.bytes_max.unwrap_or(sink.bytes_max),
            age_max: self.batch.age_max.unwrap_or(sink.age_max),
            interval_min: self.batch.interval_min.unwrap_or(sink.interval_min),
        }
    }
}

impl From<SourceKeys> for NodeKeys {
    fn from(keys: SourceKeys) -> Self {
        Self::new(Vec::new(), keys.on_refused)
    }
}

impl From<TransformKeys> for NodeKeys {
    fn from(keys: TransformKeys) -> Self {
        Self::new(keys.inputs, keys.on_refused)
    }
}

impl From<SinkKeys> for NodeKeys {
    fn from(keys: SinkKeys) -> Self {
        let usual = Retry::default();
        let retry = Retry {
            wait_min: keys.retry.wait_min.unwrap_or(usual.wait_min),
            wait_max: keys.retry.wait_max.unwrap_or(usual.wait_max),
            tries_max: keys.retry.tries_max,
            age_max: keys.retry.age_max,
        };
        Self {
            batch: keys.batch,
            retry,
            in_flight_max: keys.in_flight_max.get(),
            ..Self::new(keys.inputs, keys.on_refused)
        }
    }
}

/// Reads the engine's keys of a node of this kind.
pub(crate) fn read(kind: Kind) -> fn(Spanned<toml::de::DeTable<'_>>) -> Result<NodeKeys, toml::de::Error> {
    fn of<K: DeserializeOwned + Into<NodeKeys>>(
        table: Spanned<toml::de::DeTable<'_>>,
    ) -> Result<NodeKeys, toml::de::Error> {
        K::deserialize(toml::de::Deserializer::from(table)).map(Into::into)
    }
    match kind {
        Kind::Source => of::<SourceKeys>,
        Kind::Transform => of::<TransformKeys>,
        Kind::Sink => of::<SinkKeys>,
    }
}

/// The JSON Schema of the engine's keys that every node of a kind has, `type` aside.
pub(crate) fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Source => schema_of::<SourceKeys>(),
        Kind::Transform => schema_of::<TransformKeys>(),
        Kind::Sink => schema_of::<SinkKeys>(),
    }
}

/// The names of the keys that a node of a kind has from the engine.
pub(crate) fn names(kind: Kind) -> Vec<String> {
    let schema = schema(kind);
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    std::iter::once("type".to_owned()).chain(own).collect()
}

/// Whether a node of a kind has a key from the engine.
pub(crate) fn has(kind: Kind, key: &str) -> bool {
    names(kind).iter().any(|it| it == key)
}
