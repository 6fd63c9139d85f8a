//! The frames of the spool as reads.
//!
//! A row's position is the sequence number of its frame and the number of its event in it, from 1; refused events and copies
//! have numbers too. So the positions depend on the spool alone. A frame that is lost is one refusal, behind all events that
//! it may have had; in a span that is read again and ends before, at its end.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use forebay_api::position::Sequence;
use forebay_api::{BoxError, Partition, Position, Positions, Read, Refusal, Span};
use forebay_codec::Names;
use forebay_codec::scan::Scanner;
use forebay_spool::source::{FrameError, OtherFormat, REST};
use forebay_spool::{Entry, Reader};
use jiff::Timestamp;

use crate::body_privacy::BodyPrivacy;
use crate::columns::Layout;
use crate::counters::{Counters, Reason};
use crate::dedupe::{Reach, Window};
use crate::events::{Events, form_as_json, without_half_pairs};
use crate::frame::{Frame, Kind, VERSION};
use crate::retention::{Retention, lock};
use crate::rows::{Common, Rows};
use crate::values::{Keys, Pair, values};

/// A read holds no more events than this.
const READ_EVENTS_MAX: usize = 8192;
/// When so many bytes of events were passed, and of values that became of them and of the heads of their requests, a read takes
/// no more.
const READ_BYTES_MAX: usize = 2 << 20;

/// An event seldom has more values than this.
const VALUES_USUAL: usize = 16;

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
    names: Names,
    rows: Rows,
    received: Received,
    /// Where the last read ended.
    reached: Position,
    current: Option<Current>,
    /// A frame that this program cannot read: here it ends.
    foreign: Option<OtherFormat>,
    retention: Option<Arc<Mutex<Retention>>>,
}

/// The frame that is being read.
struct Current {
    sequence: u64,
    position: Sequence,
    frame: Option<Frame>,
    text: String,
    events: Events,
}

impl Current {
    /// The row that was passed last. A request without events stands for itself; what is behind one that is lost is behind all
    /// that it may have had.
    fn row(&self) -> u64 {
        match self.frame.is_none() && self.events.is_done() {
            true => REST,
            false => self.events.passed().max(1) as u64,
        }
    }

    /// Passes over events, until so many were passed, and takes down their ids.
    fn learn(&mut self, until: u64, layout: &Layout, names: &mut Names, window: &mut Window) {
        let mut found = Vec::new();
        let mut keys = Keys { layout, names };
        while (self.events.passed() as u64) < until
            && let Some(event) = self.events.next(&self.text, &mut keys, &mut found)
        {
            if event.fault.is_none()
                && let Some(id) = id(&found)
            {
                window.is_copy(&id);
            }
        }
    }
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
        let mut reading = Self {
            window: Window::new(decoder.reach),
            names: Names::default(),
            rows: Rows::new(decoder.layout.clone()),
            received: Received::default(),
            reached: from.clone(),
            current: None,
            foreign: None,
            decoder,
            partition,
            reader,
            retention,
        };
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
    fn learn(&mut self, sequence: u64, row: u64) -> Result<(), FrameError> {
        while self.reader.due() <= sequence {
            let Some(entry) = self.reader.read()? else { break };
            let is_over = entry.last() < sequence;
            let known = if entry.last() == sequence { row } else { 0 };
            let Some(mut current) = self.open(entry, known)? else { continue };
            current.learn(
                if is_over { u64::MAX } else { known },
                &self.decoder.layout,
                &mut self.names,
                &mut self.window,
            );
            self.keep(current);
        }
        Ok(())
    }

    /// Keeps a frame if it has more events. Tells whether it does.
    fn keep(&mut self, current: Current) -> bool {
        let is_done = current.events.is_done();
        if !is_done {
            self.current = Some(current);
        } else if let Some(retention) = &self.retention {
            lock(retention).ended(current.row());
        }
        !is_done
    }

