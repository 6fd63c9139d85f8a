use std::sync::atomic::{AtomicU64, Ordering};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use expect_test::expect;
use forebay_api::{BoxError, Position, Read, Resume, Source, SourceConfig, Span};

use super::{check, verdict};
use crate::{Scripted, text};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    OtherColumns,
    PositionTooFar,
    LosesARead,
    LosesARow,
    OtherRowsEachTime,
    ReadsTheLastRowAgain,
    SkipsARowOnResume,
    ResumesWholeReadsOnly,
    ForgetsRefusedOnResume,
    ReadsFinishedAgain,
    NeverCloses,
    ReplaysToTheEnd,
    ReplaysInOwnOrder,
    ReplaysOneRowLess,
    ReplaysWithoutRefused,
    NeverEnds,
    GoesOnAfterTheEnd,
    Stalls,
}

const BUGS: [Bug; 18] = [
    Bug::OtherColumns,
    Bug::PositionTooFar,
    Bug::LosesARead,
    Bug::LosesARow,
    Bug::OtherRowsEachTime,
    Bug::ReadsTheLastRowAgain,
    Bug::SkipsARowOnResume,
    Bug::ResumesWholeReadsOnly,
    Bug::ForgetsRefusedOnResume,
    Bug::ReadsFinishedAgain,
    Bug::NeverCloses,
    Bug::ReplaysToTheEnd,
    Bug::ReplaysInOwnOrder,
    Bug::ReplaysOneRowLess,
    Bug::ReplaysWithoutRefused,
    Bug::NeverEnds,
    Bug::GoesOnAfterTheEnd,
    Bug::Stalls,
];

/// Two partitions of several reads with refused rows between and at both ends, and one without rows.
fn script() -> Scripted {
    let rows = |from: &str| text("message", [from, "b", "c", "d"].map(Some));
    Scripted::new(rows("a").schema())
        .refused("one", &rows("x").slice(0, 1), "not a row")
        .partition("one", &rows("a"))
        .refused("one", &rows("y").slice(0, 1), "not a row")
        .partition("one", &rows("e"))
        .partition("two", &rows("k"))
        .refused("two", &rows("z"), "not a row")
        .partition("three", &rows("n").slice(0, 0))
}

struct Broken {
    bug: Bug,
    opened: AtomicU64,
}

impl Broken {
    /// The place that the bug goes on from instead.
    fn misplace(&self, position: Position) -> Position {
        let counted = position.counted();
        match (self.bug, counted) {
            (Bug::ReadsFinishedAgain, None) => Position::Start,
            (Bug::ReadsTheLastRowAgain, Some(n)) => Position::row(n.saturating_sub(1)),
            (Bug::SkipsARowOnResume, Some(n)) => Position::row(n + 1),
            (Bug::ResumesWholeReadsOnly, Some(n)) => Position::row(n - n % 3),
            (Bug::NeverCloses, Some(8..)) => Position::End,
            _ => position,
        }
    }

    fn misread(&self, spans: Vec<Span>) -> Vec<Span> {
        let mut spans = spans;
        match self.bug {
            Bug::ReplaysToTheEnd => spans.iter_mut().for_each(|it| it.to = Position::End),
            Bug::ReplaysInOwnOrder => spans.sort(),
            _ => {}
        }
        spans
    }
}

#[async_trait]
impl SourceConfig for Broken {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        match self.bug {
            Bug::OtherColumns => Ok(text("line", ["a"]).schema()),
            _ => script().schema(),
        }
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let replay = matches!(resume, Resume::Exactly(_));
        let resumed = matches!(&resume, Resume::After(after) if !after.is_empty());
        let resume = match resume {
            Resume::Exactly(spans) => Resume::Exactly(self.misread(spans)),
            Resume::After(after) => {
                Resume::After(after.into_iter().map(|(partition, it)| (partition, self.misplace(it))).collect())
            }
        };
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let reader = script().open(resume).await?;
        Ok(Box::new(BrokenReader { bug: self.bug, opened, replay, resumed, reader, reads: 0, last: None }))
    }
}

struct BrokenReader {
    bug: Bug,
    opened: u64,
    replay: bool,
    resumed: bool,
    reader: Box<dyn Source>,
    reads: u64,
    last: Option<Read>,
}

