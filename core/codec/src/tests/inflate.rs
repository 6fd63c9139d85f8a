use std::io::Cursor;

use bytes::Bytes;

use super::*;
use crate::decompress::DecompressError;

/// All bytes that come out, and how it ends.
fn all<R: io::Read>(mut decompressor: Decompressor<R>) -> (Vec<u8>, String) {
    let mut bytes = Vec::new();
    loop {
        match decompressor.fill() {
            Ok([]) => return (bytes, String::new()),
            Ok(more) => {
                let n = more.len();
                bytes.extend_from_slice(more);
                decompressor.take(n);
            }
            Err(error @ DecompressError::Io(_)) => panic!("{error}"),
            Err(error) => return (bytes, error.to_string()),
        }
    }
}

/// Decompresses an object in both ways, which must be one.
fn both(object: &[u8], bytes_max: u64) -> (Vec<u8>, String) {
    let whole = all(Decompressor::whole(Bytes::copy_from_slice(object), bytes_max));
    let streamed = all(Decompressor::new(Cursor::new(object), bytes_max));
    assert!(whole == streamed, "{} and {} bytes, {:?} and {:?}", whole.0.len(), streamed.0.len(), whole.1, streamed.1);
    whole
}

/// Scenario: whole gzip objects: of members that are equal, damaged, too large, bombs from the beginning or later on.
/// Guarantees: the bytes and the error are those of the stream.
#[test]
fn whole_is_as_streamed() {
    let line = b"2026-11-22\tFRA56-P4\t200\tGET\n".repeat(1000);
    let one = gzip(&line);
    let bomb = gzip(&vec![0; 8 << 20]);
    let noise: Vec<u8> = (0..40_000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let noise = gzip(&noise);
    let mut wrong_size = one.clone();
    *wrong_size.last_mut().unwrap() = 1;
    let mut flagged = one.clone();
    flagged[3] |= 2;
    let objects = [
        (one.clone(), true),
        ([one.clone(), one.clone()].concat(), true),
        ([one.clone(), gzip(b""), noise.clone(), vec![0; 1000], one.clone()].concat(), true),
        (gzip(b"").repeat(50), true),
        ([one.clone(), vec![0; 7]].concat(), true),
        ([one.clone(), b"rest".to_vec()].concat(), false),
        ([one.clone(), one[one.len() - 8..].to_vec()].concat(), false),
        (wrong_size, false),
        (flagged, false),
        (one[..one.len() - 3].to_vec(), false),
        (one[..2].to_vec(), false),
        (bomb.clone(), false),
        ([bomb.clone(), noise.clone()].concat(), false),
        ([noise, bomb].concat(), true),
        (b"\x1f\x8b".to_vec(), false),
        (Vec::new(), true),
        (line.clone(), true),
        (zstd(&line), true),
    ];
    for (object, good) in objects {
        let (bytes, error) = both(&object, u64::MAX);
        assert_eq!(error.is_empty(), good, "{error}");
        for bytes_max in [0, 1, bytes.len() as u64 / 2, bytes.len() as u64] {
            both(&object, bytes_max);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Scenario: gzip members of any texts, cut or changed anywhere, with zeros or other bytes behind them.
    /// Guarantees: a whole object gives the bytes and the error that the stream gives.
    #[test]
    fn any_whole_is_as_streamed(
        members in prop::collection::vec((0u16..3000, 1usize..2000), 0..5),
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cut in prop::option::of(any::<prop::sample::Index>()),
        end in prop::sample::select(vec![&b""[..], b"\0\0", b"\0x", b"\x1f", b"\x1f\x8b\x08"]),
        bytes_max in prop_oneof![Just(u64::MAX), 0u64..100_000],
    ) {
        let member = |(seed, lines): (u16, usize)| gzip(format!("line {seed} of a log\n").repeat(lines).as_bytes());
        let mut object: Vec<u8> = members.into_iter().flat_map(member).chain(end.iter().copied()).collect();
        if let (Some((at, with)), false) = (change, object.is_empty()) {
            let at = at.index(object.len());
            object[at] ^= with;
        }
        if let (Some(cut), false) = (cut, object.is_empty()) {
            object.truncate(cut.index(object.len()));
        }
        both(&object, bytes_max);
    }
}
