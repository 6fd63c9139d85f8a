//! What is read by hand against the general parsers that it stands in for.

use arrow_array::cast::AsArray;
use arrow_array::{Array, StringArray};
use proptest::prelude::*;

use super::times::{Layout, rfc3339};
use super::{Builder, Cell, column, decimal, epoch_seconds, strftime};
use crate::number::{fixed_point, whole};
use crate::types::Type;

const FORMATS: [&str; 8] = [
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%F %T%.f",
    "%Y-%m-%dT%H:%M:%S%:z",
    "%Y%m%d%H%M%S",
    "%d/%m/%Y",
    "[%b %d %Y]%z %H:%M",
];

/// Texts that are nearly times of the formats above: each is written from parts that may be out of range, then
/// perhaps spoiled in one place.
fn near_times() -> impl Strategy<Value = (&'static str, String)> {
    let month = prop::sample::select(vec!["Jan", "Feb", "Mar", "Apr", "Jun", "Sep", "Dec", "dec", "Okt", "December"]);
    let day = (prop_oneof![5 => 1969_u32..2040, 1 => 0_u32..10_001], 0_u32..14, 0_u32..33, month);
    let time = (0_u32..26, 0_u32..61, 0_u32..62);
    let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{0,10}"];
    let offset = prop_oneof![3 => "[+-][01][0-9]:?[0-5][0-9]", 1 => "[+-][0-9]{0,6}", 1 => "[+-]?[0-9:]{0,8}"];
    let spoiled = prop::option::weighted(0.3, (0_usize..30, "[0-9a-z :+.Zé-]{0,2}"));
    (prop::sample::select(FORMATS.to_vec()), day, time, fraction, offset, spoiled).prop_map(
        |(format, (year, month, day, name), (hour, minute, second), fraction, offset, spoiled)| {
            let mut text = format
                .replace("%F", "%Y-%m-%d")
                .replace("%T", "%H:%M:%S")
                .replace("%Y", &format!("{year:04}"))
                .replace("%m", &format!("{month:02}"))
                .replace("%b", name)
                .replace("%d", &format!("{day:02}"))
                .replace("%H", &format!("{hour:02}"))
                .replace("%M", &format!("{minute:02}"))
                .replace("%S", &format!("{second:02}"))
                .replace("%.f", &fraction)
                .replace("%z", &offset)
                .replace("%:z", &offset);
            if let Some((at, with)) = spoiled {
                let at = at.min(text.len());
                text.replace_range(at..(at + 1).min(text.len()), &with);
            }
            (format, text)
        },
    )
}

fn jiff_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|it| it.as_millisecond())
}

/// Scenario: times as logs write them, in each format that is read by hand.
/// Guarantees: they are read by hand, and none is left to the general parser.
#[test]
fn usual_times_are_read_by_hand() {
    let time = jiff::Timestamp::from_millisecond(1_793_491_200_726).unwrap();
    for format in FORMATS {
        let text = jiff::fmt::strtime::format(format, &time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let by_hand = Layout::new(format).unwrap().millis(text.as_bytes());
        assert_eq!((by_hand.is_some(), by_hand), (true, strftime(format, &text)), "{format}: {text}");
    }
    assert_eq!(rfc3339(b"2026-11-01T00:00:00.726Z"), Some(1_793_491_200_726));
    assert_eq!(rfc3339(b"2026-11-01T01:00:00+01:00"), Some(1_793_491_200_000));
    for format in ["%H:%M", "%Y-%m", "%Y-%m-%d %s", "%e/%m/%Y", "%Y-%j", "%Y-%m-%d\t%H", "%Y-%m-%d %Y"] {
        assert!(Layout::new(format).is_none(), "{format}");
    }
}

/// Scenario: every day from the year 1 to 2500, and days that do not exist.
/// Guarantees: each is the day that jiff says.
#[test]
fn every_day_is_known() {
    let layout = Layout::new("%Y-%m-%d").unwrap();
    let first = jiff::civil::date(1, 1, 1);
    let mut millis = first.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond();
    for date in first.series(jiff::Span::new().days(1)).take_while(|it| it.year() <= 2500) {
        let text = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
        assert_eq!(layout.millis(text.as_bytes()), Some(millis), "{text}");
        millis += 86_400_000;
    }
    for text in ["2026-02-29", "1900-02-29", "2026-04-31", "2026-00-01", "2026-13-01", "2026-01-00", "2026-01-32"] {
        assert_eq!(layout.millis(text.as_bytes()), None, "{text}");
    }
}

/// The number as a person would read it: digits, perhaps a point and digits.
fn fixed_point_in_steps(text: &str, digits: u8) -> Option<(i64, &str)> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |it| (true, it));
    let (whole, fraction) = match magnitude.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (magnitude, ""),
    };
    let only_digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || !only_digits(whole) || !only_digits(fraction) {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(digits.into()));
    let zeros = "0".repeat(usize::from(digits) - kept.len());
    let value: i64 = format!("{whole}{kept}{zeros}").parse().ok()?;
    Some((if negative { -value } else { value }, rest))
}

