//! The first place of a byte. The fields of logs are short: it is mostly found within the first few bytes, before a
//! search that is made for long texts has begun.

use memchr::{memchr, memchr2, memchr3};

/// So many bytes are looked at eight at a time; the rest is for the crate `memchr`.
const NEAR: usize = 16;

/// One in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;

pub(crate) fn find(one: u8, text: &[u8]) -> Option<usize> {
    near(text, |word| zeros(word ^ (ONES * u64::from(one))), |rest| memchr(one, rest))
}

pub(crate) fn find2(one: u8, two: u8, text: &[u8]) -> Option<usize> {
    let (ones, twos) = (ONES * u64::from(one), ONES * u64::from(two));
    near(text, |word| zeros(word ^ ones) | zeros(word ^ twos), |rest| memchr2(one, two, rest))
}

pub(crate) fn find3(one: u8, two: u8, three: u8, text: &[u8]) -> Option<usize> {
    let (ones, twos, threes) = (ONES * u64::from(one), ONES * u64::from(two), ONES * u64::from(three));
    let found = |word| zeros(word ^ ones) | zeros(word ^ twos) | zeros(word ^ threes);
    near(text, found, |rest| memchr3(one, two, three, rest))
}

#[inline(always)]
fn near(text: &[u8], found: impl Fn(u64) -> u64, far: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let Some((near, rest)) = text.split_first_chunk::<NEAR>() else { return far(text) };
    let (words, _) = near.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        let found = found(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(8 * nth + found.trailing_zeros() as usize / 8);
        }
    }
    far(rest).map(|it| NEAR + it)
}

/// Sets the highest bit of each byte that is zero; above the lowest of these, of some others too.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}
