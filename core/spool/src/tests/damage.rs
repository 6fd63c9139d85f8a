//! Bytes that are not what they were.

use expect_test::{Expect, expect};

use crate::format::{FRAME_BYTES, HEADER_BYTES, file_name};
use crate::segments::found;
use crate::{OpenError, inspect, repair};

use super::*;

/// Two segments: frames 1 to 4, which fill the first one, and 5 to 8.
fn two_segments(seed: u64) -> (SimulatedDisk, Arc<dyn Disk>) {
    let (simulated, disk) = disk(seed);
    let mut log = Log::open(disk.clone(), options(1 << 20, 150)).unwrap();
    for group in [["one", "two"], ["three", "four"], ["five", "six"], ["seven", "eight"]] {
        append(&mut log, &group.map(Bytes::from));
    }
    drop(log);
    (simulated, disk)
}

/// Where the frame number `nth` of a segment begins, if those before have these payloads.
fn frame(before: &[&str]) -> usize {
    HEADER_BYTES + before.iter().map(|it| FRAME_BYTES + it.len()).sum::<usize>()
}

fn check(what: &str, spoil: impl Fn(&SimulatedDisk), expected: Expect) {
    let (simulated, disk) = two_segments(7);
    spoil(&simulated);
    let mut text = String::new();
    let inspected = |text: &mut String| match inspect(&*disk) {
        Err(error) => *text += &format!("{error}\n"),
        Ok(inspection) => {
            for it in inspection.segments {
                let (name, damaged, torn) = (&it.name[12..], &it.damaged, it.torn_bytes);
                let header = if it.created_millis.is_some() { "" } else { ", no header" };
                let of = it.sequences.map_or("no frames".to_owned(), |(first, last)| format!("{first} to {last}"));
                *text += &format!("{name}: {} frames, {of}{header}, damaged {damaged:?}, torn {torn}\n", it.frames);
            }
            for (name, bytes) in inspection.set_aside {
                *text += &format!("set aside: {} of {bytes} bytes\n", &name[12..]);
            }
        }
    };
    inspected(&mut text);
    match repair(&*disk) {
        Err(error) => text += &format!("repair: {error}\n"),
        Ok(repaired) => {
            let names: Vec<&str> = repaired.rewritten.iter().map(|it| it.name.as_str()).collect();
            text += &format!("repaired: {names:?}\n");
            if !repaired.rewritten.is_empty() {
                inspected(&mut text);
            }
        }
    }
    // The same is read with and without repair.
    let mut read = Vec::new();
    for repaired in [false, true] {
        let (simulated, disk) = two_segments(7);
        spoil(&simulated);
        if repaired {
            let _ = repair(&*disk);
        }
        read.push(match Log::open(disk.clone(), options(1 << 20, 150)) {
            Err(error) => format!("{error}\n"),
            Ok(mut log) => {
                append(&mut log, &[Bytes::from("nine")]);
                shown(&rest(&mut Reader::new(disk, log.spool(), log.segments.clone(), None)))
            }
        });
    }
    text += &read[0];
    if read[0] != read[1] {
        text += &format!("and after repair\n{}", read[1]);
    }
    let title = format!("{what}\n");
    expected.assert_eq(&(title + &text));
}

