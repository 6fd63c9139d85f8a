//! The frames of the spool as reads.
//!
//! A row's position is the sequence number of its frame and the number of its event in it, from 1; refused events and copies
//! have numbers too. So the positions depend on the spool alone.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use forebay_api::position::Sequence;
use forebay_api::{BoxError, Partition, Position, Positions, Read, Refusal, Span};
use forebay_spool::{Entry, ReadError, Reader};
use jiff::Timestamp;

use crate::body_privacy::BodyPrivacy;
use crate::columns::{Common, Layout, Rows};
use crate::counters::{Counters, Reason};
use crate::dedupe::{Reach, Window};
use crate::events::{Pair, Piece, form_as_json, pairs, pieces, without_half_pairs};
use crate::frame::{Frame, Kind};
use crate::retention::{Retention, lock};

/// A read holds no more events than this.
const READ_EVENTS_MAX: usize = 8192;
/// When so many bytes of events were passed, and of values that became of them and of the heads of their requests, a read takes
/// no more.
const READ_BYTES_MAX: usize = 2 << 20;

/// How frames become rows.
pub struct Decoder {
    pub layout: Arc<Layout>,
    pub privacy: BodyPrivacy,
    pub events_max: usize,
    pub reach: Reach,
    pub counters: Arc<Counters>,
}

/// A frame, and the event in it.
pub fn place(position: &Position) -> Option<(u64, u64)> {
    match position {
        Position::Start => Some((0, 0)),
        Position::At { sequence, row } => Some((sequence.as_str().parse().ok()?, *row)),
        Position::End => None,
    }
}

/// Reads on from a position.
pub struct Reading {
    decoder: Arc<Decoder>,
    partition: Partition,
    reader: Reader,
    window: Window,
    /// Where the last read ended.
    reached: Position,
    current: Option<Current>,
    retention: Option<Arc<Mutex<Retention>>>,
}

/// The frame that is being read.
struct Current {
    sequence: u64,
    position: Sequence,
    frame: Option<Frame>,
    text: Arc<str>,
    pieces: Vec<Piece>,
    /// How many of them were passed.
    passed: usize,
}

impl Current {
    /// Passes over events, and takes down their ids.
    fn learn(&mut self, until: usize, window: &mut Window) {
        let mut found = Vec::new();
        for piece in &self.pieces[self.passed..until] {
            let is_readable = piece.fault.is_none() && pairs(&self.text[piece.range.clone()], &mut found).is_ok();
            if is_readable && let Some(id) = id(&found) {
                window.is_copy(&id);
            }
        }
        self.passed = until;
    }
}

/// Where the payload of a row stands, in case that the row turns out not to be one.
struct Origin {
    position: Position,
    text: Arc<str>,
    range: Range<usize>,
    is_stripped: bool,
}

impl Reading {
    /// Reads what comes after `from`. `reader` gives a reader behind a frame, or from the oldest one on.
    pub fn begin(
        decoder: Arc<Decoder>,
        partition: Partition,
        from: Position,
        reader: impl Fn(Option<u64>) -> Result<Reader, BoxError>,
        retention: Option<Arc<Mutex<Retention>>>,
    ) -> Result<Self, BoxError> {
        let (sequence, row) = place(&from).ok_or_else(|| format!("a spool cannot be read from {from} on"))?;
        // All frames that are kept, because they decide which events are copies; and if some are missing that should be
        // there, from where that can be told.
        let oldest = reader(None)?;
        let is_missing = sequence > 0 && oldest.due() > sequence + 1;
        let reader = if is_missing { reader(Some(sequence))? } else { oldest };
        if let Some(retention) = &retention {
            lock(retention).begin(sequence);
        }
        let window = Window::new(decoder.reach);
        let mut reading = Self { decoder, partition, reader, window, reached: from.clone(), current: None, retention };
        reading.learn(sequence, row)?;
        if let Some(retention) = &reading.retention {
            lock(retention).settle(&from);
        }
        Ok(reading)
    }

    /// Where the last read ended.
    pub fn reached(&self) -> &Position {
        &self.reached
    }

    /// Passes over everything up to an event, and takes down its ids.
    fn learn(&mut self, sequence: u64, row: u64) -> Result<(), ReadError> {
        while self.reader.due() <= sequence {
            let Some(entry) = self.reader.read()? else { break };
            let last = entry.last();
            let Some(mut current) = self.open(entry) else { continue };
            let events = current.pieces.len();
            let known = match last.cmp(&sequence) {
                Ordering::Less => events,
                Ordering::Equal => events.min(usize::try_from(row).unwrap_or(events)),
                Ordering::Greater => 0,
            };
            current.learn(known, &mut self.window);
            if known < events {
                self.current = Some(current);
            }
        }
        Ok(())
    }

