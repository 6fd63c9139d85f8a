//! Lives and deaths of a spool, by seeds.
//!
//! `FOREBAY_SIM_SEEDS=100000 cargo test -p forebay-spool simulation` lives as many.

use std::collections::{BTreeMap, BTreeSet};

use crate::Durability;
use crate::simulated::Random;

use super::*;

/// Each is some lives of a spool.
const SEEDS: u64 = 3000;

/// What must hold of a spool.
#[derive(Default)]
struct Model {
    /// What was answered, or was seen by a reader.
    kept: BTreeMap<u64, Bytes>,
    /// What was ever appended, with or without success.
    appended: BTreeSet<Bytes>,
    /// What was refused in this life.
    refused: BTreeSet<Bytes>,
    /// What was refused before something else was answered: it may not be read any more.
    gone: BTreeSet<Bytes>,
    /// What was let go.
    released: u64,
    next: u64,
}

impl Model {
    /// Payloads that were never appended before.
    fn group(&mut self, random: &mut Random) -> Vec<Bytes> {
        let count = 1 + random.below(5);
        let payload = |_| {
            self.next += 1;
            let bytes = format!("{}:{}", self.next, "x".repeat(random.below(200) as usize));
            Bytes::from(bytes)
        };
        let group: Vec<Bytes> = (0..count).map(payload).collect();
        self.appended.extend(group.iter().cloned());
        group
    }

    /// Reads all, and holds it against what must be there.
    fn check(&mut self, reader: &mut Reader, seed: u64) {
        let mut found = BTreeMap::new();
        let mut payloads = BTreeSet::new();
        let mut before = 0;
        for entry in rest(reader) {
            match entry {
                Entry::Frame { sequence, payload } => {
                    assert!(sequence > before, "seed {seed}: frame {sequence} comes after {before}");
                    assert!(self.appended.contains(&payload), "seed {seed}: frame {sequence} was never appended");
                    assert!(!self.gone.contains(&payload), "seed {seed}: frame {sequence} was refused");
                    assert!(payloads.insert(payload.clone()), "seed {seed}: frame {sequence} is there twice");
                    before = sequence;
                    found.insert(sequence, payload);
                }
                Entry::Lost { first, last } => {
                    let kept = self.kept.range(first..=last).find(|it| *it.0 > self.released);
                    assert!(kept.is_none(), "seed {seed}: {first} to {last} are lost, and one of them was answered");
                    before = last;
                }
            }
        }
        for (sequence, payload) in self.kept.range(self.released + 1..) {
            assert_eq!(found.get(sequence), Some(payload), "seed {seed}: frame {sequence} was answered");
        }
        self.kept.extend(found);
    }
}

/// One life: opens the spool, appends and lets go until the power is cut or the life is over.
fn live(disk: &SimulatedDisk, model: &mut Model, random: &mut Random, seed: u64) {
    let options = Options {
        // Somebody may have seen what was answered and then let go.
        after: if random.one_in(2) { model.released } else { 0 },
        ..options(20_000, 200 + random.below(2000))
    };
    model.refused.clear();
    let Ok(mut log) = Log::open(Arc::new(disk.clone()), options) else { return };
    let at: Arc<dyn Disk> = Arc::new(disk.clone());
    let reader = || Reader::new(at.clone(), log.spool(), log.segments.clone(), None);
    let mut following = reader();
    // Everything is read while there is power, or nothing is said.
    if reader().read().is_ok() && !power_fails(disk) {
        model.check(&mut reader(), seed);
    }
    for _ in 0..random.below(30) {
        match random.below(13) {
            0 => disk.fail_syncs(1 + random.below(3) as u32),
            12 => disk.fail_directory_syncs(1 + random.below(2) as u32),
            1 => disk.set_bytes_max(Some(random.below(12_000))),
            2 => disk.set_bytes_max(None),
            3 => {
                let up_to = random.below(log.durable + 1);
                model.released = model.released.max(up_to);
                // What cannot be deleted stays.
                let _ = log.release(up_to, random.one_in(2));
            }
            _ => {
                let group = model.group(random);
                let (sequences, _) = append(&mut log, &group);
                if !sequences.is_empty() {
                    model.gone.append(&mut model.refused);
                }
                model.refused.extend(group[sequences.len()..].iter().cloned());
                model.kept.extend(sequences.into_iter().zip(group));
            }
        }
        // A reader that follows sees nothing that is not answered.
        while let Ok(Some(entry)) = following.read() {
            if let Entry::Frame { sequence, payload } = entry {
                assert_eq!(model.kept.get(&sequence), Some(&payload), "seed {seed}: {sequence} was not answered");
            }
        }
    }
    if random.one_in(3) {
        // A kill between writing and syncing.
        let group = model.group(random);
        log.write(group.clone());
    }
}

