//! Judges a run by what went in and what came out: every row has an id, and everything else in it follows from a seed
//! and the id.
//!
//! [`Oracle`] hands ids out, and keeps which of them were attempted and which acknowledged: an acknowledgement turns an
//! attempt into an obligation. A [`Judge`] is shown every row that one sink has, and comes to a [`Verdict`] in the words
//! of Jepsen's checker of queues: *lost, duplicated, unexpected*, and besides *corrupted*. A bit is kept for each id, so
//! that ten million ids are a few megabytes.
//!
//! ```
//! use forebay_testkit::oracle::Oracle;
//!
//! let mut oracle = Oracle::new(7);
//! let ids = oracle.claim(100);
//! oracle.acknowledge(ids.clone());
//! let mut judge = oracle.judge(|_| true);
//! for id in ids.skip(1) {
//!     judge.saw(&oracle.line(id));
//! }
//! assert_eq!(judge.verdict().to_string(), "100 attempted, 100 acknowledged, 99 rows: 1 lost (0), 0 duplicated, 0 unexpected, 0 corrupted");
//! ```

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// What takes a line of [`Oracle::line`] apart, in the syntax of the `regex` transform.
pub const PATTERN: &str = r"^(?<id>\d+)\t(?<moment>\d+)\t(?<host>[^\t]*)\t(?<path>[^\t]*)\t(?<status>\d+)\t(?<bytes>\d+)\t(?<seal>[0-9a-f]*)$";

/// The types of its groups, as the transform has them in the file.
pub const TYPES: &str = r#"{ id = "u64", moment = "timestamp:epoch_ms", status = "u16", bytes = "u64" }"#;

/// So many ids of each kind of fault are named.
const NAMED: usize = 8;

/// The first line's time: 2026-11-01T00:00:00Z. Each further one is of a millisecond later.
const FIRST_AT: u64 = 1_793_491_200_000;

const HOSTS: [&str; 3] = ["www.example.com", "shop.example.com", "static.example.com"];

/// Random numbers that can be had again, by SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next one, as a number from 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A set of ids, a bit for each.
#[derive(Clone, Debug, Default)]
struct Ids {
    words: Vec<u64>,
    count: u64,
}

impl Ids {
    /// Whether it is new.
    fn insert(&mut self, id: u64) -> bool {
        let (word, bit) = (id as usize / 64, 1_u64 << (id % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    fn contains(&self, id: u64) -> bool {
        self.words.get(id as usize / 64).is_some_and(|it| it & (1 << (id % 64)) != 0)
    }
}

/// Hands ids out, and knows what became of them on the way in.
#[derive(Clone, Debug)]
pub struct Oracle {
    seed: u64,
    /// All ids below were handed out.
    claimed: u64,
    acknowledged: Ids,
}

impl Oracle {
    /// An oracle whose lines follow from this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, claimed: 0, acknowledged: Ids::default() }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Hands out the next ids, to be attempted.
    pub fn claim(&mut self, ids: u64) -> Range<u64> {
        let first = self.claimed;
        self.claimed += ids;
        first..self.claimed
    }

    /// How many ids were handed out.
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// Whoever takes rows has promised to keep these.
    ///
    /// # Panics
    ///
    /// If one of them was never handed out.
    pub fn acknowledge(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            assert!(id < self.claimed, "{id} is acknowledged, but was never handed out");
            self.acknowledged.insert(id);
        }
    }

    /// The row of an id, as a line without its end: fields like those of an access log, separated by tabs, which
    /// [`PATTERN`] takes apart. The last field seals the others: 64 bits that follow from seed and
    /// id alone.
    pub fn line(&self, id: u64) -> String {
        let mut random = Random::new(self.seed ^ id.wrapping_mul(0xd134_2543_de82_ef95));
        let (shape, seal) = (random.number(), random.number());
        let at = FIRST_AT + id;
        let host = HOSTS[(shape % 3) as usize];
        let status = [200, 200, 200, 206, 301, 304, 404, 503][(shape >> 8) as usize % 8];
        let bytes = shape >> 40;
        let mut line = String::with_capacity(120);
        write!(line, "{id}\t{at}\t{host}\t/").expect("a string takes everything");
        // Rows of many lengths: what is cut at a wrong place shows.
        for level in 0..(shape >> 16) % 4 {
            write!(line, "{:x}/", seal >> (level * 16)).expect("a string takes everything");
        }
        write!(line, "\t{status}\t{bytes}\t{seal:016x}").expect("a string takes everything");
        line
    }

    /// A judge over one sink, which is to have the ids that are `due` there.
    pub fn judge(&self, due: impl Fn(u64) -> bool + 'static) -> Judge<'_> {
        Judge { oracle: self, due: Box::new(due), delivered: Ids::default(), verdict: Verdict::default() }
    }
}

/// Is shown every row that a sink has, in any order.
pub struct Judge<'a> {
    oracle: &'a Oracle,
    due: Box<dyn Fn(u64) -> bool>,
    delivered: Ids,
    verdict: Verdict,
}

impl Judge<'_> {
    /// A row of the sink, written as [`Oracle::line`] writes it.
    ///
    /// What begins with no id that was handed out is unexpected; what has one and is otherwise another line is
    /// corrupted, and does not count as that row's delivery.
    pub fn saw(&mut self, line: &str) {
        self.verdict.rows += 1;
        let id = line.split('\t').next().and_then(|it| it.parse::<u64>().ok());
        let known = id.filter(|it| *it < self.oracle.claimed && (self.due)(*it));
        let Some(id) = known else {
            self.verdict.show(line);
            // No id at all: it is named by the largest number there is.
            return self.verdict.unexpected.add(id.unwrap_or(u64::MAX));
        };
        if self.oracle.line(id) != line {
            self.verdict.show(line);
            self.verdict.corrupted.add(id);
        } else if !self.delivered.insert(id) {
            self.verdict.duplicated.add(id);
        }
    }

    /// How many ids were seen so far, intact.
    pub fn delivered(&self) -> u64 {
        self.delivered.count
    }

    /// What it comes to, when every row was shown.
    pub fn verdict(self) -> Verdict {
        let Self { oracle, due, delivered, mut verdict } = self;
        for id in (0..oracle.claimed).filter(|it| due(*it)) {
            verdict.attempted += 1;
            match (oracle.acknowledged.contains(id), delivered.contains(id)) {
                (true, there) => {
                    verdict.acknowledged += 1;
                    if !there {
                        verdict.lost.add(id);
                    }
                }
                (false, there) => verdict.recovered += u64::from(there),
            }
        }
        verdict
    }
}

/// A kind of fault: how often, and the ids where it was found first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// How often.
    pub count: u64,
    /// The lowest ids, a few of them.
    pub first: BTreeSet<u64>,
}

