//! What is written is what is read.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Int64Array,
    IntervalYearMonthArray, LargeBinaryArray, LargeStringArray, NullArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StringViewArray, StructArray, UInt64Array, UnionArray,
};
use arrow_buffer::{ArrowNativeType, NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit, UnionFields};
use arrow_select::take::take;
use expect_test::expect;

use crate::restored::{restored, type_to_read};
use crate::{read, write};

/// Numbers, and a null.
fn numbers<T: ArrowPrimitiveType>(values: impl IntoIterator<Item = T::Native>) -> ArrayRef {
    numbers_of::<T>(T::DATA_TYPE, values)
}

/// The same, where the type says more than what the numbers are.
fn numbers_of<T: ArrowPrimitiveType>(kind: DataType, values: impl IntoIterator<Item = T::Native>) -> ArrayRef {
    let values = values.into_iter().map(Some).chain([None]);
    Arc::new(PrimitiveArray::<T>::from_iter(values).with_data_type(kind))
}

/// Moments in each zone: around 1970, far from it, where a zone's offset has seconds, and where the clocks are put back.
fn timestamps<T: ArrowPrimitiveType<Native = i64>>(unit: TimeUnit, per_second: i64) -> Vec<ArrayRef> {
    let seconds = [0, 1, -1, 1_607_374_321, -3_000_000_000, 1_603_587_600, 1_603_591_200];
    let far = [i64::MIN, i64::MAX, -62_135_596_801, -62_135_596_800, 253_402_300_799, 253_402_300_800];
    let values: Vec<i64> = seconds
        .into_iter()
        .chain(far)
        .flat_map(|it| [it.saturating_mul(per_second), it.saturating_mul(per_second).saturating_add(per_second - 1)])
        .collect();
    let zones = [None, Some("UTC"), Some("Europe/Berlin"), Some("+05:30"), Some("Atlantis/Poseidonis")];
    let of_zone =
        |zone: Option<&str>| numbers_of::<T>(DataType::Timestamp(unit, zone.map(Into::into)), values.iter().copied());
    zones.map(of_zone).to_vec()
}

