//! Values of every type on their way into the table.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Float64Type, Int8Type, TimestampMillisecondType, TimestampNanosecondType, UInt16Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float64Array,
    Int64Array, LargeStringArray, NullArray, PrimitiveArray, RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use expect_test::{Expect, expect};
use forebay_testkit::columns;

use super::{Place, deliver, reasons};
use crate::types::Type;

/// 2026-11-01T07:00:00.123Z in milliseconds.
const TIME: i64 = 1_793_516_400_123;

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().collect::<StringArray>())
}

/// Inserts each of some columns into a table of its own, and prints what the server has then.
async fn check(cases: Vec<(&str, ArrayRef)>, expected: Expect) {
    let mut printed = String::new();
    for (of, values) in cases {
        let place = Place::new();
        place.table(&format!("n Int64, value {of}"));
        let numbers: ArrayRef = Arc::new((0..values.len() as i64).map(Some).collect::<Int64Array>());
        let from = values.data_type().to_string();
        let rows = columns([("n", numbers), ("value", values)]);
        let sink = place.open("", &rows).await;
        let refused = deliver(sink.as_ref(), 1, &[rows]).await;
        let there = place.query("SELECT value FROM rows ORDER BY n FORMAT TSV").replace('\n', " | ");
        printed.push_str(&format!("{from} -> {of}: {there}\n"));
        for line in reasons(&refused).replace(&place.database, "database").lines() {
            printed.push_str(&format!("    {line}\n"));
        }
    }
    expected.assert_eq(&printed);
}

