//! The suite for sources.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use forebay_api::{Partition, Position, Read, Resume, SourceConfig, Span};

use crate::rows::canonical;

/// How long `next` of a finite source may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// More rows than this are not a finite test input.
const ROWS_MAX: usize = 100_000;

/// So many positions of each partition are tried; of longer ones a sample, spread evenly, ends included.
const PLACES_MAX: usize = 24;

/// Checks that a source with a finite input keeps its contract.
///
/// - Every read has the columns of `schema()` and no [`Read::fault`].
/// - The spans of a partition follow each other from the start, without a gap.
/// - After any position, those in the middle of a read included, it gives exactly the rows and refusals behind it,
///   in each partition by itself.
/// - Of a finished partition nothing is read; when all are finished it ends at once.
/// - A replay of any spans, in any order, gives their rows and refusals at their positions, and then the end.
/// - After the end comes the end.
///
/// Give it an input that matters: several partitions, refused rows, an empty partition, reads of several rows.
///
/// # Panics
///
/// If the contract is broken, or the input has no rows at all.
pub async fn source(config: &dyn SourceConfig) {
    let whole = Log::read(config, Resume::start(), "from the start").await;
    assert!(whole.rows() > 0, "source: the suite needs an input with rows");
    same_again(config, &whole).await;
    resumes(config, &whole).await;
    replays(config, &whole).await;
}

/// Opens a source and reads it to its end, which it must reach in a minute of waiting at a time.
///
/// # Panics
///
/// If the source fails, if it does not end, or if a read breaks the contract by itself.
pub async fn read(config: &dyn SourceConfig, resume: Resume) -> Vec<Read> {
    let schema = config.schema().unwrap_or_else(|error| panic!("source: `schema` failed: {error}"));
    let mut source = config.open(resume).await.unwrap_or_else(|error| panic!("source: `open` failed: {error}"));
    // As the engine does, before the first `next`.
    let _settler = source.settler();
    let mut reads = Vec::new();
    let mut rows = 0;
    loop {
        let next = tokio::time::timeout(PATIENCE, source.next()).await;
        let next =
            next.unwrap_or_else(|_| panic!("source: `next` gave nothing for {PATIENCE:?}: is the input finite?"));
        let Some(read) = next.unwrap_or_else(|error| panic!("source: `next` failed: {error}")) else {
            break;
        };
        check_read(&read, &schema);
        rows += read.rows.num_rows() + read.refused.len();
        assert!(rows <= ROWS_MAX, "source: more than {ROWS_MAX} rows: the suite is for a small, finite input");
        reads.push(read);
    }
    let after = source.next().await.unwrap_or_else(|error| panic!("source: `next` failed after the end: {error}"));
    assert!(after.is_none(), "source: `next` gave a read after it had said that the input has ended");
    reads
}

/// What can be said of one read by itself.
fn check_read(read: &Read, schema: &SchemaRef) {
    let span = &read.span;
    assert!(
        read.rows.schema() == *schema,
        "source: {span}: the columns are not those of `schema()`\n     read: {:?}\n  planned: {:?}",
        read.rows.schema().fields(),
        schema.fields(),
    );
    if let Some(fault) = read.fault() {
        panic!("source: {span}: {fault}");
    }
    for refusal in &read.refused {
        let position = &refusal.position;
        assert!(span.contains(position), "source: {span}: the refused row {position} is not in the span");
        assert!(!refusal.why.is_empty(), "source: {span}: the refused row {position} has no reason");
    }
    let falls = read.refused.windows(2).find(|pair| pair[0].position >= pair[1].position);
    if let Some(pair) = falls {
        panic!("source: {span}: the refused row {} comes after row {}", pair[1].position, pair[0].position);
    }
    let taken = (0..read.rows.num_rows()).map(|row| read.position(row));
    let refused: Vec<&Position> = read.refused.iter().map(|it| &it.position).collect();
    if let Some(twice) = taken.into_iter().find(|it| refused.binary_search(&it).is_ok()) {
        panic!("source: {span}: row {twice} was both read and refused");
    }
}

/// What stands at one position.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Row(RecordBatch),
    Refused { payload: Vec<u8>, why: String },
}

impl Entry {
    fn shown(&self) -> String {
        match self {
            Self::Row(row) => canonical(std::slice::from_ref(row)).join(""),
            Self::Refused { payload, why } => {
                format!("refused `{}`: {why}", String::from_utf8_lossy(payload))
            }
        }
    }
}

/// What a source gave of one partition.
#[derive(Clone, Debug, Default)]
struct Stretch {
    entries: Vec<(Position, Entry)>,
    spans: Vec<Span>,
}

