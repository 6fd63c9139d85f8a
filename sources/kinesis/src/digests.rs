//! MD5 of many messages at once.
//!
//! Each step of MD5 needs the one before it, so that a processor that can do several things at a time does one. The same step
//! of several messages side by side, four of them by one instruction, takes less than half of the time.

use std::array::from_fn;

use md5::{Digest, Md5};

/// Messages side by side: two registers full on every processor, so that the steps of four of them fill the pauses of the others.
const LANES: usize = 8;

/// Fewer are quicker one by one.
const MESSAGES_MIN: usize = 4;

const BLOCK_BYTES: usize = 64;

/// A word of each message.
type Words = [u32; LANES];

/// RFC 1321, 3.3.
const BEGIN: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// RFC 1321, 3.4: the whole parts of 2³² |sin i|, where i is counted from 1.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The digest of each message.
pub fn digests(messages: &[&[u8]]) -> Vec<[u8; 16]> {
    if messages.len() < MESSAGES_MIN {
        return messages.iter().map(|it| Md5::digest(it).into()).collect();
    }
    let mut digests = vec![[0; 16]; messages.len()];
    let mut waiting = messages.iter().enumerate().map(|(nth, message)| Lane { nth, message, done: 0 });
    let mut lanes: [Option<Lane<'_>>; LANES] = from_fn(|_| waiting.next());
    let mut state = BEGIN.map(|it| [it; LANES]);
    let mut words = [[0; LANES]; 16];
    while lanes.iter().any(Option::is_some) {
        for (nth, lane) in lanes.iter().enumerate() {
            if let Some(lane) = lane {
                lane.read(nth, &mut words);
            }
        }
        compress(&mut state, &words);
        for (nth, lane) in lanes.iter_mut().enumerate() {
            let Some(it) = lane else { continue };
            it.done += 1;
            if it.done == it.blocks() {
                digests[it.nth].copy_from_slice(state.map(|it| it[nth].to_le_bytes()).as_flattened());
                *lane = waiting.next();
                state.iter_mut().zip(BEGIN).for_each(|(word, begin)| word[nth] = begin);
            }
        }
    }
    digests
}

/// A message under way.
struct Lane<'a> {
    nth: usize,
    message: &'a [u8],
    /// How many of its blocks are done.
    done: usize,
}

impl Lane<'_> {
    /// How many there are, with the mark at its end and its length (RFC 1321, 3.1 and 3.2).
    fn blocks(&self) -> usize {
        (self.message.len() + 8) / BLOCK_BYTES + 1
    }

    /// Puts the words of the next block into a lane.
    fn read(&self, lane: usize, words: &mut [Words; 16]) {
        let (whole, rest) = self.message.as_chunks::<BLOCK_BYTES>();
        let mut end = [0; BLOCK_BYTES];
        let block = whole.get(self.done).unwrap_or_else(|| {
            if self.done == whole.len() {
                end[..rest.len()].copy_from_slice(rest);
                end[rest.len()] = 0x80;
            }
            if self.done + 1 == self.blocks() {
                end[BLOCK_BYTES - 8..].copy_from_slice(&(self.message.len() as u64 * 8).to_le_bytes());
            }
            &end
        });
        for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
    }
}

/// A block of each message (RFC 1321, 3.4). The compiler makes one pass of it for four values of `lane`.
fn compress(state: &mut [Words; 4], words: &[Words; 16]) {
    for lane in 0..LANES {
        let before: [u32; 4] = from_fn(|it| state[it][lane]);
        let word = |nth: usize| words[nth % 16][lane];
        let mut now = before;
        for at in (0..16).step_by(4) {
            four(&mut now, at, [7, 12, 17, 22], |b, c, d| d ^ (b & (c ^ d)), word);
        }
        for at in (16..32).step_by(4) {
            four(&mut now, at, [5, 9, 14, 20], |b, c, d| c ^ (d & (b ^ c)), |it| word(5 * it + 1));
        }
        for at in (32..48).step_by(4) {
            four(&mut now, at, [4, 11, 16, 23], |b, c, d| b ^ c ^ d, |it| word(3 * it + 5));
        }
        for at in (48..64).step_by(4) {
            four(&mut now, at, [6, 10, 15, 21], |b, c, d| c ^ (b | !d), |it| word(7 * it));
        }
        for it in 0..4 {
            state[it][lane] = before[it].wrapping_add(now[it]);
        }
    }
}

/// Four steps, after which each part of the state is in its place again.
#[inline(always)]
fn four(
    [a, b, c, d]: &mut [u32; 4],
    at: usize,
    turns: [u32; 4],
    mix: impl Fn(u32, u32, u32) -> u32,
    word: impl Fn(usize) -> u32,
) {
    let step = |a: u32, b: u32, c: u32, d: u32, it: usize| {
        let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(SINES[at + it]).wrapping_add(word(at + it));
        sum.rotate_left(turns[it]).wrapping_add(b)
    };
    *a = step(*a, *b, *c, *d, 0);
    *d = step(*d, *a, *b, *c, 1);
    *c = step(*c, *d, *a, *b, 2);
    *b = step(*b, *c, *d, *a, 3);
}
