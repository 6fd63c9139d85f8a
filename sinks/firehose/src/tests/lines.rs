//! Rows as lines, records and requests.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use expect_test::{Expect, expect};
use forebay_testkit::columns;

use crate::Shape;
use crate::encode::Encoder;
use crate::pack::Packer;

fn check(shape: Shape, expected: Expect) {
    let time = 1_795_298_640_123;
    let integers = ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>([Some([Some(1), None]), None]);
    let rows = columns([
        ("@timestamp", Arc::new(TimestampMillisecondArray::from(vec![time, 0]).with_timezone("UTC")) as ArrayRef),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![Some(time * 1000 + 7), None]))),
        ("url.path", Arc::new(StringArray::from(vec![Some("/\"é\n\u{2028}\\"), None]))),
        ("http.request.bytes", Arc::new(Int64Array::from(vec![Some(-3), None]))),
        ("url.scheme", Arc::new(DictionaryArray::<Int8Type>::from_iter([Some("https"), None]))),
        ("http.response.status_code", Arc::new(Int64Array::from(vec![200, 404]))),
        ("seconds", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
        ("price", Arc::new(Decimal128Array::from(vec![1234, -5]).with_precision_and_scale(9, 2).unwrap())),
        ("good", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("raw", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""]))),
        ("list", Arc::new(integers)),
    ]);
    let lines = Encoder::new(shape, &rows.schema()).unwrap().lines(&rows).unwrap();
    expected.assert_eq(&String::from_utf8(lines).unwrap());
}

/// Scenario: rows with every kind of value, in both shapes; the second has nearly nothing but nulls.
/// Guarantees: one line for a row; nulls, and objects of nulls, are left out; times as Firehose reads them.
#[test]
fn lines() {
    check(
        Shape::Flat,
        expect![[r#"
        {"@timestamp":"2026-11-21T22:04:00.123Z","local":"2026-11-21 22:04:00.123007","url.path":"/\"é\n \\","http.request.bytes":-3,"url.scheme":"https","http.response.status_code":200,"seconds":0.1,"price":12.34,"good":true,"raw":"00ff","list":[1,null]}
        {"@timestamp":"1970-01-01T00:00:00Z","http.response.status_code":404,"seconds":null,"price":-0.05,"raw":""}
    "#]],
    );
    check(
        Shape::Nested,
        expect![[r#"
        {"@timestamp":"2026-11-21T22:04:00.123Z","local":"2026-11-21 22:04:00.123007","url":{"path":"/\"é\n \\","scheme":"https"},"http":{"request":{"bytes":-3},"response":{"status_code":200}},"seconds":0.1,"price":12.34,"good":true,"raw":"00ff","list":[1,null]}
        {"@timestamp":"1970-01-01T00:00:00Z","http":{"response":{"status_code":404}},"seconds":null,"price":-0.05,"raw":""}
    "#]],
    );
}

/// Lines of these lengths become records, and those become requests.
fn pack(bytes_max: Option<usize>, lengths: impl IntoIterator<Item = usize>) -> String {
    let mut packer = Packer::new(bytes_max);
    let mut found = String::new();
    let mut show = |packer: &mut Packer| {
        let records = packer.request();
        let bytes: Vec<usize> = records.iter().map(|it| it.data.len()).collect();
        let rows: Vec<u64> = records.iter().map(|it| it.rows).collect();
        let (first, last) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        found += &format!(
            "{} rows in {} records of {first} to {last} bytes, {} together\n",
            rows.iter().sum::<u64>(),
            records.len(),
            bytes.iter().sum::<usize>(),
        );
    };
    for length in lengths {
        packer.add(&vec![b'x'; length]);
        if packer.fills_a_request() {
            show(&mut packer);
        }
    }
    packer.finish();
    while packer.fills_a_request() {
        show(&mut packer);
    }
    show(&mut packer);
    found
}

/// Scenario: many small rows, rows of the largest size, and rows of all sizes; packed and not.
/// Guarantees: no request has more than 500 records or 4 MiB, no record more than its bound, and each is as full as it
/// can be without changing the order.
#[test]
fn limits() {
    let found = [
        ("small", pack(None, vec![300; 1200])),
        ("small, packed", pack(Some(102_400), vec![300; 100_000])),
        ("largest", pack(None, vec![1_024_000; 9])),
        ("largest, packed", pack(Some(1_024_000), vec![1_024_000; 5])),
        ("mixed, packed", pack(Some(5120), [100, 5020, 1, 5120, 6000, 10, 20])),
    ];
    let found: String = found.map(|(name, it)| format!("{name}\n{it}")).concat();
    expect![[r#"
        small
        500 rows in 500 records of 300 to 300 bytes, 150000 together
        500 rows in 500 records of 300 to 300 bytes, 150000 together
        200 rows in 200 records of 300 to 300 bytes, 60000 together
        small, packed
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        13981 rows in 41 records of 102300 to 102300 bytes, 4194300 together
        2133 rows in 7 records of 26100 to 102300 bytes, 639900 together
        largest
        4 rows in 4 records of 1024000 to 1024000 bytes, 4096000 together
        4 rows in 4 records of 1024000 to 1024000 bytes, 4096000 together
        1 rows in 1 records of 1024000 to 1024000 bytes, 1024000 together
        largest, packed
        4 rows in 4 records of 1024000 to 1024000 bytes, 4096000 together
        1 rows in 1 records of 1024000 to 1024000 bytes, 1024000 together
        mixed, packed
        7 rows in 5 records of 1 to 6000 bytes, 16271 together
    "#]]
    .assert_eq(&found);
}
