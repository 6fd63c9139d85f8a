use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::Array;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use forebay_api::{Position, Read, Resume, Source, SourceConfig};
use forebay_spool::Spool;
use forebay_spool::simulated::SimulatedDisk;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Beacon;
use crate::frame::{Frame, Kind};

mod bounds;
mod contract;
mod copies;
mod events;
mod file;
mod http;
mod queries;
mod rows;
mod security;
mod small;

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source with these keys on a disk in memory, of which tests read what is there.
fn beacon(keys: Value) -> Beacon {
    let mut all = json!({ "listen": "127.0.0.1:0", "spool": { "directory": "unused" } });
    all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut beacon: Beacon = serde_json::from_value(all).unwrap();
    beacon.tuning.ends = true;
    beacon.tuning.disk = Some(SimulatedDisk::new(1));
    beacon
}

/// A request of 2026-11-22T08:00:00Z, and so many seconds more.
fn frame(seconds: u64, body: &str) -> Frame {
    let millis = 1_795_334_400_000 + 1000 * seconds;
    Frame {
        kind: Kind::Json,
        is_stripped: false,
        is_hashed: false,
        received_millis: millis,
        tick_millis: millis,
        address: Some("192.0.2.7".to_owned()),
        user_agent: Some("Firefox".to_owned()),
        referrer: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// Puts requests into the spool of a source.
async fn put(beacon: &Beacon, frames: impl IntoIterator<Item = Frame>) {
    let disk = beacon.tuning.disk.clone().unwrap();
    let spool = Spool::open(Arc::new(disk), beacon.options(&Default::default())).unwrap();
    for frame in frames {
        spool.append(frame.encode()).await.unwrap();
    }
}

/// What the source reads, from the beginning.
async fn read(beacon: &Beacon) -> Vec<Read> {
    forebay_testkit::read(beacon, Resume::start()).await
}

/// A line for each row with what is not null, without what all of them have; and a line for each refusal.
fn shown(reads: &[Read]) -> String {
    const USUAL: [&str; 4] = ["event.ingested", "@timestamp", "client.ip", "user_agent.original"];
    let mut lines = Vec::new();
    for read in reads {
        let options = FormatOptions::default();
        let columns = read.rows.schema();
        for row in 0..read.rows.num_rows() {
            let mut line = String::new();
            for (nth, array) in read.rows.columns().iter().enumerate() {
                let name = columns.field(nth).name().as_str();
                let value = ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string();
                let usual = match name {
                    "client.ip" => value == "192.0.2.7",
                    "user_agent.original" => value == "Firefox",
                    _ => value.starts_with("2026-11-22T08:00:"),
                };
                if array.is_valid(row) && !(USUAL.contains(&name) && usual) {
                    line += &format!(" {name}={value}");
                }
            }
            lines.push((read.position(row), line));
        }
        for refusal in &read.refused {
            let payload = String::from_utf8_lossy(&refusal.payload);
            lines.push((refusal.position.clone(), format!(" REFUSED {payload:?}: {}", refusal.why)));
        }
    }
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines.into_iter().map(|(position, line)| format!("{position}{line}\n")).collect()
}

/// A server.
struct Served {
    source: Box<dyn Source>,
    address: SocketAddr,
}

/// A source that listens.
async fn serve(beacon: &mut Beacon) -> Served {
    let told = Arc::new(Mutex::new(None));
    (beacon.tuning.ends, beacon.tuning.told) = (false, Some(told.clone()));
    let source = beacon.open(Resume::start()).await.unwrap();
    let address = told.lock().unwrap().unwrap();
    Served { source, address }
}

impl Served {
    /// The next read.
    async fn next(&mut self) -> Read {
        let read = tokio::time::timeout(PATIENCE, self.source.next()).await.expect("there is something to read");
        read.unwrap().unwrap()
    }

    /// Sends bytes, and gives all that comes back until the server closes; or, of an answer that says its length, until its
    /// end.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may have closed before it has all.
        let _ = stream.write_all(bytes.as_ref()).await;
        answer(&mut stream).await
    }

    /// Posts a body to `/beacon` with more lines of a head.
    async fn post(&self, head: &str, body: impl AsRef<[u8]>) -> String {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: {length}\r\n{head}\r\n");
        self.send([head.as_bytes(), body].concat()).await
    }
}

/// One answer.
async fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let reading = async {
        loop {
            let mut some = [0; 4096];
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => break,
                Ok(n) => all.extend_from_slice(&some[..n]),
            }
            let text = String::from_utf8_lossy(&all).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if head.contains(" 204 ") || length.is_some_and(|it| body.len() >= it) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("there is an answer, or an end");
    let text = String::from_utf8_lossy(&all).replace("\r\n", "\n");
    let text: String = text.chars().map(|it| if it.is_control() && it != '\n' { '·' } else { it }).collect();
    // The time differs from run to run, and nothing depends on it.
    text.lines().filter(|it| !it.starts_with("date: ")).map(|it| format!("{it}\n")).collect()
}

/// The first line of an answer, as far as it matters.
fn status(answer: &str) -> &str {
    answer.lines().next().and_then(|it| it.strip_prefix("HTTP/1.1 ")).unwrap_or("closed")
}

/// How far a source has come.
fn end(reads: &[Read]) -> Position {
    reads.last().map_or(Position::Start, |it| it.span.to.clone())
}