/// Scenario: a spool of two segments is damaged in one place, looked at, repaired, opened, appended to and read.
/// Guarantees: damage costs only the frames that it hit, and readers name them; a torn tail is cut, and the numbers that
/// may have stood in it are not used again; repair keeps all whole frames, and what it replaces; what is no spool any
/// more is refused.
#[test]
fn damage_in_one_place() {
    let (one, two) = (file_name(1), file_name(2));
    let flip = |name: &str, at: usize| {
        let name = name.to_owned();
        move |disk: &SimulatedDisk| disk.spoil(&name, |it| it[at] ^= 1)
    };
    check(
        "nothing",
        |_| (),
        expect![[r#"
        nothing
        0001.spool: 4 frames, 1 to 4, damaged [], torn 0
        0002.spool: 4 frames, 5 to 8, damaged [], torn 0
        repaired: []
        1 one
        2 two
        3 three
        4 four
        5 five
        6 six
        7 seven
        8 eight
        9 nine
    "#]],
    );
    check(
        "a payload",
        flip(&one, frame(&["one"]) + FRAME_BYTES),
        expect![[r#"
            a payload
            0001.spool: 3 frames, 1 to 4, damaged [(91, 118)], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            repaired: ["0000000000000001.spool"]
            0001.spool: 3 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0001.spool.damaged of 175 bytes
            1 one
            2 to 2 lost
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "a head",
        flip(&one, frame(&["one"]) + 9),
        expect![[r#"
            a head
            0001.spool: 3 frames, 1 to 4, damaged [(91, 118)], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            repaired: ["0000000000000001.spool"]
            0001.spool: 3 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0001.spool.damaged of 175 bytes
            1 one
            2 to 2 lost
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "a length",
        flip(&one, frame(&["one"]) + 6),
        expect![[r#"
            a length
            0001.spool: 3 frames, 1 to 4, damaged [(91, 118)], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            repaired: ["0000000000000001.spool"]
            0001.spool: 3 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0001.spool.damaged of 175 bytes
            1 one
            2 to 2 lost
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "the first payload",
        flip(&one, frame(&[]) + FRAME_BYTES),
        expect![[r#"
            the first payload
            0001.spool: 3 frames, 2 to 4, damaged [(64, 91)], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            repaired: ["0000000000000001.spool"]
            0001.spool: 3 frames, 2 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0001.spool.damaged of 175 bytes
            1 to 1 lost
            2 two
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "the last payload of a closed segment",
        flip(&one, frame(&["one", "two", "three"]) + FRAME_BYTES),
        expect![[r#"
            the last payload of a closed segment
            0001.spool: 3 frames, 1 to 3, damaged [], torn 28
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            repaired: ["0000000000000001.spool"]
            0001.spool: 3 frames, 1 to 3, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0001.spool.damaged of 175 bytes
            1 one
            2 two
            3 three
            4 to 4 lost
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "the last payload of all",
        flip(&two, frame(&["five", "six", "seven"]) + FRAME_BYTES),
        expect![[r#"
            the last payload of all
            0001.spool: 4 frames, 1 to 4, damaged [], torn 0
            0002.spool: 3 frames, 5 to 7, damaged [], torn 29
            repaired: []
            1 one
            2 two
            3 three
            4 four
            5 five
            6 six
            7 seven
            10 nine
        "#]],
    );
    check(
        "a header",
        flip(&one, 20),
        expect![[r#"
            a header
            0001.spool: 4 frames, 1 to 4, no header, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            repaired: ["0000000000000001.spool"]
            0001.spool: 4 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0001.spool.damaged of 175 bytes
            1 one
            2 two
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "the header of the last segment",
        flip(&two, 20),
        expect![[r#"
            the header of the last segment
            0001.spool: 4 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, no header, damaged [], torn 0
            repaired: ["0000000000000002.spool"]
            0001.spool: 4 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 0
            set aside: 0002.spool.damaged of 177 bytes
            1 one
            2 two
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            9 nine
        "#]],
    );
    check(
        "zeros at the end",
        |it| it.spoil(&two, |it| it.extend([0; 100])),
        expect![[r#"
            zeros at the end
            0001.spool: 4 frames, 1 to 4, damaged [], torn 0
            0002.spool: 4 frames, 5 to 8, damaged [], torn 100
            repaired: []
            1 one
            2 two
            3 three
            4 four
            5 five
            6 six
            7 seven
            8 eight
            14 nine
        "#]],
    );
    check(
        "half a frame at the end",
        |it| it.spoil(&two, |it| it.truncate(it.len() - 2)),
        expect![[r#"
            half a frame at the end
            0001.spool: 4 frames, 1 to 4, damaged [], torn 0
            0002.spool: 3 frames, 5 to 7, damaged [], torn 27
            repaired: []
            1 one
            2 two
            3 three
            4 four
            5 five
            6 six
            7 seven
            10 nine
        "#]],
    );
    check(
        "half a header",
        |it| it.spoil(&two, |it| it.truncate(30)),
        expect![[r#"
        half a header
        0001.spool: 4 frames, 1 to 4, damaged [], torn 0
        0002.spool: 0 frames, no frames, no header, damaged [], torn 0
        repaired: []
        1 one
        2 two
        3 three
        4 four
        5 nine
    "#]],
    );
    check(
        "all headers",
        |it| {
            it.spoil(&one, |it| it[0] = 0);
            it.spoil(&two, |it| it[0] = 0);
        },
        expect![[r#"
            all headers
            the spool at `simulated` cannot be read: no segment has a header that can be read
            repair: the spool at `simulated` cannot be read: no segment has a header that can be read
            the spool at `simulated` cannot be read: no segment has a header that can be read
        "#]],
    );
    check(
        "another version",
        |it| {
            it.spoil(&two, |it| {
                it[8] = 2;
                let sum = crc32c::crc32c(&it[..60]);
                it[60..64].copy_from_slice(&sum.to_le_bytes());
            })
        },
        expect![[r#"
            another version
            the spool at `simulated` cannot be read: segment `0000000000000002.spool` has version 2, and this program reads version 1
            repair: the spool at `simulated` cannot be read: segment `0000000000000002.spool` has version 2, and this program reads version 1
            the spool at `simulated` cannot be read: segment `0000000000000002.spool` has version 2, and this program reads version 1
        "#]],
    );
}

/// Scenario: a client sends a payload that is a segment of another spool, and the frame that holds it loses its head.
/// Guarantees: nothing in it passes for a frame.
#[test]
fn a_payload_that_looks_like_frames() {
    let (simulated, disk) = disk(3);
    let mut log = Log::open(disk.clone(), options(1 << 20, 1 << 19)).unwrap();
    let mut forged = Vec::new();
    for number in 0..4 {
        for sequence in 0..100 {
            crate::format::encode_frame(sequence, b"forged", crate::format::Seed::new(7, number), &mut forged);
        }
    }
    append(&mut log, &[Bytes::from("one"), Bytes::from(forged), Bytes::from("three")]);
    drop(log);
    simulated.spoil(&file_name(1), |it| it[frame(&["one"])] ^= 1);
    let log = Log::open(disk.clone(), options(1 << 20, 1 << 19)).unwrap();
    expect![[r#"
        1 one
        2 to 2 lost
        3 three
    "#]]
    .assert_eq(&shown(&rest(&mut Reader::new(disk, log.spool(), log.segments.clone(), None))));
}

/// Scenario: the disk takes only so much, or the spool may only be so large; then there is room again.
/// Guarantees: what does not fit is refused as full, what was accepted stays, and the spool goes on by itself.
#[test]
fn full() {
    for by_disk in [true, false] {
        let (simulated, disk) = disk(1);
        let limit = if by_disk { 1 << 20 } else { 500 };
        simulated.set_bytes_max(by_disk.then_some(500));
        let mut log = Log::open(disk.clone(), options(limit, 150)).unwrap();
        let mut accepted = 0;
        let full = loop {
            let (sequences, refused) = append(&mut log, &[Bytes::from("a payload of some bytes")]);
            accepted += sequences.len();
            if let Some(refused) = refused {
                break refused;
            }
        };
        assert_eq!((full, accepted > 4), (AppendError::Full, true));
        let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
        assert_eq!(rest(&mut reader).len(), accepted);
        // Half of it is let go.
        log.release(accepted as u64 / 2, true).unwrap();
        assert_eq!(append(&mut log, &[Bytes::from("more")]), (vec![accepted as u64 + 1], None));
        // And all of it.
        log.release(accepted as u64 + 1, true).unwrap();
        assert_eq!(log.bytes(), HEADER_BYTES as u64, "only an empty segment is left");
        assert_eq!(disk.names().unwrap().len(), 1);
        drop(log);
        simulated.restart();
        let mut log = Log::open(disk, options(limit, 150)).unwrap();
        assert_eq!(
            append(&mut log, &[Bytes::from("more")]),
            (vec![accepted as u64 + 2], None),
            "no number comes again"
        );
    }
}

/// Scenario: a segment is damaged and repaired, and that twice more; each time first on a disk whose power is cut at any step
/// of the repair.
/// Guarantees: what each repair has set aside stays as it was, whatever comes later, and is told by its name; nothing is set
/// aside in part.
#[test]
fn repaired_again() {
    let name = file_name(1);
    for cut_after in 0..16 {
        let (simulated, disk) = two_segments(7 + cut_after);
        let bytes = |name: &str| {
            let file = disk.open(name).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
            bytes
        };
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        for payload in ["one", "two", "three"] {
            let at = bytes(&name).windows(payload.len()).position(|it| it == payload.as_bytes()).unwrap();
            simulated.spoil(&name, |it| it[at] ^= 1);
            let damaged = bytes(&name);
            simulated.cut_power_after(cut_after);
            let done = repair(&*disk);
            simulated.restart();
            let done = match done {
                Ok(done) => done,
                Err(_) => repair(&*disk).unwrap(),
            };
            for it in done.rewritten {
                assert_eq!(it.name, name);
                kept.push((it.set_aside, damaged.clone()));
            }
            for (copy, before) in &kept {
                assert_eq!(bytes(copy), *before, "cut after {cut_after}: {copy}");
            }
            for (copy, _) in inspect(&*disk).unwrap().set_aside {
                if !kept.iter().any(|it| it.0 == copy) {
                    // Of a repair that was cut off.
                    assert_eq!(bytes(&copy), damaged, "cut after {cut_after}: {copy}");
                    kept.push((copy, damaged.clone()));
                }
            }
        }
        if cut_after == 15 {
            let names: Vec<&str> = kept.iter().map(|it| &it.0[12..]).collect();
            assert_eq!(names, ["0001.spool.damaged", "0001.spool.2.damaged", "0001.spool.3.damaged"]);
        }
    }
}

/// Scenario: a process is killed while its disk is full, and the spool is opened on the full disk; some of it is let go;
/// there is room again.
/// Guarantees: all frames are read; nothing is accepted while there is no room; what is let go is room; no number comes
/// again; the last segment may be one without frames, and be let go with all others.
#[test]
fn opened_on_a_full_disk() {
    for (starts_before, is_let_go) in [(1, false), (2, false), (1, true), (2, true)] {
        let (simulated, disk) = disk(3);
        let open = || Log::open(disk.clone(), options(1 << 20, 150)).unwrap();
        let more = [Bytes::from("a payload of some bytes")];
        let mut accepted = 0;
        for _ in 0..starts_before {
            let mut log = open();
            if accepted == 0 {
                accepted = (0..10).map(|_| append(&mut log, &more).0.len() as u64).sum();
            }
            drop(log);
            simulated.restart();
        }
        simulated.set_bytes_max(Some(0));
        let mut log = open();
        let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
        assert_eq!(rest(&mut reader).len(), 10);
        assert_eq!(append(&mut log, &more), (vec![], Some(AppendError::Full)));
        if is_let_go {
            // It says that it could not begin another segment, and lets go all the same.
            let _ = log.release(accepted, true);
        }
        assert_eq!(append(&mut log, &more), (vec![], Some(AppendError::Full)));
        simulated.set_bytes_max(None);
        assert_eq!(append(&mut log, &more), (vec![accepted + 1], None));
        assert_eq!(rest(&mut reader).len(), 1);
        let there: u64 = found(&*disk).unwrap().iter().map(|it| it.bytes).sum();
        assert_eq!(log.bytes(), there);
        drop(log);
        simulated.restart();
        let mut log = open();
        let left = rest(&mut Reader::new(disk.clone(), log.spool(), log.segments.clone(), None)).len();
        assert_eq!(left, if is_let_go { 1 } else { 11 });
        assert_eq!(append(&mut log, &more), (vec![accepted + 2], None));
    }
}

/// Scenario: a spool is opened twice at a time.
/// Guarantees: the second one is told, until the first one is let go.
#[test]
fn one_at_a_time() {
    let (_, disk) = disk(1);
    let first = Log::open(disk.clone(), options(1 << 20, 1000)).unwrap();
    assert!(matches!(Log::open(disk.clone(), options(1 << 20, 1000)), Err(OpenError::Busy { .. })));
    assert!(matches!(repair(&*disk), Err(OpenError::Busy { .. })));
    drop(first);
    Log::open(disk, options(1 << 20, 1000)).unwrap();
}
