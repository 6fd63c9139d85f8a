//! Requests to the web site, as they come.

use std::time::{Instant, SystemTime};

use forebay_testkit::services::aggregate;
use source_demo::{Column, Traffic, realtime};

/// The fields of the log configuration: those that the preset expects.
fn fields() -> Vec<Column> {
    let not_yet = ["s-ip", "r-host", "sr-reason", "x-edge-mqcs", "distribution-tenant-id", "connection-id"];
    let names = forebay_codec::cloudfront::REALTIME_FIELDS.iter().copied();
    let names = names.filter(|it| !it.starts_with("cmcd-") && !not_yet.contains(it));
    names.map(|it| realtime(it).expect("the demo knows CloudFront's fields")).collect()
}

/// Records to put: partition keys and data.
pub type Records = Vec<(String, Vec<u8>)>;

/// Makes log lines at a rate.
pub struct Visitors {
    traffic: Traffic,
    fields: Vec<Column>,
    rate: u64,
    aggregate: usize,
    begun: Instant,
    count: u64,
}

impl Visitors {
    /// So many lines in a second from now on; so many in a record.
    pub fn new(rate: u64, aggregate: usize) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let traffic =
            Traffic { seed: now.as_secs(), start_ms: now.as_millis() as i64, spacing_ms: (1_000 / rate.max(1)).max(1) };
        Self { traffic, fields: fields(), rate, aggregate: aggregate.max(1), begun: Instant::now(), count: 0 }
    }

    /// How many lines were made.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is due by now, if anything.
    pub fn come(&mut self) -> Option<Records> {
        let due = (self.begun.elapsed().as_secs_f64() * self.rate as f64) as u64;
        let lines: Vec<String> = (self.count..due).map(|row| self.line(row)).collect();
        self.count = self.count.max(due);
        let record = |(lines, nth): (&[String], u64)| {
            // All of a record belong to the shard that it is put to, or readers take them for leftovers of another one.
            let key = nth.to_string();
            let data = match lines {
                [line] if self.aggregate == 1 => line.clone().into_bytes(),
                lines => aggregate(&lines.iter().map(|it| (key.as_str(), None, it.as_bytes())).collect::<Vec<_>>()),
            };
            (key, data)
        };
        let records: Records = lines.chunks(self.aggregate).zip(self.count..).map(record).collect();
        (!records.is_empty()).then_some(records)
    }

    fn line(&self, row: u64) -> String {
        let request = self.traffic.request(0, row + 1);
        let mut line = String::with_capacity(1_200);
        for (nth, field) in self.fields.iter().enumerate() {
            if nth > 0 {
                line.push('\t');
            }
            field(&request, &mut line);
        }
        line.push('\n');
        line
    }
}
