use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, types::Int32Type,
};
use bytes::Bytes;

use super::*;
use crate::types::Type;
use crate::{Columns, ParquetReader, ReadAt};

pub(super) fn layout(declared: &[(&str, &str)]) -> Layout {
    let typed = declared.iter().map(|(name, kind)| ((*name).to_owned(), Type::try_from((*kind).to_owned()).unwrap()));
    let columns = Columns::new(typed);
    FormatKeys { format: Format::Parquet, columns: Some(&columns), ..FormatKeys::default() }.layout().unwrap()
}

pub(super) fn write(columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Rows in row groups and pages of the given sizes.
pub(super) fn numbered(rows: usize, group_rows: usize, page_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows)
        .set_dictionary_enabled(false)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let number: Int64Array = (1..=rows as i64).collect();
    let text: StringArray = (1..=rows).map(|it| (it % 7 > 0).then(|| format!("row {it}"))).collect();
    write(vec![("number", Arc::new(number)), ("text", Arc::new(text))], properties)
}

pub(super) fn reads_of(object: impl ReadAt + 'static, layout: &Layout, from: u64, to: &Position) -> Vec<Read> {
    reads_within(object, layout, Limits::default(), from, to).unwrap()
}

fn reads_within(
    object: impl ReadAt + 'static,
    layout: &Layout,
    limits: Limits,
    from: u64,
    to: &Position,
) -> io::Result<Vec<Read>> {
    let from = Position::row(from);
    let mut reader = ParquetReader::new(Partition::new("object"), object, layout, limits, &from);
    let mut reads: Vec<Read> = Vec::new();
    while let Some(read) = reader.next(to)? {
        assert_eq!(read.fault(), None);
        assert_eq!(read.span.from, reads.last().map_or(from.clone(), |it| it.span.to.clone()));
        reads.push(read);
    }
    Ok(reads)
}

fn check(object: &[u8], declared: &[(&str, &str)], expected: Expect) {
    let whole = reads_of(Bytes::copy_from_slice(object), &layout(declared), 0, &Position::End);
    let spans = whole.iter().map(|it| format!("{}\n", it.span));
    let rows = rows(&whole).into_iter().map(|(position, row)| format!("{position} {row}\n"));
    expected.assert_eq(&spans.chain(rows).collect::<String>());
}

