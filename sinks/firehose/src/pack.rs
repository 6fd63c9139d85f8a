//! Lines as records, and records as requests, within the limits of Firehose.
//!
//! "Amazon Data Firehose Quota" of the developer guide, and `PutRecordBatch` of the API reference.

use std::collections::VecDeque;

use crate::bill::billed;

/// The largest record, before base64.
pub(crate) const RECORD_BYTES_MAX: usize = 1000 << 10;

/// The most records of a request.
const RECORDS_MAX: usize = 500;

/// The most bytes of the records of a request together, before base64.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) data: Vec<u8>,
    /// How many rows are in it.
    pub(crate) rows: u64,
    /// As how many bytes they would be billed, if each were a record.
    pub(crate) billed_apart: u64,
}

impl Record {
    fn add(&mut self, line: &[u8]) {
        self.data.extend_from_slice(line);
        self.rows += 1;
        self.billed_apart += billed(line.len());
    }
}

/// Makes records of lines.
#[derive(Debug)]
pub(crate) struct Packer {
    /// How large a record of several lines may be; `None`: there are none of several.
    bytes_max: Option<usize>,
    /// The record that may still grow.
    open: Record,
    /// Those that are ready, in order.
    ready: VecDeque<Record>,
}

impl Packer {
    pub(crate) fn new(bytes_max: Option<usize>) -> Self {
        Self { bytes_max, open: Record::default(), ready: VecDeque::new() }
    }

    /// Adds a line of at most [`RECORD_BYTES_MAX`].
    pub(crate) fn add(&mut self, line: &[u8]) {
        if self.open.rows > 0 && self.bytes_max.is_none_or(|max| self.open.data.len() + line.len() > max) {
            self.finish();
        }
        self.open.add(line);
    }

    /// There are no more lines.
    pub(crate) fn finish(&mut self) {
        if self.open.rows > 0 {
            self.ready.push_back(std::mem::take(&mut self.open));
        }
    }

    /// Whether there are enough records that are ready for a request to be full.
    pub(crate) fn fills_a_request(&self) -> bool {
        let mut bytes = 0;
        self.ready.len() >= RECORDS_MAX
            || self.ready.iter().any(|it| {
                bytes += it.data.len();
                bytes >= REQUEST_BYTES_MAX
            })
    }

    /// Takes the records of one request, the first ones, as many as it may have.
    pub(crate) fn request(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(record) = self.ready.front() {
            bytes += record.data.len();
            if records.len() == RECORDS_MAX || bytes > REQUEST_BYTES_MAX {
                break;
            }
            records.extend(self.ready.pop_front());
        }
        records
    }
}