    /// Begins with a frame; with one that is lost too, of which nothing is known.
    fn open(&mut self, entry: Entry) -> Option<Current> {
        let (sequence, payload, lost) = match entry {
            Entry::Frame { sequence, payload } => (sequence, payload, None),
            Entry::Lost { first, last } => {
                let why = format!(
                    "the requests {first} to {last} of the spool cannot be read: the disk has damaged them, or lost its \
                     power before they were answered"
                );
                (last, bytes::Bytes::new(), Some(why))
            }
        };
        let frame = Frame::decode(&payload);
        let tick_millis = frame.as_ref().map_or(0, |it| it.tick_millis);
        let reaches_to = self.window.frame(sequence, tick_millis, payload.len() as u64);
        let fault =
            |why: String, text: &str| (Arc::<str>::from(text), vec![Piece { range: 0..text.len(), fault: Some(why) }]);
        let events_max = self.decoder.events_max;
        let (text, pieces) = match (&frame, lost) {
            (_, Some(why)) => fault(why, ""),
            (None, None) => fault("what the spool holds is no request of this version".to_owned(), ""),
            (Some(Frame { kind: Kind::Form, body, .. }), None) => match form_as_json(body) {
                Ok(text) => (Arc::from(text.as_str()), vec![Piece { range: 0..text.len(), fault: None }]),
                Err(why) => fault(why, &String::from_utf8_lossy(body)),
            },
            (Some(frame), None) => match std::str::from_utf8(&frame.body) {
                Ok(text) => {
                    let text = without_half_pairs(text);
                    (Arc::from(&*text), pieces(&text, events_max))
                }
                Err(error) => {
                    let at = error.valid_up_to();
                    let why = format!("it is not UTF-8: byte {} is 0x{:02x}", at + 1, frame.body[at]);
                    fault(why, &String::from_utf8_lossy(&frame.body))
                }
            },
        };
        if let Some(retention) = &self.retention {
            let tick_millis = (self.decoder.reach.window_millis > 0).then_some(tick_millis);
            lock(retention).read(sequence, pieces.len().max(1) as u64, reaches_to, tick_millis);
        }
        let position = Sequence::new(&sequence.to_string())?;
        Some(Current { sequence, position, frame, text, pieces, passed: 0 })
    }

    /// The next rows, up to a position; `None` if there are none now.
    ///
    /// # Errors
    ///
    /// If the disk does not give what it has. Asking again goes on at the same place.
    pub fn next(&mut self, to: &Position) -> Result<Option<Read>, ReadError> {
        let (to_sequence, to_row) = place(to).unwrap_or((u64::MAX, u64::MAX));
        let decoder = self.decoder.clone();
        let mut taking = Taking::new(decoder);
        let mut reached = self.reached.clone();
        while taking.has_room() && reached < *to {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match self.reader.read() {
                    Ok(Some(entry)) => match self.open(entry) {
                        Some(current) => current,
                        None => continue,
                    },
                    Ok(None) => break,
                    // What was taken is given first; who asks again is told again.
                    Err(_) if reached > self.reached => break,
                    Err(error) => return Err(error),
                },
            };
            if current.sequence > to_sequence {
                self.current = Some(current);
                reached = to.clone();
                break;
            }
            let last = if current.sequence == to_sequence { to_row as usize } else { usize::MAX };
            let end = current.pieces.len().min(last);
            taking.frame(&mut current, end, &mut self.window);
            // A request without events stands for itself.
            let row = current.passed.max(1) as u64;
            reached = Position::At { sequence: current.position.clone(), row }.max(reached);
            if current.passed < current.pieces.len() {
                self.current = Some(current);
            } else if current.sequence == to_sequence {
                reached = to.clone();
            }
        }
        if reached == self.reached {
            return Ok(None);
        }
        let from = std::mem::replace(&mut self.reached, reached.clone());
        let (mut read, copies) = taking.finish(Span::new(self.partition.clone(), from, reached));
        if self.retention.is_some() {
            let counters = &self.decoder.counters;
            (0..copies).for_each(|_| counters.refuse(Reason::Copy));
            read.refused.iter().for_each(|_| counters.refuse(Reason::Event));
        }
        read.refused.sort_by(|one, other| one.position.cmp(&other.position));
        Ok(Some(read))
    }
}

/// The rows of a read as they are taken.
struct Taking {
    decoder: Arc<Decoder>,
    rows: Rows,
    origins: Vec<Origin>,
    refused: Vec<Refusal>,
    copies: usize,
    events: usize,
    passed_bytes: usize,
}

impl Taking {
    fn new(decoder: Arc<Decoder>) -> Self {
        let rows = Rows::new(decoder.layout.clone());
        Self { decoder, rows, origins: Vec::new(), refused: Vec::new(), copies: 0, events: 0, passed_bytes: 0 }
    }

    fn has_room(&self) -> bool {
        self.events < READ_EVENTS_MAX && self.passed_bytes + self.rows.bytes() < READ_BYTES_MAX
    }

