//! Writes the files under `examples/data`, the same ones each time: `cargo run -p source-demo --example write_example_data`

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_codec::cloudfront::STANDARD_FIELDS;
use source_demo::{Column, Generation, Request, Traffic, realtime, standard};

fn main() -> io::Result<()> {
    for file in files() {
        let path = directory().join(file.name);
        fs::create_dir_all(path.parent().expect("a file is in a directory"))?;
        fs::write(path, file.bytes()?)?;
    }
    Ok(())
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data")
}

/// A file of lines.
struct ExampleFile {
    /// Below `examples/data`.
    name: &'static str,
    text: String,
    /// Of how many gzip members it is; 0 is plain text.
    members: usize,
}

impl ExampleFile {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        if self.members == 0 {
            return Ok(self.text.clone().into_bytes());
        }
        let mut bytes = Vec::new();
        // The cuts fall into the middle of lines, as they may.
        for member in self.text.as_bytes().chunks(self.text.len().div_ceil(self.members)) {
            // Neither a time nor a name is written into the header.
            let mut encoder = GzEncoder::new(bytes, Compression::best());
            encoder.write_all(member)?;
            bytes = encoder.finish()?;
        }
        Ok(bytes)
    }
}

/// 2026-11-01T00:00:00Z.
const MIDNIGHT_MS: i64 = 1_793_491_200_000;
const HOUR_MS: i64 = 3_600_000;

fn files() -> Vec<ExampleFile> {
    let file = |name, members, text| ExampleFile { name, text, members };
    vec![
        file("realtime/2026-11-01-00.gz", 1, realtime_hour(0, 800)),
        file("realtime/2026-11-01-09.gz", 3, realtime_hour(9, 1600)),
        file("realtime/2026-11-01-18.gz", 1, realtime_hour(18, 2600)),
        file("realtime/2026-11-02-00.gz", 1, realtime_hour(24, 1000)),
        file("realtime/2026-11-02-12.gz", 1, realtime_hour(36, 3000)),
        file("realtime/odd.log", 0, realtime_odd()),
        file("standard/EXAMPLE.2026-11-01-00.2f1c7a90.gz", 1, standard_hour(0, 1600, &STANDARD_FIELDS[..33])),
        file("standard/EXAMPLE.2026-11-01-12.b83d50e4.gz", 1, standard_hour(12, 1400, &STANDARD_FIELDS[..26])),
        file("standard/odd.log", 0, standard_odd()),
    ]
}

/// An hour of requests, of which each hour has others.
fn requests(hour: u32, rows: u64) -> impl Iterator<Item = Request> {
    // A little less than the hour, since some requests are logged late.
    let spacing_ms = (HOUR_MS as u64 - 20_000) / rows;
    let traffic = Traffic { seed: 2026, start_ms: MIDNIGHT_MS + i64::from(hour) * HOUR_MS, spacing_ms };
    (1..=rows).map(move |row| traffic.request(hour, row))
}

fn values(request: &Request, columns: &[Column]) -> Vec<String> {
    let value = |column: &Column| {
        let mut value = String::new();
        column(request, &mut value);
        value
    };
    columns.iter().map(value).collect()
}

fn line(request: &Request, columns: &[Column]) -> String {
    values(request, columns).join("\t") + "\n"
}

fn realtime_columns() -> Vec<Column> {
    Generation::default().fields().into_iter().filter_map(realtime).collect()
}

fn realtime_hour(hour: u32, rows: u64) -> String {
    let columns = realtime_columns();
    requests(hour, rows).map(|it| line(&it, &columns)).collect()
}

fn standard_hour(hour: u32, rows: u64, fields: &[&str]) -> String {
    let columns: Vec<Column> = fields.iter().filter_map(|it| standard(it)).collect();
    let mut text = format!("#Version: 1.0\n#Fields: {}\n", fields.join(" "));
    for (nth, request) in requests(hour, rows).enumerate() {
        text.push_str(&line(&request, &columns));
        if nth % 400 == 399 {
            // As in the sample of CloudFront's documentation.
            text.insert(text.len() - 1, '\t');
        }
    }
    text
}

/// A good row in which some fields are replaced.
struct Oddities {
    fields: Vec<&'static str>,
    columns: Vec<Column>,
    requests: Vec<Request>,
    text: String,
}

impl Oddities {
    fn new(fields: Vec<&'static str>, column: fn(&str) -> Option<Column>) -> Self {
        let columns = fields.iter().filter_map(|it| column(it)).collect();
        Self { fields, columns, requests: requests(48, 20).collect(), text: String::new() }
    }

    /// The values of the next good row, with these in place of its own.
    fn next(&mut self, replaced: &[(&str, &str)]) -> Vec<String> {
        let mut values = values(&self.requests.remove(0), &self.columns);
        for (field, value) in replaced {
            let at = self.fields.iter().position(|it| it == field).expect("a field of the line");
            values[at] = (*value).to_owned();
        }
        values
    }

    fn add(&mut self, values: &[String]) {
        self.text.push_str(&values.join("\t"));
        self.text.push('\n');
    }

    fn add_with(&mut self, replaced: &[(&str, &str)]) {
        let values = self.next(replaced);
        self.add(&values);
    }
}

