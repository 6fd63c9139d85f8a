//! Shared by all: rows to write, a table in a directory of its own, and what a reader sees there.

mod chunks;
mod crash;
mod file;
mod partition;
mod plan;
mod prefix;
mod s3;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::TimestampMillisecondType;
use arrow_array::{ArrayRef, Int32Array, PrimitiveArray, RecordBatch, StringArray};
use forebay_api::{Draft, Refused, Sink, SinkConfig};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::Parquet;

/// 2026-11-01T07:00:00Z in milliseconds.
const SEVEN: i64 = 1_793_516_400_000;
const HOUR: i64 = 3_600_000;

/// A table in a directory of its own, `rows`, which is not there yet.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("rows")
    }

    fn config(&self, keys: &str) -> Parquet {
        toml::from_str(&format!("path = {:?}\n{keys}", self.path())).unwrap()
    }

    async fn open(&self, keys: &str, rows: &RecordBatch) -> Box<dyn Sink> {
        let config = self.config(keys);
        config.plan(&rows.schema()).unwrap();
        config.open(rows.schema()).await.unwrap()
    }

    /// Every visible file by its name: what `**/*.parquet` matches.
    fn files(&self) -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::new();
        self.walk(&self.path(), &mut |path| {
            if path.extension().is_some_and(|it| it == "parquet") {
                let name = path.strip_prefix(self.path()).unwrap();
                files.insert(name.to_str().unwrap().to_owned(), path.to_owned());
            }
        });
        files
    }

    /// The names of everything in the staging directory but its lock.
    fn staging(&self) -> Vec<String> {
        let staging = self.path().join(".staging");
        let mut names = Vec::new();
        self.walk(&staging, &mut |path| names.push(path.strip_prefix(&staging).unwrap().to_str().unwrap().to_owned()));
        names.retain(|it| it != "lock");
        names.sort();
        names
    }

    /// Ends the process that `sink` and `draft` are of: it lets go of its locks, and its files stay as they are.
    fn crash(&self, sink: Box<dyn Sink>, draft: Box<dyn Draft>) {
        let (staging, aside) = (self.path().join(".staging"), self.directory.path().join("aside"));
        fs::rename(&staging, &aside).unwrap();
        drop((draft, sink));
        fs::rename(&aside, &staging).unwrap();
    }

    fn walk(&self, directory: &Path, see: &mut dyn FnMut(&Path)) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for path in entries.map(|it| it.unwrap().path()) {
            see(&path);
            self.walk(&path, see);
        }
    }

    /// The files' names without the delivery id, each with its rows.
    fn listing(&self) -> String {
        let mut listing = String::new();
        for (name, path) in self.files() {
            let (directory, file) = name.rsplit_once('/').unwrap_or(("", &name));
            let ordinal = file.split_once('-').unwrap().1;
            listing.push_str(&format!("{directory}/*-{ordinal}\n"));
            for row in forebay_testkit::canonical(&read(&path)) {
                listing.push_str(&format!("    {row}\n"));
            }
        }
        listing
    }

    /// All visible rows.
    fn rows(&self) -> Vec<String> {
        self.files().values().flat_map(|it| forebay_testkit::canonical(&read(it))).collect()
    }
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(|it| it.unwrap()).collect()
}

/// Rows of a time (in milliseconds), a text and their number.
fn events(rows: &[(Option<i64>, Option<&str>)]) -> RecordBatch {
    let times: PrimitiveArray<TimestampMillisecondType> = rows.iter().map(|it| it.0).collect();
    let country: StringArray = rows.iter().map(|it| it.1).collect();
    let number: Int32Array = (0..rows.len() as i32).collect();
    forebay_testkit::columns([
        ("time", Arc::new(times.with_timezone("UTC")) as ArrayRef),
        ("country", Arc::new(country) as ArrayRef),
        ("number", Arc::new(number) as ArrayRef),
    ])
}

async fn begin(sink: &dyn Sink, id: u64) -> Box<dyn Draft> {
    sink.begin(&forebay_testkit::delivery(id)).await.unwrap()
}

/// Makes a whole delivery.
async fn deliver(sink: &dyn Sink, id: u64, batches: &[RecordBatch]) -> Refused {
    let mut draft = begin(sink, id).await;
    let mut refused = Refused::new();
    for batch in batches {
        refused.extend(draft.stage(batch.clone()).await.unwrap());
    }
    refused.extend(draft.commit().await.unwrap());
    refused
}
