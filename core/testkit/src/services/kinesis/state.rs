//! Everything that the server knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::limits::KinesisLimits;
use super::stream::Stream;

/// What goes wrong with a call on request: see [`KinesisServer::fail`](super::KinesisServer::fail).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KinesisMishap {
    /// It is not carried out; the answer has this status and this error code, such as 400 and
    /// `ProvisionedThroughputExceededException`, or 500 and `InternalFailure`.
    Error(u16, String),
    /// It is carried out; then the connection is closed instead of an answer.
    AnswerLost,
    /// `GetRecords` finds nothing although there is something, and says how far behind it is, as the service does now and
    /// then. Other calls are carried out.
    Nothing,
}

/// A call that is refused.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// Status 400 and this code.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.into(), message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidArgumentException", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", message)
    }

    /// A rate is exceeded.
    pub fn throttled(shard: &str, stream: &str) -> Self {
        Self::new(
            "ProvisionedThroughputExceededException",
            format!("Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}."),
        )
    }
}

/// The account in every ARN.
pub const ACCOUNT: &str = "000000000000";

/// How often something was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KinesisCalls {
    /// Calls that were carried out.
    pub answered: usize,
    /// Calls that were refused, whatever the reason.
    pub refused: usize,
    /// How long the answers were, in bytes. What is pushed is not counted.
    pub bytes: usize,
}

/// Who reads a shard by subscription.
#[derive(Debug)]
pub struct Subscribed {
    /// When it began.
    pub at: u64,
    /// Which one it is: a later one ends it.
    pub nth: u64,
}

#[derive(Debug)]
pub struct State {
    pub limits: KinesisLimits,
    pub streams: BTreeMap<String, Stream>,
    pub calls: BTreeMap<String, KinesisCalls>,
    /// By ARN of the consumer and ID of the shard.
    pub subscribed: BTreeMap<(String, String), Subscribed>,
    pub subscriptions_ever: u64,
    mishaps: Vec<(String, usize, KinesisMishap)>,
    started: (SystemTime, Instant),
    ahead: Duration,
}

impl State {
    pub fn new(limits: KinesisLimits) -> Self {
        Self {
            limits,
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            subscriptions_ever: 0,
            mishaps: Vec::new(),
            started: (SystemTime::now(), Instant::now()),
            ahead: Duration::ZERO,
        }
    }

    /// Milliseconds since 1970. Never falls.
    pub fn now(&self) -> u64 {
        let started = self.started.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (started + self.started.1.elapsed() + self.ahead).as_millis() as u64
    }

    pub fn advance(&mut self, by: Duration) {
        self.ahead += by;
    }

    pub fn expect_mishap(&mut self, operation: &str, times: usize, mishap: KinesisMishap) {
        self.mishaps.push((operation.into(), times, mishap));
    }

    /// What is to go wrong with this call; it counts.
    pub fn mishap(&mut self, operation: &str) -> Option<KinesisMishap> {
        let (_, times, mishap) = self.mishaps.iter_mut().find(|it| it.0 == operation && it.1 > 0)?;
        *times -= 1;
        Some(mishap.clone())
    }

    /// The stream of this name, without what is too old by now.
    pub fn stream(&mut self, name: &str) -> Result<&mut Stream, Refusal> {
        let now = self.now();
        let stream = self.streams.get_mut(name);
        let stream =
            stream.ok_or_else(|| Refusal::not_found(format!("Stream {name} under account {ACCOUNT} not found.")))?;
        stream.expire(&self.limits, now);
        Ok(stream)
    }
}