impl Stretch {
    fn end(&self) -> Option<&Position> {
        self.spans.last().map(|it| &it.to)
    }

    /// The entries in `(from, to]`.
    fn between(&self, from: &Position, to: &Position) -> &[(Position, Entry)] {
        let first = self.entries.partition_point(|it| it.0 <= *from);
        let last = self.entries.partition_point(|it| it.0 <= *to);
        &self.entries[first..last.max(first)]
    }

    /// Positions to stop at, in order: of rows, refused rows and ends of reads; many, but not too many.
    fn places(&self) -> Vec<Position> {
        let rows = self.entries.iter().map(|it| it.0.clone());
        let ends = self.spans.iter().map(|it| it.to.clone());
        let mut all: Vec<Position> = rows.chain(ends).collect();
        all.sort();
        all.dedup();
        let last = all.len().saturating_sub(1);
        if last >= PLACES_MAX {
            all = (0..PLACES_MAX).map(|nth| all[nth * last / (PLACES_MAX - 1)].clone()).collect();
        }
        all
    }
}

/// What a source gave, by partition.
#[derive(Clone, Debug, Default)]
struct Log(BTreeMap<Partition, Stretch>);

impl Log {
    /// Reads all, and checks that the spans of each partition follow each other from where `resume` said.
    async fn read(config: &dyn SourceConfig, resume: Resume, when: &str) -> Self {
        let after = match &resume {
            Resume::After(after) => after.clone(),
            Resume::Exactly(_) => unreachable!("a replay is no log: its order is of the essence"),
        };
        let mut log = Self::default();
        for read in read(config, resume).await {
            let partition = read.span.partition.clone();
            let stretch = log.0.entry(partition.clone()).or_default();
            let resumed = after.get(&partition).cloned().unwrap_or(Position::Start);
            assert!(resumed != Position::End, "source: {when}: {} was read, though it had been finished", read.span);
            let begin = stretch.end().cloned().unwrap_or(resumed);
            assert!(begin != Position::End, "source: {when}: {} was read after its partition had ended", read.span);
            assert!(
                read.span.from == begin,
                "source: {when}: {} does not begin at {begin}, where it should go on",
                read.span
            );
            stretch.spans.push(read.span.clone());
            stretch.entries.extend(entries(&read));
        }
        log
    }

    fn rows(&self) -> usize {
        self.0.values().flat_map(|it| &it.entries).filter(|it| matches!(it.1, Entry::Row(_))).count()
    }
}

