//! What is in a file.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{Int32Type, TimestampMillisecondType};
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch,
    StringArray, StringViewArray, UInt16Array,
};
use expect_test::expect;
use forebay_api::Promise;
use forebay_testkit::{canonical, columns, cut};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;

use super::{HOUR, Place, SEVEN, deliver, events, read};

/// Rows of every kind of column, over some hours, with nulls.
fn all_kinds(rows: usize) -> RecordBatch {
    let numbers = || 0..rows as i64;
    let some = |it: i64| (it % 7 != 3).then_some(it);
    let times: PrimitiveArray<TimestampMillisecondType> =
        numbers().map(|it| Some(SEVEN + (it / 5_000 + it * 7_919 % 3) * HOUR + it)).collect();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for it in numbers() {
        tags.append_option(some(it).map(|it| (0..it % 3).map(move |tag| Some(format!("tag {tag}")))));
    }
    let dictionary: DictionaryArray<Int32Type> =
        numbers().map(|it| ["hit", "miss", "error"][it as usize % 3]).collect();
    columns([
        ("time", Arc::new(times.with_timezone("UTC")) as ArrayRef),
        (
            "path",
            Arc::new(numbers().map(|it| some(it).map(|it| format!("/{}/{it}", it % 97))).collect::<StringArray>()),
        ),
        (
            "agent",
            Arc::new(numbers().map(|it| some(it).map(|it| format!("agent {}", it % 5))).collect::<StringViewArray>()),
        ),
        ("bytes", Arc::new(numbers().map(some).collect::<Int64Array>())),
        ("status", Arc::new(numbers().map(|it| some(it).map(|it| (it % 5 * 100) as u16)).collect::<UInt16Array>())),
        ("taken", Arc::new(numbers().map(|it| some(it).map(|it| it as f64 / 7.0)).collect::<Float64Array>())),
        ("secure", Arc::new(numbers().map(|it| some(it).map(|it| it % 2 == 0)).collect::<BooleanArray>())),
        (
            "price",
            Arc::new(
                numbers()
                    .map(|it| some(it).map(i128::from))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(18, 4)
                    .unwrap(),
            ),
        ),
        ("tags", Arc::new(tags.finish())),
        ("result", Arc::new(dictionary)),
    ])
}

/// Scenario: rows of every kind of column, read back.
/// Guarantees: values, nulls and types are those that came; times are UTC milliseconds; view and dictionary arrays
/// come back as plain text.
#[tokio::test]
async fn reads_back() {
    let place = Place::new();
    let rows = all_kinds(20);
    let sink = place.open("", &rows).await;
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let read = read(place.files().values().next().unwrap());
    assert_eq!(canonical(&read), canonical(&[rows]));
    let types: Vec<String> =
        read[0].schema().fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type())).collect();
    expect![[r#"
        time: Timestamp(ms, "UTC")
        path: Utf8
        agent: Utf8
        bytes: Int64
        status: UInt16
        taken: Float64
        secure: Boolean
        price: Decimal128(18, 4)
        tags: List(Utf8)
        result: Utf8"#]]
    .assert_eq(&types.join("\n"));
}

/// The bytes of every file that these rows make, in batches of at most `rows_max`.
async fn files(config: &str, rows: &RecordBatch, rows_max: usize) -> BTreeMap<String, Vec<u8>> {
    let place = Place::new();
    let sink = place.open(config, rows).await;
    deliver(sink.as_ref(), 1, &cut(std::slice::from_ref(rows), rows_max)).await;
    assert_eq!(place.rows().len(), rows.num_rows(), "{config}");
    place.files().into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Scenario: the same 20,000 rows in batches of 7, 1,000, 8,192 and all at once, in one file and in partitions, with
/// small row groups, and with fewer open files than partitions.
/// Guarantees: the same files with the same bytes.
#[tokio::test]
async fn same_rows_same_bytes() {
    let rows = all_kinds(20_000);
    for config in [
        "row_group_rows_max = 9000",
        "row_group_bytes_max = '20KiB'\ncompression = 'snappy'",
        "partition = { time = 'time', every = 'day', columns = ['secure'] }\ncompression = 'none'",
        "partition = { time = 'time', columns = ['status'] }\nopen_files_max = 2\nrow_group_rows_max = 8192",
        "partition = { time = 'time', every = 'day' }\nsort = ['status', 'path']\nrow_group_rows_max = 9000",
        "sort = ['agent']\nrow_group_bytes_max = '300KiB'\nbloom_filters = ['path']\ntimestamps = 'micros'",
        "partition = { time = 'time' }\nprefix = '!{partitionKeyFromQuery:agent}/!{firehose:random-string}/'",
    ] {
        let whole = files(config, &rows, rows.num_rows()).await;
        for rows_max in [8_192, 1_000, 7] {
            assert!(whole == files(config, &rows, rows_max).await, "{config}: other bytes in batches of {rows_max}");
        }
    }
}

/// Rows of 1 KiB that hardly compress, over so many partitions.
fn large_rows(rows: usize, partitions: usize) -> RecordBatch {
    let mut seed = 1_u64;
    let mut text = |_| {
        let digits = (0..64).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{seed:016x}")
        });
        digits.collect::<String>()
    };
    let texts: Vec<String> = (0..rows).map(&mut text).collect();
    columns([
        (
            "partition",
            Arc::new((0..rows).map(|it| Some((it * 31 % partitions) as i64)).collect::<Int64Array>()) as ArrayRef,
        ),
        ("text", Arc::new(texts.iter().map(Some).collect::<StringArray>())),
    ])
}

