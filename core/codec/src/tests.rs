use std::io::{self, Write};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_cast::display::array_value_to_string;
use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::{Partition, Position, Read};
use proptest::prelude::*;

mod fuzz;
mod inflate;
mod json;
mod names;
mod parquet;
mod w3c;

use crate::cloudfront::{REALTIME_FIELDS, STANDARD_FIELDS};
use crate::decompress::{Decompressor, RATIO_FREE_BYTES};
use crate::records::LONG_RECORD_KEPT_BYTES;
use crate::{Format, FormatKeys, Layout, Limits, Reader, UnknownFields};

/// Gives its bytes in pieces of the given sizes, over and over.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: Vec<usize>,
    at: usize,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], sizes: &[usize]) -> Self {
        Self { bytes, sizes: sizes.to_vec(), at: 0 }
    }
}

impl io::Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.at % self.sizes.len()].min(to.len());
        self.at += 1;
        io::Read::read(&mut self.bytes, &mut to[..size])
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn w3c(fields: &[&str], unknown_fields: UnknownFields) -> Layout {
    let fields: Vec<String> = fields.iter().map(|it| (*it).to_owned()).collect();
    FormatKeys {
        format: Format::W3c,
        fields: Some(&fields),
        unknown_fields: Some(unknown_fields),
        ..FormatKeys::default()
    }
    .layout()
    .unwrap()
}

/// All reads of an object after `from` and up to `to`, each checked against the contract of a source.
fn reads(input: impl io::Read, layout: &Layout, limits: Limits, from: u64, to: &Position) -> Vec<Read> {
    let from = Position::row(from);
    let mut reader = Reader::new(Partition::new("object"), input, layout, limits, &from);
    let mut reads: Vec<Read> = Vec::new();
    while let Some(read) = reader.next(to).unwrap() {
        assert_eq!(read.fault(), None);
        assert_eq!(read.span.from, reads.last().map_or(from.clone(), |it| it.span.to.clone()));
        reads.push(read);
    }
    reads
}

fn shown(text: &str) -> String {
    match text.len() {
        0..100 => format!("{text:?}"),
        long => format!("{:?}… {long} bytes", text.chars().take(20).collect::<String>()),
    }
}

/// Position and content of every row and every refusal, in order.
fn rows(reads: &[Read]) -> Vec<(Position, String)> {
    let mut all = Vec::new();
    for read in reads {
        for row in 0..read.rows.num_rows() {
            let columns = read.rows.columns().iter().map(|column| match column.as_string_opt::<i32>() {
                _ if column.is_null(row) => "∅".to_owned(),
                Some(column) => shown(column.value(row)),
                None => array_value_to_string(column, row).unwrap(),
            });
            all.push((read.position(row), columns.collect::<Vec<_>>().join(" ")));
        }
        for refusal in &read.refused {
            let payload = shown(&String::from_utf8_lossy(&refusal.payload));
            all.push((refusal.position.clone(), format!("refused {payload}: {}", refusal.why)));
        }
    }
    all.sort();
    all
}

fn check_with(input: &[u8], layout: &Layout, limits: Limits, expected: Expect) {
    let whole = reads(input, layout, limits, 0, &Position::End);
    let spans = whole.iter().map(|it| format!("{}\n", it.span));
    let rows = rows(&whole).into_iter().map(|(position, row)| format!("{position} {row}\n"));
    expected.assert_eq(&spans.chain(rows).collect::<String>());
}

fn check(input: &[u8], layout: &Layout, expected: Expect) {
    check_with(input, layout, Limits { line_bytes_max: 30, ..Limits::default() }, expected);
}

