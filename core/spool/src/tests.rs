use std::sync::Arc;

use bytes::Bytes;

use crate::log::Log;
use crate::reader::{Entry, Reader};
use crate::simulated::SimulatedDisk;
use crate::{AppendError, Disk, Options};

mod any_bytes;
mod damage;
mod disk;
mod pieces;
mod simulation;
mod threads;

/// Small segments, so that there are many.
fn options(bytes_max: u64, segment_bytes: u64) -> Options {
    Options { segment_bytes, ..Options::new(bytes_max) }
}

/// Appends one group as the thread does.
fn append(log: &mut Log, payloads: &[Bytes]) -> (Vec<u64>, Option<AppendError>) {
    let before = log.durable;
    let (written, refused) = log.write(payloads.to_vec());
    match log.sync() {
        Ok(()) => ((before + 1..=before + written as u64).collect(), refused),
        Err(error) => {
            log.forget();
            (Vec::new(), Some(error))
        }
    }
}

/// All that a reader gives now.
fn rest(reader: &mut Reader) -> Vec<Entry> {
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

/// A line for each entry.
fn shown(entries: &[Entry]) -> String {
    let line = |it: &Entry| match it {
        Entry::Frame { sequence, payload } => format!("{sequence} {}\n", String::from_utf8_lossy(payload)),
        Entry::Lost { first, last } => format!("{first} to {last} lost\n"),
    };
    entries.iter().map(line).collect()
}

fn disk(seed: u64) -> (SimulatedDisk, Arc<dyn Disk>) {
    let disk = SimulatedDisk::new(seed);
    (disk.clone(), Arc::new(disk))
}
