//! `forebay run`: opens the state, runs the plan, shows progress, sums up.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_api::{Plan, chain};
use forebay_config::Metrics;
use forebay_engine::{Counters, Ending, Options};
use forebay_state::FileStore;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::progress::Progress;
use crate::summary::Summary;
use crate::terminal;

/// How a run talks.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// The summary goes to standard output as JSON.
    pub json: bool,
    /// No progress and no summary; errors are said all the same.
    pub quiet: bool,
    /// Deliveries that a crash left open are given up instead of rebuilt.
    pub abandon_pending: bool,
    /// Where the pipeline can be watched.
    pub metrics: Option<Metrics>,
}

/// Runs a plan to its end. The code is 0 if nothing went wrong, 1 if the world did.
pub async fn run(plan: Plan, options: RunOptions) -> ExitCode {
    let counters = Arc::new(Counters::new(&plan));
    // First: who watches wants to know that it is being begun.
    let _server = match options.metrics {
        Some(metrics) => match metrics::serve(&metrics, &plan, counters.clone()).await {
            Ok(server) => Some(server),
            Err(error) => return failed(error.as_ref(), None),
        },
        None => None,
    };
    let store = match FileStore::open(&plan.state, &plan.name) {
        Ok(store) => Arc::new(store),
        Err(error) => return failed(&error, Some("one process at a time may run a pipeline on the same state")),
    };
    let stop = CancellationToken::new();
    if let Err(error) = stop_on_signals(stop.clone(), plan.drain_max.duration()) {
        return failed(&error, None);
    }
    let jitter_seed = u64::from(std::process::id());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let progress = (!options.quiet && !options.json).then(|| Progress::start(&plan, counters.clone()));
    let abandon_pending = options.abandon_pending;
    let letters = match &plan.dead_letters {
        Some(letters) => match letters.open().await {
            Ok(letters) => Some(letters),
            Err(error) => return failed(error.as_ref(), None),
        },
        None => None,
    };
    let engine = Options { store, letters, stop, counters: counters.clone(), workers, jitter_seed, abandon_pending };
    let ran = forebay_engine::run(&plan, engine).await;
    if let Some(progress) = progress {
        progress.finish().await;
    }
    let summary = |ending| Summary::new(&plan, &counters, ending, began.elapsed());
    match ran {
        Ok(ending) if options.json => terminal::out(&format!("{}\n", summary(ending).json())),
        Ok(_) if options.quiet => {}
        Ok(ending) => terminal::err(&summary(ending).text()),
        Err(error) => return failed(&error, error.hint.as_deref()),
    }
    ExitCode::SUCCESS
}

/// How much longer than `drain_max` a stop may take before the process ends without the engine's word.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// The first SIGINT or SIGTERM asks for a drain; the second one ends the process.
///
/// On a thread and a runtime of its own: a sink that is stuck in a write may hold all threads of the other one. What
/// is in flight is then abandoned, and read again at the next start.
pub(crate) fn stop_on_signals(stop: CancellationToken, drain_max: Duration) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _on_this_runtime = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let watch = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        terminal::err("\nstopping: what was read is being delivered (once more to end at once; nothing is lost)\n");
        stop.cancel();
        tokio::select! {
            _ = interrupt.recv() => std::process::exit(1),
            _ = terminate.recv() => std::process::exit(1),
            () = tokio::time::sleep(drain_max + DRAIN_GRACE) => {
                terminal::err("stopped before everything was delivered; the rest is read again at the next start\n");
                std::process::exit(0)
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(watch)).map(drop)
}

/// Says what the world did wrong: one line, its causes, what to do about it.
pub(crate) fn failed(error: &(dyn Error + 'static), hint: Option<&str>) -> ExitCode {
    let mut text = format!("error: {error}\n");
    chain(error).skip(1).for_each(|cause| text.push_str(&format!("  caused by: {cause}\n")));
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    terminal::err(&text);
    ExitCode::from(1)
}

/// How a run ended, in words.
pub(crate) fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::InputEnded => "input_ended",
        Ending::Drained => "drained",
        Ending::DrainCut => "drain_cut",
    }
}
