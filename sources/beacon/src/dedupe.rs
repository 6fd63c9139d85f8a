//! Which events were sent before.
//!
//! Whether an event is a copy follows from the spool alone: it is one if an event that stands before it has the same id,
//! and no more than `window` passed in between, no more than `ids_max` events with ids came in between, and no more than
//! `bytes_max` bytes of requests. It makes no difference what became of the earlier one, or how the rows were cut into
//! reads. So a reader that begins anywhere decides as every other one did, if it first looks at the ids of the frames in
//! reach; and frames are kept until no undelivered frame has them in reach.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_128;

/// Requests may be appended in another order than they were stamped in, by as much as an append takes.
pub const SLACK_MILLIS: u64 = 60_000;

/// How far an event sees back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub window_millis: u64,
    pub ids_max: u64,
    pub bytes_max: u64,
}

/// The ids in reach.
pub struct Window {
    reach: Reach,
    /// The number under which each id was seen last.
    last: HashMap<Id, u64, Secret>,
    /// The last ids, in their order. Their numbers follow on each other, up to `ids`.
    order: VecDeque<(Id, Seen)>,
    /// How many ids came so far, and how many bytes of frames.
    ids: u64,
    bytes: u64,
    tick_millis: u64,
    /// The frame at hand.
    sequence: u64,
    frame_tick_millis: u64,
}

/// What an id is known by: a hash of 128 bits, in halves, since a number of that size would leave gaps beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Id([u64; 2]);

impl Id {
    fn new(id: &str) -> Self {
        let hash = xxh3_128(id.as_bytes());
        Self([hash as u64, (hash >> 64) as u64])
    }
}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [low, high] = self.0.map(u128::from);
        state.write_u128(high << 64 | low);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    tick_millis: u64,
    sequence: u64,
}

impl Window {
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            last: HashMap::default(),
            order: VecDeque::new(),
            ids: 0,
            bytes: 0,
            tick_millis: 0,
            sequence: 0,
            frame_tick_millis: 0,
        }
    }

    /// Goes on to the next frame. Gives the first frame that it has in reach, itself if there is none before it.
    pub fn frame(&mut self, sequence: u64, tick_millis: u64, bytes: u64) -> u64 {
        (self.sequence, self.frame_tick_millis) = (sequence, tick_millis);
        self.bytes += bytes;
        self.tick_millis = self.tick_millis.max(tick_millis);
        self.forget(self.tick_millis);
        self.first().unwrap_or(sequence)
    }

    fn first(&self) -> Option<u64> {
        self.order.front().map(|it| it.1.sequence)
    }

    /// Whether the next event of the frame is a copy.
    pub fn is_copy(&mut self, id: &str) -> bool {
        if self.reach.window_millis == 0 {
            return false;
        }
        let id = Id::new(id);
        let nth = self.ids + 1;
        let before = self.last.insert(id, nth).and_then(|nth| {
            let (_, seen) = self.order.get((nth - self.oldest()) as usize)?;
            Some((nth, *seen))
        });
        let seen = Seen { bytes: self.bytes, tick_millis: self.frame_tick_millis, sequence: self.sequence };
        self.ids = nth;
        self.order.push_back((id, seen));
        before.is_some_and(|(nth, it)| {
            let age = seen.tick_millis.saturating_sub(it.tick_millis);
            age <= self.reach.window_millis && self.is_near(nth, it)
        })
    }

    /// The number of the first one that is known.
    fn oldest(&self) -> u64 {
        self.ids + 1 - self.order.len() as u64
    }

    /// Whether it is in reach of what comes next, time apart.
    fn is_near(&self, nth: u64, seen: Seen) -> bool {
        self.ids - nth <= self.reach.ids_max && self.bytes - seen.bytes <= self.reach.bytes_max
    }

    /// Forgets what is out of reach for good.
    fn forget(&mut self, tick_millis: u64) {
        while let Some((id, seen)) = self.order.front().copied() {
            let is_old = tick_millis.saturating_sub(seen.tick_millis) > self.reach.window_millis + SLACK_MILLIS;
            let nth = self.oldest();
            if self.is_near(nth, seen) && !is_old {
                return;
            }
            self.order.pop_front();
            if self.last.get(&id) == Some(&nth) {
                self.last.remove(&id);
            }
        }
    }
}

/// Hashes what is a hash already. Not as it is: strangers choose the ids, and could choose many that stand at one place.
#[derive(Clone, Copy)]
struct Secret([u64; 2]);

impl Default for Secret {
    fn default() -> Self {
        let random = RandomState::new();
        Self([0_u64, 1].map(|it| random.hash_one(it)))
    }
}

impl BuildHasher for Secret {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { secret: self.0, folded: 0 }
    }
}

/// The hasher of one id.
struct Folded {
    secret: [u64; 2],
    folded: u64,
}

impl Hasher for Folded {
    fn write_u128(&mut self, id: u128) {
        let [one, other] = self.secret;
        let product = u128::from(id as u64 ^ one) * u128::from((id >> 64) as u64 ^ other);
        self.folded = product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|it| self.write_u128(u128::from(self.folded) << 64 | u128::from(*it)));
    }

    fn finish(&self) -> u64 {
        self.folded
    }
}
