//! Delivers rows like those of CloudFront's real-time logs, 45 columns, into a directory: what encoding costs.
//!
//! ```text
//! cargo build --release -p sink-parquet --example encode
//! valgrind --tool=callgrind target/release/examples/encode 65536 "compression = 'snappy'"
//! ```
//!
//! Rows are made before the first is staged, and repeat: the instructions of two runs with different numbers of rows,
//! subtracted, are those of delivering the rows between.

use std::sync::Arc;

use arrow_array::types::TimestampMillisecondType;
use arrow_array::{ArrayRef, Decimal128Array, PrimitiveArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use forebay_api::{BoxError, DeliveryId, SinkConfig, SinkError};
use sink_parquet::Parquet;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH_ROWS: usize = 8192;
const BATCHES: usize = 4;

/// 2026-11-01T07:00:00Z in milliseconds.
const START: i64 = 1_793_516_400_000;

/// A column, and how many values it has. Low numbers are much more frequent than high ones.
enum Column {
    /// Text around a number below this.
    Text(&'static str, u64, &'static str, &'static str),
    /// A text that is never the same.
    Unique(&'static str),
    Small(&'static str, u64),
    Large(&'static str, u64),
    /// Seconds with six digits behind the point.
    Seconds(&'static str, u64),
    Nothing(&'static str),
}

use Column::{Large, Nothing, Seconds, Small, Text, Unique};

const COLUMNS: [Column; 44] = [
    Text("c_ip", 20_000, "203.0.", ".17"),
    Seconds("time_to_first_byte", 2_000),
    Small("sc_status", 8),
    Large("sc_bytes", 500_000),
    Text("cs_method", 4, "GET", ""),
    Text("cs_protocol", 2, "http", ""),
    Text("cs_host", 5, "www", ".example.com"),
    Text("cs_uri_stem", 5_000, "/assets/path/to/object-", ".js"),
    Large("cs_bytes", 2_000),
    Text("x_edge_location", 300, "EWR", "-P2"),
    Unique("x_edge_request_id"),
    Text("x_host_header", 1, "d111111abcdef", ".cloudfront.net"),
    Seconds("time_taken", 3_000),
    Text("cs_protocol_version", 3, "HTTP/", ".0"),
    Text("c_ip_version", 2, "IPv", ""),
    Text("cs_user_agent", 400, "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20Chrome/", ".0%20Safari/537.36"),
    Text("cs_referer", 2_000, "https://www.example.com/page/", ""),
    Nothing("cs_cookie"),
    Text("cs_uri_query", 100_000, "v=", "&t=3"),
    Text("x_edge_response_result_type", 4, "Hit", ""),
    Nothing("x_forwarded_for"),
    Text("ssl_protocol", 2, "TLSv1.", ""),
    Text("ssl_cipher", 2, "TLS_AES_128_GCM_SHA", ""),
    Text("x_edge_result_type", 4, "Hit", ""),
    Nothing("fle_encrypted_fields"),
    Nothing("fle_status"),
    Text("sc_content_type", 4, "image/", ""),
    Large("sc_content_len", 400_000),
    Nothing("sc_range_start"),
    Nothing("sc_range_end"),
    Small("c_port", 64_000),
    Text("x_edge_detailed_result_type", 4, "Hit", ""),
    Text("c_country", 8, "D", ""),
    Text("cs_accept_encoding", 2, "gzip,%20deflate,%20br", ""),
    Text("cs_accept", 3, "image/webp,*/*", ""),
    Text("cache_behavior_path_pattern", 1, "*", ""),
    Text("cs_headers", 3_000, "Host:www.example.com%0AAccept:*/*%0AUser-Agent:x", "%0A"),
    Text("cs_header_names", 2, "Host%0AAccept%0AUser-Agent%0A", ""),
    Small("cs_headers_count", 20),
    Nothing("primary_distribution_id"),
    Nothing("primary_distribution_dns_name"),
    Seconds("origin_fbl", 900),
    Seconds("origin_lbl", 900),
    Small("asn", 60_000),
];

/// Random numbers, by SplitMix64 (Steele, Lea and Flood, 2014): the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `count`, and rather low.
    fn low(&mut self, count: u64) -> u64 {
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (fraction.powi(3) * count as f64) as u64
    }
}

fn batch(random: &mut Random, nth: usize) -> Result<RecordBatch, BoxError> {
    let start = START + (nth * BATCH_ROWS * 3) as i64;
    let time: PrimitiveArray<TimestampMillisecondType> =
        (0..BATCH_ROWS).map(|it| Some(start + it as i64 * 3 + random.low(1_000) as i64)).collect();
    let mut columns = vec![("timestamp", Arc::new(time.with_timezone("UTC")) as ArrayRef)];
    for column in &COLUMNS {
        let rows = 0..BATCH_ROWS;
        columns.push(match column {
            Text(name, count, before, after) => {
                let texts = rows.map(|_| Some(format!("{before}{}{after}", random.low(*count))));
                (*name, Arc::new(texts.collect::<StringArray>()))
            }
            Unique(name) => {
                let texts =
                    rows.map(|_| Some(format!("{:016x}{:016x}{:016x}==", random.next(), random.next(), random.next())));
                (*name, Arc::new(texts.collect::<StringArray>()))
            }
            Small(name, count) => {
                let numbers = rows.map(|_| Some(random.low(*count) as u32));
                (*name, Arc::new(numbers.collect::<UInt32Array>()))
            }
            Large(name, count) => {
                let numbers = rows.map(|_| Some(random.low(*count)));
                (*name, Arc::new(numbers.collect::<UInt64Array>()))
            }
            Seconds(name, count) => {
                let numbers = rows.map(|_| Some(i128::from(random.low(*count)) * 1_000));
                (*name, Arc::new(numbers.collect::<Decimal128Array>().with_precision_and_scale(18, 6)?))
            }
            Nothing(name) => (*name, Arc::new(StringArray::new_null(BATCH_ROWS))),
        });
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().ok_or("how many rows?")?.parse()?;
    let keys = arguments.next().unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let config: Parquet = toml::from_str(&format!("path = {:?}\n{keys}", directory.path()))?;
    let mut random = Random(1);
    let batches = (0..BATCHES).map(|nth| batch(&mut random, nth)).collect::<Result<Vec<_>, _>>()?;
    config.plan(&batches[0].schema())?;
    let sink = config.open(batches[0].schema()).await?;
    let id: DeliveryId = format!("{:032x}", 1).parse()?;
    let failed = |error: SinkError| BoxError::from(error);
    let mut draft = sink.begin(&id).await.map_err(failed)?;
    for nth in 0..rows.div_ceil(BATCH_ROWS) {
        draft.stage(batches[nth % BATCHES].clone()).await.map_err(failed)?;
    }
    draft.commit().await.map_err(failed)?;
    Ok(())
}
