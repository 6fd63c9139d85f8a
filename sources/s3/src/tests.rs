use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use arrow_array::cast::AsArray;
use expect_test::Expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::{BoxError, Read, Resume, Source, SourceConfig};
use forebay_testkit::services::{ACCESS_KEY, S3Server, SECRET_KEY};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::S3;

mod file;
mod ledger;
mod local;
mod messages;
mod notified;
mod odd;
mod remote;
mod trouble;

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(path: &Path, more: &[(&str, &str)]) -> S3 {
    let keys = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    configured(path.to_str().unwrap(), Value::Object(keys))
}

/// The source of `path` with more keys.
fn configured(path: &str, more: Value) -> S3 {
    let mut keys = json!({ "path": path });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(keys).unwrap()
}

/// The next read, which comes within [`PATIENCE`].
async fn next(source: &mut dyn Source) -> Option<Read> {
    let next = tokio::time::timeout(PATIENCE, source.next()).await;
    next.unwrap_or_else(|_| panic!("nothing for {PATIENCE:?}")).unwrap()
}

/// The rows of reads that have one column of text.
fn messages(reads: &[Read]) -> Vec<String> {
    let texts = reads.iter().flat_map(|it| it.rows.column(0).as_string::<i32>().iter().flatten());
    texts.map(str::to_owned).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A directory with these objects.
fn bucket(objects: &[(&str, &[u8])]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (key, bytes) in objects {
        put(&directory, key, bytes);
    }
    directory
}

fn put(directory: &TempDir, key: &str, bytes: &[u8]) {
    let path = directory.path().join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Each read as the key, where it ends, its rows and what was refused.
fn shown(reads: &[Read]) -> String {
    let mut text = String::new();
    for read in reads {
        let (key, _) = read.span.partition.as_str().rsplit_once('@').unwrap();
        let rows: Vec<&str> = read.rows.column(0).as_string::<i32>().iter().flatten().collect();
        text.push_str(&format!("{key} ({}..{}] {}\n", read.span.from, read.span.to, rows.join(" ")));
        for refusal in &read.refused {
            let payload = String::from_utf8_lossy(&refusal.payload);
            text.push_str(&format!("  refused {} {payload:?}: {}\n", refusal.position, refusal.why));
        }
    }
    text
}

async fn check(config: &S3, expected: Expect) {
    expected.assert_eq(&shown(&forebay_testkit::read(config, Resume::start()).await));
}

async fn failure(config: &S3, resume: Resume) -> String {
    let found: Result<(), BoxError> = async {
        let mut source = config.open(resume).await?;
        while source.next().await?.is_some() {}
        Ok(())
    }
    .await;
    found.unwrap_err().to_string()
}

/// An S3 server with a bucket `logs` of these objects.
fn server(objects: &[(&str, &[u8])]) -> S3Server {
    let server = S3Server::start();
    server.create_bucket("logs");
    for (key, bytes) in objects {
        put_into(&server, key, bytes);
    }
    server
}

/// Puts an object into the bucket `logs`.
fn put_into(server: &S3Server, key: &str, bytes: &[u8]) {
    let path = server.directory().join("logs").join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The table `aws` for a server of the tests.
fn aws(endpoint: &str) -> Value {
    json!({ "region": "us-east-1", "endpoint": endpoint, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY })
}

/// The source of `path` at a server, with more keys.
fn remote(endpoint: &str, path: &str, more: Value) -> S3 {
    let mut keys = json!({ "aws": aws(endpoint) });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    configured(path, keys)
}
