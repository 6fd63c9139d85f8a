//! How long to wait before the next try.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait after the `attempt`th failure in a row, counted from 0: a random time of up to 200 ms at first, of up
/// to twice as much after each further one, and never of more than 30 s.
///
/// The whole of it is random ("full jitter": Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015), so
/// that those who failed together do not come back together. The same `seed` gives the same times.
pub fn backoff(attempt: u32, seed: u64) -> Duration {
    let longest = FIRST.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(LONGEST);
    longest.mul_f64(fraction(seed ^ (u64::from(attempt) << 32)))
}

/// A number from 0 up to 1, by the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn fraction(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