/// Scenario: objects with every kind of line and line end.
/// Guarantees: each line has its number; lines that are no text, or too long, are refused with their bytes; nothing is changed.
#[test]
fn lines() {
    let layout = Layout::lines();
    check(
        b"",
        &layout,
        expect![[r#"
        object:(start..end]
    "#]],
    );
    check(
        b"one\ntwo\n",
        &layout,
        expect![[r#"
            object:(start..end]
            1 "one"
            2 "two"
        "#]],
    );
    check(
        b"one\r\n\r\n\nlast\rwithout end\r",
        &layout,
        expect![[r#"
            object:(start..end]
            1 "one"
            4 "last\rwithout end"
        "#]],
    );
    check(
        "gr\u{fc}n\n".as_bytes(),
        &layout,
        expect![[r#"
            object:(start..end]
            1 "grün"
        "#]],
    );
    check(
        b"gr\xfcn\nfine\n",
        &layout,
        expect![[r#"
            object:(start..end]
            1 refused "gr�n": it is not UTF-8: byte 3 is 0xfc
            2 "fine"
        "#]],
    );
    check(
        b"exactly thirty bytes and an end\nexactly thirty bytes and an en\r\nfine",
        &layout,
        expect![[r#"
            object:(start..end]
            1 refused "exactly thirty bytes and an end": it has 31 bytes, more than the 30 of `line_bytes_max`
            2 "exactly thirty bytes and an en"
            3 "fine"
        "#]],
    );
}

/// Scenario: lines far longer than the cap, with the end in every place.
/// Guarantees: only the first bytes are kept, and the reason has the whole length.
#[test]
fn long_lines() {
    let limits = Limits { line_bytes_max: 100_000, ..Limits::default() };
    let long = "x".repeat(300_000);
    let exact = "y".repeat(100_000);
    check_with(
        format!("{long}\r\nfine\n{exact}\r\n{long}").as_bytes(),
        &Layout::lines(),
        limits,
        expect![[r#"
            object:(start..end]
            1 refused "xxxxxxxxxxxxxxxxxxxx"… 65536 bytes: it has 300000 bytes, more than the 100000 of `line_bytes_max`; its first 65536 are kept here
            2 "fine"
            3 "yyyyyyyyyyyyyyyyyyyy"… 100000 bytes
            4 refused "xxxxxxxxxxxxxxxxxxxx"… 65536 bytes: it has 300000 bytes, more than the 100000 of `line_bytes_max`; its first 65536 are kept here
        "#]],
    );
    let kept = reads(long.as_bytes(), &Layout::lines(), limits, 0, &Position::End)[0].refused[0].payload.len();
    assert_eq!(kept, LONG_RECORD_KEPT_BYTES);
}

/// Scenario: objects in each coding, in one piece and in several.
/// Guarantees: the same rows come out, whatever the object is called and however often the compressor began anew.
#[test]
fn codings() {
    let (one, two) = (b"one\ntw".as_slice(), b"o\nthree\n".as_slice());
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let objects = [
        [one, two].concat(),
        gzip(&[one, two].concat()),
        [gzip(one), gzip(two)].concat(),
        [gzip(one), gzip(b""), gzip(two), vec![0; 300_000]].concat(),
        zstd(&[one, two].concat()),
        [skippable.to_vec(), zstd(one), skippable.to_vec(), zstd(two)].concat(),
    ];
    for object in objects {
        check(
            &object,
            &Layout::lines(),
            expect![[r#"
                object:(start..end]
                1 "one"
                2 "two"
                3 "three"
            "#]],
        );
    }
    for empty in [gzip(b""), zstd(b"")] {
        check(
            &empty,
            &Layout::lines(),
            expect![[r#"
            object:(start..end]
        "#]],
        );
    }
}

/// Scenario: objects that are cut off, damaged, followed by something else, or larger than the cap.
/// Guarantees: the rows before the damage are read; one refusal with the broken-off line stands for the rest.
#[test]
fn damage() {
    let layout = Layout::lines();
    let text = b"one\ntwo\nthree";
    let whole = gzip(text);
    check(
        &whole[..whole.len() - 9],
        &layout,
        expect![[r#"
        object:(start..end]
        1 "one"
        2 "two"
        3 refused "three": the rest of the object, from here on, could not be read: the gzip data ends too early, after 24 bytes
    "#]],
    );
    check(
        &[&whole[..whole.len() - 8], &[0; 8]].concat(),
        &layout,
        expect![[r#"
            object:(start..end]
            1 "one"
            2 "two"
            3 refused "three": the rest of the object, from here on, could not be read: damaged gzip data at byte 29: incorrect data check
        "#]],
    );
    check(
        &[&whole[..], b"#!/bin/sh"].concat(),
        &layout,
        expect![[r#"
        object:(start..end]
        1 "one"
        2 "two"
        3 refused "three": the rest of the object, from here on, could not be read: damaged gzip data at byte 33: bytes follow that are not gzip
    "#]],
    );
    check(
        &[0x1f, 0x8b, 99, 0],
        &layout,
        expect![[r#"
        object:(start..end]
        1 refused "": the rest of the object, from here on, could not be read: damaged gzip data at byte 4: unknown compression method
    "#]],
    );
    let whole = zstd(text);
    check(
        &whole[..whole.len() - 1],
        &layout,
        expect![[r#"
        object:(start..end]
        1 "one"
        2 "two"
        3 refused "thre": the rest of the object, from here on, could not be read: the zstd data ends too early, after 21 bytes
    "#]],
    );
    check(
        &[&whole[..], b"#!/bin/sh"].concat(),
        &layout,
        expect![[r#"
        object:(start..end]
        1 "one"
        2 "two"
        3 refused "three": the rest of the object, from here on, could not be read: damaged zstd data at byte 22: unknown frame descriptor
    "#]],
    );
    let limits = Limits { object_bytes_max: 10, ..Limits::default() };
    check_with(
        text,
        &layout,
        limits,
        expect![[r#"
        object:(start..end]
        1 "one"
        2 "two"
        3 refused "th": the rest of the object, from here on, could not be read: it holds more than the 10 bytes of `object_bytes_max`
    "#]],
    );
    let exact = Limits { object_bytes_max: text.len() as u64, ..Limits::default() };
    check_with(
        text,
        &layout,
        exact,
        expect![[r#"
        object:(start..end]
        1 "one"
        2 "two"
        3 "three"
    "#]],
    );
}

/// Scenario: a read that ends in damage is cut between its last row and the refusal, or after the refusal, and read on.
/// Guarantees: the refusal has a position like any line, and is read exactly once.
#[test]
fn damage_resumed() {
    let object = &gzip(b"one\ntwo\nthree")[..24];
    let all = rows(&reads(object, &Layout::lines(), Limits::default(), 0, &Position::End));
    for from in 0..=all.len() as u64 {
        let tail = reads(object, &Layout::lines(), Limits::default(), from, &Position::End);
        assert_eq!(tail.last().unwrap().span.to, Position::End);
        assert_eq!(rows(&tail), all[from as usize..]);
        let head = reads(object, &Layout::lines(), Limits::default(), 0, &Position::row(from));
        assert_eq!(rows(&head), all[..from as usize]);
    }
}

/// Scenario: a small object that decompresses to very much.
/// Guarantees: it is refused long before the cap on bytes, in both codings.
#[test]
fn bombs() {
    let zeros = vec![b'0'; 64 << 20];
    for bomb in [gzip(&zeros), zstd(&zeros)] {
        let mut decompressor = Decompressor::new(&bomb[..], u64::MAX);
        let mut bytes = 0;
        let error = loop {
            match decompressor.fill().map(<[u8]>::len) {
                Ok(n) => {
                    assert_ne!(n, 0, "the bomb was eaten");
                    bytes += n as u64;
                    decompressor.take(n);
                }
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("a bomb"), "{error}");
        assert!(bytes < zeros.len() as u64 && bytes > RATIO_FREE_BYTES, "{bytes}");
    }
    // As regular as they come, but small.
    let small = gzip(&vec![b'\n'; RATIO_FREE_BYTES as usize]);
    assert_eq!(rows(&reads(&small[..], &Layout::lines(), Limits::default(), 0, &Position::End)), []);
}

/// Scenario: an object of many rows.
/// Guarantees: no read holds more than 8192 rows or 1 MiB and a line; together they hold every row.
#[test]
fn reads_are_bounded() {
    let many: String = (1..=20_000).map(|it| format!("{it}\n")).collect();
    let spans: Vec<_> = reads(many.as_bytes(), &Layout::lines(), Limits::default(), 0, &Position::End)
        .iter()
        .map(|it| it.span.to_string())
        .collect();
    expect![[r#"
        object:(start..8192]
        object:(8192..16384]
        object:(16384..end]"#]]
    .assert_eq(&spans.join("\n"));
    let wide = format!("{}\n", "w".repeat(1 << 18)).repeat(10);
    let sizes: Vec<_> = reads(wide.as_bytes(), &Layout::lines(), Limits::default(), 0, &Position::End)
        .iter()
        .map(|it| it.rows.num_rows())
        .collect();
    assert_eq!(sizes, [4, 4, 2]);
}

/// Scenario: more rows are asked for than the object has.
/// Guarantees: an error, never an invented end.
#[test]
fn too_short() {
    for (from, to) in [(3, Position::End), (0, Position::row(3)), (5, Position::row(6))] {
        let mut reader = Reader::new(
            Partition::new("object"),
            b"one\ntwo\n".as_slice(),
            &Layout::lines(),
            Limits::default(),
            &Position::row(from),
        );
        let error = reader.next(&to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

/// Scenario: the lists of CloudFront's fields.
/// Guarantees: they have as many names as the documentation has, and none twice.
#[test]
fn cloudfront_fields() {
    for (fields, count) in [(REALTIME_FIELDS, 69), (STANDARD_FIELDS, 35)] {
        assert_eq!(fields.len(), count);
        assert!((1..count).all(|at| !fields[..at].contains(&fields[at])));
    }
}

/// Text with everything that matters to lines: ends, returns, empty lines, tabs, headers, bytes that are no text.
fn logs() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        5 => "[a-z\t]{0,20}".prop_map(String::into_bytes),
        3 => prop::sample::select(vec!["\n", "\r\n", "\r", "#Fields: a b\n", "#Fields: b\n", "-\t-\n"])
            .prop_map(|it| it.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|it| it.concat())
}

fn compress(text: &[u8], coding: u8, split: usize) -> Vec<u8> {
    let (head, tail) = text.split_at(split % (text.len() + 1));
    match coding % 5 {
        0 => text.to_vec(),
        1 => gzip(text),
        2 => [gzip(head), gzip(tail)].concat(),
        3 => zstd(text),
        _ => [zstd(head), zstd(tail)].concat(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Scenario: any log, in any coding, whose bytes come in any pieces, read on from any line and up to any other.
    /// Guarantees: always the same rows at the same positions.
    #[test]
    fn cuts_leave_no_trace(
        text in logs(), coding: u8, split: usize, sizes in prop::collection::vec(1usize..50, 1..5), from: u64, to: u64,
    ) {
        // Random bytes may look compressed; then they are no log.
        prop_assume!(coding % 5 > 0 || !text.starts_with(&[0x1f, 0x8b]));
        let object = compress(&text, coding, split);
        let limits = Limits { line_bytes_max: 25, ..Limits::default() };
        for layout in [Layout::lines(), w3c(&["a", "c"], UnknownFields::Ignore)] {
            let all = rows(&reads(&text[..], &layout, limits, 0, &Position::End));
            let pieces = || Pieces::new(&object, &sizes);
            prop_assert_eq!(&rows(&reads(pieces(), &layout, limits, 0, &Position::End)), &all);
            let last = all.last().and_then(|it| it.0.counted()).unwrap_or(0);
            let (from, to) = (from % (last + 1), to % (last + 1));
            let wanted = |it: &&(Position, String)| Position::row(from) < it.0 && it.0 <= Position::row(to);
            let part: Vec<_> = all.iter().filter(wanted).cloned().collect();
            prop_assert_eq!(rows(&reads(pieces(), &layout, limits, from, &Position::row(to))), part);
        }
    }

    /// Scenario: a compressed log with any byte changed, or cut off anywhere, whose bytes come in any pieces.
    /// Guarantees: it never panics, gives the same rows however it comes, and every row but the last few is a true one.
    #[test]
    fn damage_is_contained(
        lines in 1usize..3000, coding in 1u8..5, at: usize, with: u8, cut: bool,
        sizes in prop::collection::vec(1usize..5000, 1..5),
    ) {
        let text: String = (0..lines).map(|it| format!("line {it} {}\n", it * it)).collect();
        let mut object = compress(text.as_bytes(), coding, at);
        let at = at % object.len();
        if cut { object.truncate(at) } else { object[at] ^= with }
        let layout = Layout::lines();
        let once = rows(&reads(&object[..], &layout, Limits::default(), 0, &Position::End));
        let again = rows(&reads(Pieces::new(&object, &sizes), &layout, Limits::default(), 0, &Position::End));
        prop_assert_eq!(&once, &again);
        if cut && at > 4 {
            let whole = rows(&reads(text.as_bytes(), &layout, Limits::default(), 0, &Position::End));
            let good = once.iter().zip(&whole).take_while(|(once, whole)| once == whole).count();
            // All but the refusal for the rest; where the cut is between two members there is none.
            prop_assert!(good + 1 >= once.len());
        }
    }
}
