//! Delivers rows like those of CloudFront's real-time logs, 12 columns, to a ClickHouse on this machine: what it costs
//! to make blocks of them, pack and send them.
//!
//! ```text
//! cargo build --release -p sink-clickhouse --example clickhouse_encode
//! target/release/examples/clickhouse_encode 5000000 "compression = 'lz4'"
//! ```
//!
//! Rows are made before the first is staged, and repeat. Time is the processor's, user and system, of this process: the
//! server is another one. Its own is printed too, as its log of queries has it.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::types::{TimestampMillisecondType, UInt16Type};
use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, PrimitiveArray, RecordBatch, StringArray, UInt16Array, UInt64Array,
};
use forebay_api::{BoxError, DeliveryId, SinkConfig, SinkError};
use forebay_testkit::services::ClickHouse as Server;
use nix::sys::resource::{UsageWho, getrusage};
use sink_clickhouse::ClickHouse;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH_ROWS: usize = 8192;
const BATCHES: usize = 16;

/// As many as the sink asks for where the file says nothing.
const DELIVERY_ROWS: usize = 500_000;

/// 2026-11-01T07:00:00Z in milliseconds.
const START: i64 = 1_793_516_400_000;

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

    /// Texts around numbers below `count`.
    fn texts(&mut self, count: u64, before: &str, after: &str) -> Vec<String> {
        (0..BATCH_ROWS).map(|_| format!("{before}{}{after}", self.low(count))).collect()
    }
}

fn batch(random: &mut Random, nth: usize) -> Result<RecordBatch, BoxError> {
    let start = START + (nth * BATCH_ROWS * 3) as i64;
    let time: PrimitiveArray<TimestampMillisecondType> =
        (0..BATCH_ROWS).map(|it| Some(start + it as i64 * 3 + random.low(1_000) as i64)).collect();
    let text = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let few = |texts: Vec<String>| {
        Arc::new(texts.iter().map(|it| it.as_str()).collect::<DictionaryArray<UInt16Type>>()) as ArrayRef
    };
    let unique =
        (0..BATCH_ROWS).map(|_| format!("{:016x}{:016x}{:016x}==", random.next(), random.next(), random.next()));
    let unique = text(unique.collect());
    let taken: Decimal128Array = (0..BATCH_ROWS).map(|_| Some(i128::from(random.low(3_000)) * 1_000)).collect();
    let status: UInt16Array = (0..BATCH_ROWS).map(|_| Some(200 + random.low(8) as u16)).collect();
    // Every tenth answer has no body.
    let bytes: UInt64Array = (0..BATCH_ROWS).map(|it| (it % 10 > 0).then(|| random.low(500_000))).collect();
    let agent =
        random.texts(400, "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20Chrome/", ".0%20Safari/537.36");
    let columns = [
        ("timestamp", Arc::new(time.with_timezone("UTC")) as ArrayRef),
        ("c_ip", text(random.texts(250, "203.0.113.", ""))),
        ("sc_status", Arc::new(status)),
        ("sc_bytes", Arc::new(bytes)),
        ("time_taken", Arc::new(taken.with_precision_and_scale(18, 6)?)),
        ("cs_method", few(random.texts(4, "GET", ""))),
        ("cs_host", text(random.texts(5, "www", ".example.com"))),
        ("cs_uri_stem", text(random.texts(5_000, "/assets/path/to/object-", ".js"))),
        ("cs_uri_query", text(random.texts(100_000, "v=", "&t=3"))),
        ("x_edge_location", few(random.texts(300, "EWR", "-P2"))),
        ("x_edge_request_id", unique),
        ("cs_user_agent", text(agent)),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

/// What this process has had of the processor so far, user and system.
fn processor() -> Result<Duration, BoxError> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros =
        [usage.user_time(), usage.system_time()].map(|it| it.tv_sec() as u64 * 1_000_000 + it.tv_usec() as u64);
    Ok(Duration::from_micros(micros.iter().sum()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().ok_or("how many rows?")?.parse()?;
    let keys = arguments.next().unwrap_or_default();
    let server = Server::start();
    let endpoint = server.endpoint();
    let config: ClickHouse =
        toml::from_str(&format!("endpoint = '{endpoint}'\ntable = 'logs'\ncreate = true\n{keys}"))?;
    let mut random = Random(1);
    let batches = (0..BATCHES).map(|nth| batch(&mut random, nth)).collect::<Result<Vec<_>, _>>()?;
    config.plan(&batches[0].schema())?;
    let sink = config.open(batches[0].schema()).await?;
    let failed = |error: SinkError| BoxError::from(error);
    let (before, begun) = (processor()?, Instant::now());
    let mut staged_bytes = 0;
    let mut nth = 0;
    while nth * BATCH_ROWS < rows {
        let id: DeliveryId = format!("{nth:032x}").parse()?;
        let mut draft = sink.begin(&id).await.map_err(failed)?;
        for _ in 0..DELIVERY_ROWS.min(rows - nth * BATCH_ROWS).div_ceil(BATCH_ROWS) {
            let batch = batches[nth % BATCHES].clone();
            staged_bytes += batch.get_array_memory_size();
            draft.stage(batch).await.map_err(failed)?;
            nth += 1;
        }
        draft.commit().await.map_err(failed)?;
    }
    let (processor, elapsed) = (processor()? - before, begun.elapsed());
    let rows = nth * BATCH_ROWS;
    let counted = server.query("SELECT count() FROM logs");
    if counted != rows.to_string() {
        return Err(format!("{counted} rows are there, and {rows} were delivered").into());
    }
    server.query("SYSTEM FLUSH LOGS");
    let log = server.query(
        "SELECT sum(ProfileEvents['NetworkReceiveBytes']), sum(ProfileEvents['OSCPUVirtualTimeMicroseconds']), count() \
         FROM system.query_log WHERE type = 'QueryFinish' AND query_kind = 'Insert'",
    );
    let log = log.split('\t').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [sent, server_micros, inserts] = log.as_slice() else {
        return Err("the log of queries has other columns".into());
    };
    let seconds = processor.as_secs_f64();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{rows} rows in {inserts} INSERTs, {:.2} s by the clock", elapsed.as_secs_f64())?;
    writeln!(out, "{:.2} s of processor: {:.0} rows a second", seconds, rows as f64 / seconds)?;
    writeln!(out, "{:.1} MB of Arrow, {:.1} MB sent", staged_bytes as f64 / 1e6, *sent as f64 / 1e6)?;
    writeln!(out, "{:.1} bytes a row sent", *sent as f64 / rows as f64)?;
    writeln!(out, "{:.2} s of the server's processor", *server_micros as f64 / 1e6)?;
    Ok(())
}
