//! Kinesis Data Streams, in this process.

mod aggregate;
mod event_stream;
mod hash;
mod input;
mod limits;
mod managing;
mod pushing;
mod reading;
mod sequence;
mod serving;
mod state;
mod stream;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

pub use aggregate::aggregate;
pub use limits::KinesisLimits;
pub use state::{KinesisCalls, KinesisMishap};

use super::thread::Server;
use state::State;
use stream::{Stream, shard_id};

/// A server that speaks the API of Kinesis Data Streams and keeps what the emulators do not: the service's limits.
///
/// It throttles reads and writes of each shard, ends iterators and subscriptions after five minutes, gives children at
/// the end of a closed shard, forgets records after a day, and pushes to consumers: see [`KinesisLimits`]. Its clock can
/// be put forward: [`KinesisServer::advance`]. Every key is taken and no signature checked; the account is
/// `000000000000`, the region `us-east-1`. It listens for HTTP/1.1 and, with prior knowledge, HTTP/2, without TLS.
///
/// Not as in the service: resharding is done at once and only the status takes time; the retention is one for all
/// streams; there is no encryption, no tags, no policies, and no limit on calls that are not about one shard.
///
/// Whatever fails panics: it is a test's own doing.
#[derive(Debug)]
pub struct KinesisServer {
    server: Server,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts what subscriptions may want to know of.
    changes: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KinesisServer {
    /// Starts a server with no streams and the service's limits.
    pub fn start() -> Self {
        Self::with(KinesisLimits::default())
    }

    /// Starts a server with no streams and these limits.
    pub fn with(limits: KinesisLimits) -> Self {
        let shared = Arc::new(Shared { state: Mutex::new(State::new(limits)), changes: watch::Sender::new(0) });
        let served = shared.clone();
        let server = Server::start("kinesis", 0, move |stream| serving::serve(stream, served.clone()));
        Self { server, shared }
    }

    /// Its URL: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Other limits from now on.
    pub fn set_limits(&self, limits: KinesisLimits) {
        self.change(|state| state.limits = limits);
    }

    /// Puts the server's clock forward: iterators, pages, subscriptions and records get so much older.
    pub fn advance(&self, by: Duration) {
        self.change(|state| state.advance(by));
    }

    /// Makes a stream of so many shards, `ACTIVE` at once.
    pub fn create_stream(&self, name: &str, shards: u32) {
        self.change(|state| {
            let stream = Stream::new(name, shards, false, state.now());
            assert!(state.streams.insert(name.into(), stream).is_none(), "there is a stream `{name}` already");
        });
    }

    /// The IDs of the shards that take records now, in the order in which they were made.
    pub fn open_shards(&self, stream: &str) -> Vec<String> {
        self.on(stream, |stream, _| stream.shards().filter(|it| it.closed.is_none()).map(|it| it.id()).collect())
    }

    /// Puts one record, past every limit. The shard's ID and the sequence number.
    pub fn put(&self, stream: &str, key: &str, data: impl Into<Bytes>) -> (String, String) {
        self.on(stream, |stream, now| writing::put_directly(stream, key, data.into(), now))
    }

    /// Puts many records, each with its partition key, past every limit and at one point in time.
    pub fn put_directly<K: AsRef<str>, D: Into<Bytes>>(&self, stream: &str, records: impl IntoIterator<Item = (K, D)>) {
        self.on(stream, |stream, now| {
            for (key, data) in records {
                writing::put_directly(stream, key.as_ref(), data.into(), now);
            }
        });
    }

    /// Splits an open shard in the middle. The IDs of its children.
    pub fn split(&self, stream: &str, shard: &str) -> [String; 2] {
        self.on(stream, |stream, now| {
            let (index, hashes) = stream.shard(shard).map(|it| (it.index, it.hashes)).expect("there is such a shard");
            stream.split(index, hashes.middle(), now).expect("the middle is within").map(shard_id)
        })
    }

    /// Merges two open neighbours. The ID of their child.
    pub fn merge(&self, stream: &str, one: &str, other: &str) -> String {
        self.on(stream, |stream, now| {
            let index = |id| stream.shard(id).map(|it| it.index).expect("there is such a shard");
            let (one, other) = (index(one), index(other));
            shard_id(stream.merge(one, other, now).expect("they are neighbours"))
        })
    }

    /// Forgets the oldest records of a shard, as if they were too old.
    pub fn trim(&self, stream: &str, shard: &str, records: usize) {
        self.on(stream, |stream, _| stream.shard_mut(shard).expect("there is such a shard").trim(records));
    }

    /// Lets the next calls of an operation, such as `GetRecords`, go wrong. What was said before comes first.
    pub fn fail(&self, operation: &str, times: usize, mishap: KinesisMishap) {
        self.change(|state| state.expect_mishap(operation, times, mishap));
    }

    /// Ends all subscriptions at once, without a word, as when connections break.
    pub fn break_subscriptions(&self) {
        self.change(|state| state.subscribed.clear());
    }

    /// How often an operation was called so far.
    pub fn calls(&self, operation: &str) -> KinesisCalls {
        self.shared.lock().calls.get(operation).copied().unwrap_or_default()
    }

    fn on<T>(&self, stream: &str, act: impl FnOnce(&mut Stream, u64) -> T) -> T {
        self.change(|state| {
            let now = state.now();
            act(state.stream(stream).unwrap_or_else(|_| panic!("there is no stream `{stream}`")), now)
        })
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let done = act(&mut self.shared.lock());
        self.shared.changes.send_modify(|it| *it += 1);
        done
    }
}