fn same_whole<T: std::str::FromStr + TryFrom<u32> + PartialEq + std::fmt::Debug>(text: &str) {
    assert_eq!(whole::<T>(text.as_bytes()), text.parse().ok(), "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Scenario: any number of units of the last digit, written as a decimal.
    /// Guarantees: it is read back exactly.
    #[test]
    fn decimals_are_exact(units in -999_999_999_999_999_999_i64..=999_999_999_999_999_999, digits in 1_u8..=18) {
        let magnitude = format!("{:0width$}", units.unsigned_abs(), width = usize::from(digits) + 1);
        let (whole, fraction) = magnitude.split_at(magnitude.len() - usize::from(digits));
        let text = format!("{}{whole}.{fraction}", if units < 0 { "-" } else { "" });
        prop_assert_eq!(decimal(text.as_bytes(), digits), Some(units));
    }

    /// Scenario: any time of CloudFront, written in seconds with three digits behind the point.
    /// Guarantees: no millisecond is lost, as it would be by way of floating point.
    #[test]
    fn milliseconds_are_exact(millis in 0_i64..4_102_444_800_000) {
        let text = format!("{}.{:03}", millis / 1000, millis % 1000);
        prop_assert_eq!(epoch_seconds(text.as_bytes()), Some(millis));
    }

    /// Scenario: texts that are numbers, nearly numbers, and anything else.
    /// Guarantees: they are read as the standard library reads them, and fixed-point numbers as a person would.
    #[test]
    fn numbers_are_read_as_by_the_standard_library(text in "[-+]?[0-9]{0,22}|[-+]?0{0,9}[0-9]{0,4}|[-+.0-9e]{0,12}|\\PC*", digits in 0_u8..=18) {
        same_whole::<i8>(&text);
        same_whole::<i16>(&text);
        same_whole::<i32>(&text);
        same_whole::<i64>(&text);
        same_whole::<u8>(&text);
        same_whole::<u16>(&text);
        same_whole::<u32>(&text);
        same_whole::<u64>(&text);
        prop_assert_eq!(fixed_point(&text, digits), fixed_point_in_steps(&text, digits));
    }

    /// Scenario: texts that are nearly times, in the formats that are read by hand.
    /// Guarantees: what is read by hand is what jiff reads.
    #[test]
    fn times_are_read_as_by_jiff((format, text) in near_times()) {
        if let Some(by_hand) = Layout::new(format).unwrap().millis(text.as_bytes()) {
            prop_assert_eq!(Some(by_hand), strftime(format, &text), "{}: {}", format, text);
        }
        for text in [text.replace(' ', "T"), text] {
            if let Some(by_hand) = rfc3339(text.as_bytes()) {
                prop_assert_eq!(Some(by_hand), jiff_rfc3339(&text), "{}", text);
            }
        }
    }

    /// Scenario: any text as any type.
    /// Guarantees: it is read or refused, without a panic.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|[-0-9.]{0,30}") {
        for kind in ["percent_decoded", "ip", "bool", "u8", "i64", "f32", "f64", "decimal:0", "decimal:18", "timestamp:epoch_s",
            "timestamp:epoch_ms", "timestamp:rfc3339", "timestamp:%d/%b/%Y:%H:%M:%S %z"] {
            let kind = Type::try_from(kind.to_owned()).unwrap();
            let mut refused = 0;
            let built = column(&kind, [Some(text.as_str()), None].into_iter(), |nth, shown| {
                assert_eq!((nth, shown), (0, text.as_str()));
                refused += 1;
            });
            prop_assert_eq!((built.len(), built.null_count()), (2, 1 + refused));
        }
    }

    /// Scenario: pieces of a text of any length, which may overlap, some null, some nowhere, added some at a time.
    /// Guarantees: each comes out as it stands in the text.
    #[test]
    fn pieces_are_copied(
        pieces in prop::collection::vec(("[a-zé]{0,40}|-|x{100,300}", any::<bool>()), 1..200),
        at_a_time in 1_usize..150,
        room in 0_usize..3000,
    ) {
        let mut text = String::new();
        let mut cells = Vec::new();
        let mut expected = Vec::new();
        for (piece, is_there) in &pieces {
            let start = text.len();
            text.push_str(piece);
            cells.push(if *is_there { Cell::new(start, text.len()) } else { Cell::NOWHERE });
            expected.push(is_there.then_some(piece.as_str()).filter(|it| *it != "-"));
        }
        cells.push(Cell::new(0, text.len()));
        expected.push(Some(text.as_str()).filter(|it| *it != "-"));
        let mut builder = Builder::new(&Type::Text, Some("-"), cells.len(), room);
        for cells in cells.chunks(at_a_time) {
            builder.extend(text.as_bytes(), cells, |_| panic!("any text is text"));
        }
        let built = builder.finish();
        prop_assert_eq!(built.as_string::<i32>(), &StringArray::from(expected));
    }

    /// Scenario: a column of bools, with nulls and other texts, added some at a time.
    /// Guarantees: each is what it says, and other texts are told with their number.
    #[test]
    fn bools_are_packed(texts in prop::collection::vec(prop::sample::select(vec!["true", "false", "-", "no"]), 1..200), at_a_time in 1_usize..150) {
        let all = texts.concat();
        let mut start = 0;
        let cells: Vec<Cell> = texts.iter().map(|it| { start += it.len(); Cell::new(start - it.len(), start) }).collect();
        let mut builder = Builder::new(&Type::Bool, Some("-"), 0, 0);
        let mut refused = Vec::new();
        for (nth, cells) in cells.chunks(at_a_time).enumerate() {
            builder.extend(all.as_bytes(), cells, |row| refused.push(nth * at_a_time + row));
        }
        let built = builder.finish();
        let found: Vec<Option<bool>> = built.as_boolean().iter().collect();
        prop_assert_eq!(found, texts.iter().map(|it| it.parse().ok()).collect::<Vec<Option<bool>>>());
        let expected: Vec<usize> = (0..texts.len()).filter(|it| texts[*it] == "no").collect();
        prop_assert_eq!(refused, expected);
    }
}

