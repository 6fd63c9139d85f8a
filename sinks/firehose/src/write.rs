//! The sink and its drafts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::types::{self, DeliveryStreamType};
use aws_smithy_types::Blob;
use forebay_api::{BoxError, DeliveryId, Draft, Refused, RefusedRow, Sink, SinkError, nth_row};
use forebay_aws::{Trouble, backoff, failed, trouble};
use memchr::memchr_iter;

use crate::Firehose;
use crate::bill::Bill;
use crate::encode::Encoder;
use crate::pack::{Packer, RECORD_BYTES_MAX, Record};

/// So often in a row nothing is taken before the engine is told, which waits for longer and says so.
const TRIES: u32 = 5;

/// So many bytes of lines are made at a time, about.
const PIECE_BYTES: usize = 1 << 20;

/// The most rows of a piece.
const PIECE_ROWS_MAX: usize = 4096;

/// Opens the sink. A stream that is not there, or not yet, is waited for later; one that takes no records is not.
pub(crate) async fn open(config: &Firehose, input: &SchemaRef) -> Result<Writer, BoxError> {
    let client = config.aws.firehose().await?;
    let stream = config.stream.clone();
    look(&client, &stream).await?;
    let encoder = Encoder::new(config.shape, input)?;
    let bill = Bill::default();
    let shared =
        Shared { client, stream, encoder, packed_bytes: config.packed_bytes(), bill, drafts: AtomicU64::new(0) };
    Ok(Writer { shared: Arc::new(shared) })
}

/// Finds out early what would show with the first request.
async fn look(client: &Client, stream: &str) -> Result<(), BoxError> {
    let doing = format!("looking at stream `{stream}`");
    match client.describe_delivery_stream().delivery_stream_name(stream).send().await {
        Ok(found) => match found.delivery_stream_description().map(|it| it.delivery_stream_type()) {
            None | Some(DeliveryStreamType::DirectPut) => Ok(()),
            Some(kind) => {
                let kind = kind.as_str();
                Err(format!("stream `{stream}` is of type `{kind}`: it takes no records but from there").into())
            }
        },
        Err(error) => match trouble(&doing, error) {
            Trouble::Wrong(error) => Err(error),
            // Who may write need not have the right to look.
            trouble if trouble.code().is_some_and(|it| it.contains("AccessDenied")) => {
                tracing::debug!("{trouble}");
                Ok(())
            }
            trouble => {
                tracing::warn!("waiting for stream `{stream}`: {trouble}");
                Ok(())
            }
        },
    }
}

/// The sink.
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    stream: String,
    encoder: Encoder,
    packed_bytes: Option<usize>,
    bill: Bill,
    /// How many there were: they are not to wait for the same times.
    drafts: AtomicU64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(told) = self.bill.told(&self.stream) {
            tracing::info!("{told}");
        }
    }
}

#[async_trait]
impl Sink for Writer {
    async fn begin(&self, _id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        let shared = self.shared.clone();
        Ok(Box::new(Delivery {
            seed: shared.drafts.fetch_add(1, Ordering::Relaxed),
            packer: Packer::new(shared.packed_bytes),
            shared,
            batches: Vec::new(),
            next: Place::default(),
            piece_rows: 64,
            request: Vec::new(),
            refused: BTreeMap::new(),
        }))
    }
}

/// A delivery: rows are kept until all are there, and then sent request by request.
struct Delivery {
    shared: Arc<Shared>,
    batches: Vec<RecordBatch>,
    /// The first row that is not a line yet.
    next: Place,
    /// How many rows become lines at a time.
    piece_rows: usize,
    packer: Packer,
    /// What is being sent: the records that Firehose has not taken.
    request: Vec<Record>,
    /// Rows that cannot be records, and why.
    refused: BTreeMap<u64, String>,
    seed: u64,
}

/// How a request has fared since all of one was taken.
#[derive(Default)]
pub(crate) struct Tries {
    /// So often in a row nothing was taken.
    in_vain: u32,
    /// So often not everything was: it is by taking some that a stream throttles.
    incomplete: u32,
}

impl Tries {
    /// What is left is to be sent again: after a wait of this attempt, or `None` if that is for the engine to decide.
    pub(crate) fn again(&mut self, some_were_taken: bool) -> Option<u32> {
        self.in_vain = if some_were_taken { 1 } else { self.in_vain + 1 };
        self.incomplete += 1;
        (self.in_vain < TRIES).then_some(self.incomplete - 1)
    }
}