    /// Takes events of a frame, up to `end`, as long as there is room.
    fn frame(&mut self, current: &mut Current, end: usize, window: &mut Window) {
        let common = self.common(current.frame.as_ref());
        let is_stripped = current.frame.as_ref().is_some_and(|it| it.is_stripped);
        let text = current.text.clone();
        let mut found: Vec<Pair<'_>> = Vec::new();
        let first = current.passed;
        // What the head says takes room too. Whoever calls has seen that there was some, and goes on behind what was taken:
        // that is one event at least.
        while current.passed < end && (current.passed == first || self.has_room()) {
            let piece = &current.pieces[current.passed];
            current.passed += 1;
            let position = Position::At { sequence: current.position.clone(), row: current.passed as u64 };
            let (event, range) = (&text[piece.range.clone()], piece.range.clone());
            self.events += 1;
            self.passed_bytes += event.len();
            let origin = Origin { position, text: text.clone(), range, is_stripped };
            let read = match &piece.fault {
                Some(why) => Err(why.clone()),
                None => pairs(event, &mut found),
            };
            if let Err(why) = read {
                self.refuse(&origin, why);
                continue;
            }
            if id(&found).is_some_and(|it| window.is_copy(&it)) {
                self.copies += 1;
                continue;
            }
            let privacy = &self.decoder.privacy;
            let keeps = |pair: &Pair<'_>| privacy.keeps(pair, is_stripped);
            match self.rows.push(&found, &common, keeps, |path, value| privacy.value(path, value)) {
                Ok(()) => self.origins.push(origin),
                Err(why) => self.refuse(&origin, why),
            }
        }
    }

    /// What the head of a request says about its events.
    fn common(&mut self, frame: Option<&Frame>) -> Common {
        let Some(frame) = frame else { return self.rows.common(&[], &[]) };
        let millis = i64::try_from(frame.received_millis).unwrap_or(i64::MAX);
        let received = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX).to_string();
        let privacy = &self.decoder.privacy;
        let kept = |path: &str, value: &Option<String>| -> Option<String> {
            let value = value.as_deref().filter(|_| privacy.keeps_of_head(path))?;
            Some(privacy.value(path, value.into()).into_owned())
        };
        let address_field = if frame.is_hashed { "client.address" } else { "client.ip" };
        let address = kept(address_field, &frame.address);
        let agent = kept("user_agent.original", &frame.user_agent);
        let referrer = kept("url.full", &frame.referrer);
        let over = [
            ("event.ingested", Some(received.as_str())),
            (address_field, address.as_deref()),
            ("user_agent.original", agent.as_deref()),
        ];
        self.rows.common(&over, &[("@timestamp", Some(&received)), ("url.full", referrer.as_deref())])
    }

    fn refuse(&mut self, origin: &Origin, why: String) {
        let (payload, why) = payload(&self.decoder.privacy, origin, why);
        self.refused.push(Refusal { position: origin.position.clone(), payload, why });
    }

    fn finish(self, span: Span) -> (Read, usize) {
        let Self { decoder, rows, origins, mut refused, copies, .. } = self;
        debug_assert_eq!(rows.len(), origins.len());
        let (rows, mut late) = rows.finish();
        let mut positions = Vec::with_capacity(rows.num_rows());
        for (row, origin) in origins.into_iter().enumerate() {
            match late.remove(&row) {
                None => positions.push(origin.position),
                Some(why) => {
                    let (payload, why) = payload(&decoder.privacy, &origin, why);
                    refused.push(Refusal { position: origin.position, payload, why });
                }
            }
        }
        (Read { span, rows, positions: Positions::Listed(positions), refused }, copies)
    }
}

/// What may be kept of an event that is refused, and the reason.
fn payload(privacy: &BodyPrivacy, origin: &Origin, why: String) -> (Vec<u8>, String) {
    let event = &origin.text[origin.range.clone()];
    if !privacy.applies(origin.is_stripped) || event.is_empty() {
        return (event.as_bytes().to_vec(), why);
    }
    let mut found = Vec::new();
    match pairs(event, &mut found) {
        Ok(()) => (privacy.event(&found, origin.is_stripped).into_bytes(), why),
        // Not a hash of it either: whoever guesses what a short text says can prove it by that.
        Err(_) => {
            let bytes = event.len();
            let why = format!("{why}; its {bytes} bytes are not kept, since `privacy` cannot be applied to them");
            (Vec::new(), why)
        }
    }
}

/// The id of an event, if it has one that can be compared.
fn id<'a>(pairs: &'a [Pair<'a>]) -> Option<Cow<'a, str>> {
    use forebay_codec::scan::Kind::{Number, Text};
    let pair = pairs.iter().rfind(|it| it.path == "event.id" && matches!(it.kind, Text | Number))?;
    Some(pair.text()).filter(|it| !it.is_empty())
}
