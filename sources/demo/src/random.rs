//! Numbers that look random, and are the same on every machine for ever.

/// SplitMix64, by Guy Steele and others (OOPSLA 2014): small, fast, and good enough for a demonstration.
/// A crate would not promise the same numbers in its next version.
pub struct Random(u64);

impl Random {
    /// Begins a sequence of its own for each list of numbers.
    pub fn new(seeds: &[u64]) -> Self {
        let mut random = Self(0);
        for seed in seeds {
            random.0 ^= *seed;
            random.0 = random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number in `low..=high` that is far more often low than high, as sizes and delays are.
    pub fn mostly_low(&mut self, low: u64, high: u64) -> u64 {
        let most = self.below(high - low + 1);
        let less = self.below(most + 1);
        low + self.below(less + 1)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// One of the list, as often as the weight that stands with it.
    pub fn weighed<'a, T>(&mut self, of: &'a [(u32, T)]) -> &'a T {
        let mut at = self.below(of.iter().map(|it| u64::from(it.0)).sum()) as u32;
        for (weight, it) in of {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return it,
            }
        }
        unreachable!("a number below the sum of the weights")
    }
}