/// Scenario: texts for columns of all types, each with values that fit, that just fit, that do not, and none.
/// Guarantees: the server has the values, or its default where there is none; what does not fit is refused with column
/// and value.
#[tokio::test]
async fn texts() {
    let cases = [
        ("Bool", vec!["true", "0", "perhaps"]),
        ("Int8", vec!["-128", "127", "128"]),
        ("UInt8", vec!["255", "256", "-1"]),
        ("Int16", vec!["-32768", "32768"]),
        ("UInt16", vec!["65535", "65536"]),
        ("Int32", vec!["-2147483648", "x"]),
        ("UInt32", vec!["4294967295", "4294967296"]),
        ("Int64", vec!["-9223372036854775808", "9223372036854775808"]),
        ("UInt64", vec!["18446744073709551615", "18446744073709551616"]),
        ("Float32", vec!["1.5", "one"]),
        ("Float64", vec!["0.001", ""]),
        ("Decimal(9, 3)", vec!["-999999.999", "0.1239", "1000000"]),
        ("Decimal(18, 6)", vec!["0.000001", "x"]),
        ("Decimal(38, 10)", vec!["1234567890123456789.5"]),
        ("Decimal(76, 2)", vec!["12.34"]),
        ("String", vec!["ä\t\\", ""]),
        ("FixedString(4)", vec!["ab", "abcd", "abcde"]),
        ("Date", vec!["2026-11-01", "2149-06-06", "2149-06-07", "1969-12-31"]),
        ("Date32", vec!["1900-01-01", "2299-12-31", "1899-12-31", "2300-01-01"]),
        ("DateTime('UTC')", vec!["2026-11-01T07:00:00Z", "2106-02-07T06:28:15Z", "2106-02-07T06:28:16Z"]),
        ("DateTime64(3, 'UTC')", vec!["2026-11-01T07:00:00.1239Z", "2299-12-31T23:59:59.999Z", "2300-01-01T00:00:00Z"]),
        ("DateTime64(1, 'UTC')", vec!["1900-01-01T00:00:00.19Z", "1899-12-31T23:59:59Z"]),
        ("DateTime64(9, 'UTC')", vec!["2026-11-01T07:00:00.123456789Z", "soon"]),
        ("UUID", vec!["61f0c404-5cb3-11e7-907b-a6006ad3dba0", "61f0c4045cb311e7907ba6006ad3dba0", "61f0c404"]),
        ("IPv4", vec!["192.0.2.1", "2001:db8::1"]),
        ("IPv6", vec!["192.0.2.1", "2001:db8::1", "host"]),
        ("Enum8('GET' = 1, 'it''s' = -7)", vec!["GET", "it's", "POST"]),
        ("Enum16('a' = 1000, 'b' = 2)", vec!["b", "a", "c"]),
        ("LowCardinality(String)", vec!["a", "b", "a"]),
        ("LowCardinality(Nullable(String))", vec!["a", "", "a"]),
        ("LowCardinality(FixedString(2))", vec!["ab", "abc"]),
        ("Nullable(UInt16)", vec!["7", "-7"]),
        ("Nullable(IPv6)", vec!["::1", "::x"]),
        ("Array(UInt8)", vec!["[1,2]"]),
        ("Tuple(UInt8, String)", vec!["(1,'a')"]),
        ("Int128", vec!["-170141183460469231731687303715884105728"]),
        ("UInt256", vec!["7"]),
    ];
    let with_null = |values: &[&str]| text(&values.iter().map(|it| Some(*it)).chain([None]).collect::<Vec<_>>());
    let cases = cases.iter().map(|(of, values)| (*of, with_null(values))).collect();
    check(cases, expect![[r#"
        Utf8 -> Bool: true | false | false
            2: column `value`: `perhaps` does not fit into Bool
        Utf8 -> Int8: -128 | 127 | 0
            2: column `value`: `128` does not fit into Int8
        Utf8 -> UInt8: 255 | 0
            1: column `value`: `256` does not fit into UInt8
            2: column `value`: `-1` does not fit into UInt8
        Utf8 -> Int16: -32768 | 0
            1: column `value`: `32768` does not fit into Int16
        Utf8 -> UInt16: 65535 | 0
            1: column `value`: `65536` does not fit into UInt16
        Utf8 -> Int32: -2147483648 | 0
            1: column `value`: `x` does not fit into Int32
        Utf8 -> UInt32: 4294967295 | 0
            1: column `value`: `4294967296` does not fit into UInt32
        Utf8 -> Int64: -9223372036854775808 | 0
            1: column `value`: `9223372036854775808` does not fit into Int64
        Utf8 -> UInt64: 18446744073709551615 | 0
            1: column `value`: `18446744073709551616` does not fit into UInt64
        Utf8 -> Float32: 1.5 | 0
            1: column `value`: `one` does not fit into Float32
        Utf8 -> Float64: 0.001 | 0
            1: column `value`: `` does not fit into Float64
        Utf8 -> Decimal(9, 3): -999999.999 | 0.124 | 0
            2: column `value`: `1000000` does not fit into Decimal(9, 3)
        Utf8 -> Decimal(18, 6): 0.000001 | 0
            1: column `value`: `x` does not fit into Decimal(18, 6)
        Utf8 -> Decimal(38, 10): 1234567890123456789.5 | 0
        Utf8 -> Decimal(76, 2): 12.34 | 0
        Utf8 -> String: ä\t\\ |  | 
        Utf8 -> FixedString(4): ab\0\0 | abcd | \0\0\0\0
            2: column `value`: `abcde` does not fit into FixedString(4)
        Utf8 -> Date: 2026-11-01 | 2149-06-06 | 1970-01-01
            2: column `value`: `2149-06-07` does not fit into Date
            3: column `value`: `1969-12-31` does not fit into Date
        Utf8 -> Date32: 1900-01-01 | 2299-12-31 | 1970-01-01
            2: column `value`: `1899-12-31` does not fit into Date32
            3: column `value`: `2300-01-01` does not fit into Date32
        Utf8 -> DateTime('UTC'): 2026-11-01 07:00:00 | 2106-02-07 06:28:15 | 1970-01-01 00:00:00
            2: column `value`: `2106-02-07T06:28:16Z` does not fit into DateTime('UTC')
        Utf8 -> DateTime64(3, 'UTC'): 2026-11-01 07:00:00.123 | 2299-12-31 23:59:59.999 | 1970-01-01 00:00:00.000
            2: column `value`: `2300-01-01T00:00:00Z` does not fit into DateTime64(3, 'UTC')
        Utf8 -> DateTime64(1, 'UTC'): 1900-01-01 00:00:00.1 | 1970-01-01 00:00:00.0
            1: column `value`: `1899-12-31T23:59:59Z` does not fit into DateTime64(1, 'UTC')
        Utf8 -> DateTime64(9, 'UTC'): 2026-11-01 07:00:00.123456789 | 1970-01-01 00:00:00.000000000
            1: column `value`: `soon` does not fit into DateTime64(9, 'UTC')
        Utf8 -> UUID: 61f0c404-5cb3-11e7-907b-a6006ad3dba0 | 61f0c404-5cb3-11e7-907b-a6006ad3dba0 | 00000000-0000-0000-0000-000000000000
            2: column `value`: `61f0c404` does not fit into UUID
        Utf8 -> IPv4: 192.0.2.1 | 0.0.0.0
            1: column `value`: `2001:db8::1` does not fit into IPv4
        Utf8 -> IPv6: ::ffff:192.0.2.1 | 2001:db8::1 | ::
            2: column `value`: `host` does not fit into IPv6
        Utf8 -> Enum8('GET' = 1, 'it''s' = -7): GET | it\'s | it\'s
            2: column `value`: `POST` does not fit into Enum8('it\'s' = -7, 'GET' = 1)
        Utf8 -> Enum16('a' = 1000, 'b' = 2): b | a | b
            2: column `value`: `c` does not fit into Enum16('b' = 2, 'a' = 1000)
        Utf8 -> LowCardinality(String): a | b | a | 
        Utf8 -> LowCardinality(Nullable(String)): a |  | a | \N
        Utf8 -> LowCardinality(FixedString(2)): ab | \0\0
            1: column `value`: `abc` does not fit into LowCardinality(FixedString(2))
        Utf8 -> Nullable(UInt16): 7 | \N
            1: column `value`: `-7` does not fit into Nullable(UInt16)
        Utf8 -> Nullable(IPv6): ::1 | \N
            1: column `value`: `::x` does not fit into Nullable(IPv6)
        Utf8 -> Array(UInt8): [1,2] | []
        Utf8 -> Tuple(UInt8, String): (1,'a')
            1: inserting 1 rows into `database`.`rows`: Code: 27. DB::Exception: Cannot parse input: expected '(' at end of stream: while converting column "value" from type String to type Tuple(UInt8, String): While executing Native. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.2.1)
        Utf8 -> Int128: -170141183460469231731687303715884105728
            1: inserting 1 rows into `database`.`rows`: Code: 32. DB::Exception: Attempt to read after eof: Cannot parse Int128 from String, because value is too short: while converting column "value" from type String to type Int128: While executing Native. (ATTEMPT_TO_READ_AFTER_EOF) (version 26.7.2.1)
        Utf8 -> UInt256: 7
            1: inserting 1 rows into `database`.`rows`: Code: 32. DB::Exception: Attempt to read after eof: Cannot parse UInt256 from String, because value is too short: while converting column "value" from type String to type UInt256: While executing Native. (ATTEMPT_TO_READ_AFTER_EOF) (version 26.7.2.1)
    "#]]).await;
}

/// Scenario: values that have a type already.
/// Guarantees: they arrive, out of every Arrow type that this sink takes; digits beyond the column's are cut off.
#[tokio::test]
async fn typed() {
    let millis = |zone: Option<&str>| -> ArrayRef {
        let times: PrimitiveArray<TimestampMillisecondType> = [Some(TIME), None, Some(-1)].into_iter().collect();
        Arc::new(times.with_timezone_opt(zone))
    };
    let nanos: PrimitiveArray<TimestampNanosecondType> = [Some(TIME * 1_000_000 + 7)].into_iter().collect();
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a"), Some("b"), None]);
    list.append_null();
    list.append_value([] as [Option<&str>; 0]);
    let list: ArrayRef = Arc::new(list.finish());
    let mut numbers = ListBuilder::new(Int64Builder::new());
    numbers.append_value([Some(1), Some(2)]);
    numbers.append_value([Some(3), Some(300)]);
    numbers.append_value([Some(4)]);
    let numbers: ArrayRef = Arc::new(numbers.finish());
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.keys().append_value("b");
    map.values().append_value(70_000);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let map: ArrayRef = Arc::new(map.finish());
    let dictionary: ArrayRef =
        Arc::new([Some("GET"), None, Some("PUT"), Some("GET")].into_iter().collect::<DictionaryArray<Int8Type>>());
    let sixteen: ArrayRef = Arc::new(
        FixedSizeBinaryArray::try_from_iter([[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]].iter()).unwrap(),
    );
    let decimal: ArrayRef = Arc::new(
        Decimal128Array::from(vec![Some(1_234_567), None, Some(-1), Some(99_999_999_999)])
            .with_precision_and_scale(18, 6)
            .unwrap(),
    );
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(-1), Some(1 << 40)]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.75), Some(-1e300), None]));
    let cases: Vec<(&str, ArrayRef)> = vec![
        ("Bool", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("UInt8", Arc::new(BooleanArray::from(vec![true]))),
        ("Int64", ints.clone()),
        ("UInt8", ints.clone()),
        ("Nullable(UInt32)", ints.clone()),
        ("Float64", ints.clone()),
        ("Decimal(9, 2)", ints.clone()),
        ("String", ints.clone()),
        ("Int256", ints.clone()),
        ("Enum8('seven' = 7)", ints),
        ("Float32", floats.clone()),
        ("Int64", floats),
        ("UInt64", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("Decimal(18, 6)", decimal.clone()),
        ("Decimal(9, 3)", decimal.clone()),
        ("Decimal(38, 9)", decimal.clone()),
        ("Float64", decimal.clone()),
        ("UInt16", decimal),
        ("DateTime64(3, 'UTC')", millis(Some("UTC"))),
        ("DateTime64(3)", millis(None)),
        ("DateTime64(6, 'Europe/Berlin')", millis(Some("+02:00"))),
        ("DateTime64(2, 'UTC')", millis(Some("UTC"))),
        ("DateTime('UTC')", millis(Some("UTC"))),
        ("Date", millis(Some("UTC"))),
        ("Nullable(Date32)", millis(Some("UTC"))),
        ("String", millis(Some("UTC"))),
        ("DateTime64(9, 'UTC')", Arc::new(nanos)),
        ("Date32", Arc::new(Date32Array::from(vec![20_000, -20_000]))),
        ("DateTime('UTC')", Arc::new(Date32Array::from(vec![20_000, -20_000]))),
        ("String", Arc::new(LargeStringArray::from(vec!["large"]))),
        (
            "LowCardinality(String)",
            Arc::new(StringViewArray::from(vec!["view", "a view that is too long to be short"])),
        ),
        ("LowCardinality(String)", dictionary.clone()),
        ("LowCardinality(Nullable(String))", dictionary.clone()),
        ("Nullable(String)", dictionary.clone()),
        ("Enum8('GET' = 1, 'PUT' = 2)", dictionary),
        ("Array(String)", list.clone()),
        ("Array(Nullable(String))", list.clone()),
        ("Array(LowCardinality(String))", list),
        ("Array(UInt8)", numbers.clone()),
        ("Array(Float32)", numbers),
        ("Map(String, UInt16)", map.clone()),
        ("Map(LowCardinality(String), Nullable(Int64))", map),
        ("IPv6", sixteen.clone()),
        ("UUID", sixteen.clone()),
        ("FixedString(16)", sixteen.clone()),
        ("String", Arc::new(NullArray::new(2))),
        ("Nullable(UInt8)", Arc::new(NullArray::new(2))),
        ("JSON", Arc::new(NullArray::new(1))),
        ("Nullable(JSON)", text(&[Some(r#"{"a":1}"#), None])),
        ("JSON", text(&[Some(r#"{"a":{"b":1},"c":"x"}"#), None])),
        ("Variant(UInt64, String)", text(&[Some("a"), None])),
    ];
    check(cases, expect![[r#"
        Boolean -> Bool: true | false | false
        Boolean -> UInt8: 1
        Int64 -> Int64: 7 | 0 | -1 | 1099511627776
        Int64 -> UInt8: 7 | 0
            2: column `value`: `-1` does not fit into UInt8
            3: column `value`: `1099511627776` does not fit into UInt8
        Int64 -> Nullable(UInt32): 7 | \N
            2: column `value`: `-1` does not fit into Nullable(UInt32)
            3: column `value`: `1099511627776` does not fit into Nullable(UInt32)
        Int64 -> Float64: 7 | 0 | -1 | 1099511627776
        Int64 -> Decimal(9, 2): 7 | 0 | -1
            3: column `value`: `1099511627776` does not fit into Decimal(9, 2)
        Int64 -> String: 7 |  | -1 | 1099511627776
        Int64 -> Int256: 7 | 0 | -1 | 1099511627776
        Int64 -> Enum8('seven' = 7): seven | seven
            2: column `value`: `-1` does not fit into Enum8('seven' = 7)
            3: column `value`: `1099511627776` does not fit into Enum8('seven' = 7)
        Float64 -> Float32: 1.75 | 0
            1: column `value`: `-1e300` does not fit into Float32
        Float64 -> Int64: 1 | 0
            1: column `value`: `-1e300` does not fit into Int64
        UInt64 -> UInt64: 18446744073709551615
        Decimal128(18, 6) -> Decimal(18, 6): 1.234567 | 0 | -0.000001 | 99999.999999
        Decimal128(18, 6) -> Decimal(9, 3): 1.235 | 0 | 0 | 100000
        Decimal128(18, 6) -> Decimal(38, 9): 1.234567 | 0 | -0.000001 | 99999.999999
        Decimal128(18, 6) -> Float64: 1.234567 | 0 | -0.000001 | 99999.999999
        Decimal128(18, 6) -> UInt16: 1 | 0 | 0
            3: column `value`: `99999.999999` does not fit into UInt16
        Timestamp(ms, "UTC") -> DateTime64(3, 'UTC'): 2026-11-01 07:00:00.123 | 1970-01-01 00:00:00.000 | 1969-12-31 23:59:59.999
        Timestamp(ms) -> DateTime64(3): 2026-11-01 07:00:00.123 | 1970-01-01 00:00:00.000 | 1969-12-31 23:59:59.999
        Timestamp(ms, "+02:00") -> DateTime64(6, 'Europe/Berlin'): 2026-11-01 08:00:00.123000 | 1970-01-01 01:00:00.000000 | 1970-01-01 00:59:59.999000
        Timestamp(ms, "UTC") -> DateTime64(2, 'UTC'): 2026-11-01 07:00:00.12 | 1970-01-01 00:00:00.00 | 1969-12-31 23:59:59.99
        Timestamp(ms, "UTC") -> DateTime('UTC'): 2026-11-01 07:00:00 | 1970-01-01 00:00:00
            2: column `value`: `1969-12-31T23:59:59.999Z` does not fit into DateTime('UTC')
        Timestamp(ms, "UTC") -> Date: 2026-11-01 | 1970-01-01
            2: column `value`: `1969-12-31T23:59:59.999Z` does not fit into Date
        Timestamp(ms, "UTC") -> Nullable(Date32): 2026-11-01 | \N | 1969-12-31
        Timestamp(ms, "UTC") -> String: 2026-11-01T07:00:00.123Z |  | 1969-12-31T23:59:59.999Z
        Timestamp(ns) -> DateTime64(9, 'UTC'): 2026-11-01 07:00:00.123000007
        Date32 -> Date32: 2024-10-04 | 1915-03-31
        Date32 -> DateTime('UTC'): 2024-10-04 00:00:00
            1: column `value`: `1915-03-31` does not fit into DateTime('UTC')
        LargeUtf8 -> String: large
        Utf8View -> LowCardinality(String): view | a view that is too long to be short
        Dictionary(Int8, Utf8) -> LowCardinality(String): GET |  | PUT | GET
        Dictionary(Int8, Utf8) -> LowCardinality(Nullable(String)): GET | \N | PUT | GET
        Dictionary(Int8, Utf8) -> Nullable(String): GET | \N | PUT | GET
        Dictionary(Int8, Utf8) -> Enum8('GET' = 1, 'PUT' = 2): GET | GET | PUT | GET
        List(Utf8) -> Array(String): ['a','b',''] | [] | []
        List(Utf8) -> Array(Nullable(String)): ['a','b',NULL] | [] | []
        List(Utf8) -> Array(LowCardinality(String)): ['a','b',''] | [] | []
        List(Int64) -> Array(UInt8): [1,2] | [4]
            1: column `value`: `[3, 300]` does not fit into Array(UInt8)
        List(Int64) -> Array(Float32): [1,2] | [3,300] | [4]
        Map("entries": non-null Struct("keys": non-null Utf8, "values": Int64), unsorted) -> Map(String, UInt16): {}
            0: column `value`: `{a: 1, b: 70000}` does not fit into Map(String, UInt16)
        Map("entries": non-null Struct("keys": non-null Utf8, "values": Int64), unsorted) -> Map(LowCardinality(String), Nullable(Int64)): {'a':1,'b':70000} | {}
        FixedSizeBinary(16) -> IPv6: 2001:db8::1
        FixedSizeBinary(16) -> UUID: 20010db8-0000-0000-0000-000000000001
        FixedSizeBinary(16) -> FixedString(16):  \r�\0\0\0\0\0\0\0\0\0\0\0
        Null -> String:  | 
        Null -> Nullable(UInt8): \N | \N
        Null -> JSON: {}
        Utf8 -> Nullable(JSON): {"a":1} | \N
        Utf8 -> JSON: {"a":{"b":1},"c":"x"} | {}
        Utf8 -> Variant(UInt64, String): a | 
    "#]]).await;
}

/// Scenario: values that are not there, for columns with defaults of their own.
/// Guarantees: the server inserts the column's default, be it an expression; columns that are computed are left to it.
#[tokio::test]
async fn defaults() {
    let place = Place::new();
    place.table(
        "n Int64, plain UInt8, fixed UInt8 DEFAULT 7, computed String DEFAULT concat('n', toString(n)), \
         few LowCardinality(String) DEFAULT 'none', made UInt64 MATERIALIZED n * 2, also UInt64 ALIAS n * 3, \
         kind Enum8('a' = 5, 'b' = 6), unknown UInt8 DEFAULT 9",
    );
    let rows = columns([
        ("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("plain", Arc::new(PrimitiveArray::<UInt16Type>::from(vec![None, Some(3)]))),
        ("fixed", Arc::new(PrimitiveArray::<Float64Type>::from(vec![None, Some(3.0)]))),
        ("computed", text(&[None, Some("given")])),
        ("few", text(&[None, Some("some")])),
        ("made", Arc::new(Int64Array::from(vec![100, 200]))),
        ("also", Arc::new(Int64Array::from(vec![100, 200]))),
        ("kind", text(&[None, Some("b")])),
    ]);
    let sink = place.open("", &rows).await;
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    expect![[r#"
        1	0	7	n1	none	2	3	a	9	00000000000000000000000000000001-0-2
        2	3	3	given	some	4	6	b	9	00000000000000000000000000000001-0-2"#]]
    .assert_eq(&place.query(
        "SELECT n, plain, fixed, computed, few, made, also, kind, unknown, _delivery FROM rows ORDER BY n FORMAT TSV",
    ));
}

/// Scenario: a column of few texts in many batches; one of so many different texts that a dictionary does not pay; one
/// of dictionaries that differ from batch to batch.
/// Guarantees: every row has its own text, whichever way it went.
#[tokio::test]
async fn dictionaries() {
    let place = Place::new();
    place.table("n Int64, few LowCardinality(String), hundreds LowCardinality(Nullable(String)), many LowCardinality(String), keys LowCardinality(String)");
    let batch = |first: i64| -> RecordBatch {
        let numbers = first..first + 10_000;
        let few: StringArray = numbers.clone().map(|it| (it % 7 > 0).then(|| format!("few {}", it % 7))).collect();
        let hundreds: StringArray =
            numbers.clone().map(|it| (it % 900 > 0).then(|| format!("of 900 {}", it % 900))).collect();
        let many: StringArray = numbers.clone().map(|it| Some(format!("many {it}"))).collect();
        let keys: Vec<String> = numbers.clone().map(|it| format!("key {}", it / 1000)).collect();
        let keys: DictionaryArray<Int8Type> = keys.iter().map(|it| Some(it.as_str())).collect();
        columns([
            ("n", Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef),
            ("few", Arc::new(few)),
            ("hundreds", Arc::new(hundreds)),
            ("many", Arc::new(many)),
            ("keys", Arc::new(keys)),
        ])
    };
    let batches: Vec<RecordBatch> = (0..8).map(|it| batch(it * 10_000)).collect();
    let sink = place.open("", &batches[0]).await;
    deliver(sink.as_ref(), 1, &batches).await;
    let wrong = "countIf(few != if(n % 7 > 0, concat('few ', toString(n % 7)), '')), \
         countIf(NOT hundreds <=> if(n % 900 > 0, concat('of 900 ', toString(n % 900)), NULL)), \
         countIf(many != concat('many ', toString(n))), countIf(keys != concat('key ', toString(intDiv(n, 1000))))";
    assert_eq!(place.query(&format!("SELECT count(), {wrong} FROM rows")), "80000\t0\t0\t0\t0");
}

/// Scenario: types as the server names them.
/// Guarantees: each is read and named again in the same way; what is no type is found out.
#[test]
fn names_of_types() {
    for text in [
        "UInt8",
        "DateTime",
        "DateTime('Europe/Berlin')",
        "DateTime64(3, 'UTC')",
        "Enum8('a' = 1, 'it\\'s, (so)' = -2)",
        "LowCardinality(Nullable(String))",
        "Map(String, Array(Nullable(UInt8)))",
        "JSON(max_dynamic_paths=10, a.b UInt8)",
        "Tuple(a UInt8, b Tuple(String, Date))",
        "AggregateFunction(uniq, String)",
    ] {
        assert_eq!(Type::parse(text).unwrap().to_string(), text);
    }
    for text in ["", "Array(", "Array(UInt8))", "UInt 8", "DateTime64(99)", "Enum8(1)", "Decimal(a, b)", "x; DROP"] {
        assert_eq!(Type::parse(text), None, "{text}");
    }
}
