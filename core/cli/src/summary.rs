//! What a run did, for the one who started it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use forebay_api::{Plan, Promise, Whereabouts};
use forebay_engine::{Counters, Counts, DEAD_LETTERS, Ending};
use serde_json::{Value, json};

use crate::check::promise;
use crate::run;

/// What a run did.
pub(crate) struct Summary<'a> {
    plan: &'a Plan,
    counts: BTreeMap<&'a str, Counts>,
    ending: Ending,
    took: Duration,
}

impl<'a> Summary<'a> {
    /// Takes the counters as they are now.
    pub fn new(plan: &'a Plan, counters: &'a Counters, ending: Ending, took: Duration) -> Self {
        Self { plan, counts: counters.counts(), ending, took }
    }

    fn of(&self, node: &str) -> &Counts {
        &self.counts[node]
    }

    /// Whether no row was read and none delivered.
    fn nothing_new(&self) -> bool {
        let read = self.plan.sources.iter().map(|it| self.of(&it.name).rows_in);
        let delivered = self.plan.sinks.iter().map(|it| self.of(&it.name).rows_out);
        read.chain(delivered).sum::<u64>() == 0
    }

    /// For a script.
    pub fn json(&self) -> Value {
        let source = |name: &str| {
            let it = self.of(name);
            json!({ "read": it.rows_in, "refused": it.refused, "bytes": it.bytes_in,
                    "partitions_ended": it.partitions_ended, "partitions_known": it.partitions_known,
                    "requests": it.requests })
        };
        let transform = |name: &str| {
            let it = self.of(name);
            json!({ "in": it.rows_in, "out": it.rows_out, "filtered": it.filtered, "refused": it.refused })
        };
        let sink = |name: &str, place: Option<Whereabouts>, promise: Promise| {
            let it = self.of(name);
            json!({ "delivered": it.rows_out, "refused": it.refused, "deliveries": it.deliveries,
                    "rebuilt": it.rebuilt, "retries": it.retries, "promise": promise,
                    "at": place.as_ref().map(|it| &it.at), "query": place.as_ref().and_then(|it| it.query.as_ref()) })
        };
        let sources = self.plan.sources.iter().map(|it| (it.name.clone(), source(&it.name)));
        let transforms = self.plan.transforms.iter().map(|it| (it.name.clone(), transform(&it.name)));
        let sinks = self.plan.sinks.iter();
        let sinks = sinks.map(|it| (it.name.clone(), sink(&it.name, it.config.whereabouts(), it.config.promise())));
        let letters = self.plan.dead_letters.as_ref();
        json!({
            "pipeline": self.plan.name,
            "ending": run::ending(self.ending),
            "seconds": self.took.as_secs_f64(),
            "nothing_new": self.nothing_new(),
            "sources": sources.collect::<serde_json::Map<_, _>>(),
            "transforms": transforms.collect::<serde_json::Map<_, _>>(),
            "sinks": sinks.collect::<serde_json::Map<_, _>>(),
            "dead_letters": { "kept": self.letters_kept(), "at": letters.map(|it| it.at()) },
        })
    }

    /// For a person.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let took = format!("{:.1} s", self.took.as_secs_f64());
        let how = match self.ending {
            Ending::InputEnded => "all input is read and delivered",
            Ending::Drained => "stopped; everything that was read is delivered",
            Ending::DrainCut => "stopped before everything was delivered; the rest is read again at the next start",
        };
        let _ = writeln!(text, "`{}`: {how} ({took})", self.plan.name);
        let known: u64 = self.plan.sources.iter().map(|it| self.of(&it.name).partitions_known).sum();
        if self.nothing_new() {
            let before = match known {
                0 => "there was nothing to read".into(),
                1 => "the one input there is was read before".into(),
                known => format!("all {} inputs were read before", number(known)),
            };
            let _ = writeln!(text, "nothing new: {before}");
        } else {
            text.push_str(&self.tables());
        }
        for (source, requests) in self.plan.sources.iter().map(|it| (&it.name, &self.of(&it.name).requests)) {
            if !requests.is_empty() {
                let each: Vec<String> =
                    requests.iter().map(|(what, count)| format!("{} {what}", number(*count))).collect();
                let _ = writeln!(text, "\nrequests to {source}: {}", each.join(", "));
            }
        }
        for sink in &self.plan.sinks {
            let Some(place) = sink.config.whereabouts() else { continue };
            let _ = writeln!(text, "\n{}: {}", sink.name, place.at);
            if let Some(query) = place.query {
                let _ = writeln!(text, "  {query}");
            }
        }
        if let (Some(letters), kept @ 1..) = (&self.plan.dead_letters, self.letters_kept()) {
            let rows = if kept == 1 { "1 refused row is" } else { &format!("{} refused rows are", number(kept)) };
            let _ = writeln!(text, "\n{rows} kept, with reason and place, in {}", letters.at());
        }
        text
    }

    fn tables(&self) -> String {
        let mut table = Table::new(["source", "read", "refused", "inputs"]);
        for source in &self.plan.sources {
            let it = self.of(&source.name);
            let inputs = match it.partitions_known {
                0 => number(it.partitions_ended),
                known => format!("{} (and {} from before)", number(it.partitions_ended), number(known)),
            };
            table.row([&source.name, &number(it.rows_in), &number(it.refused), &inputs]);
        }
        let mut text = table.text();
        if !self.plan.transforms.is_empty() {
            let mut table = Table::new(["transform", "in", "out", "filtered", "refused"]);
            for transform in &self.plan.transforms {
                let it = self.of(&transform.name);
                let numbers = [it.rows_in, it.rows_out, it.filtered, it.refused].map(number);
                let [rows_in, rows_out, filtered, refused] = &numbers;
                table.row([&transform.name, rows_in, rows_out, filtered, refused]);
            }
            text.push_str(&table.text());
        }
        let mut table = Table::new(["sink", "delivered", "refused", "deliveries", "promise"]);
        for sink in &self.plan.sinks {
            let it = self.of(&sink.name);
            let deliveries = match it.rebuilt {
                0 => number(it.deliveries),
                rebuilt => format!("{} ({} rebuilt)", number(it.deliveries), number(rebuilt)),
            };
            let promise = promise(sink.config.promise());
            table.row([&sink.name, &number(it.rows_out), &number(it.refused), &deliveries, promise]);
        }
        text.push_str(&table.text());
        text
    }

    /// Dead letters written in this run: what sources and transforms refused, and what sinks did.
    fn letters_kept(&self) -> u64 {
        let by_sinks: u64 = self.plan.sinks.iter().map(|it| self.of(&it.name).refused).sum();
        self.of(DEAD_LETTERS).rows_out + by_sinks
    }
}

/// Columns that line up: the first to the left, numbers to the right.
struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    fn row(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(str::to_owned));
    }

    fn text(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|it| it[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..N).map(width).collect();
        let mut text = String::from("\n");
        for row in &self.rows {
            let _ = write!(text, "  {:<1$}", row[0], widths[0].max(16));
            row.iter().zip(&widths).skip(1).for_each(|(cell, width)| {
                let _ = write!(text, "  {cell:>0$}", *width.max(&9));
            });
            text.push('\n');
        }
        text
    }
}

/// A number with thousands apart: `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes with the unit that fits: `13.6 MB`.
pub(crate) fn bytes(n: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", units[unit]) }
}