/// Scenario: times that no calendar has, as of seconds taken for milliseconds, in columns of every unit.
/// Guarantees: each is refused with its number, and the times beside it are not.
#[test]
fn times_far_away() {
    let year_10000 = 253_402_300_800_000;
    let millis: TimestampMillisecondArray = [Some(0), Some(i64::MAX), Some(year_10000), None].into_iter().collect();
    let micros = [Some(i64::MAX), Some(1000), None, Some(1000 * year_10000)];
    let micros: TimestampMicrosecondArray = micros.into_iter().collect();
    let object = write(vec![("ms", Arc::new(millis)), ("us", Arc::new(micros))], WriterProperties::builder().build());
    check(
        &object,
        &[("ms", "timestamp:epoch_ms")],
        expect![[r#"
        object:(start..end]
        1 1970-01-01T00:00:00Z
        2 refused "{\"ms\":9223372036854775807}": `ms`: `9223372036854775807` is not a time in milliseconds since 1970
        3 refused "{\"ms\":\"+10000-01-01T00:00:00\"}": `ms`: `+10000-01-01T00:00:00` is not a time in milliseconds since 1970
        4 ∅
    "#]],
    );
    check(
        &object,
        &[("us", "timestamp:rfc3339")],
        expect![[r#"
        object:(start..end]
        1 refused "{\"us\":9223372036854775807}": `us`: `9223372036854775807` is not a time of RFC 3339
        2 1970-01-01T00:00:00.001Z
        3 ∅
        4 refused "{\"us\":\"+10000-01-01T00:00:00\"}": `us`: `+10000-01-01T00:00:00` is not a time of RFC 3339
    "#]],
    );
}

/// Scenario: columns of a file are declared to be of their own type, of others, and of some that the file lacks.
/// Guarantees: nothing is lost in silence: what is not of the type is refused with the row, what cannot be refuses all.
#[test]
fn columns_become_what_was_declared() {
    let texts: StringArray = [Some("1"), Some("2.5"), Some("-"), None].into_iter().collect();
    let numbers: Int64Array = [Some(1), Some(-1), Some(70_000), None].into_iter().collect();
    let floats: Float64Array = [Some(1.0), Some(2.5), Some(1e300), None].into_iter().collect();
    let times: TimestampNanosecondArray =
        [Some(1_731_620_046_814_999_999), Some(-1), Some(0), None].into_iter().collect();
    let decimals =
        Decimal128Array::from(vec![Some(1_000), Some(1_500), Some(1), None]).with_precision_and_scale(9, 3).unwrap();
    let bytes = BinaryArray::from(vec![Some(&b"old"[..]), Some(b"\xff"), Some(b""), None]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..4).map(|it| Some(vec![Some(it)])));
    let object = write(
        vec![
            ("texts", Arc::new(texts)),
            ("numbers", Arc::new(numbers)),
            ("floats", Arc::new(floats)),
            ("times", Arc::new(times)),
            ("decimals", Arc::new(decimals)),
            ("bytes", Arc::new(bytes)),
            ("lists", Arc::new(lists)),
        ],
        WriterProperties::builder().build(),
    );
    check(
        &object,
        &[("numbers", "i64"), ("texts", "text"), ("none", "u8")],
        expect![[r#"
        object:(start..end]
        1 1 "1" ∅
        2 -1 "2.5" ∅
        3 70000 "-" ∅
        4 ∅ ∅ ∅
    "#]],
    );
    check(
        &object,
        &[("none", "ip")],
        expect![[r#"
        object:(start..end]
        1 ∅
        2 ∅
        3 ∅
        4 ∅
    "#]],
    );
    let columns = Columns::new([("texts".to_owned(), Type::Text)]);
    let keys =
        FormatKeys { format: Format::Parquet, columns: Some(&columns), null: Some("-"), ..FormatKeys::default() };
    let nulls = reads_of(Bytes::copy_from_slice(&object), &keys.layout().unwrap(), 0, &Position::End);
    assert_eq!(nulls[0].rows.column(0).null_count(), 2);
    let kinds = ["text", "u16", "f64", "decimal:1", "timestamp:epoch_s", "timestamp:rfc3339"];
    let mut shown = String::new();
    for name in ["texts", "numbers", "floats", "times", "decimals", "bytes", "lists"] {
        for kind in kinds {
            shown += &format!("{name} as {kind}\n");
            let whole = reads_of(Bytes::copy_from_slice(&object), &layout(&[(name, kind)]), 0, &Position::End);
            for (at, row) in rows(&whole) {
                shown += &format!("  {at} {row}\n");
            }
        }
    }
    expect![[r#"
        texts as text
          1 "1"
          2 "2.5"
          3 "-"
          4 ∅
        texts as u16
          1 1
          2 refused "{\"texts\":\"2.5\"}": `texts`: `2.5` is not a u16
          3 refused "{\"texts\":\"-\"}": `texts`: `-` is not a u16
          4 ∅
        texts as f64
          1 1.0
          2 2.5
          3 refused "{\"texts\":\"-\"}": `texts`: `-` is not a finite f64
          4 ∅
        texts as decimal:1
          1 1.0
          2 2.5
          3 refused "{\"texts\":\"-\"}": `texts`: `-` is not a number with 1 digits behind the point
          4 ∅
        texts as timestamp:epoch_s
          1 1970-01-01T00:00:01Z
          2 1970-01-01T00:00:02.500Z
          3 refused "{\"texts\":\"-\"}": `texts`: `-` is not a time in seconds since 1970
          4 ∅
        texts as timestamp:rfc3339
          1 refused "{\"texts\":\"1\"}": `texts`: `1` is not a time of RFC 3339
          2 refused "{\"texts\":\"2.5\"}": `texts`: `2.5` is not a time of RFC 3339
          3 refused "{\"texts\":\"-\"}": `texts`: `-` is not a time of RFC 3339
          4 ∅
        numbers as text
          1 "1"
          2 "-1"
          3 "70000"
          4 ∅
        numbers as u16
          1 1
          2 refused "{\"numbers\":-1}": `numbers`: `-1` is not a u16
          3 refused "{\"numbers\":70000}": `numbers`: `70000` is not a u16
          4 ∅
        numbers as f64
          1 1.0
          2 -1.0
          3 70000.0
          4 ∅
        numbers as decimal:1
          1 1.0
          2 -1.0
          3 70000.0
          4 ∅
        numbers as timestamp:epoch_s
          1 1970-01-01T00:00:01Z
          2 1969-12-31T23:59:59Z
          3 1970-01-01T19:26:40Z
          4 ∅
        numbers as timestamp:rfc3339
          1 refused "{\"numbers\":1}": `numbers`: `1` is not a time of RFC 3339
          2 refused "{\"numbers\":-1}": `numbers`: `-1` is not a time of RFC 3339
          3 refused "{\"numbers\":70000}": `numbers`: `70000` is not a time of RFC 3339
          4 ∅
        floats as text
          1 "1"
          2 "2.5"
          3 "1e300"
          4 ∅
        floats as u16
          1 1
          2 refused "{\"floats\":2.5}": `floats`: `2.5` is not a u16
          3 refused "{\"floats\":1.0e300}": `floats`: `1e300` is not a u16
          4 ∅
        floats as f64
          1 1.0
          2 2.5
          3 1e300
          4 ∅
        floats as decimal:1
          1 1.0
          2 2.5
          3 refused "{\"floats\":1.0e300}": `floats`: `1e300` is not a number with 1 digits behind the point
          4 ∅
        floats as timestamp:epoch_s
          1 1970-01-01T00:00:01Z
          2 1970-01-01T00:00:02.500Z
          3 refused "{\"floats\":1.0e300}": `floats`: `1e300` is not a time in seconds since 1970
          4 ∅
        floats as timestamp:rfc3339
          1 refused "{\"floats\":1.0}": `floats`: `1` is not a time of RFC 3339
          2 refused "{\"floats\":2.5}": `floats`: `2.5` is not a time of RFC 3339
          3 refused "{\"floats\":1.0e300}": `floats`: `1e300` is not a time of RFC 3339
          4 ∅
        times as text
          1 "2024-11-14T21:34:06.814999999"
          2 "1969-12-31T23:59:59.999999999"
          3 "1970-01-01T00:00:00"
          4 ∅
        times as u16
          1 refused "{\"times\":\"2024-11-14T21:34:06.814999999\"}": `times`: `2024-11-14T21:34:06.814999999` is not a u16
          2 refused "{\"times\":\"1969-12-31T23:59:59.999999999\"}": `times`: `1969-12-31T23:59:59.999999999` is not a u16
          3 refused "{\"times\":\"1970-01-01T00:00:00\"}": `times`: `1970-01-01T00:00:00` is not a u16
          4 ∅
        times as f64
          1 refused "{\"times\":\"2024-11-14T21:34:06.814999999\"}": `times`: `2024-11-14T21:34:06.814999999` is not a finite f64
          2 refused "{\"times\":\"1969-12-31T23:59:59.999999999\"}": `times`: `1969-12-31T23:59:59.999999999` is not a finite f64
          3 refused "{\"times\":\"1970-01-01T00:00:00\"}": `times`: `1970-01-01T00:00:00` is not a finite f64
          4 ∅
        times as decimal:1
          1 refused "{\"times\":\"2024-11-14T21:34:06.814999999\"}": `times`: `2024-11-14T21:34:06.814999999` is not a number with 1 digits behind the point
          2 refused "{\"times\":\"1969-12-31T23:59:59.999999999\"}": `times`: `1969-12-31T23:59:59.999999999` is not a number with 1 digits behind the point
          3 refused "{\"times\":\"1970-01-01T00:00:00\"}": `times`: `1970-01-01T00:00:00` is not a number with 1 digits behind the point
          4 ∅
        times as timestamp:epoch_s
          1 2024-11-14T21:34:06.814Z
          2 1970-01-01T00:00:00Z
          3 1970-01-01T00:00:00Z
          4 ∅
        times as timestamp:rfc3339
          1 2024-11-14T21:34:06.814Z
          2 1970-01-01T00:00:00Z
          3 1970-01-01T00:00:00Z
          4 ∅
        decimals as text
          1 "1"
          2 "1.5"
          3 "0.001"
          4 ∅
        decimals as u16
          1 1
          2 refused "{\"decimals\":1.500}": `decimals`: `1.5` is not a u16
          3 refused "{\"decimals\":0.001}": `decimals`: `0.001` is not a u16
          4 ∅
        decimals as f64
          1 1.0
          2 1.5
          3 0.001
          4 ∅
        decimals as decimal:1
          1 1.0
          2 1.5
          3 refused "{\"decimals\":0.001}": `decimals`: `0.001` is not a number with 1 digits behind the point
          4 ∅
        decimals as timestamp:epoch_s
          1 1970-01-01T00:00:01Z
          2 1970-01-01T00:00:01.500Z
          3 1970-01-01T00:00:00.001Z
          4 ∅
        decimals as timestamp:rfc3339
          1 refused "{\"decimals\":1.000}": `decimals`: `1` is not a time of RFC 3339
          2 refused "{\"decimals\":1.500}": `decimals`: `1.5` is not a time of RFC 3339
          3 refused "{\"decimals\":0.001}": `decimals`: `0.001` is not a time of RFC 3339
          4 ∅
        bytes as text
          1 "old"
          2 refused "{\"bytes\":\"ff\"}": `bytes`: `ff` is not text
          3 ""
          4 ∅
        bytes as u16
          1 refused "{\"bytes\":\"6f6c64\"}": `bytes`: `old` is not a u16
          2 refused "{\"bytes\":\"ff\"}": `bytes`: `ff` is not text
          3 refused "{\"bytes\":\"\"}": `bytes`: `` is not a u16
          4 ∅
        bytes as f64
          1 refused "{\"bytes\":\"6f6c64\"}": `bytes`: `old` is not a finite f64
          2 refused "{\"bytes\":\"ff\"}": `bytes`: `ff` is not text
          3 refused "{\"bytes\":\"\"}": `bytes`: `` is not a finite f64
          4 ∅
        bytes as decimal:1
          1 refused "{\"bytes\":\"6f6c64\"}": `bytes`: `old` is not a number with 1 digits behind the point
          2 refused "{\"bytes\":\"ff\"}": `bytes`: `ff` is not text
          3 refused "{\"bytes\":\"\"}": `bytes`: `` is not a number with 1 digits behind the point
          4 ∅
        bytes as timestamp:epoch_s
          1 refused "{\"bytes\":\"6f6c64\"}": `bytes`: `old` is not a time in seconds since 1970
          2 refused "{\"bytes\":\"ff\"}": `bytes`: `ff` is not text
          3 refused "{\"bytes\":\"\"}": `bytes`: `` is not a time in seconds since 1970
          4 ∅
        bytes as timestamp:rfc3339
          1 refused "{\"bytes\":\"6f6c64\"}": `bytes`: `old` is not a time of RFC 3339
          2 refused "{\"bytes\":\"ff\"}": `bytes`: `ff` is not text
          3 refused "{\"bytes\":\"\"}": `bytes`: `` is not a time of RFC 3339
          4 ∅
        lists as text
          1 refused "": the rest of the object, from here on, could not be read: column `lists` holds List(Int32), of which text cannot be made
        lists as u16
          1 refused "": the rest of the object, from here on, could not be read: column `lists` holds List(Int32), of which a u16 cannot be made
        lists as f64
          1 refused "": the rest of the object, from here on, could not be read: column `lists` holds List(Int32), of which a finite f64 cannot be made
        lists as decimal:1
          1 refused "": the rest of the object, from here on, could not be read: column `lists` holds List(Int32), of which a number with 1 digits behind the point cannot be made
        lists as timestamp:epoch_s
          1 refused "": the rest of the object, from here on, could not be read: column `lists` holds List(Int32), of which a time in seconds since 1970 cannot be made
        lists as timestamp:rfc3339
          1 refused "": the rest of the object, from here on, could not be read: column `lists` holds List(Int32), of which a time of RFC 3339 cannot be made
    "#]].assert_eq(&shown);
}

/// Scenario: a file of several row groups is read on from any row and up to any other.
/// Guarantees: always the same rows at the same positions.
#[test]
fn parquet_resumed() {
    let object = Bytes::from(numbered(20_000, 9_000, 500));
    let layout = layout(&[("text", "text"), ("number", "u32")]);
    let all = rows(&reads_of(object.clone(), &layout, 0, &Position::End));
    assert_eq!(all.len(), 20_000);
    for (nth, (position, row)) in all.iter().enumerate() {
        assert_eq!(*position, Position::row(nth as u64 + 1));
        assert!(row.ends_with(&format!(" {}", nth + 1)));
    }
    let edges = [0, 1, 8191, 8192, 8193, 8999, 9000, 9001, 17_192, 17_193, 18_000, 19_999, 20_000];
    for (nth, from) in edges.into_iter().enumerate() {
        assert_eq!(rows(&reads_of(object.clone(), &layout, from, &Position::End)), all[from as usize..]);
        for to in edges.into_iter().skip(nth + 1).take(2) {
            let part = reads_of(object.clone(), &layout, from, &Position::row(to));
            assert_eq!(rows(&part), all[from as usize..to as usize]);
        }
    }
    for (from, to) in [(20_001, Position::End), (19_000, Position::row(20_001))] {
        let error = reads_within(object.clone(), &layout, Limits::default(), from, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

/// Scenario: a page of the second row group is damaged; the file is read through, and on from around the damage.
/// Guarantees: the rows before the damaged batch are given, one refusal stands for the rest, exactly once.
#[test]
fn parquet_damaged() {
    let mut object = numbered(30_000, 12_000, 500);
    let layout = layout(&[("number", "i64"), ("text", "text")]);
    let middle = object.len() * 3 / 5;
    object[middle..middle + 40].fill(0xff);
    let object = Bytes::from(object);
    let all = rows(&reads_of(object.clone(), &layout, 0, &Position::End));
    let (last, good) = all.split_last().unwrap();
    assert!(good.len() >= 12_000 && good.len() < 24_000 && last.1.contains("could not be read: damaged"), "{last:?}");
    let edge = good.len() as u64;
    for from in [0, 11_999, 12_000, 12_001, edge - 1, edge, edge + 1] {
        let rest = reads_of(object.clone(), &layout, from, &Position::End);
        assert_eq!(rest.last().unwrap().span.to, Position::End);
        assert_eq!(rows(&rest), all[from as usize..]);
        if from > 0 {
            assert_eq!(rows(&reads_of(object.clone(), &layout, 0, &Position::row(from))), all[..from as usize]);
        }
    }
}

/// Scenario: files that are no Parquet, cut off, encrypted, or hold more than they may.
/// Guarantees: one refusal that says so.
#[test]
fn no_parquet() {
    let object = numbered(10, 10, 10);
    let end = object.len();
    let mut encrypted = object.clone();
    encrypted[end - 1] = b'E';
    let mut long = object.clone();
    long[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut shown = String::new();
    for object in [
        b"".to_vec(),
        b"PAR1PAR1".to_vec(),
        object[..end - 1].to_vec(),
        object[4..].to_vec(),
        encrypted,
        long,
        vec![b'x'; 5000],
    ] {
        for (at, row) in rows(&reads_of(Bytes::from(object), &layout(&[("number", "i64")]), 0, &Position::End)) {
            shown += &format!("{at} {row}\n");
        }
    }
    let limits = Limits { object_bytes_max: 100, ..Limits::default() };
    let large =
        reads_within(Bytes::from(numbered(1000, 1000, 100)), &layout(&[("number", "i64")]), limits, 0, &Position::End);
    for (at, row) in rows(&large.unwrap()) {
        shown += &format!("{at} {row}\n");
    }
    expect![[r#"
        1 refused "": the rest of the object, from here on, could not be read: it is no Parquet file, which begins and ends with `PAR1`
        1 refused "": the rest of the object, from here on, could not be read: it is no Parquet file, which begins and ends with `PAR1`
        1 refused "": the rest of the object, from here on, could not be read: it is no Parquet file, which begins and ends with `PAR1`
        1 refused "": the rest of the object, from here on, could not be read: it is no Parquet file, which begins and ends with `PAR1`
        1 refused "": the rest of the object, from here on, could not be read: the Parquet file is encrypted
        1 refused "": the rest of the object, from here on, could not be read: damaged Parquet data: the footer is longer than the file
        1 refused "": the rest of the object, from here on, could not be read: it is no Parquet file, which begins and ends with `PAR1`
        1 refused "": the rest of the object, from here on, could not be read: it holds more than the 100 bytes of `object_bytes_max`
    "#]].assert_eq(&shown);
}

/// Counts what is asked of it, and fails at some point.
struct Failing {
    object: Bytes,
    left: AtomicUsize,
}

impl ReadAt for Failing {
    fn len(&self) -> u64 {
        ReadAt::len(&self.object)
    }

    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1)) {
            Ok(_) => self.object.read_at(offset, bytes),
            Err(_) => Err(io::Error::new(io::ErrorKind::ConnectionReset, "gone")),
        }
    }
}

/// Scenario: the object cannot be read, from any of the requests on.
/// Guarantees: that error comes out, and is not taken for damage; the requests are few.
#[test]
fn parquet_unreachable() {
    let object = Bytes::from(numbered(30_000, 12_000, 500));
    let layout = layout(&[("number", "i64"), ("text", "text")]);
    let mut requests = 0;
    loop {
        let failing = Failing { object: object.clone(), left: AtomicUsize::new(requests) };
        match reads_within(failing, &layout, Limits::default(), 0, &Position::End) {
            Ok(reads) => break assert_eq!(rows(&reads).len(), 30_000),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        requests += 1;
    }
    assert!(requests < 20, "{requests}");
}
