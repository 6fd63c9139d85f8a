//! The object that is being read, on a thread that may block.

use std::io;

use bytes::Bytes;
use forebay_api::{Partition, Position, Read};
use forebay_codec::{Layout, Limits, ParquetReader, Reader};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::store::{Body, Ranges, Stream};

/// How bytes become rows.
#[derive(Clone)]
pub struct Decoder {
    pub layout: Layout,
    pub limits: Limits,
}

/// Reads of one object. The thread is one read ahead of who takes them, and ends when this is let go.
pub struct Current {
    reads: mpsc::Receiver<io::Result<Read>>,
    partition: Partition,
    /// Until it was seen to end.
    thread: Option<JoinHandle<()>>,
}

impl Decoder {
    /// Begins to read an object after `from`, up to each of `stops` in turn; no read crosses one.
    pub fn begin(
        &self,
        partition: Partition,
        body: Box<dyn Body>,
        from: &Position,
        stops: Vec<Position>,
    ) -> io::Result<Current> {
        if from.counted().is_none() {
            let why = format!("`{partition}` cannot be read from {from} on: that is not the number of a row");
            return Err(io::Error::other(why));
        }
        let (decoder, of, from) = (self.clone(), partition.clone(), from.clone());
        let (to, reads) = mpsc::channel(1);
        let thread = tokio::task::spawn_blocking(move || {
            let mut rows = decoder.rows(partition.clone(), body, &from);
            let mut from = from;
            for stop in stops {
                if let Err(error) = read_to(&mut rows, &partition, from, &stop, &to) {
                    // The other side takes it, or is gone.
                    let _ = to.blocking_send(Err(error));
                    return;
                }
                from = stop;
            }
        });
        Ok(Current { reads, partition: of, thread: Some(thread) })
    }

    fn rows(&self, partition: Partition, body: Box<dyn Body>, from: &Position) -> Rows {
        let Self { layout, limits } = self;
        if layout.is_parquet() {
            return Rows::Anywhere(Box::new(ParquetReader::new(partition, body.ranges(), layout, *limits, from)));
        }
        match body.whole() {
            Some(whole) => Rows::InMemory(Box::new(Reader::whole(partition, whole, layout, *limits, from))),
            None => Rows::Streaming(Box::new(Reader::new(partition, body.stream(), layout, *limits, from))),
        }
    }
}

/// The rows of one object.
enum Rows {
    InMemory(Box<Reader<io::Cursor<Bytes>>>),
    Streaming(Box<Reader<Box<dyn Stream>>>),
    Anywhere(Box<ParquetReader<Box<dyn Ranges>>>),
}

impl Rows {
    fn next(&mut self, to: &Position) -> io::Result<Option<Read>> {
        match self {
            Self::InMemory(reader) => reader.next(to),
            Self::Streaming(reader) => reader.next(to),
            Self::Anywhere(reader) => reader.next(to),
        }
    }

    /// Makes sure that what was read is the object that was opened.
    fn verify(&mut self) -> io::Result<()> {
        match self {
            // That it is what its name says was found out when it came into memory.
            Self::InMemory(_) => Ok(()),
            Self::Streaming(reader) => reader.input().verify(),
            Self::Anywhere(reader) => reader.object().verify(),
        }
    }
}

/// Gives all reads up to a position.
fn read_to(
    rows: &mut Rows,
    partition: &Partition,
    mut reached: Position,
    stop: &Position,
    to: &mpsc::Sender<io::Result<Read>>,
) -> io::Result<()> {
    while reached < *stop {
        let Some(read) = rows.next(stop)? else {
            return Err(io::Error::other(format!(
                "{partition}:({reached}..{stop}] is to be read, but nothing is there"
            )));
        };
        reached = read.span.to.clone();
        if reached == Position::End {
            // Before anybody hears that the object is finished.
            rows.verify()?;
        }
        if to.blocking_send(Ok(read)).is_err() {
            return Err(io::Error::other("nobody wants the rows any more"));
        }
    }
    Ok(())
}

impl Current {
    /// The next rows; `None` after the last ones. May be let go in the middle.
    pub async fn next(&mut self) -> Option<io::Result<Read>> {
        if let Some(read) = self.reads.recv().await {
            return Some(read);
        }
        let ended = self.thread.as_mut()?.await;
        self.thread = None;
        let why = panicked(ended.err()?);
        Some(Err(io::Error::other(format!("reading `{}` failed: {why}", self.partition))))
    }
}

/// What a thread said at its untimely end.
fn panicked(error: JoinError) -> String {
    let Ok(said) = error.try_into_panic() else {
        return "it was cancelled".to_owned();
    };
    let text = said.downcast_ref::<&str>().copied().or_else(|| said.downcast_ref::<String>().map(String::as_str));
    format!("the decoder panicked: {}", text.unwrap_or("without a word"))
}
