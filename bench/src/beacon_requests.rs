//! What browsers send: requests as bytes, each with events of its own.

use std::error::Error;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

/// Events of a request that has many, each on a line.
pub const BATCH_EVENTS: u64 = 100;

/// Which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One event, as `navigator.sendBeacon` sends it.
    Single,
    /// [`BATCH_EVENTS`] events, compressed, as a collector in front sends them.
    Batch,
}

/// All requests of a run.
pub enum Requests {
    /// A request in which each one puts the number of its event.
    Single {
        /// With a number of zeros.
        pattern: Vec<u8>,
        /// Where the number stands.
        number_at: usize,
    },
    /// Made in advance: to compress them takes longer than to send them.
    Batch(Vec<Vec<u8>>),
}

/// Digits of the number of an event, at the end of its id.
const DIGITS: usize = 12;

const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
];

impl Requests {
    /// So many requests of a kind.
    pub fn new(kind: Kind, count: u64) -> Result<Self, Box<dyn Error>> {
        Ok(match kind {
            Kind::Single => {
                let pattern = request("text/plain;charset=UTF-8", "", event(0).as_bytes(), 0);
                let zeros = "0".repeat(DIGITS);
                let number_at = find(&pattern, zeros.as_bytes()).ok_or("the event has no number")?;
                Self::Single { pattern, number_at }
            }
            Kind::Batch => Self::Batch((0..count).map(batch).collect::<Result<_, _>>()?),
        })
    }

    /// Puts the bytes of a request in place of what `to` holds.
    pub fn write(&self, number: u64, to: &mut Vec<u8>) {
        to.clear();
        match self {
            Self::Single { pattern, number_at } => {
                to.extend_from_slice(pattern);
                let digits = format!("{number:0DIGITS$}");
                to[*number_at..*number_at + DIGITS].copy_from_slice(digits.as_bytes());
            }
            Self::Batch(requests) => to.extend_from_slice(&requests[number as usize]),
        }
    }
}

/// How many events a request of a kind has.
pub fn events(kind: Kind) -> u64 {
    match kind {
        Kind::Single => 1,
        Kind::Batch => BATCH_EVENTS,
    }
}

/// The bytes of the events of a run, before they are compressed.
pub fn bytes(kind: Kind, count: u64) -> u64 {
    (0..100).map(|it| event(it).len() as u64).sum::<u64>() * count * events(kind) / 100
}

/// What a page says of a view: the fields of `clients/beacon.js`.
pub fn event(number: u64) -> String {
    // Pages are of different fame, and views of different length.
    let page = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    let duration = (number.wrapping_mul(0xd134_2543_de82_ef95) >> 30) + 1_000_000;
    let millis = number / 7 % 1000;
    let second = number / 7_000 % 60;
    format!(
        r#"{{"@timestamp":"2026-11-22T08:00:{second:02}.{millis:03}Z","event.id":"0b1e5c7a-93d4-4f6e-8a21-{number:0DIGITS$}","event.action":"pageview","url.full":"https://www.example.com/articles/{page}/how-to-measure?utm_source=letter","transaction.id":"5f0d1c2b-77aa-4c1d-9e3f-{number:0DIGITS$}","http.request.referrer":"https://www.example.com/articles","event.duration":{duration},"service.name":"blog","service.version":"2026.11.3"}}"#
    )
}

fn batch(nth: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    for number in nth * BATCH_EVENTS..(nth + 1) * BATCH_EVENTS {
        encoder.write_all(event(number).as_bytes())?;
        encoder.write_all(b"\n")?;
    }
    Ok(request("application/x-ndjson", "Content-Encoding: gzip\r\n", &encoder.finish()?, nth))
}

/// A request with the head that Chromium gives it.
fn request(kind: &str, coding: &str, body: &[u8], number: u64) -> Vec<u8> {
    let browser = BROWSERS[number as usize % BROWSERS.len()];
    let length = body.len();
    let head = format!(
        "POST /beacon HTTP/1.1\r\nHost: telemetry.example.com\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\
         sec-ch-ua-platform: \"macOS\"\r\nUser-Agent: {browser}\r\n\
         sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
         Content-Type: {kind}\r\n{coding}sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://www.example.com\r\n\
         Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n\
         Referer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn find(within: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(within, part)
}