/// Scenario: one cell stands in many rows, between others: a good one, one that is no value, and one that is nowhere.
/// Guarantees: each row has what a cell of its own would have given it.
#[test]
fn cells_in_many_rows() {
    let text = "7 192.0.2.7 ::0001 seven";
    let cells = [(0, 1), (0, 1), (2, 11), (2, 11), (12, 18), (12, 18), (19, 24), (19, 24), (2, 11), (0, 1)];
    let mut cells: Vec<Cell> = cells.into_iter().map(|(start, end)| Cell::new(start, end)).collect();
    cells.insert(1, Cell::NOWHERE);
    cells.insert(5, Cell::NOWHERE);
    for kind in [Type::I64, Type::Ip, Type::Text, Type::Rfc3339] {
        let (mut refused, mut expected_refused) = (Vec::new(), Vec::new());
        let mut builder = Builder::new(&kind, None, cells.len(), 0);
        builder.extend(text.as_bytes(), &cells, |nth| refused.push(nth));
        let texts = cells.iter().map(|it| it.of(text.as_bytes()).map(|it| std::str::from_utf8(it).unwrap()));
        let mut expected = Builder::new(&kind, None, cells.len(), 0);
        for (nth, cell) in texts.enumerate() {
            let (text, cell) = (cell.unwrap_or_default(), cell.map_or(Cell::NOWHERE, |it| Cell::new(0, it.len())));
            expected.extend(text.as_bytes(), &[cell], |_| expected_refused.push(nth));
        }
        assert_eq!(refused, expected_refused);
        assert_eq!(&builder.finish(), &expected.finish());
    }
}