#[async_trait]
impl Source for BrokenReader {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        self.reads += 1;
        let read = match self.reader.next().await? {
            Some(_) if self.bug == Bug::LosesARead && self.reads == 2 => self.reader.next().await?,
            read => read,
        };
        let Some(mut read) = read else {
            return self.end().await;
        };
        match self.bug {
            Bug::PositionTooFar => read.span.to = read.span.to.min(Position::row(2)),
            Bug::LosesARow if self.resumed => {
                let kept = read.rows.num_rows().min(2);
                read.rows = read.rows.slice(0, kept);
                if let forebay_api::Positions::Listed(positions) = &mut read.positions {
                    positions.truncate(kept);
                }
            }
            Bug::OtherRowsEachTime if read.rows.num_rows() > 0 => {
                let values = vec![format!("{}", self.opened); read.rows.num_rows()];
                read.rows = text("message", values.iter().map(String::as_str).map(Some));
            }
            Bug::ForgetsRefusedOnResume if self.resumed => read.refused.clear(),
            Bug::ReplaysWithoutRefused if self.replay => read.refused.clear(),
            Bug::ReplaysOneRowLess if self.replay && read.rows.num_rows() > 0 => {
                let kept = read.rows.num_rows() - 1;
                read.rows = read.rows.slice(0, kept);
                if let forebay_api::Positions::Listed(positions) = &mut read.positions {
                    positions.truncate(kept);
                }
            }
            _ => {}
        }
        self.last = Some(read.clone());
        Ok(Some(read))
    }
}

impl BrokenReader {
    async fn end(&mut self) -> Result<Option<Read>, BoxError> {
        match self.bug {
            Bug::NeverEnds => Ok(self.last.clone()),
            Bug::GoesOnAfterTheEnd => Ok(self.last.take_if(|_| self.reads.is_multiple_of(2))),
            Bug::Stalls => std::future::pending().await,
            _ => Ok(None),
        }
    }
}

/// Scenario: the scripted source, with reads of one row up to reads of whole partitions.
/// Guarantees: a source that keeps the contract passes.
#[test]
fn a_right_source_passes() {
    for rows_max in [1, 2, 3, 100] {
        assert_eq!(verdict(crate::source(&script().rows_max(rows_max))), "passes");
    }
}

/// Scenario: sources that are wrong in one thing each.
/// Guarantees: the suite catches every one of them, and says what is broken and where.
#[test]
fn each_wrong_source_is_caught() {
    let verdicts = BUGS.map(|bug| {
        let broken = Broken { bug, opened: AtomicU64::new(0) };
        (format!("{bug:?}"), verdict(crate::source(&broken)))
    });
    check(
        verdicts,
        expect![[r#"
        OtherColumns
            source: one:(start..3]: the columns are not those of `schema()`
                 read: [Field { name: "message", data_type: Utf8, nullable: true }]
              planned: [Field { name: "line", data_type: Utf8, nullable: true }]
        PositionTooFar
            source: one:(start..2]: row 3 is not in one:(start..2]
        LosesARead
            source: resumed after one:end: two:(3..6] does not begin at start, where it should go on
        LosesARow
            source: resumed after one:1: partition `one`: not the same rows as the first time
                 found: 5 {"message":"d"}
              expected: 4 {"message":"c"}
        OtherRowsEachTime
            source: opened a second time: partition `one`: not the same rows as the first time
                 found: 2 {"message":"1"}
              expected: 2 {"message":"0"}
        ReadsTheLastRowAgain
            source: resumed after one:1: one:(start..3] does not begin at 1, where it should go on
        SkipsARowOnResume
            source: resumed after one:1: one:(2..5] does not begin at 1, where it should go on
        ResumesWholeReadsOnly
            source: resumed after one:1: one:(start..3] does not begin at 1, where it should go on
        ForgetsRefusedOnResume
            source: resumed after one:1: partition `one`: not the same rows as the first time
                 found: 7 {"message":"e"}
              expected: 6 refused `{"message":"y"}`: not a row
        ReadsFinishedAgain
            source: resumed after one:end: one:(start..3] was read, though it had been finished
        NeverCloses
            source: resumed after one:8: partition `one`: not the same rows as the first time
                 found: nothing
              expected: 9 {"message":"c"}
        ReplaysToTheEnd
            source: replay of one:(start..1] (span 1 of 1): one:(start..3] crosses the end of the span
        ReplaysInOwnOrder
            source: replay of two:(6..end] (span 1 of 8): one:(start..3] was read where (6.. was due
        ReplaysOneRowLess
            source: replay of one:(start..end] (span 1 of 1): not the same rows as the first time
                 found: 4 {"message":"c"}
              expected: 3 {"message":"b"}
        ReplaysWithoutRefused
            source: replay of one:(start..end] (span 1 of 1): not the same rows as the first time
                 found: 2 {"message":"a"}
              expected: 1 refused `{"message":"x"}`: not a row
        NeverEnds
            source: more than 100000 rows: the suite is for a small, finite input
        GoesOnAfterTheEnd
            source: `next` gave a read after it had said that the input has ended
        Stalls
            source: `next` gave nothing for 60s: is the input finite?
    "#]],
    );
}
