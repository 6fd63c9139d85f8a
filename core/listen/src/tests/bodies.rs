//! Bodies and memory.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use expect_test::expect;
use hyper::body::{Body, Frame, SizeHint};

use super::*;
use crate::{BodyError, Coding, Held, decompress};

/// A body in pieces of one size, that says its length or does not, and may never end.
struct Pieces {
    left: usize,
    piece: usize,
    announced: Option<u64>,
    ends: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.piece.min(self.left);
        self.left -= piece;
        match piece {
            0 if self.ends => Poll::Ready(None),
            0 => Poll::Pending,
            _ => Poll::Ready(Some(Ok(Frame::data(vec![b'x'; piece].into())))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn outcome(outcome: Result<Vec<u8>, BodyError>, held: &Held) -> String {
    match outcome {
        Ok(body) => format!("{} bytes, {} held", body.len(), held.bytes()),
        Err(error) => format!("{error:?}"),
    }
}

/// Scenario: bodies in pieces of all sizes, with and without a length, too large, endless, and too much at once.
/// Guarantees: no more memory is counted than about what has come, in however small pieces; what is too large or late or too
/// much is told.
#[tokio::test]
async fn collected() {
    let mut text = String::new();
    for (bytes, piece, announced, ends) in [
        (0, 1, None, true),
        (1, 1, None, true),
        (200_000, 1, None, true),
        (200_000, 1000, None, true),
        (200_000, 200_000, Some(200_000), true),
        (262_144, 1000, None, true),
        (262_145, 1000, None, true),
        (0, 1, Some(262_145), false),
        (100, 1, Some(262_144), false),
        (600, 100, None, true),
    ] {
        let memory = Memory::new(300 << 10);
        let mut held = memory.hold();
        if bytes == 600 {
            held = Memory::new(0).hold();
        }
        let mut body = Pieces { left: bytes, piece, announced, ends };
        let patience = if ends { PATIENCE } else { Duration::from_millis(50) };
        let collected = collect(&mut body, 256 << 10, patience, &mut held).await;
        text += &format!("{bytes} by {piece}: {}\n", outcome(collected, &held));
    }
    expect![[r#"
        0 by 1: 0 bytes, 0 held
        1 by 1: 1 bytes, 1024 held
        200000 by 1: 200000 bytes, 262144 held
        200000 by 1000: 200000 bytes, 256000 held
        200000 by 200000: 200000 bytes, 200704 held
        262144 by 1000: 262144 bytes, 262144 held
        262145 by 1000: TooLarge
        0 by 1: TooLarge
        100 by 1: Late
        600 by 100: NoMemory
    "#]]
    .assert_eq(&text);
}

/// Scenario: requests hold memory, more of it, less of it, and let it go.
/// Guarantees: together they never have more than there is, nobody waits, and what was given back may be taken.
#[test]
fn memory() {
    let memory = Memory::new(10 << 10);
    let (mut one, mut other) = (memory.hold(), memory.hold());
    assert!(one.at_least(1).is_ok() && one.at_least(1024).is_ok());
    assert_eq!(one.bytes(), 1024);
    assert!(one.at_least(6 << 10).is_ok() && other.at_least(4 << 10).is_ok());
    assert!(one.at_least(7 << 10).is_err() && memory.hold().at_least(1).is_err());
    assert_eq!((one.bytes(), other.bytes()), (6 << 10, 4 << 10));
    one.at_most(1025);
    assert_eq!(one.bytes(), 2 << 10);
    one.at_most(1 << 20);
    assert!(other.at_least(8 << 10).is_ok());
    drop((one, other));
    assert!(memory.hold().at_least(10 << 10).is_ok());
    assert!(memory.hold().at_least(usize::MAX).is_err());
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    brotli::BrotliCompress(&mut &body[..], &mut to, &Default::default()).unwrap();
    to
}

/// Scenario: bodies in every coding: good ones, bombs, nonsense, and bombs while there is little memory.
/// Guarantees: a good one comes out with only itself counted; of a bomb there is never more in memory than may be, be it for
/// this one or for all of them.
#[test]
fn decompressed() {
    let (good, bomb) = (b"one two three ".repeat(100), vec![0; 16 << 20]);
    let zstd = |it: &[u8]| zstd::encode_all(it, 1).unwrap();
    // A frame that asks for a window of 2 GiB, of which it needs nothing.
    let wide = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    let twice = [gzip(&good), gzip(&good)].concat();
    let mut text = String::new();
    for (name, coding, body) in [
        ("plain", Coding::Plain, good.clone()),
        ("too large", Coding::Plain, bomb.clone()),
        ("gzip", Coding::Gzip, gzip(&good)),
        ("gzip twice", Coding::Gzip, twice),
        ("gzip bomb", Coding::Gzip, gzip(&bomb)),
        ("half a gzip", Coding::Gzip, gzip(&good)[..20].to_vec()),
        ("br", Coding::Brotli, brotli(&good)),
        ("br bomb", Coding::Brotli, brotli(&bomb)),
        ("no br", Coding::Brotli, b"nonsense".to_vec()),
        ("zstd", Coding::Zstd, zstd(&good)),
        ("zstd bomb", Coding::Zstd, zstd(&bomb)),
        ("zstd with a wide window", Coding::Zstd, wide),
    ] {
        for memory in [64 << 20, 128 << 10] {
            let mut held = Memory::new(memory).hold();
            let decompressed = match held.at_least(body.len()) {
                Ok(()) => decompress(coding, body.clone(), 4 << 20, &mut held),
                Err(error) => Err(error.into()),
            };
            text += &format!("{name}, {} KiB: {}\n", memory >> 10, outcome(decompressed, &held));
        }
    }
    expect![[r#"
        plain, 65536 KiB: 1400 bytes, 2048 held
        plain, 128 KiB: 1400 bytes, 2048 held
        too large, 65536 KiB: TooLarge
        too large, 128 KiB: NoMemory
        gzip, 65536 KiB: 1400 bytes, 2048 held
        gzip, 128 KiB: 1400 bytes, 2048 held
        gzip twice, 65536 KiB: 2800 bytes, 3072 held
        gzip twice, 128 KiB: 2800 bytes, 3072 held
        gzip bomb, 65536 KiB: TooLarge
        gzip bomb, 128 KiB: NoMemory
        half a gzip, 65536 KiB: Undecodable(Custom { kind: UnexpectedEof, error: "incomplete deflate stream" })
        half a gzip, 128 KiB: Undecodable(Custom { kind: UnexpectedEof, error: "incomplete deflate stream" })
        br, 65536 KiB: 1400 bytes, 2048 held
        br, 128 KiB: 1400 bytes, 2048 held
        br bomb, 65536 KiB: TooLarge
        br bomb, 128 KiB: NoMemory
        no br, 65536 KiB: Undecodable(Custom { kind: InvalidData, error: "Invalid Data" })
        no br, 128 KiB: Undecodable(Custom { kind: InvalidData, error: "Invalid Data" })
        zstd, 65536 KiB: 1400 bytes, 2048 held
        zstd, 128 KiB: 1400 bytes, 2048 held
        zstd bomb, 65536 KiB: TooLarge
        zstd bomb, 128 KiB: NoMemory
        zstd with a wide window, 65536 KiB: Undecodable(Custom { kind: Other, error: "Frame requires too much memory for decoding" })
        zstd with a wide window, 128 KiB: Undecodable(Custom { kind: Other, error: "Frame requires too much memory for decoding" })
    "#]].assert_eq(&text);
}

/// Scenario: gzip bodies of all sizes, one or several in one, with other bytes behind them, with heads of all kinds, with wrong
/// checksums and sizes, cut off, and with a bit turned over in each of their bytes.
/// Guarantees: what comes out is what a decoder of streams makes of them, and nothing where that finds a fault, but for codes
/// that stand for nothing and do no harm: then it is what was compressed. No more memory is counted afterwards than is taken.
#[test]
fn gzip_at_once() {
    let plain = [vec![], b"a".to_vec(), b"one two three ".repeat(30), (0..=255).collect()];
    let bodies = plain.each_ref().map(|it| gzip(it));
    let mut named = flate2::GzBuilder::new().filename("name").comment("one").write(Vec::new(), Default::default());
    named.write_all(b"one two three").unwrap();
    let mut all = vec![named.finish().unwrap()];
    for body in &bodies {
        let end = &body[body.len() - 8..];
        all.push(body.clone());
        all.push([&body[..], end].concat());
        all.extend(bodies.iter().map(|it| [&body[..], it].concat()));
        all.extend([&[0][..], &[0; 8], b"more"].map(|it| [body, it].concat()));
        all.extend((0..body.len()).map(|it| body[..it].to_vec()));
        for at in 0..body.len() * 8 {
            let mut other = body.clone();
            other[at / 8] ^= 1 << (at % 8);
            all.push(other);
        }
    }
    let mut good = 0;
    for body in all {
        let mut expected = Vec::new();
        let is_good = flate2::read::MultiGzDecoder::new(&body[..]).read_to_end(&mut expected).is_ok();
        let mut held = Memory::new(64 << 20).hold();
        held.at_least(body.len()).unwrap();
        match decompress(Coding::Gzip, body.clone(), 4 << 20, &mut held) {
            Ok(made) => {
                assert!(if is_good { made == expected } else { plain.contains(&made) }, "{body:?}");
                assert!(held.bytes() < made.capacity() + 1024, "{body:?}");
                good += 1;
            }
            Err(error) => assert!(!is_good && matches!(error, BodyError::Undecodable(_)), "{error:?} {body:?}"),
        }
    }
    assert!(good > 100);
}

/// Scenario: heads with all kinds of codings.
/// Guarantees: those are known that are read here, and nothing is taken for another one.
#[test]
fn codings() {
    let lists: [&[&str]; 8] =
        [&[], &[""], &["identity"], &["GZIP"], &["br"], &[" zstd"], &["gzip, br"], &["gzip", "br"]];
    let found = lists.map(|values| {
        let mut headers = http::HeaderMap::new();
        for value in values {
            headers.append("content-encoding", value.parse().unwrap());
        }
        Coding::of(&headers)
    });
    let (plain, gzip) = (Some(Coding::Plain), Some(Coding::Gzip));
    assert_eq!(found, [plain, plain, plain, gzip, Some(Coding::Brotli), Some(Coding::Zstd), None, None]);
}