    /// Begins with a frame, of which so many events are `known`; with one that is lost too, of which nothing else is known.
    fn open(&mut self, entry: Entry, known: u64) -> Result<Option<Current>, OtherFormat> {
        let read = if known < REST { known } else { 0 };
        let (sequence, payload, lost) = match entry {
            Entry::Frame { sequence, payload } => (sequence, payload, None),
            Entry::Lost { first, last } => {
                let mut why = format!(
                    "the requests {first} to {last} of the spool cannot be read: the disk has damaged them, or lost its \
                     power before they were answered"
                );
                if read > 0 {
                    why += &format!("; the last one was read before up to its event {read}, which may be all");
                }
                (last, bytes::Bytes::new(), Some(why))
            }
        };
        let other = || OtherFormat::new(self.reader.place(), sequence, &payload, VERSION);
        let frame = match lost {
            Some(_) => None,
            None => Some(Frame::decode(&payload).ok_or_else(other)?),
        };
        let tick_millis = frame.as_ref().map_or(0, |it| it.tick_millis);
        let reaches_to = self.window.frame(sequence, tick_millis, payload.len() as u64);
        let fault = |why: String, text: Cow<'_, str>| (Events::fault(&text, 0, why), text.into_owned());
        let events_max = self.decoder.events_max;
        let (events, text) = match &frame {
            None => (Events::fault("", read as usize, lost.unwrap_or_default()), String::new()),
            Some(Frame { kind: Kind::Form, body, .. }) => match form_as_json(body) {
                Ok(text) => (Events::of(&text, events_max), text),
                Err(why) => fault(why, String::from_utf8_lossy(body)),
            },
            Some(frame) => match std::str::from_utf8(&frame.body) {
                Ok(text) => {
                    let text = without_half_pairs(text).into_owned();
                    (Events::of(&text, events_max), text)
                }
                Err(error) => {
                    let at = error.valid_up_to();
                    let why = format!("it is not UTF-8: byte {} is 0x{:02x}", at + 1, frame.body[at]);
                    fault(why, String::from_utf8_lossy(&frame.body))
                }
            },
        };
        if let Some(retention) = &self.retention {
            let tick_millis = (self.decoder.reach.window_millis > 0).then_some(tick_millis);
            lock(retention).read(sequence, reaches_to, tick_millis);
        }
        let position = Sequence::new(&sequence.to_string());
        Ok(position.map(|position| Current { sequence, position, frame, text, events }))
    }

    /// The frame that is being read, or the next one; `None` if there is none now.
    fn current(&mut self) -> Result<Option<Current>, FrameError> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        if let Some(foreign) = &self.foreign {
            return Err(foreign.clone().into());
        }
        while let Some(entry) = self.reader.read()? {
            match self.open(entry, 0) {
                Ok(Some(current)) => return Ok(Some(current)),
                Ok(None) => {}
                Err(foreign) => {
                    self.foreign = Some(foreign.clone());
                    return Err(foreign.into());
                }
            }
        }
        Ok(None)
    }

    /// The next rows, up to a position; `None` if there are none now.
    ///
    /// # Errors
    ///
    /// If the disk does not give what it has, or another version of the program wrote it. Asking again goes on at the same
    /// place.
    pub fn next(&mut self, to: &Position) -> Result<Option<Read>, FrameError> {
        let (to_sequence, to_row) = place(to).unwrap_or((u64::MAX, u64::MAX));
        let mut taking = Taking::default();
        self.rows.clear();
        let mut reached = self.reached.clone();
        while taking.has_room(&self.rows) && reached < *to {
            let mut current = match self.current() {
                Ok(Some(current)) => current,
                Ok(None) => break,
                // What was taken is given first; who asks again is told again.
                Err(_) if reached > self.reached => break,
                Err(error) => return Err(error),
            };
            if current.sequence > to_sequence {
                self.current = Some(current);
                reached = to.clone();
                break;
            }
            let last = if current.sequence == to_sequence { to_row } else { u64::MAX };
            self.frame(&mut current, last, &mut taking);
            reached = Position::At { sequence: current.position.clone(), row: current.row() }.max(reached);
            let sequence = current.sequence;
            if !self.keep(current) && sequence == to_sequence {
                reached = to.clone();
            }
        }
        if reached == self.reached {
            return Ok(None);
        }
        let from = std::mem::replace(&mut self.reached, reached.clone());
        let (mut read, copies) = self.finish(taking, Span::new(self.partition.clone(), from, reached));
        if self.retention.is_some() {
            let counters = &self.decoder.counters;
            (0..copies).for_each(|_| counters.refuse(Reason::Copy));
            read.refused.iter().for_each(|_| counters.refuse(Reason::Event));
        }
        read.refused.sort_by(|one, other| one.position.cmp(&other.position));
        Ok(Some(read))
    }

    /// Takes events of a frame until so many were passed, as long as there is room.
    fn frame(&mut self, current: &mut Current, last: u64, taking: &mut Taking) {
        let decoder = self.decoder.clone();
        let Current { position, frame, text, events, .. } = current;
        let common = self.common(frame.as_ref());
        let is_stripped = frame.as_ref().is_some_and(|it| it.is_stripped);
        let applies = decoder.privacy.applies(is_stripped);
        let mut keys = Keys { layout: &decoder.layout, names: &mut self.names };
        let mut found = Vec::with_capacity(VALUES_USUAL);
        let first = events.passed();
        // What the head says takes room too. Whoever calls has seen that there was some, and goes on behind what was taken:
        // that is one event at least.
        while (events.passed() as u64) < last
            && (events.passed() == first || taking.has_room(&self.rows))
            && let Some(event) = events.next(text, &mut keys, &mut found)
        {
            taking.events += 1;
            taking.passed_bytes += event.range.len();
            let pushed = match event.fault {
                Some(why) => Err(why),
                None if id(&found).is_some_and(|it| self.window.is_copy(&it)) => {
                    taking.copies += 1;
                    continue;
                }
                None => {
                    let keeps = |pair: &Pair<'_>| !applies || decoder.privacy.keeps(pair, is_stripped);
                    let value = |path: &str, value| decoder.privacy.value(path, value);
                    self.rows.push(text, event.range.clone(), &found, &common, keeps, value)
                }
            };
            let row = if frame.is_some() { events.passed() as u64 } else { REST.min(last) };
            let position = Position::At { sequence: position.clone(), row };
            match pushed {
                Ok(()) => taking.origins.push(Origin { position, is_stripped }),
                Err(why) => {
                    let refusal = refusal(&decoder, position, &text[event.range], is_stripped, why);
                    taking.refused.push(refusal);
                }
            }
        }
    }

    /// What the head of a request says about its events.
    fn common(&mut self, frame: Option<&Frame>) -> Common {
        let Some(frame) = frame else { return self.rows.common([(None, None); 3], [(None, None); 2]) };
        let (privacy, columns) = (&self.decoder.privacy, self.decoder.layout.of_head);
        let received = Some(self.received.text(frame.received_millis));
        let kept = |path, value| kept(privacy, path, value);
        let (column, path) = match frame.is_hashed {
            true => (columns.address, "client.address"),
            false => (columns.ip, "client.ip"),
        };
        let address = kept(path, &frame.address);
        let agent = kept("user_agent.original", &frame.user_agent);
        let referrer = kept("url.full", &frame.referrer);
        let over = [(columns.ingested, received), (column, address.as_deref()), (columns.user_agent, agent.as_deref())];
        self.rows.common(over, [(columns.timestamp, received), (columns.url, referrer.as_deref())])
    }

    fn finish(&mut self, taking: Taking, span: Span) -> (Read, usize) {
        let Taking { origins, mut refused, copies, .. } = taking;
        debug_assert_eq!(self.rows.len(), origins.len());
        let (rows, mut late) = self.rows.finish();
        let mut positions = Vec::with_capacity(rows.num_rows());
        for (row, Origin { position, is_stripped }) in origins.into_iter().enumerate() {
            match late.remove(&row) {
                None => positions.push(position),
                Some(why) => {
                    refused.push(refusal(&self.decoder, position, self.rows.event(row), is_stripped, why));
                }
            }
        }
        (Read { span, rows, positions: Positions::Listed(positions), refused }, copies)
    }
}

