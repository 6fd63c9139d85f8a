//! Which records belong to which shard: 2^128 hash keys, cut into ranges.

use md5::{Digest, Md5};

/// The hash keys that a shard takes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    pub first: u128,
    pub last: u128,
}

impl HashRange {
    pub fn contains(self, key: u128) -> bool {
        (self.first..=self.last).contains(&key)
    }

    /// The two ranges that this one is cut into when the second is to begin at `at`. `None` if that is not within it,
    /// or if nothing were left for the first.
    pub fn split(self, at: u128) -> Option<[Self; 2]> {
        let within = self.first < at && at <= self.last;
        within.then(|| [Self { first: self.first, last: at - 1 }, Self { first: at, last: self.last }])
    }

    /// The key in the middle, where a range is usually cut.
    pub fn middle(self) -> u128 {
        self.first + (self.last - self.first) / 2 + 1
    }

    /// The range that two neighbours make together.
    pub fn join(self, other: Self) -> Option<Self> {
        let (low, high) = if self.first < other.first { (self, other) } else { (other, self) };
        (low.last.checked_add(1) == Some(high.first)).then_some(Self { first: low.first, last: high.last })
    }
}

/// The ranges of the shards of a new stream: of one size, the last with what is left over.
pub fn evenly(shards: u32) -> Vec<HashRange> {
    // 2^128 itself is no u128. For one shard the step is of no account.
    let step = match shards {
        0 | 1 => u128::MAX,
        n => {
            let n = u128::from(n);
            let exact = u128::MAX % n == n - 1;
            u128::MAX / n + u128::from(exact)
        }
    };
    let first = |nth: u32| step * u128::from(nth);
    let last = |nth: u32| if nth + 1 == shards { u128::MAX } else { first(nth + 1) - 1 };
    (0..shards).map(|nth| HashRange { first: first(nth), last: last(nth) }).collect()
}

/// The hash key of a partition key: its MD5 as a number, the first byte the highest.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(md5(partition_key.as_bytes()))
}

pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}
