//! Many thousands of inputs that are nearly good. The seed is fixed, so that a failure comes again.

use bytes::Bytes;

use super::json::{json_array, json_lines};
use super::parquet::{self, numbered};
use super::*;

/// A small generator of numbers (xorshift), which is all that is needed here and quick without optimisation.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    /// Changes some bytes: sets, cuts, doubles, removes, or puts in a token.
    fn spoil(&mut self, bytes: &mut Vec<u8>, tokens: &[&[u8]]) {
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len() + 1);
            let to = (at + self.roll(9)).min(bytes.len());
            match self.roll(6) {
                0 if at < bytes.len() => bytes[at] = self.roll(256) as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..to, [])),
                4 => {
                    let piece = bytes[at..to].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
                _ => drop(bytes.splice(at..at, self.pick(tokens).iter().copied())),
            }
        }
    }
}

/// Reads an object in one piece and in others, through and from some row on. Gives the rows.
fn read_in_all_ways(dice: &mut Dice, object: &[u8], layout: &Layout, limits: Limits) -> Vec<(Position, String)> {
    let all = rows(&reads(object, layout, limits, 0, &Position::End));
    for (nth, pair) in all.windows(2).enumerate() {
        assert!(pair[0].0 < pair[1].0, "{nth}: {pair:?}");
    }
    let sizes = [1 + dice.roll(4), 1 + dice.roll(60), 1 + dice.roll(3000)];
    let from = dice.roll(all.last().and_then(|it| it.0.counted()).unwrap_or(0) as usize + 1) as u64;
    let rest: Vec<_> = all.iter().filter(|it| it.0 > Position::row(from)).cloned().collect();
    match dice.roll(3) {
        0 => assert_eq!(rows(&reads(Pieces::new(object, &sizes), layout, limits, 0, &Position::End)), all),
        1 => assert_eq!(rows(&reads(Pieces::new(object, &sizes), layout, limits, from, &Position::End)), rest),
        _ => {
            let whole = Bytes::copy_from_slice(object);
            let mut reader = Reader::whole(Partition::new("object"), whole, layout, limits, &Position::row(from));
            let mut reads = Vec::new();
            // Up to some row first, then to the end.
            let to = Position::row(from + (dice.roll(3) as u64).min(rest.len() as u64));
            for to in [to, Position::End] {
                while let Some(read) = reader.next(&to).unwrap() {
                    reads.push(read);
                }
            }
            assert_eq!(rows(&reads), rest);
        }
    }
    all
}

/// Scenario: logs of all text formats, plain and compressed, with bytes changed anywhere, in pieces of any size.
/// Guarantees: no panic and no hang; the same rows however the bytes come and wherever it begins; and every line is a
/// row, a header, empty or refused.
#[test]
fn spoiled_text() {
    const LIMITS: Limits = Limits { line_bytes_max: 120, object_bytes_max: 4000 };
    let columns = [("a", "text"), ("b.c", "u16"), ("t", "timestamp:rfc3339"), ("d", "decimal:2")];
    let object = r#"{"a":"x\u00e9\n","b":{"c":200},"t":"2026-11-22T01:02:03Z","d":1.25,"x":[1,{"y":null}]}"#;
    let lines = format!("{object}\r\n{{\"b.c\":\"7\", \"a\":null}}\n\n{object}\n");
    let array = format!("[{object},\n {{\"b.c\":7}} , {object}]");
    let inside = format!("{{\"v\":[1,\"]\"],\"Records\":{array},\"w\":{{}}}}");
    let w3c_log =
        "#Version: 1.0\n#Fields: date cs(Host) x\n2026-11-22\thost\t-\n2026-11-23\thost\tx\t\n\n#Fields: date\nd\n";
    let tokens: [&[u8]; 18] = [
        b"\n",
        b"\r\n",
        b"\t",
        b"#Fields: ",
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\u",
        b"\\ud800",
        b"e9",
        b"\xff",
        b"\xe2\x82",
        b"null",
    ];
    let cases: [(&[u8], Layout); 6] = [
        (b"one\ntwo\r\n\nthr\xc3\xa9e\nfour", Layout::lines()),
        (w3c_log.as_bytes(), w3c(&["date", "cs(Host)"], UnknownFields::Ignore)),
        (lines.as_bytes(), json_lines(&columns, UnknownFields::Keep)),
        (lines.as_bytes(), json_lines(&columns, UnknownFields::Refuse)),
        (array.as_bytes(), json_array(&columns, None)),
        (inside.as_bytes(), json_array(&columns, Some("Records"))),
    ];
    let mut dice = Dice(0x5eed_0001);
    for nth in 0..80_000 {
        let (good, layout) = &cases[nth % cases.len()];
        let mut object = good.to_vec();
        dice.spoil(&mut object, &tokens);
        let plain = !object.starts_with(&[0x1f, 0x8b]);
        match dice.roll(12) {
            0 => object = gzip(&object),
            1 => object = zstd(&object),
            _ => {
                let all = read_in_all_ways(&mut dice, &object, layout, LIMITS);
                // Without columns to convert, each line that has something in it is there, once.
                if plain && nth % cases.len() == 0 {
                    let lines = object.split(|it| *it == b'\n').map(|it| it.strip_suffix(b"\r").unwrap_or(it));
                    assert_eq!(all.len(), lines.filter(|it| !it.is_empty()).count());
                }
                continue;
            }
        }
        if dice.roll(3) > 0 {
            dice.spoil(&mut object, &[b"\0", b"\x1f\x8b", b"\xff\xff"]);
        }
        read_in_all_ways(&mut dice, &object, layout, LIMITS);
    }
}