/// Rows and refused rows of a read, merged by position.
fn entries(read: &Read) -> Vec<(Position, Entry)> {
    let row = |row: usize| (read.position(row), Entry::Row(read.rows.slice(row, 1)));
    let mut all: Vec<(Position, Entry)> = (0..read.rows.num_rows()).map(row).collect();
    all.extend(
        read.refused
            .iter()
            .map(|it| (it.position.clone(), Entry::Refused { payload: it.payload.clone(), why: it.why.clone() })),
    );
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

/// The same source reads the same twice.
async fn same_again(config: &dyn SourceConfig, whole: &Log) {
    let again = Log::read(config, Resume::start(), "opened a second time").await;
    compare(whole, &BTreeMap::new(), &again, "opened a second time");
}

/// Stops at every place of every partition, alone and mixed with the others, and goes on.
async fn resumes(config: &dyn SourceConfig, whole: &Log) {
    for (partition, stretch) in &whole.0 {
        for place in stretch.places() {
            resume(config, whole, BTreeMap::from([(partition.clone(), place)])).await;
        }
    }
    // Mixes: every partition at another place; the longest partition says how many.
    let places: BTreeMap<&Partition, Vec<Position>> = whole.0.iter().map(|it| (it.0, it.1.places())).collect();
    let longest = places.values().map(Vec::len).max().unwrap_or(0);
    for step in 0..longest {
        let mix = places.iter().enumerate().filter_map(|(nth, (partition, places))| {
            let place = places.get((step + 3 * nth) % places.len().max(1))?;
            Some(((*partition).clone(), place.clone()))
        });
        resume(config, whole, mix.collect()).await;
    }
    let finished = whole.0.iter().filter_map(|(partition, it)| Some((partition.clone(), it.end()?.clone()))).collect();
    let rest = read(config, Resume::After(finished)).await;
    if let Some(read) = rest.iter().find(|it| it.rows.num_rows() + it.refused.len() > 0) {
        panic!("source: after everything: {} was read again", read.span);
    }
}

async fn resume(config: &dyn SourceConfig, whole: &Log, after: BTreeMap<Partition, Position>) {
    let places: Vec<String> = after.iter().map(|(partition, position)| format!("{partition}:{position}")).collect();
    let when = format!("resumed after {}", places.join(", "));
    let rest = Log::read(config, Resume::After(after.clone()), &when).await;
    compare(whole, &after, &rest, &when);
}

/// What was read is what lies behind `after` in `whole`.
fn compare(whole: &Log, after: &BTreeMap<Partition, Position>, found: &Log, when: &str) {
    if let Some(partition) = found.0.keys().find(|it| !whole.0.contains_key(it)) {
        panic!("source: {when}: the partition `{partition}` was not there the first time");
    }
    let nothing = Stretch::default();
    for (partition, stretch) in &whole.0 {
        let from = after.get(partition).unwrap_or(&Position::Start);
        let rest = found.0.get(partition).unwrap_or(&nothing);
        let expected = stretch.between(from, &Position::End);
        same_entries(&format!("{when}: partition `{partition}`"), &rest.entries, expected);
        let reached = rest.end().unwrap_or(from);
        let end = stretch.end().unwrap_or(&Position::Start);
        assert!(
            reached == end,
            "source: {when}: partition `{partition}` ended at {reached}, but at {end} the first time"
        );
    }
}

/// Replays spans that cut the log in several ways.
async fn replays(config: &dyn SourceConfig, whole: &Log) {
    let mut as_read: Vec<Span> = Vec::new();
    let mut in_pieces: Vec<Vec<Span>> = Vec::new();
    for (partition, stretch) in &whole.0 {
        as_read.extend(stretch.spans.clone());
        let Some(end) = stretch.end() else { continue };
        let all = Span::new(partition.clone(), Position::Start, end.clone());
        replay(config, whole, vec![all]).await;
        let mut from = Position::Start;
        let mut pieces = Vec::new();
        for place in stretch.places() {
            let piece = Span::new(partition.clone(), from, place.clone());
            replay(config, whole, vec![piece.clone()]).await;
            pieces.push(piece);
            from = place;
        }
        in_pieces.push(pieces);
    }
    replay(config, whole, as_read.clone()).await;
    as_read.reverse();
    replay(config, whole, as_read).await;
    // Partitions by turns, and every second piece left out.
    let longest = in_pieces.iter().map(Vec::len).max().unwrap_or(0);
    let by_turns: Vec<Span> =
        (0..longest).flat_map(|nth| in_pieces.iter().filter_map(move |it| it.get(nth).cloned())).collect();
    let with_holes: Vec<Span> = (0..longest)
        .step_by(2)
        .flat_map(|nth| in_pieces.iter().rev().filter_map(move |it| it.get(nth).cloned()))
        .collect();
    replay(config, whole, by_turns).await;
    replay(config, whole, with_holes).await;
    replay(config, whole, Vec::new()).await;
}

async fn replay(config: &dyn SourceConfig, whole: &Log, spans: Vec<Span>) {
    let reads = read(config, Resume::Exactly(spans.clone())).await;
    let mut reads = reads.into_iter().peekable();
    for (nth, span) in spans.iter().enumerate() {
        let when = format!("replay of {span} (span {} of {})", nth + 1, spans.len());
        let mut found = Vec::new();
        let mut reached = span.from.clone();
        while reached < span.to {
            let Some(read) = reads.next() else {
                panic!("source: {when}: the input ended at {reached}");
            };
            let in_turn = read.span.partition == span.partition && read.span.from == reached;
            assert!(in_turn, "source: {when}: {} was read where ({reached}.. was due", read.span);
            assert!(read.span.to <= span.to, "source: {when}: {} crosses the end of the span", read.span);
            found.extend(entries(&read));
            reached = read.span.to;
        }
        let stretch = &whole.0[&span.partition];
        same_entries(&when, &found, stretch.between(&span.from, &span.to));
    }
    if let Some(read) = reads.next() {
        panic!("source: replay: {} was read after the last span that was asked for", read.span);
    }
}

fn same_entries(when: &str, found: &[(Position, Entry)], expected: &[(Position, Entry)]) {
    let shown = |it: Option<&(Position, Entry)>| match it {
        Some((position, entry)) => format!("{position} {}", entry.shown()),
        None => "nothing".to_owned(),
    };
    let differs = (0..found.len().max(expected.len())).find(|nth| found.get(*nth) != expected.get(*nth));
    if let Some(nth) = differs {
        panic!(
            "source: {when}: not the same rows as the first time\n     found: {}\n  expected: {}",
            shown(found.get(nth)),
            shown(expected.get(nth)),
        );
    }
}