fn power_fails(disk: &SimulatedDisk) -> bool {
    disk.names().is_err()
}

/// Scenario: thousands of spools live several lives each: groups are appended, segments let go, syncs of files and of the directory fail, the disk
/// is full, the process is killed, and the power is cut at any step, which leaves any part of what was not synced.
/// Guarantees: what was answered is read exactly once, in its order and under its number, after every crash; and what
/// was not appended never is.
#[test]
fn nothing_that_was_answered_is_lost() {
    let seeds = std::env::var("FOREBAY_SIM_SEEDS").map_or(SEEDS, |it| it.parse().unwrap());
    let mut answered = 0;
    for seed in 0..seeds {
        let mut random = Random(seed ^ 0x5eed);
        let disk = SimulatedDisk::new(seed);
        let mut model = Model::default();
        for _ in 0..1 + random.below(5) {
            if random.one_in(2) {
                disk.cut_power_after(random.below(120));
            }
            live(&disk, &mut model, &mut random, seed);
            disk.fail_syncs(0);
            disk.fail_directory_syncs(0);
            disk.set_bytes_max(None);
            // Otherwise it was a kill: what was not synced is still there, for now.
            if power_fails(&disk) || random.one_in(2) {
                disk.restart();
            }
            disk.cut_power_after(u64::MAX >> 1);
        }
        let log = Log::open(Arc::new(disk.clone()), options(100_000, 1000));
        let log = log.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut reader = Reader::new(Arc::new(disk.clone()), log.spool(), log.segments.clone(), None);
        model.check(&mut reader, seed);
        answered += model.kept.len();
    }
    println!("{seeds} spools: {answered} frames were answered; 0 lost, 0 twice, 0 never appended");
    assert!(answered as u64 > seeds, "only {answered} frames were answered: does the simulation still do something?");
}

/// Scenario: the same, on disks whose syncs say yes and do nothing.
/// Guarantees: even then nothing that was not appended is read, nothing twice, and nothing panics.
#[test]
fn a_disk_that_lies_makes_nothing_up() {
    for seed in 0..500 {
        let mut random = Random(seed ^ 0x11e5);
        let disk = SimulatedDisk::new(seed);
        let mut model = Model::default();
        for _ in 0..4 {
            disk.set_lies(true);
            live(&disk, &mut model, &mut random, seed);
            disk.restart();
            disk.set_lies(false);
            disk.set_bytes_max(None);
            disk.fail_syncs(0);
            disk.fail_directory_syncs(0);
            model.kept.clear();
            model.gone.clear();
        }
        // A spool of which no header is left is refused: somebody must look at it.
        let Ok(log) = Log::open(Arc::new(disk.clone()), options(100_000, 1000)) else { continue };
        let mut reader = Reader::new(Arc::new(disk.clone()), log.spool(), log.segments.clone(), None);
        model.check(&mut reader, seed);
    }
}

