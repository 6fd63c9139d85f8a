//! Bytes that are not what they were, anywhere.

use std::cell::RefCell;
use std::ops::Range;

use proptest::prelude::*;

use crate::format::{FRAME_BYTES, FrameHead, HEADER_BYTES, Header, file_name};
use crate::inspect;
use crate::segments::found;
use crate::simulated::Random;

use super::*;

/// What to do to the bytes of a file.
#[derive(Clone, Debug)]
enum Spoil {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Zero(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

/// Changes, one after the other, each in one of the segments.
fn spoils() -> impl Strategy<Value = Vec<(prop::sample::Index, Spoil)>> {
    let index = any::<prop::sample::Index>;
    let spoil = prop_oneof![
        (index(), 1..=255u8).prop_map(|(at, by)| Spoil::Flip(at, by)),
        index().prop_map(Spoil::Cut),
        (index(), 1..300usize).prop_map(|(at, count)| Spoil::Zero(at, count)),
        (index(), prop::collection::vec(any::<u8>(), 0..100)).prop_map(|(at, bytes)| Spoil::Insert(at, bytes)),
    ];
    prop::collection::vec((index(), spoil), 1..6)
}

/// A segment whose bytes are changed, and which of them are still those that were written.
struct Spoiled {
    name: String,
    bytes: Vec<u8>,
    /// Of each byte where it stood, unless it is another one now.
    stood: Vec<Option<usize>>,
    /// The frames by their sequence numbers, as they were written.
    frames: Vec<(u64, Range<usize>)>,
}

impl Spoiled {
    fn new(simulated: &SimulatedDisk, number: u64) -> Self {
        let name = file_name(number);
        let bytes = RefCell::new(Vec::new());
        simulated.spoil(&name, |it| bytes.borrow_mut().clone_from(it));
        let bytes = bytes.into_inner();
        let seed = Header::decode(&bytes).unwrap().seed();
        let mut frames = Vec::new();
        let mut at = HEADER_BYTES;
        while let Some(head) = FrameHead::decode(&bytes[at..], seed) {
            let end = at + FRAME_BYTES + head.bytes;
            frames.push((head.sequence, at..end));
            at = end;
        }
        assert_eq!(at, bytes.len());
        let stood = (0..bytes.len()).map(Some).collect();
        Self { name, bytes, stood, frames }
    }

    fn spoil(&mut self, spoil: &Spoil) {
        let Self { bytes, stood, .. } = self;
        let at = |index: &prop::sample::Index| if bytes.is_empty() { 0 } else { index.index(bytes.len()) };
        match spoil {
            Spoil::Flip(index, by) => {
                let at = at(index);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= by;
                    stood[at] = None;
                }
            }
            Spoil::Cut(index) => {
                let at = at(index);
                bytes.truncate(at);
                stood.truncate(at);
            }
            Spoil::Zero(index, count) => {
                let at = at(index);
                bytes.iter_mut().skip(at).take(*count).for_each(|it| *it = 0);
                stood.iter_mut().skip(at).take(*count).for_each(|it| *it = None);
            }
            Spoil::Insert(index, more) => {
                let at = at(index);
                bytes.splice(at..at, more.iter().copied());
                stood.splice(at..at, more.iter().map(|_| None));
            }
        }
    }

    /// The frames that are whole, wherever they stand now.
    fn whole(&self) -> impl Iterator<Item = u64> {
        let is_whole = |range: &Range<usize>| {
            let begin = self.stood.iter().position(|it| *it == Some(range.start));
            let now = begin.and_then(|it| self.stood.get(it..it + range.len()));
            now.is_some_and(|it| it.iter().copied().eq(range.clone().map(Some)))
        };
        self.frames.iter().filter(move |it| is_whole(&it.1)).map(|it| it.0)
    }
}

/// How often [`any_bytes`] is tried: `FOREBAY_SIM_SEEDS` asks for more, as for the simulation.
fn cases() -> u32 {
    std::env::var("FOREBAY_SIM_SEEDS").map_or(2000, |it| it.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Scenario: some segments, whose bytes are flipped, cut, zeroed and shifted anywhere.
    /// Guarantees: nothing panics; what is read was appended, under its number; and every frame that no change touched
    /// is read, wherever it stands then, or the spool says that it cannot be read.
    #[test]
    fn any_bytes(spoils in spoils(), seed in any::<u64>()) {
        let (simulated, disk) = disk(seed);
        let mut random = Random(seed);
        let mut log = Log::open(disk.clone(), options(1 << 20, 400)).unwrap();
        let mut appended = Vec::new();
        for nth in 0..24 {
            let payload = Bytes::from(format!("{nth}:{}", "y".repeat(random.below(60) as usize)));
            append(&mut log, std::slice::from_ref(&payload));
            appended.push(payload);
        }
        drop(log);
        let mut segments: Vec<Spoiled> =
            found(&*disk).unwrap().iter().map(|it| Spoiled::new(&simulated, it.number)).collect();
        prop_assert_eq!(segments.iter().map(|it| it.frames.len()).sum::<usize>(), 24);
        for (segment, spoil) in &spoils {
            let nth = segment.index(segments.len());
            segments[nth].spoil(spoil);
        }
        for segment in &segments {
            simulated.spoil(&segment.name, |it| it.clone_from(&segment.bytes));
        }
        let _ = inspect(&*disk);
        let Ok(log) = Log::open(disk.clone(), options(1 << 20, 400)) else { return Ok(()) };
        let mut reader = Reader::new(disk, log.spool(), log.segments.clone(), Some(0));
        let mut due = 1;
        let mut read = Vec::new();
        for entry in rest(&mut reader) {
            match &entry {
                Entry::Frame { sequence, payload } => {
                    prop_assert!(*sequence >= due);
                    prop_assert_eq!(payload, &appended[*sequence as usize - 1]);
                    read.push(*sequence);
                }
                Entry::Lost { first, last } => prop_assert!(due <= *first && first <= last),
            }
            due = entry.last() + 1;
        }
        for whole in segments.iter().flat_map(Spoiled::whole) {
            prop_assert!(read.contains(&whole), "frame {} is whole, and only {:?} are read", whole, read);
        }
    }
}