/// A column of each type that has one value in a row, with its most difficult values.
fn simple() -> Vec<ArrayRef> {
    let texts = [Some("a b"), Some(""), None, Some("\"\\/\u{8}\n\u{0}\u{7f}"), Some("\u{fffe}\u{ffff}\u{10ffff}é")];
    let bytes: [Option<&[u8]>; 4] = [Some(b"\x00\xff"), Some(b""), None, Some(b"text")];
    let same_length = bytes.map(|it| it.map(|it| [it, b"----"].concat()[..4].to_vec()));
    let digits = |n: usize| "9".repeat(n).parse::<i128>().unwrap();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(2)),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        numbers::<Int8Type>([i8::MIN, 0, i8::MAX]),
        numbers::<Int16Type>([i16::MIN, 0, i16::MAX]),
        numbers::<Int32Type>([i32::MIN, 0, i32::MAX]),
        numbers::<Int64Type>([i64::MIN, 0, i64::MAX, (1 << 53) + 1]),
        numbers::<UInt8Type>([0, u8::MAX]),
        numbers::<UInt16Type>([0, u16::MAX]),
        numbers::<UInt32Type>([0, u32::MAX]),
        numbers::<UInt64Type>([0, u64::MAX, (1 << 63) + 1]),
        numbers::<Float16Type>([0x3c00_u16, 0x3555, 0x0001, 0x7bff, 0x8000, 0x7c00, 0xfc00, 0x7e00].map(half)),
        numbers::<Float32Type>([
            0.0,
            -0.0,
            0.1,
            -1.5e-9,
            f32::MIN,
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ]),
        numbers::<Float64Type>([
            0.0,
            -0.0,
            0.1,
            1e21,
            0.1 + 0.2,
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]),
        numbers_of::<Decimal32Type>(DataType::Decimal32(9, 2), [999_999_999, -999_999_999, 0, 5, -5]),
        numbers_of::<Decimal64Type>(DataType::Decimal64(18, 18), [999_999_999_999_999_999, -1, 0]),
        numbers_of::<Decimal128Type>(DataType::Decimal128(18, 3), [1_500, -1, 0, 999_999_999_999_999_999]),
        numbers_of::<Decimal128Type>(DataType::Decimal128(38, 0), [digits(38), -digits(38), 0]),
        numbers_of::<Decimal128Type>(DataType::Decimal128(38, 38), [digits(38), -digits(38), 1]),
        numbers_of::<Decimal128Type>(DataType::Decimal128(5, -3), [12_345, -1, 0]),
        numbers_of::<Decimal256Type>(
            DataType::Decimal256(76, 10),
            [i256::from_i128(digits(38)), i256::from_i128(digits(38)) * i256::from_i128(-digits(38)), i256::ZERO],
        ),
        numbers::<Date32Type>([0, -1, 18_604, -719_162, -719_163, 2_932_896, 2_932_897, i32::MIN, i32::MAX]),
        numbers::<Date64Type>([0, -1, 1_607_374_321_541, i64::MIN, i64::MAX, 253_402_300_800_000]),
        numbers::<Time32SecondType>([0, 1, 86_399, 86_400, -1]),
        numbers::<Time32MillisecondType>([0, 1, 86_399_999, 86_400_000, -1]),
        numbers::<Time64MicrosecondType>([0, 1, 86_399_999_999, 86_400_000_000, -1]),
        numbers::<Time64NanosecondType>([0, 1, 86_399_999_999_999, i64::MAX, i64::MIN]),
        numbers::<DurationSecondType>([0, -1, i64::MIN, i64::MAX]),
        numbers::<DurationMillisecondType>([0, -1, 1_500, i64::MAX]),
        numbers::<DurationMicrosecondType>([0, -1, 1_500, i64::MAX]),
        numbers::<DurationNanosecondType>([0, -1, 1_500, i64::MAX]),
        Arc::new(StringArray::from_iter(texts)),
        Arc::new(LargeStringArray::from_iter(texts)),
        Arc::new(StringViewArray::from_iter(texts)),
        Arc::new(BinaryArray::from_iter(bytes)),
        Arc::new(LargeBinaryArray::from_iter(bytes)),
        Arc::new(BinaryViewArray::from_iter(bytes)),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(same_length.into_iter(), 4).unwrap()),
    ];
    columns.extend(timestamps::<TimestampSecondType>(TimeUnit::Second, 1));
    columns.extend(timestamps::<TimestampMillisecondType>(TimeUnit::Millisecond, 1_000));
    columns.extend(timestamps::<TimestampMicrosecondType>(TimeUnit::Microsecond, 1_000_000));
    columns.extend(timestamps::<TimestampNanosecondType>(TimeUnit::Nanosecond, 1_000_000_000));
    columns
}

/// A number of half precision with these bits.
fn half(bits: u16) -> <Float16Type as ArrowPrimitiveType>::Native {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1_024.0);
    let value = match exponent {
        0 => fraction * 2_f64.powi(-14),
        0x1f if fraction > 0.0 => f64::NAN,
        0x1f => f64::INFINITY,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    };
    let float: ArrayRef = Arc::new(PrimitiveArray::<Float64Type>::from_value(sign * value, 1));
    let half = arrow_cast::cast(&float, &DataType::Float16).unwrap();
    half.as_any().downcast_ref::<PrimitiveArray<Float16Type>>().unwrap().value(0)
}