fn realtime_odd() -> String {
    let mut odd = Oddities::new(Generation::default().fields(), realtime);
    let everything = vec!["-".to_owned(); odd.fields.len()];
    odd.add(&everything);
    odd.add_with(&[
        ("sc-status", "000"),
        ("sc-bytes", "0"),
        ("sc-content-type", "-"),
        ("x-edge-result-type", "Error"),
        ("x-edge-detailed-result-type", "ClientCommError"),
    ]);
    odd.add_with(&[
        ("cs-uri-stem", "/a%20b/100%25/%2522quoted%2522?q=%253Cb%253E&next=%252Fhome%253Fx%253D1"),
        ("cs-uri-query", "q=%253Cb%253E&next=%252Fhome%253Fx%253D1"),
        ("cs-user-agent", "Mozilla/5.0%2520(twice%2520encoded)"),
        ("cs-headers", "Host:www.example.com%0AX-Empty:%0AX-Percent:100%25%0AX-Line:a%250Ab%0A"),
        ("cs-header-names", "Host%0AX-Empty%0AX-Percent%0AX-Line%0A"),
        ("cs-headers-count", "4"),
    ]);
    odd.add_with(&[
        ("cs-uri-stem", "/größen/雨具"),
        ("cs-user-agent", "Браузер/1.0 🦀"),
        ("cs-referer", "https://bücher.example/"),
    ]);
    odd.add_with(&[
        ("cs-uri-stem", "/it's\\\"; DROP TABLE cdn_logs; --"),
        ("cs-cookie", "{\"json\":\"yes\",\"comma\":[1,2]}"),
    ]);
    let few = odd.next(&[]);
    odd.add(&few[..few.len() - 1]);
    let mut many = odd.next(&[]);
    many.push("unexpected".into());
    odd.add(&many);
    let mut with_tab = odd.next(&[]);
    with_tab.push(String::new());
    odd.add(&with_tab);
    odd.text.push('\n');
    let long = format!("Mozilla/5.0%20({})", "long;%20".repeat(1024));
    odd.add_with(&[("cs-user-agent", &long[..8192])]);
    odd.add_with(&[
        ("c-ip", "2001:db8::8a2e:370:7334"),
        ("c-ip-version", "IPv6"),
        ("x-forwarded-for", "2001:db8::1,%20192.0.2.7"),
    ]);
    odd.add_with(&[("c-ip", "::ffff:192.0.2.128"), ("c-ip-version", "IPv6")]);
    odd.add_with(&[("x-edge-result-type", "ResultOfTheFuture"), ("c-country", "-"), ("sc-status", "499")]);
    odd.add_with(&[]);
    let end = odd.text.pop();
    odd.text.push('\r');
    odd.text.extend(end);
    odd.add_with(&[]);
    odd.text.pop();
    odd.text
}

fn standard_odd() -> String {
    let mut odd = Oddities::new(STANDARD_FIELDS[..33].to_vec(), standard);
    let before_header = odd.next(&[]);
    odd.add(&before_header);
    odd.text.push_str(&format!("#Version: 1.0\n#Fields: {}\n", odd.fields.join(" ")));
    let everything = vec!["-".to_owned(); odd.fields.len()];
    odd.add(&everything);
    odd.add_with(&[
        ("sc-status", "000"),
        ("x-edge-result-type", "Error"),
        ("x-edge-detailed-result-type", "ClientHungUpRequest"),
    ]);
    odd.add_with(&[
        ("cs-uri-stem", "/a%2520b/%2522quoted%2522"),
        ("cs(User-Agent)", "Mozilla/5.0%2520(twice%2520encoded)"),
    ]);
    odd.add_with(&[("cs-uri-stem", "/größen/雨具"), ("cs(Referer)", "https://bücher.example/")]);
    odd.add_with(&[("c-ip", "2001:db8::8a2e:370:7334")]);
    let few = odd.next(&[]);
    odd.add(&few[..12]);
    let mut many = odd.next(&[]);
    many.extend(["-".to_owned(), "unexpected".to_owned()]);
    odd.add(&many);
    odd.text.push('\n');
    let long = "agent%20".repeat(1024);
    odd.add_with(&[("cs(User-Agent)", &long)]);
    // Logs of two distributions that were joined: another header, in the middle.
    odd.text.push_str("#Version: 1.0\n#Fields: date time c-ip sc-status\n2026-11-03\t00:00:07\t192.0.2.9\t200\n");
    odd.text
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;

    /// Scenario: the committed example data is held against what this program writes.
    /// Guarantees: it can be made again. The compressed bytes may differ, since they are the compressor's own affair.
    #[test]
    fn committed_files_are_fresh() {
        for file in files() {
            let committed = fs::read(directory().join(file.name)).unwrap();
            let mut text = String::new();
            if file.members == 0 {
                text = String::from_utf8(committed).unwrap();
            } else {
                assert_eq!(committed[4..8], [0; 4], "{} has a time in its header", file.name);
                MultiGzDecoder::new(&committed[..]).read_to_string(&mut text).unwrap();
            }
            let differs = text.lines().zip(file.text.lines()).position(|(committed, fresh)| committed != fresh);
            assert_eq!(
                differs, None,
                "{} is stale: `cargo run -p source-demo --example write_example_data`",
                file.name
            );
            assert_eq!(text.len(), file.text.len(), "{} is stale", file.name);
        }
    }
}
