//! Rows to text, and text to a writer.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, new_null_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::LineDelimitedWriter;
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::{Deliver, DeliveryId, SinkError};

use crate::{Console, Format};

/// Longer values are cut in a table.
const CELL_CHARS_MAX: usize = 60;

/// Prints deliveries, one at a time.
pub(crate) struct Printer {
    format: Format,
    rows_max: Option<u64>,
    state: Arc<Mutex<State>>,
}

struct State {
    out: Box<dyn Write + Send>,
    /// Where it is said at the end that rows were not shown.
    notes: Box<dyn Write + Send>,
    shown: u64,
    unseen: u64,
    /// Nobody reads any more.
    closed: bool,
    widths: Vec<usize>,
}

impl Printer {
    pub(crate) fn new(config: &Console, out: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        let state = State { out, notes, shown: 0, unseen: 0, closed: false, widths: Vec::new() };
        Self { format: config.format, rows_max: config.rows_max, state: Arc::new(Mutex::new(state)) }
    }
}

#[async_trait]
impl Deliver for Printer {
    async fn deliver(&self, _id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        let (format, rows_max, state, rows) = (self.format, self.rows_max, self.state.clone(), rows.to_vec());
        // Who reads a pipe may stop reading it, and the write then waits: not on a thread that others need.
        let printing = move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.print(format, rows_max, &rows)
        };
        match tokio::task::spawn_blocking(printing).await {
            Ok(printed) => printed.map(|()| Vec::new()),
            Err(error) => Err(SinkError::Stop(error.into())),
        }
    }
}

impl State {
    fn print(&mut self, format: Format, rows_max: Option<u64>, rows: &[RecordBatch]) -> Result<(), SinkError> {
        let come: u64 = rows.iter().map(|it| it.num_rows() as u64).sum();
        let room = rows_max.map_or(come, |it| it.saturating_sub(self.shown)).min(come);
        if room > 0 && !self.closed {
            let rows = first(rows, room as usize);
            let text = match format {
                Format::Json => json(&rows),
                Format::Table => table(&rows, &mut self.widths),
            };
            let text = text.map_err(|error| SinkError::Stop(error.into()))?;
            // One call, so that lines of others on the same stream come before or after it.
            match self.out.write_all(&text).and_then(|()| self.out.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed = true,
                Err(error) => return Err(cannot_print(error)),
            }
        }
        self.shown += room;
        self.unseen += come - room;
        Ok(())
    }
}

/// Standard output may be a file on a full disk.
fn cannot_print(error: io::Error) -> SinkError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WouldBlock => SinkError::Retry(error.into()),
        _ => SinkError::Stop(error.into()),
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.unseen > 0 && !self.closed {
            // Nothing is lost with this line.
            let _ = writeln!(self.notes, "{} more rows were delivered, but not shown (`rows_max`)", self.unseen);
        }
    }
}

/// The first `n` rows.
fn first(rows: &[RecordBatch], n: usize) -> Vec<RecordBatch> {
    let mut left = n;
    let mut cut = |batch: &RecordBatch| {
        let length = batch.num_rows().min(left);
        left -= length;
        batch.slice(0, length)
    };
    rows.iter().map(&mut cut).filter(|it| it.num_rows() > 0).collect()
}

/// Checks that the columns have a text, on a row of nulls.
pub(crate) fn printable(format: Format, schema: &SchemaRef) -> Result<(), ArrowError> {
    let fields: Vec<Field> = schema.fields().iter().map(|it| it.as_ref().clone().with_nullable(true)).collect();
    let nulls = fields.iter().map(|it| new_null_array(it.data_type(), 1)).collect();
    let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), nulls)?;
    match format {
        Format::Json => json(&[row]),
        Format::Table => table(&[row], &mut Vec::new()),
    }?;
    Ok(())
}

fn json(rows: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    rows.iter().try_for_each(|it| writer.write(it))?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// Rows under their columns. The header comes again whenever a column had to grow.
fn table(rows: &[RecordBatch], widths: &mut Vec<usize>) -> Result<Vec<u8>, ArrowError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let header: Vec<String> = first.schema().fields().iter().map(|it| cell(it.name())).collect();
    let mut lines = vec![header];
    let options = FormatOptions::new();
    for batch in rows {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|it| ArrayFormatter::try_new(it, &options)).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|it| it.value(row).try_to_string().map(|it| cell(&it)));
            lines.push(values.collect::<Result<_, _>>()?);
        }
    }
    let grown = widen(widths, &lines);
    let mut text = String::new();
    for line in lines.iter().skip(if grown { 0 } else { 1 }) {
        let mut padded = String::new();
        for (value, width) in line.iter().zip(widths.iter()) {
            // Writing to a `String` does not fail.
            let _ = write!(padded, "{value:<width$}  ");
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// Makes columns as wide as their widest value. Whether one had to grow.
fn widen(widths: &mut Vec<usize>, lines: &[Vec<String>]) -> bool {
    let before = widths.clone();
    widths.resize(lines.first().map_or(0, Vec::len), 0);
    for line in lines {
        for (width, value) in widths.iter_mut().zip(line) {
            *width = (*width).max(value.chars().count());
        }
    }
    *widths != before
}

/// A value on one line: control characters are written out, so that a log line cannot command a terminal.
fn cell(value: &str) -> String {
    let mut shown = String::new();
    for (count, it) in value.chars().enumerate() {
        if count == CELL_CHARS_MAX {
            shown.push('…');
            break;
        }
        if it.is_control() { shown.extend(it.escape_default()) } else { shown.push(it) }
    }
    shown
}