/// Types that have values of another type in them: by what they are called, how to make them, and a column of that type.
fn nested(values: &ArrayRef) -> Vec<ArrayRef> {
    let n = values.len();
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    // No row, one row, a null, and the rest.
    let ends: Vec<usize> = vec![0, 1, 1, n];
    let lists = restored_as_lists(values, &ends);
    let in_lists = |kind: DataType| restored(&lists, &kind);
    let text = Arc::new(Field::new("keys", DataType::Utf8, false));
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values((0..n).map(|it| format!("key {it}"))));
    let map_of = |key: (&Arc<Field>, &ArrayRef), value: &ArrayRef, sorted: bool| -> ArrayRef {
        let fields: Fields =
            [key.0.clone(), Arc::new(Field::new("values", value.data_type().clone(), true))].into_iter().collect();
        let entries: ArrayRef = Arc::new(StructArray::new(fields.clone(), vec![key.1.clone(), value.clone()], None));
        let kind = Field::new("entries", DataType::Struct(fields), false);
        restored(&restored_as_lists(&entries, &ends), &DataType::Map(Arc::new(kind), sorted)).unwrap()
    };
    let number = Arc::new(Field::new("keys", DataType::UInt64, false));
    let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..n as u64));
    let beside: Fields =
        [item.clone(), Arc::new(Field::new("a \"name\"", DataType::Boolean, true))].into_iter().collect();
    let nulls = NullBuffer::from_iter((0..n).map(|it| it % 4 != 3));
    let structs =
        StructArray::new(beside, vec![values.clone(), Arc::new(BooleanArray::from(vec![None; n]))], Some(nulls));
    let mut columns = vec![
        in_lists(DataType::List(item.clone())).unwrap(),
        arrow_cast::cast(&lists, &DataType::LargeList(item.clone())).unwrap(),
        map_of((&text, &keys), values, false),
        map_of((&text, &keys), values, true),
        map_of((&number, &numbers), values, false),
        Arc::new(structs),
    ];
    columns.extend(arrow_cast::cast(&lists, &DataType::ListView(item.clone())));
    columns.extend(arrow_cast::cast(&lists, &DataType::LargeListView(item.clone())));
    if n.is_multiple_of(2) {
        let nulls = NullBuffer::from_iter((0..n / 2).map(|it| it != 1));
        columns.push(Arc::new(FixedSizeListArray::new(item.clone(), 2, values.clone(), Some(nulls))));
    }
    for ends in [DataType::Int16, DataType::Int64] {
        let ends = Arc::new(Field::new("run_ends", ends, false));
        columns.push(restored(values, &DataType::RunEndEncoded(ends, item.clone())).unwrap());
    }
    for keys in [DataType::UInt16, DataType::Int8] {
        columns.push(
            restored(values, &DataType::Dictionary(Box::new(keys), Box::new(values.data_type().clone()))).unwrap(),
        );
    }
    columns
}

/// Lists that end after so many values; the second last is null.
fn restored_as_lists(values: &ArrayRef, ends: &[usize]) -> ArrayRef {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets: ScalarBuffer<i32> = [0].iter().chain(ends).map(|it| i32::usize_as(*it)).collect();
    let nulls = NullBuffer::from_iter((0..ends.len()).map(|it| it + 2 != ends.len()));
    Arc::new(arrow_array::ListArray::new(item, OffsetBuffer::new(offsets), values.clone(), Some(nulls)))
}

/// Whether each row comes back, with a column beside it that makes it more than a text.
fn comes_back(column: &ArrayRef) -> Result<(), String> {
    let fields =
        vec![Field::new("column", column.data_type().clone(), true), Field::new("id", DataType::UInt64, false)];
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..column.len() as u64));
    let rows = RecordBatch::try_new(schema.clone(), vec![column.clone(), ids]).unwrap();
    for row in 0..rows.num_rows() {
        let (text, encoding) = write(&rows, row);
        let back = read(&text, encoding, &schema).map_err(|error| format!("{encoding} {text}: {error}"))?;
        if back != rows.slice(row, 1) {
            return Err(format!("{text}: {back:?} is not {:?}", rows.slice(row, 1)));
        }
    }
    Ok(())
}

/// Scenario: columns of each type of Arrow's that JSON has a form for, with the values that are at its ends and the odd
/// ones: no numbers, years of five digits, offsets with seconds, control characters; the same in lists, structs, maps and
/// dictionaries, and in each of these in each of these.
/// Guarantees: every row comes back as it was, type and value.
#[test]
fn every_type_comes_back() {
    let mut columns = simple();
    let once: Vec<ArrayRef> = columns.iter().flat_map(nested).collect();
    let twice: Vec<ArrayRef> = once.iter().flat_map(nested).collect();
    columns.extend(once);
    columns.extend(twice);
    let faults: Vec<String> = columns
        .iter()
        .filter_map(|it| comes_back(it).err().map(|error| format!("{}: {error}", it.data_type())))
        .collect();
    let shown: String = faults.iter().take(20).map(|it| it.chars().take(600).collect::<String>() + "\n").collect();
    assert!(faults.is_empty(), "{} of {} do not:\n{shown}", faults.len(), columns.len());
    println!("{} columns", columns.len());
}

