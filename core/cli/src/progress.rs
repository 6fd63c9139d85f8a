//! What a person sees while a pipeline runs: one line that is written over on a terminal, a line now and then in a log.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_api::Plan;
use forebay_engine::Counters;
use tokio::task::JoinHandle;

use crate::summary::{bytes, number};
use crate::terminal;

const ON_A_TERMINAL: Duration = Duration::from_millis(200);
const IN_A_LOG: Duration = Duration::from_secs(10);

/// Shows progress until it is told to finish.
pub(crate) struct Progress {
    task: JoinHandle<()>,
    on_terminal: bool,
}

impl Progress {
    /// Begins to show, on standard error.
    pub fn start(plan: &Plan, counters: Arc<Counters>) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let names = |it: &mut dyn Iterator<Item = &String>| it.cloned().collect::<Vec<_>>();
        let sources = names(&mut plan.sources.iter().map(|it| &it.name));
        let sinks = names(&mut plan.sinks.iter().map(|it| &it.name));
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let mut timer = tokio::time::interval(if on_terminal { ON_A_TERMINAL } else { IN_A_LOG });
            timer.tick().await;
            loop {
                timer.tick().await;
                let line = line(&counters, &sources, &sinks, began.elapsed());
                terminal::err(&if on_terminal { format!("\r\x1b[K{line}") } else { format!("{line}\n") });
            }
        });
        Self { task, on_terminal }
    }

    /// Leaves the line free for what comes next.
    pub async fn finish(self) {
        self.task.abort();
        let _ended = self.task.await;
        if self.on_terminal {
            terminal::err("\r\x1b[K");
        }
    }
}

fn line(counters: &Counters, sources: &[String], sinks: &[String], elapsed: Duration) -> String {
    let counts = counters.counts();
    let sum = |names: &[String], of: fn(&forebay_engine::Counts) -> u64| -> u64 {
        names.iter().filter_map(|it| counts.get(it.as_str())).map(of).sum()
    };
    let read = sum(sources, |it| it.rows_in);
    let read_bytes = sum(sources, |it| it.bytes_in);
    let delivered = sum(sinks, |it| it.rows_out);
    let refused: u64 = counts.values().map(|it| it.refused).sum();
    let retries = sum(sinks, |it| it.retries);
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut line = format!(
        "read {} rows ({}, {}/s) | delivered {}",
        number(read),
        bytes(read_bytes),
        bytes((read_bytes as f64 / seconds) as u64),
        number(delivered),
    );
    if refused > 0 {
        line.push_str(&format!(" | refused {}", number(refused)));
    }
    if retries > 0 {
        line.push_str(&format!(" | {} retries", number(retries)));
    }
    line.push_str(&format!(" | {seconds:.0} s"));
    line
}
