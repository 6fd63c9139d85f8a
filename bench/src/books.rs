//! What exactly-once costs besides the work itself: for each delivery an intent before it, and the position after it.

use std::time::Instant;

use clap::Args;
use forebay_api::{DeliveryId, Partition, Position, Span};
use forebay_state::{Advance, Change, FileStore, LogKey, Pending, SourceSpan, Store};
use nix::sys::resource::{Usage, UsageWho, getrusage};

use crate::Outcome;
use crate::data::{emptied, home};

#[derive(Args)]
pub struct Settings {
    /// How many deliveries.
    #[arg(long, default_value_t = 2_000)]
    deliveries: u64,
    /// Of how many shards each delivery has rows.
    #[arg(long, default_value_t = 4)]
    shards: u64,
}

/// CPU time and time on the wall of the books of one delivery.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(settings: &Settings) -> Outcome {
    let directory = home()?.join("books");
    emptied(&directory)?;
    let store = FileStore::open(&directory, "bench")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let (before, begun) = (cpu_s(getrusage(UsageWho::RUSAGE_SELF)?), Instant::now());
    runtime.block_on(async {
        for number in 0..settings.deliveries {
            for change in changes(number, settings.shards) {
                store.apply(change).await?;
            }
        }
        Ok::<(), forebay_state::StoreError>(())
    })?;
    let n = settings.deliveries as f64;
    let (cpu, wall) = (cpu_s(getrusage(UsageWho::RUSAGE_SELF)?) - before, begun.elapsed().as_secs_f64());
    println!("the books of a delivery: {:.0} us of CPU, {:.0} us on the wall", cpu / n * 1e6, wall / n * 1e6);
    println!("with a delivery a second that is {:.2} % of a core", cpu / n * 100.0);
    Ok(())
}

/// The intent, then the positions: two durable writes.
fn changes(number: u64, shards: u64) -> [Change; 2] {
    let partition = |it: u64| Partition::new(format!("cdn/shardId-{it:012}"));
    let at = |it: u64| if it == 0 { Position::Start } else { Position::row(it) };
    let span = |it: u64| Span::new(partition(it), at(number), at(number + 1));
    let id = DeliveryId::derive("bench", "sink", "fingerprint", "source", &span(0));
    let spans = (0..shards).map(|it| SourceSpan { source: "source".into(), span: span(it) }).collect();
    let pending = Pending {
        sink: "sink".into(),
        number,
        id,
        fingerprint: "f".into(),
        spans,
        rows: 1,
        intended: None,
        settled: false,
    };
    let key = |it: u64| LogKey { sink: "sink".into(), source: "source".into(), partition: partition(it) };
    let advance = (0..shards).map(|it| Advance { key: key(it), from: at(number), to: at(number + 1) }).collect();
    let forget = vec![("sink".to_owned(), number)];
    [Change { intend: Some(pending), ..Change::default() }, Change { advance, forget, ..Change::default() }]
}

fn cpu_s(usage: Usage) -> f64 {
    let seconds = |it: nix::sys::time::TimeVal| it.tv_sec() as f64 + it.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