impl Fault {
    fn add(&mut self, id: u64) {
        self.count += 1;
        self.first.insert(id);
        if self.first.len() > NAMED {
            self.first.pop_last();
        }
    }

    /// `0 lost`, `2 lost (17, 18)`.
    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(f, "{} {name}", self.count)?;
        if self.count > 0 {
            let ids: Vec<String> = self.first.iter().map(u64::to_string).collect();
            let rest = if self.count > ids.len() as u64 { ", …" } else { "" };
            write!(f, " ({}{rest})", ids.join(", "))?;
        }
        Ok(())
    }
}

/// What a sink's rows come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Ids that were handed out.
    pub attempted: u64,
    /// Ids that were acknowledged, and so are due.
    pub acknowledged: u64,
    /// Rows that the sink has, of whatever kind.
    pub rows: u64,
    /// Ids that are there although nobody has acknowledged them: no fault.
    pub recovered: u64,
    /// Ids that were acknowledged and are not there.
    pub lost: Fault,
    /// Rows whose id was there already.
    pub duplicated: Fault,
    /// Rows with an id that was never handed out, or is not due there.
    pub unexpected: Fault,
    /// Rows that are not what their id and the seed make.
    pub corrupted: Fault,
    /// Some rows that are unexpected or corrupted, as they are.
    pub shown: Vec<String>,
}

impl Verdict {
    fn show(&mut self, line: &str) {
        if self.shown.len() < NAMED {
            self.shown.push(line.to_owned());
        }
    }

    /// Whether there is no fault.
    pub fn is_good(&self) -> bool {
        [&self.lost, &self.duplicated, &self.unexpected, &self.corrupted].iter().all(|it| it.count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempted, acknowledged, rows, recovered, .. } = self;
        write!(f, "{attempted} attempted, {acknowledged} acknowledged, {rows} rows: ")?;
        if *recovered > 0 {
            write!(f, "{recovered} recovered, ")?;
        }
        self.lost.write(f, "lost")?;
        for (fault, name) in
            [(&self.duplicated, "duplicated"), (&self.unexpected, "unexpected"), (&self.corrupted, "corrupted")]
        {
            f.write_str(", ")?;
            fault.write(f, name)?;
        }
        self.shown.iter().try_for_each(|it| write!(f, "\n  {it:?}"))
    }
}