/// Scenario: a spool is made on a disk that has no room for its first segment; it is opened once more like that; then there
/// is room.
/// Guarantees: it opens, says that it is full and leaves nothing behind; it takes what comes as soon as there is room, and
/// has it after a power cut.
#[test]
fn a_new_spool_on_a_full_disk() {
    let (simulated, disk) = disk(1);
    simulated.set_bytes_max(Some(10));
    for _ in 0..2 {
        let mut log = Log::open(disk.clone(), options(20_000, 1000)).unwrap();
        let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
        assert_eq!(append(&mut log, &["none".into()]), (vec![], Some(AppendError::Full)));
        log.release(7, true).unwrap();
        assert_eq!((reader.read().unwrap(), log.bytes(), disk.names().unwrap()), (None, 0, vec![]));
    }
    let mut log = Log::open(disk.clone(), options(20_000, 1000)).unwrap();
    let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
    simulated.set_bytes_max(None);
    assert_eq!(append(&mut log, &["one".into(), "two".into()]), (vec![1, 2], None));
    let read = shown(&rest(&mut reader));
    drop(log);
    simulated.restart();
    let mut reader = Reader::open(disk, None).unwrap().unwrap();
    assert_eq!((shown(&rest(&mut reader)).as_str(), read.as_str()), ("1 one\n2 two\n", "1 one\n2 two\n"));
}

/// Scenario: a segment is to be begun and its directory cannot be synced; more is appended, and the power is cut.
/// Guarantees: what was answered is there, whether the file of that segment is or not.
#[test]
fn a_segment_that_could_not_be_begun() {
    for seed in 0..100 {
        let (simulated, disk) = disk(seed);
        let mut log = Log::open(disk.clone(), options(20_000, 1000)).unwrap();
        append(&mut log, &["one".into()]);
        simulated.fail_directory_syncs(1);
        log.release(1, true).unwrap_err();
        assert_eq!(append(&mut log, &["two".into()]), (vec![2], None));
        simulated.restart();
        drop(log);
        let mut reader = Reader::open(disk, Some(1)).unwrap().unwrap();
        assert_eq!(shown(&rest(&mut reader)), "2 two\n", "seed {seed}");
    }
}

/// Scenario: segments are let go while the directory cannot be synced, and one was removed by somebody.
/// Guarantees: the next time they are let go all the same, and there is room again.
#[test]
fn what_could_not_be_let_go_is_let_go_later() {
    let (simulated, disk) = disk(1);
    let mut log = Log::open(disk.clone(), options(20_000, 100)).unwrap();
    let payload = Bytes::from("x".repeat(100));
    for _ in 0..5 {
        append(&mut log, std::slice::from_ref(&payload));
    }
    let before = log.bytes();
    simulated.fail_directory_syncs(1);
    log.release(3, false).unwrap_err();
    disk.remove("0000000000000002.spool").unwrap();
    log.release(3, false).unwrap();
    let segment = before / 5;
    assert_eq!((log.bytes(), log.segments.oldest().unwrap().first), (before - 3 * segment, 4));
    let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
    assert_eq!(rest(&mut reader).len(), 2);
}

/// Scenario: what was accepted in memory could not be synced for a while, and then could.
/// Guarantees: it is written once more to another segment, and nothing of it is lost or doubled.
#[test]
fn what_was_accepted_is_written_again() {
    let (simulated, disk) = disk(1);
    let options = Options { durability: Durability::Memory, ..options(20_000, 1000) };
    let mut log = Log::open(disk.clone(), options).unwrap();
    assert_eq!(log.write(vec![Bytes::from("one"), Bytes::from("two")]).0, 2);
    // The sync of the segment, and that of the one that takes its place.
    simulated.fail_syncs(2);
    log.sync().unwrap_err();
    simulated.fail_syncs(1);
    assert_eq!(log.write(vec![Bytes::from("three")]).0, 0, "there is no segment to write to");
    let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
    assert_eq!(reader.read().unwrap(), None, "nobody may see what is not durable");
    assert_eq!(log.write(vec![Bytes::from("three")]).0, 1);
    log.sync().unwrap();
    drop(log);
    simulated.restart();
    let log = Log::open(disk.clone(), options).unwrap();
    let mut reader = Reader::new(disk, log.spool(), log.segments.clone(), None);
    expect_test::expect![[r#"
        1 one
        2 two
        3 three
    "#]]
    .assert_eq(&shown(&rest(&mut reader)));
}