/// Scenario: a row of each simple type.
/// Guarantees: what people read is what the page says.
#[test]
fn what_is_written() {
    let mut said = String::new();
    for column in simple() {
        let kind = Field::new("c", column.data_type().clone(), true);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![kind])), vec![column.clone()]).unwrap();
        // Texts alone are written as they are, with all that cannot be seen.
        let seen = |it: char| if it.is_control() { it.escape_unicode().to_string() } else { it.to_string() };
        let written = |row: usize| write(&rows, row).0.chars().map(seen).collect::<String>();
        let written: Vec<String> = (0..rows.num_rows().min(4)).map(written).collect();
        said += &format!("{}: {}\n", column.data_type(), written.join(" "));
    }
    expect![[r#"
        Null: {} {}
        Boolean: {"c":true} {} {"c":false}
        Int8: {"c":-128} {"c":0} {"c":127} {}
        Int16: {"c":-32768} {"c":0} {"c":32767} {}
        Int32: {"c":-2147483648} {"c":0} {"c":2147483647} {}
        Int64: {"c":-9223372036854775808} {"c":0} {"c":9223372036854775807} {"c":9007199254740993}
        UInt8: {"c":0} {"c":255} {}
        UInt16: {"c":0} {"c":65535} {}
        UInt32: {"c":0} {"c":4294967295} {}
        UInt64: {"c":0} {"c":18446744073709551615} {"c":9223372036854775809} {}
        Float16: {"c":1.0} {"c":0.33325195} {"c":5.9604645e-8} {"c":65504.0}
        Float32: {"c":0.0} {"c":-0.0} {"c":0.1} {"c":-1.5e-9}
        Float64: {"c":0.0} {"c":-0.0} {"c":0.1} {"c":1.0e21}
        Decimal32(9, 2): {"c":9999999.99} {"c":-9999999.99} {"c":0.00} {"c":0.05}
        Decimal64(18, 18): {"c":0.999999999999999999} {"c":-0.000000000000000001} {"c":0.000000000000000000} {}
        Decimal128(18, 3): {"c":1.500} {"c":-0.001} {"c":0.000} {"c":999999999999999.999}
        Decimal128(38, 0): {"c":99999999999999999999999999999999999999} {"c":-99999999999999999999999999999999999999} {"c":0} {}
        Decimal128(38, 38): {"c":0.99999999999999999999999999999999999999} {"c":-0.99999999999999999999999999999999999999} {"c":0.00000000000000000000000000000000000001} {}
        Decimal128(5, -3): {"c":12345000} {"c":-1000} {"c":0} {}
        Decimal256(76, 10): {"c":9999999999999999999999999999.9999999999} {"c":-999999999999999999999999999999999999980000000000000000000000000000.0000000001} {"c":0.0000000000} {}
        Date32: {"c":"1970-01-01"} {"c":"1969-12-31"} {"c":"2020-12-08"} {"c":"0001-01-01"}
        Date64: {"c":"1970-01-01T00:00:00"} {"c":"1969-12-31T23:59:59.999"} {"c":"2020-12-07T20:52:01.541"} {"c":-9223372036854775808}
        Time32(s): {"c":"00:00:00"} {"c":"00:00:01"} {"c":"23:59:59"} {"c":86400}
        Time32(ms): {"c":"00:00:00"} {"c":"00:00:00.001"} {"c":"23:59:59.999"} {"c":86400000}
        Time64(µs): {"c":"00:00:00"} {"c":"00:00:00.000001"} {"c":"23:59:59.999999"} {"c":86400000000}
        Time64(ns): {"c":"00:00:00"} {"c":"00:00:00.000000001"} {"c":"23:59:59.999999999"} {"c":9223372036854775807}
        Duration(s): {"c":0} {"c":-1} {"c":-9223372036854775808} {"c":9223372036854775807}
        Duration(ms): {"c":0} {"c":-1} {"c":1500} {"c":9223372036854775807}
        Duration(µs): {"c":0} {"c":-1} {"c":1500} {"c":9223372036854775807}
        Duration(ns): {"c":0} {"c":-1} {"c":1500} {"c":9223372036854775807}
        Utf8: a b  {} "\/\u{8}\u{a}\u{0}\u{7f}
        LargeUtf8: {"c":"a b"} {"c":""} {} {"c":"\"\\/\b\n\u0000\u{7f}"}
        Utf8View: {"c":"a b"} {"c":""} {} {"c":"\"\\/\b\n\u0000\u{7f}"}
        Binary: {"c":"00ff"} {"c":""} {} {"c":"74657874"}
        LargeBinary: {"c":"00ff"} {"c":""} {} {"c":"74657874"}
        BinaryView: {"c":"00ff"} {"c":""} {} {"c":"74657874"}
        FixedSizeBinary(4): {"c":"00ff2d2d"} {"c":"2d2d2d2d"} {} {"c":"74657874"}
        Timestamp(s): {"c":"1970-01-01T00:00:00"} {"c":"1970-01-01T00:00:00"} {"c":"1970-01-01T00:00:01"} {"c":"1970-01-01T00:00:01"}
        Timestamp(s, "UTC"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01Z"}
        Timestamp(s, "Europe/Berlin"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01Z"}
        Timestamp(s, "+05:30"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01Z"}
        Timestamp(s, "Atlantis/Poseidonis"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01Z"}
        Timestamp(ms): {"c":"1970-01-01T00:00:00"} {"c":"1970-01-01T00:00:00.999"} {"c":"1970-01-01T00:00:01"} {"c":"1970-01-01T00:00:01.999"}
        Timestamp(ms, "UTC"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999Z"}
        Timestamp(ms, "Europe/Berlin"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999Z"}
        Timestamp(ms, "+05:30"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999Z"}
        Timestamp(ms, "Atlantis/Poseidonis"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999Z"}
        Timestamp(µs): {"c":"1970-01-01T00:00:00"} {"c":"1970-01-01T00:00:00.999999"} {"c":"1970-01-01T00:00:01"} {"c":"1970-01-01T00:00:01.999999"}
        Timestamp(µs, "UTC"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999Z"}
        Timestamp(µs, "Europe/Berlin"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999Z"}
        Timestamp(µs, "+05:30"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999Z"}
        Timestamp(µs, "Atlantis/Poseidonis"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999Z"}
        Timestamp(ns): {"c":"1970-01-01T00:00:00"} {"c":"1970-01-01T00:00:00.999999999"} {"c":"1970-01-01T00:00:01"} {"c":"1970-01-01T00:00:01.999999999"}
        Timestamp(ns, "UTC"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999999Z"}
        Timestamp(ns, "Europe/Berlin"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999999Z"}
        Timestamp(ns, "+05:30"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999999Z"}
        Timestamp(ns, "Atlantis/Poseidonis"): {"c":"1970-01-01T00:00:00Z"} {"c":"1970-01-01T00:00:00.999999999Z"} {"c":"1970-01-01T00:00:01Z"} {"c":"1970-01-01T00:00:01.999999999Z"}
    "#]].assert_eq(&said);
}

/// Scenario: texts that are rows of other columns than those that are wanted, or none.
/// Guarantees: a column that is gone is passed over, a new one is null; anything else is an error that says what is wrong.
#[test]
fn other_columns() {
    let text: SchemaRef = Arc::new(Schema::new(vec![Field::new("message", DataType::Utf8, true)]));
    let several: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("status", DataType::UInt16, true),
        Field::new("host", DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8)), true),
    ]));
    let strict: SchemaRef = Arc::new(Schema::new(vec![Field::new("status", DataType::UInt16, false)]));
    let mut said = String::new();
    for (schema, encoding, payload) in [
        (&text, "text", "a b"),
        (&text, "text", ""),
        (&text, "json", r#"{"message":"a b"}"#),
        (&text, "json", "{}"),
        (&several, "json", r#"{"status":200,"host":"a","gone":[1,{"x":2}]}"#),
        (&several, "json", r#"{"status":"200"}"#),
        (&several, "json", r#"{"status":70000}"#),
        (&several, "json", r#"{"status":[1]}"#),
        (&several, "json", r#"{"status":1}{"status":2}"#),
        (&several, "json", r#"{"status":1"#),
        (&several, "json", "[]"),
        (&several, "json", ""),
        (&several, "text", "a b"),
        (&strict, "json", "{}"),
        (&text, "base64", "YQ=="),
        (&text, "debug", "RecordBatch"),
    ] {
        let came = match read(payload, encoding, schema) {
            Ok(row) => {
                row.columns().iter().map(|it| format!("{it:?}").replace('\n', "")).collect::<Vec<_>>().join(" | ")
            }
            Err(error) => error.to_string(),
        };
        said += &format!("{encoding} {payload} -> {came}\n");
    }
    expect![[r#"
        text a b -> StringArray[  "a b",]
        text  -> StringArray[  "",]
        json {"message":"a b"} -> StringArray[  "a b",]
        json {} -> StringArray[  null,]
        json {"status":200,"host":"a","gone":[1,{"x":2}]} -> PrimitiveArray<UInt16>[  200,] | DictionaryArray {keys: PrimitiveArray<UInt16>[  0,] values: StringArray[  "a",]}
        json {"status":"200"} -> PrimitiveArray<UInt16>[  200,] | DictionaryArray {keys: PrimitiveArray<UInt16>[  null,] values: StringArray[]}
        json {"status":70000} -> Json error: whilst decoding field 'status': failed to parse 70000 as UInt16
        json {"status":[1]} -> Json error: whilst decoding field 'status': expected primitive got [1]
        json {"status":1}{"status":2} -> Json error: there is something behind the row
        json {"status":1 -> Json error: Truncated record whilst reading number
        json [] -> Json error: expected { got []
        json  -> Json error: it holds no row
        text a b -> Json error: a text is no row of other columns than one text
        json {} -> Json error: Encountered unmasked nulls in non-nullable StructArray child: Field { "status": UInt16 }
        base64 YQ== -> Json error: `base64` is no encoding of a row
        debug RecordBatch -> Json error: `debug` is no encoding of a row
    "#]].assert_eq(&said);
}

/// Scenario: a text that is null where there is only this text; a row of an interval; a row of no columns.
/// Guarantees: a null stays one; what has no form in JSON can be read, and is no row when it comes back.
#[test]
fn rows_that_are_special() {
    let batch = |column: ArrayRef| {
        let kind = Field::new("c", column.data_type().clone(), true);
        RecordBatch::try_new(Arc::new(Schema::new(vec![kind])), vec![column]).unwrap()
    };
    let null = batch(Arc::new(StringArray::from(vec![None::<&str>, Some("")])));
    assert_eq!(write(&null, 0), ("{}".to_owned(), "json"));
    assert_eq!(write(&null, 1), (String::new(), "text"));
    assert_eq!(read("{}", "json", null.schema_ref()).unwrap(), null.slice(0, 1));

    let interval = batch(Arc::new(IntervalYearMonthArray::from(vec![14])));
    let number = Arc::new(Field::new("number", DataType::Int64, true));
    let fields = UnionFields::try_new([1], [number]).unwrap();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![4711]));
    let union = UnionArray::try_new(fields, vec![1].into(), None, vec![values]).unwrap();
    let mut said = String::new();
    for rows in [interval, batch(Arc::new(union))] {
        let (text, encoding) = write(&rows, 0);
        let error = read(&text, encoding, rows.schema_ref()).unwrap_err();
        said += &format!("{encoding} {text}\n{error}\n");
    }
    expect![[r#"
        json {"c":"1 years 2 mons"}
        Not yet implemented: Support for Interval(YearMonth) in JSON reader
        debug RecordBatch { schema: Schema { fields: [Field { name: "c", data_type: Union([(1, Field { name: "number", data_type: Int64, nullable: true })], Sparse), nullable: true }], metadata: {} }, columns: [UnionArray(Sparse)
        [
        -- type id buffer:
        ScalarBuffer([1])
        -- child 1: "number" (Int64)
        PrimitiveArray<Int64>
        [
          4711,
        ]
        ]
        ], row_count: 1 }
        Json error: `debug` is no encoding of a row
    "#]].assert_eq(&said);

    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(write(&nothing, 0).1, "debug");

    // A list of a slice has the other rows' elements behind it.
    let lists = nested(&numbers::<Int64Type>([1, 2, 3])).remove(0);
    let last = take(&lists, &UInt64Array::from(vec![3]), None).unwrap();
    assert_eq!(write(&batch(lists.slice(3, 1)), 0), write(&batch(last), 0));
    assert_eq!(type_to_read(lists.data_type()), *lists.data_type());
}
