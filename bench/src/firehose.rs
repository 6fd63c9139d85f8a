//! Events from files of JSON lines into Data Firehose.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use forebay_testkit::services::{ACCESS_KEY, FirehoseServer, SECRET_KEY};

use crate::Outcome;
use crate::beacon_requests::event;
use crate::data::{emptied, home};
use crate::program::forebay;
use crate::report::{Job, show, take_turns};

#[derive(Args)]
pub struct Settings {
    /// How many events.
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// How often each job is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const STREAMS: [&str; 2] = ["single", "packed"];
/// Events of a file.
const FILE_EVENTS: u64 = 20_000;

/// The program from files into nothing, and into a stream, with an event to a record and with as many as fit.
pub fn run(settings: &Settings) -> Outcome {
    let server = FirehoseServer::start();
    STREAMS.iter().for_each(|it| server.create_stream(it));
    let (directory, bytes) = files(settings.rows)?;
    let home = home()?.join("firehose");
    emptied(&home)?;
    let job = |name, sink: &str| -> Result<Job, Box<dyn Error>> {
        let source = format!(
            "type = \"s3\"\npath = \"{}\"\nformat = \"json_lines\"\ncolumns = {{ \"@timestamp\" = \"timestamp:rfc3339\", \
             \"event.id\" = \"text\", \"event.action\" = \"text\", \"url.full\" = \"text\", \"transaction.id\" = \"text\", \
             \"http.request.referrer\" = \"text\", \"event.duration\" = \"i64\", \"service.name\" = \"text\", \
             \"service.version\" = \"text\" }}\n",
            directory.display()
        );
        forebay(
            name,
            &home,
            format!(
                "[dead_letters]\npath = \"refused\"\n\n[sources.events]\n{source}\n[sinks.out]\ninputs = [\"events\"]\n{sink}"
            ),
        )
    };
    let stream = |name: &str, more: &str| {
        format!(
            "type = \"firehose\"\nstream = \"{name}\"\n{more}aws = {{ region = \"us-east-1\", endpoint = \"{}\", \
             access_key_id = \"{ACCESS_KEY}\", secret_access_key = \"{SECRET_KEY}\" }}\n",
            server.endpoint()
        )
    };
    let mut jobs = vec![
        job("json blackhole", "type = \"blackhole\"\n")?,
        job("json firehose", &stream(STREAMS[0], ""))?,
        job("json firehose packed", &stream(STREAMS[1], "pack = \"100KB\"\n"))?,
    ];
    take_turns(&mut jobs, settings.rounds)?;
    show("files of JSON lines into Data Firehose", &jobs, settings.rows, bytes);
    for name in STREAMS {
        let lines = server.records(name).iter().map(|it| memchr::memchr_iter(b'\n', it).count() as u64).sum::<u64>();
        let due = settings.rows * (settings.rounds as u64 + 1);
        if lines != due {
            return Err(format!("stream `{name}` has {lines} events of {due}").into());
        }
    }
    Ok(())
}

/// Files with so many events, and the bytes of all.
fn files(rows: u64) -> Result<(PathBuf, u64), Box<dyn Error>> {
    let directory = home()?.join(format!("events-{rows}"));
    emptied(&directory)?;
    let mut bytes = 0;
    for first in (0..rows).step_by(FILE_EVENTS as usize) {
        let mut file = BufWriter::new(File::create(directory.join(format!("{first:012}.json")))?);
        for number in first..rows.min(first + FILE_EVENTS) {
            let event = event(number);
            bytes += event.len() as u64 + 1;
            writeln!(file, "{event}")?;
        }
        file.flush()?;
    }
    Ok((directory, bytes))
}