/// Scenario: 20 MiB of rows in one, four, 40 and 300 partitions, of which 16 MiB may be in memory at a time, whole and
/// in batches of 999.
/// Guarantees: large row groups are ended early, then files; where they end depends on the rows alone, and no row is
/// lost.
#[tokio::test]
async fn memory_is_bounded() {
    let mut found = Vec::new();
    for partitions in [1, 4, 40, 300] {
        let rows = large_rows(20_000, partitions);
        let config = "partition = { columns = ['partition'] }\nmemory_max = '16MiB'\ncompression = 'none'";
        let whole = files(config, &rows, rows.num_rows()).await;
        let groups = |it: &Vec<u8>| {
            let bytes = bytes::Bytes::from(it.clone());
            ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).unwrap().metadata().num_row_groups()
        };
        let groups: Vec<usize> = whole.values().map(groups).collect();
        let most = groups.iter().max().unwrap();
        found.push(format!("{partitions} partitions: {} files of up to {most} row groups", whole.len()));
        if partitions != 4 {
            assert!(whole == files(config, &rows, 999).await, "{partitions}");
        }
    }
    expect![[r#"
        1 partitions: 1 files of up to 2 row groups
        4 partitions: 4 files of up to 2 row groups
        40 partitions: 40 files of up to 2 row groups
        300 partitions: 446 files of up to 1 row groups"#]]
    .assert_eq(&found.join("\n"));
}

/// Scenario: the footer of a file of two row groups.
/// Guarantees: it names the delivery and the columns' fingerprint, holds the order of the rows, statistics of each page,
/// an offset index, dictionaries and the bloom filter, is compressed, and holds no time of writing.
#[tokio::test]
async fn footer() {
    let place = Place::new();
    let rows = events(&[(Some(SEVEN), Some("de")); 10_000]);
    let keys = "row_group_rows_max = 8192\nsort = ['time', 'number']\nbloom_filters = ['country']";
    let sink = place.open(keys, &rows).await;
    deliver(sink.as_ref(), 7, &[rows]).await;
    let file = fs::File::open(place.files().values().next().unwrap()).unwrap();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(&file, options).unwrap();
    let metadata = metadata.metadata();
    let mut lines = vec![metadata.file_metadata().created_by().unwrap().to_owned()];
    for pair in metadata.file_metadata().key_value_metadata().unwrap() {
        lines.push(format!("{} = {}", pair.key, pair.value.as_deref().unwrap_or_default()));
    }
    for (nth, group) in metadata.row_groups().iter().enumerate() {
        let sorting = group.sorting_columns().unwrap().iter().map(|it| it.column_idx).collect::<Vec<_>>();
        lines.push(format!("row group {nth}: {} rows, sorted by {sorting:?}", group.num_rows()));
        for (column, chunk) in group.columns().iter().enumerate() {
            lines.push(format!(
                "  {}: {}, dictionary {}, statistics {}, page index {}, bloom filter {}",
                chunk.column_path(),
                chunk.compression(),
                chunk.dictionary_page_offset().is_some(),
                chunk.statistics().is_some(),
                metadata.column_index().unwrap()[nth][column].num_pages(),
                chunk.bloom_filter_offset().is_some(),
            ));
        }
    }
    expect![[r#"
        forebay
        forebay.delivery = 00000000000000000000000000000007
        forebay.schema = 91da6be7b4ff9a56
        row group 0: 8192 rows, sorted by [0, 2]
          "time": ZSTD(ZstdLevel(1)), dictionary true, statistics true, page index 1, bloom filter false
          "country": ZSTD(ZstdLevel(1)), dictionary true, statistics true, page index 1, bloom filter true
          "number": ZSTD(ZstdLevel(1)), dictionary true, statistics true, page index 1, bloom filter false
        row group 1: 1808 rows, sorted by [0, 2]
          "time": ZSTD(ZstdLevel(1)), dictionary true, statistics true, page index 1, bloom filter false
          "country": ZSTD(ZstdLevel(1)), dictionary true, statistics true, page index 1, bloom filter true
          "number": ZSTD(ZstdLevel(1)), dictionary true, statistics true, page index 1, bloom filter false"#]]
    .assert_eq(&lines.join("\n"));
}

/// Scenario: the conformance suite for sinks, flat and in partitions, where some rows are refused.
/// Guarantees: nothing is visible before `commit`, everything after it, and the same delivery twice once.
#[tokio::test]
async fn keeps_the_contract() {
    let rows = events(&[
        (Some(SEVEN), Some("de")),
        (Some(SEVEN + HOUR), None),
        (None, Some("fr")),
        (Some(-1), Some("de")),
        (Some(SEVEN), Some("it")),
    ]);
    let input = cut(std::slice::from_ref(&rows), 2);
    for config in [
        "",
        "partition = { time = 'time' }",
        "sort = ['country']\nlate = { to = 'refuse' }\npartition = { time = 'time' }",
    ] {
        let place = Place::new();
        let visible = async || place.rows();
        forebay_testkit::sink(Promise::OncePerId, &input, async || place.open(config, &rows).await, visible).await;
        assert_eq!(place.staging(), Vec::<String>::new());
    }
}