/// A row among those staged.
#[derive(Clone, Copy, Default)]
struct Place {
    batch: usize,
    /// Within the batch.
    row: usize,
    /// Within the delivery.
    number: u64,
}

#[async_trait]
impl Draft for Delivery {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        self.batches.push(rows);
        Ok(Refused::new())
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        let mut tries = Tries::default();
        loop {
            if self.request.is_empty() {
                self.fill()?;
                if self.request.is_empty() {
                    break;
                }
            }
            let sent = self.request.len();
            let error = match self.send().await {
                Ok(None) => {
                    tries = Tries::default();
                    continue;
                }
                Ok(Some(error)) | Err(Trouble::Retry(error)) => error,
                Err(Trouble::Wrong(error)) => return Err(SinkError::Stop(error)),
                Err(trouble) => return Err(SinkError::Retry(trouble.into_error())),
            };
            let Some(attempt) = tries.again(self.request.len() < sent) else {
                return Err(SinkError::Retry(error));
            };
            tracing::debug!("{error}");
            tokio::time::sleep(backoff(attempt, self.seed)).await;
        }
        let refused = std::mem::take(&mut self.refused);
        Ok(refused
            .into_iter()
            .map(|(row, why)| RefusedRow { row, payload: nth_row(&self.batches, row), why })
            .collect())
    }
}

impl Delivery {
    /// Makes the next request, an empty one if all rows are sent.
    fn fill(&mut self) -> Result<(), SinkError> {
        while !self.packer.fills_a_request() {
            let Some(rows) = self.next_rows() else {
                self.packer.finish();
                break;
            };
            let lines = self.shared.encoder.lines(&rows).map_err(|error| SinkError::Stop(error.into()))?;
            let first = self.next.number - rows.num_rows() as u64;
            let mut begin = 0;
            for (row, end) in (first..).zip(memchr_iter(b'\n', &lines)) {
                let line = &lines[begin..=end];
                begin = end + 1;
                if line.len() > RECORD_BYTES_MAX {
                    let bytes = line.len();
                    let why = format!("the row has {bytes} bytes as JSON, and Firehose takes up to {RECORD_BYTES_MAX}");
                    self.refused.insert(row, why);
                } else {
                    self.packer.add(line);
                }
            }
            // Rows differ by a factor of thousands: the next piece is made about as large as it should be.
            let fitting = self.piece_rows * PIECE_BYTES / lines.len().max(1);
            self.piece_rows = fitting.clamp(1, (2 * self.piece_rows).min(PIECE_ROWS_MAX));
        }
        self.request = self.packer.request();
        Ok(())
    }

    /// The next rows that are to become lines.
    fn next_rows(&mut self) -> Option<RecordBatch> {
        loop {
            let batch = self.batches.get(self.next.batch)?;
            let rows = self.piece_rows.min(batch.num_rows() - self.next.row);
            if rows > 0 {
                let piece = batch.slice(self.next.row, rows);
                self.next.row += rows;
                self.next.number += rows as u64;
                return Some(piece);
            }
            self.next.batch += 1;
            self.next.row = 0;
        }
    }

    /// Sends the records that are left of the request, and keeps those that Firehose does not take, with the reason of
    /// the first.
    async fn send(&mut self) -> Result<Option<BoxError>, Trouble> {
        let Shared { client, stream, bill, .. } = &*self.shared;
        let doing = format!("sending {} records to stream `{stream}`", self.request.len());
        let record = |it: &Record| types::Record::builder().data(Blob::new(it.data.clone())).build();
        let records: Result<Vec<_>, _> = self.request.iter().map(record).collect();
        let records = records.map_err(|error| Trouble::Wrong(format!("{doing}: {error}").into()))?;
        let call = client.put_record_batch().delivery_stream_name(stream).set_records(Some(records));
        let answers = call.send().await.map_err(|error| trouble(&doing, error))?.request_responses;
        if answers.len() != self.request.len() {
            let what = format!("{doing}: the answer is about {} of them", answers.len());
            return Err(Trouble::Retry(what.into()));
        }
        let mut error = None;
        let mut kept = Vec::new();
        for (record, answer) in self.request.drain(..).zip(answers) {
            let Some(code) = answer.error_code() else {
                bill.add(&record);
                continue;
            };
            error.get_or_insert_with(|| failed(&doing, code, answer.error_message()));
            kept.push(record);
        }
        bill.add_failed(kept.len());
        let left = kept.len();
        self.request = kept;
        Ok(error.map(|it| format!("{}; {left} were not taken", it.into_error()).into()))
    }
}