/// Scenario: Parquet files with bytes changed anywhere, most often in the footer.
/// Guarantees: no panic, no hang, no memory for what is not there; rows and one refusal at most, and the same again from
/// any row on.
#[test]
fn spoiled_parquet() {
    let layout = parquet::layout(&[("number", "i32"), ("text", "text")]);
    let goods = [numbered(40, 15, 5), numbered(3, 10, 10)];
    let mut dice = Dice(0x5eed_0002);
    for nth in 0..20_000 {
        let mut object = goods[nth % goods.len()].clone();
        let footer = u32::from_le_bytes(*object[..object.len() - 4].last_chunk().unwrap()) as usize + 8;
        if dice.roll(4) > 0 {
            // The footer keeps its length, or nothing else would be looked at.
            let end = object.split_off(object.len() - 8);
            for _ in 0..=dice.roll(3) {
                let at = object.len() - 1 - dice.roll(footer - 8);
                match dice.roll(3) {
                    0 => object[at] = dice.roll(256) as u8,
                    1 => object[at] ^= 1 << dice.roll(8),
                    _ => object[at] = dice.pick(&[&[0u8][..], &[0x0f], &[0xff], &[0x7f], &[0x19]])[0],
                }
            }
            object.extend(end);
        } else {
            dice.spoil(&mut object, &[b"\0", b"\xff\xff\xff\xff\x0f", b"PAR1"]);
        }
        let object = Bytes::from(object);
        let all = rows(&parquet::reads_of(object.clone(), &layout, 0, &Position::End));
        let refused = all.iter().filter(|it| it.1.contains("could not be read")).count();
        assert!(refused <= 1 && all.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let from = dice.roll(all.len() + 1);
        assert_eq!(rows(&parquet::reads_of(object, &layout, from as u64, &Position::End)), all[from..]);
    }
}

/// Scenario: among good records some that are not: no UTF-8, 50 MB long, nested 10,000 deep, of the wrong width.
/// Guarantees: each of these is refused, once, at its place, and every other record is a row.
#[test]
fn poison() {
    let long = "x".repeat(50 << 20);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let json: [&[u8]; 5] = [b"{\"a\":\"1\"}", b"{\"a\":\"\xff\"}", deep.as_bytes(), b"{\"a\":{}", b"{\"a\":\"1\"}"];
    let fields: [&[u8]; 5] = [b"1\t2", b"\xff\t2", long.as_bytes(), b"1", b"1\t2\t3"];
    let cases = [
        (json.join(&b"\n"[..]), json_lines(&[("a", "text")], UnknownFields::Refuse), vec![2, 3, 4]),
        ([json[0], json[1], json[2], json[4]].join(&b","[..]), json_array(&[("a", "text")], None), vec![2, 3]),
        (fields.join(&b"\n"[..]), w3c(&["a", "b"], UnknownFields::Refuse), vec![3, 4, 5, 6]),
        (fields.join(&b"\n"[..]), Layout::lines(), vec![2, 3]),
    ];
    for (nth, (records, layout, refused)) in cases.into_iter().enumerate() {
        let object = match nth {
            1 => [b"[", &records[..], b"]"].concat(),
            2 => [b"#Fields: a b\n", &records[..]].concat(),
            _ => records,
        };
        let all = rows(&reads(&object[..], &layout, Limits::default(), 0, &Position::End));
        let found: Vec<u64> =
            all.iter().filter(|it| it.1.starts_with("refused ")).filter_map(|it| it.0.counted()).collect();
        assert_eq!(found, refused, "{all:?}");
    }
}
