//! Work for an instruction counter: `hot <work> <requests>` sends so many requests of a hundred events to a source, each a
//! gzip of lines as a collector in front sends them, and prints nothing. Works: `inflate`, with which this is all, and `rows`,
//! with which the rows are read too.
//!
//! Rows are made on threads of the source, so no function of this program stands for it. In a release build:
//!
//! ```sh
//! cargo build --release -p source-beacon --example hot
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*reading::Reading*::next' \
//!     target/release/examples/hot rows 50
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*body::decompress' \
//!     target/release/examples/hot inflate 50
//! ```
//!
//! What was counted, divided by the events (a hundred times the requests), is the price of an event.

use std::io::Write;
use std::net::TcpListener;

use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::{BoxError, Resume, SourceConfig};
use source_beacon::Beacon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Events of a request.
const EVENTS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, requests] = &arguments[..] else { return Err("give a work and a number of requests".into()) };
    let requests: usize = requests.parse()?;
    let directory = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config: Beacon = toml::from_str(&format!(
        "listen = '{address}'\nspool = {{ directory = '{}', durability = 'memory' }}",
        directory.path().display()
    ))?;
    let mut source = config.open(Resume::start()).await?;
    let mut client = TcpStream::connect(address).await?;
    for nth in 0..requests {
        send(&mut client, &request(nth)?).await?;
    }
    // All requests are there before the first of them is read, so that the reads are the same each time.
    let mut rows = 0;
    let due = match work.as_str() {
        "inflate" => 0,
        "rows" => requests * EVENTS,
        other => return Err(format!("no work is named `{other}`").into()),
    };
    while rows < due {
        let read = source.next().await?.ok_or("the source has ended")?;
        assert!(read.refused.is_empty(), "all events are good");
        rows += read.rows.num_rows();
    }
    Ok(())
}

/// Sends a request, and waits for its answer.
async fn send(client: &mut TcpStream, request: &[u8]) -> Result<(), BoxError> {
    client.write_all(request).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if client.read_buf(&mut answer).await? == 0 {
            return Err("there is no answer".into());
        }
    }
    match answer.starts_with(b"HTTP/1.1 204 ") {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&answer).into()),
    }
}

/// A request with its head.
fn request(nth: usize) -> Result<Vec<u8>, BoxError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    for number in nth * EVENTS..(nth + 1) * EVENTS {
        encoder.write_all(event(number as u64).as_bytes())?;
    }
    let body = encoder.finish()?;
    let length = body.len();
    let head = format!(
        "POST /beacon HTTP/1.1\r\nHost: telemetry.example.com\r\nContent-Type: application/x-ndjson\r\n\
         Content-Encoding: gzip\r\nContent-Length: {length}\r\nReferer: https://www.example.com/\r\nUser-Agent: Mozilla/5.0 \
         (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\r\n"
    );
    Ok([head.as_bytes(), &body].concat())
}

/// What a page says of a view, on a line. Pages are of different fame, and views of different length.
fn event(number: u64) -> String {
    let page = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    let duration = (number.wrapping_mul(0xd134_2543_de82_ef95) >> 30) + 1_000_000;
    let (millis, second) = (number / 7 % 1000, number / 7_000 % 60);
    format!(
        "{{\"@timestamp\":\"2026-11-22T08:00:{second:02}.{millis:03}Z\",\"event.id\":\"0b1e5c7a-93d4-4f6e-8a21-{number:012}\",\
         \"event.action\":\"pageview\",\"url.full\":\"https://www.example.com/articles/{page}/how-to-measure?utm_source=letter\",\
         \"transaction.id\":\"5f0d1c2b-77aa-4c1d-9e3f-{number:012}\",\"http.request.referrer\":\
         \"https://www.example.com/articles\",\"event.duration\":{duration},\"service.name\":\"blog\",\"service.version\":\
         \"2026.11.3\"}}\n"
    )
}