/// A value of the head of a request as it may be kept.
fn kept<'a>(privacy: &BodyPrivacy, path: &str, value: &'a Option<String>) -> Option<Cow<'a, str>> {
    let value = value.as_deref().filter(|_| privacy.keeps_of_head(path))?;
    Some(privacy.value(path, value.into()))
}

/// The time at which a request was received, as text: many come within a millisecond.
#[derive(Default)]
struct Received {
    millis: u64,
    text: String,
}

impl Received {
    fn text(&mut self, millis: u64) -> &str {
        if self.text.is_empty() || self.millis != millis {
            let time = i64::try_from(millis).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
            *self = Self { millis, text: time.unwrap_or(Timestamp::MAX).to_string() };
        }
        &self.text
    }
}

/// What a read has taken so far.
#[derive(Default)]
struct Taking {
    origins: Vec<Origin>,
    refused: Vec<Refusal>,
    copies: usize,
    events: usize,
    passed_bytes: usize,
}

/// Where a row came from, in case that it turns out not to be one.
struct Origin {
    position: Position,
    is_stripped: bool,
}

impl Taking {
    fn has_room(&self, rows: &Rows) -> bool {
        self.events < READ_EVENTS_MAX && self.passed_bytes + rows.bytes() < READ_BYTES_MAX
    }
}

/// An event that is refused, as it may be kept, and the reason.
fn refusal(decoder: &Decoder, position: Position, event: &str, is_stripped: bool, why: String) -> Refusal {
    if !decoder.privacy.applies(is_stripped) || event.is_empty() {
        return Refusal { position, payload: event.as_bytes().to_vec(), why };
    }
    let mut found = Vec::new();
    let mut keys = Keys { layout: &decoder.layout, names: &mut Names::default() };
    match values(&mut Scanner::new(event), &mut keys, &mut found) {
        Ok(()) => {
            let payload = decoder.privacy.event(&found, is_stripped).into_bytes();
            Refusal { position, payload, why }
        }
        // Not a hash of it either: whoever guesses what a short text says can prove it by that.
        Err(_) => {
            let bytes = event.len();
            let why = format!("{why}; its {bytes} bytes are not kept, since `privacy` cannot be applied to them");
            Refusal { position, payload: Vec::new(), why }
        }
    }
}

/// The id of an event, if it has one that can be compared.
fn id<'a>(pairs: &[Pair<'a>]) -> Option<Cow<'a, str>> {
    use forebay_codec::scan::Kind::{Number, Text};
    let pair = pairs.iter().rfind(|it| it.path == "event.id" && matches!(it.kind, Text | Number))?;
    Some(pair.text()).filter(|it| !it.is_empty())
}
