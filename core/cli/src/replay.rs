//! `forebay replay`: dead letters go through the pipeline again, from the node on that refused them.
//!
//! A replay is a run like any other, with letters as its source and a state of its own, which lies in the directory
//! `replay` of the pipeline's. It has three steps, and a journal there says in which it is, so that a replay that was
//! interrupted goes on:
//!
//! 1. Letters are chosen and copied ([`collect`](mod@collect)). From here on it does not matter what becomes of their
//!    files: a pipeline that makes a delivery again may write them anew.
//! 2. The copies are delivered.
//! 3. The letters are taken out of their files, and marked as taken there: should a file be written again, they do not
//!    count.
//!
//! Over all of it the place of the letters is locked. One replay at a time has them, even if it is dead for the moment.

mod collect;
mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use forebay_api::plan::DeadLetters;
use forebay_api::{BoxError, Deliver, Plan, Wrong};
use forebay_engine::{Counters, Ending, Options};
use forebay_letters::{Copied, Copies, Emptied, LetterSource, Letters, OldPlaces, Place, Queue, from_node, schema_of};
use forebay_state::{FileStore, LogKey, Store, create_directory};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::arguments;
use crate::run::{failed, stop_on_signals};
use crate::terminal;
use collect::{Choice, Collected, Group, InQueue, NoRows, collect};
use journal::{Journal, Step};

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    letters: u64,
    delivered: u64,
    refused_again: u64,
    /// Letters that stay where they are, by the reason.
    left: BTreeMap<String, u64>,
    /// Letters that stay since they are no rows of this file, by the node that has refused them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    no_rows: BTreeMap<String, NoRows>,
    /// What stays in the queue.
    #[serde(skip_serializing_if = "InQueue::is_empty")]
    in_queue: InQueue,
    /// About how many letters are in the queue, if somebody only wants to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
    /// Whether it was begun by another process, which may have delivered some already.
    resumed: bool,
}

impl Report {
    /// With what was collected, and what is left.
    fn with(mut self, collected: &Collected) -> Self {
        self.letters = collected.groups.iter().map(|it| it.letters).sum();
        self.left.clone_from(&collected.left);
        for (component, NoRows { letters, why }) in &collected.no_rows {
            self.no_rows.entry(component.clone()).or_default().add(*letters, || why.clone());
        }
        self.in_queue = collected.in_queue;
        self
    }

    /// What somebody has to do something about, if there is anything.
    fn problem(&self) -> Option<Problem> {
        let letters = self.no_rows.values().map(|it| it.letters).sum();
        let hint = "they are as they were: replay them with the file of the `version` that they name, or one with the \
                    same columns";
        (letters > 0).then(|| Problem::new(format!("{}: no rows of this file", count(letters, "letter")), hint))
    }
}

/// Replays the letters of a pipeline.
pub async fn replay(plan: Plan, letters: Letters, arguments: &arguments::Replay) -> ExitCode {
    let done = match arguments.dry_run {
        true => look(&plan, &letters, arguments).await.map(Some),
        false => run(&plan, &letters, arguments).await,
    };
    match done {
        Ok(Some(report)) => {
            match arguments.json {
                true => terminal::out(&format!("{}\n", json!(report))),
                false => terminal::out(&text(&report, arguments.dry_run)),
            }
            match report.problem() {
                Some(Problem { error, hint }) => failed(error.as_ref(), hint.as_deref()),
                None => ExitCode::SUCCESS,
            }
        }
        Ok(None) => {
            terminal::err("stopped; the next `forebay replay` goes on from here\n");
            ExitCode::from(1)
        }
        Err(Problem { error, hint }) => failed(error.as_ref(), hint.as_deref()),
    }
}

/// Why a replay cannot be, and what to do about it.
struct Problem {
    error: BoxError,
    hint: Option<String>,
}

impl Problem {
    fn new(error: impl Into<BoxError>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: Some(hint.into()) }
    }
}

impl<E: Into<BoxError>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error = error.into();
        let hint = error.downcast_ref::<Wrong>().and_then(|it| it.hint.clone());
        Self { error, hint }
    }
}

/// Where the letters are that the command line means.
fn from(letters: &Letters, arguments: &arguments::Replay) -> Result<Letters, Wrong> {
    match &arguments.from {
        Some(path) => letters.elsewhere(path),
        None => Ok(letters.clone()),
    }
}

/// Says what would be replayed. Changes nothing.
async fn look(plan: &Plan, letters: &Letters, arguments: &arguments::Replay) -> Result<Report, Problem> {
    let (from, choice) = (from(letters, arguments)?, Choice::new(arguments));
    let begun = Journal::read(&plan.state.join("replay"))?;
    if let Some(journal) = &begun {
        journal.is_of(&choice, from.path())?;
    }
    let collected = match begun.map(|it| it.step) {
        Some(Step::Deliver(collected) | Step::TakeOut(collected)) => collected,
        Some(Step::Collect) | None => collect(plan, &from.place().await?, &choice, None).await?,
    };
    let mut report = Report::default().with(&collected);
    if let Some(queue) = from.queue().await? {
        report.queued = Some(queue.waiting().await?);
    }
    Ok(report)
}

/// Replays. `None` if a stop was asked for before the end.
async fn run(plan: &Plan, letters: &Letters, arguments: &arguments::Replay) -> Result<Option<Report>, Problem> {
    let (from, choice) = (from(letters, arguments)?, Choice::new(arguments));
    let (place, queue) = (from.place().await?, from.queue().await?);
    create_directory(&plan.state)?;
    let _turn = turn(&plan.state)?;
    let home = plan.state.join("replay");
    let mut journal = match Journal::read(&home)? {
        Some(journal) => {
            journal.is_of(&choice, from.path())?;
            journal
        }
        // So that a place that does not exist is not made.
        None if queue.is_none() && place.listing().await?.files.is_empty() => return Ok(Some(Report::default())),
        None => Journal::begin(&home, choice, from.path())?,
    };
    let resumed = journal.step != Step::Collect;
    if let Err(problem) = lock(&place, &journal.owner).await {
        if !resumed {
            journal.end(&home)?;
        }
        return Err(problem);
    }
    if !resumed {
        match gather(plan, &place, queue.as_ref(), &journal.choice, &home).await {
            Ok(collected) => journal.go_to(&home, Step::Deliver(collected))?,
            Err(error) => {
                // Nothing has begun that somebody would have to finish.
                place.unlock().await?;
                journal.end(&home)?;
                return Err(error.into());
            }
        }
    }
    let mut report = Report { resumed, ..Report::default() };
    if let Step::Deliver(collected) = &journal.step {
        let collected = hold_against(plan, collected.clone(), &home, arguments.abandon_pending).await?;
        // What this run may deliver is known to be of this file before any of it is delivered.
        journal.go_to(&home, Step::Deliver(collected.clone()))?;
        let stop = CancellationToken::new();
        stop_on_signals(stop.clone(), plan.drain_max.duration())?;
        let kept = letters.open().await?;
        for group in &collected.groups {
            if !deliver(plan, group, &home, kept.clone(), &stop, &mut report).await? {
                return Ok(None);
            }
        }
        journal.go_to(&home, Step::TakeOut(collected))?;
    }
    if let Step::TakeOut(collected) = &journal.step {
        report = report.with(collected);
        for group in &collected.groups {
            take_out(&place, group, &home).await?;
        }
    }
    place.unlock().await?;
    journal.end(&home)?;
    Ok(Some(report))
}

/// Lets one process at a time work on replays of a pipeline.
fn turn(state: &Path) -> Result<File, Problem> {
    let path = state.join("replay.lock");
    let failed = |error: std::io::Error| format!("cannot lock `{}`: {error}", path.display());
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err("another process replays letters of this pipeline".into()),
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

/// Lets one replay at a time have the letters of a place.
async fn lock(place: &Place, owner: &str) -> Result<(), Problem> {
    let Some(holder) = place.lock(owner).await? else { return Ok(()) };
    let error = format!("another replay has these letters: {holder}");
    let hint =
        format!("wait for it, or finish it where it was begun; if that is gone for good, remove `{}`", place.lock_at());
    Err(Problem::new(error, hint))
}

/// Collects letters, those of the queue among them.
async fn gather(
    plan: &Plan,
    place: &Place,
    queue: Option<&Queue>,
    choice: &Choice,
    home: &Path,
) -> Result<Collected, BoxError> {
    let mut in_queue = InQueue::default();
    if let Some(queue) = queue {
        let Emptied { newer, no_letters, .. } = queue.empty_into(place).await?;
        in_queue = InQueue { newer, no_letters };
    }
    Ok(Collected { in_queue, ..collect(plan, place, choice, Some(home)).await? })
}

/// Holds what was collected against a file that may have been changed since: what is left of it. With `give_up`, letters
/// that cannot be taken up any more are left, and those that would go another way begin anew.
async fn hold_against(plan: &Plan, collected: Collected, home: &Path, give_up: bool) -> Result<Collected, Problem> {
    const CANNOT: &str = "the replay that was begun cannot go on";
    let mut held = Collected { groups: Vec::new(), ..collected.clone() };
    for mut group in collected.groups {
        let letters = count(group.letters, "letter");
        let component = &group.component;
        let part = match part(plan, &group, home) {
            Ok(part) => part,
            Err(why) if give_up => {
                *held.left.entry(why).or_default() += group.letters;
                continue;
            }
            Err(why) => {
                let hint = "make the file as it was then; or give these letters up with `--abandon-pending`: they stay \
                     where they are, and what was delivered of them may be there twice when they are replayed";
                return Err(Problem::new(format!("{CANNOT}: {letters} that `{component}` had refused: {why}"), hint));
            }
        };
        let way = way(&part);
        if group.way != way && has_progress(&group.state(home), &plan.name).await? {
            if !give_up {
                let hint = "make the file as it was then; or begin anew with `--abandon-pending`: what was delivered of \
                     these letters may be there twice";
                let what = format!("`{component}`, or what is before or behind it, was changed since");
                return Err(Problem::new(format!("{CANNOT} with {letters}: {what}"), hint));
            }
            std::fs::remove_dir_all(group.state(home))?;
        }
        group.way = way;
        held.groups.push(group);
    }
    Ok(held)
}

/// The part of the pipeline that letters go through; an error says why they cannot.
fn part(plan: &Plan, group: &Group, home: &Path) -> Result<Plan, String> {
    let schema = schema_of(plan, &group.source, &group.component)?;
    let config = Arc::new(LetterSource::new(schema.clone(), Copies::new(&group.copies(home))));
    Ok(from_node(plan, &group.source, &group.component, config, schema))
}

/// All that decides where rows go and what becomes of them. If it were another when a replay goes on, rows that were
/// refused and not kept yet might now be delivered to nobody, since the sinks are past them.
fn way(part: &Plan) -> Vec<String> {
    let sinks = part.sinks.iter().map(|it| format!("{} {}", it.name, it.fingerprint));
    part.transforms.iter().map(|it| it.name.clone()).chain(sinks).collect()
}

/// Whether anything is delivered, or may be.
async fn has_progress(state: &Path, pipeline: &str) -> Result<bool, BoxError> {
    if !state.try_exists()? {
        return Ok(false);
    }
    let snapshot = FileStore::open(state, pipeline)?.load().await?;
    // The engine's own notes, from before it reads anything, are about no partition.
    let is_position = |it: &LogKey| !it.partition.as_str().is_empty();
    Ok(!snapshot.pending.is_empty() || snapshot.committed.keys().any(is_position))
}

/// Takes letters of one node through. `false` if a stop was asked for.
async fn deliver(
    plan: &Plan,
    group: &Group,
    home: &Path,
    letters: Arc<dyn Deliver>,
    stop: &CancellationToken,
    report: &mut Report,
) -> Result<bool, Problem> {
    let plan = part(plan, group, home)?;
    let counters = Arc::new(Counters::new(&plan));
    let options = Options {
        store: Arc::new(FileStore::open(&group.state(home), &plan.name)?),
        letters: Some(Arc::new(OldPlaces::new(letters, &group.source, Copies::new(&group.copies(home))))),
        stop: stop.clone(),
        counters: counters.clone(),
        workers: 1,
        jitter_seed: u64::from(std::process::id()),
        abandon_pending: false,
    };
    let ending = forebay_engine::run(&plan, options).await.map_err(|error| {
        let hint = error.hint.clone();
        Problem { error: error.into(), hint }
    })?;
    for sink in &plan.sinks {
        let counts = counters.node(&sink.name).counts();
        report.delivered += counts.rows_out;
        report.refused_again += counts.refused;
    }
    for transform in &plan.transforms {
        report.refused_again += counters.node(&transform.name).counts().refused;
    }
    // They were rows when they were chosen.
    let no_rows = counters.node(&group.source).counts().refused;
    if no_rows > 0 {
        let why = || "the file was changed since this replay was begun".to_owned();
        report.no_rows.entry(group.component.clone()).or_default().add(no_rows, why);
    }
    Ok(ending == Ending::InputEnded)
}

/// Takes letters that are done with out of their files.
async fn take_out(place: &Place, group: &Group, home: &Path) -> Result<(), BoxError> {
    let copies = Copies::new(&group.copies(home));
    for name in copies.names()? {
        let mut done: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for Copied { file, letter } in copies.read(&name)? {
            done.entry(file).or_default().insert(letter.id());
        }
        for (file, ids) in &done {
            place.take_out(file, ids).await?;
        }
    }
    Ok(())
}

/// `1 letter`, `2 letters`.
fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

fn text(report: &Report, dry_run: bool) -> String {
    let Report { letters, delivered, refused_again, left, no_rows, in_queue, queued, resumed } = report;
    let taken = count(*letters, "dead letter");
    let mut text = match (letters, dry_run) {
        (0, true) if queued.is_some_and(|it| it > 0) => String::new(),
        (0, _) => "no dead letters to replay\n".to_owned(),
        (_, true) => format!("{taken} would be replayed\n"),
        (_, false) => {
            let rows = count(*delivered, "row");
            format!("{taken} replayed: {rows} delivered, {refused_again} refused again and kept\n")
        }
    };
    if *resumed {
        text.push_str("this replay was interrupted before: what was delivered until then is not among these rows\n");
    }
    for (why, n) in left {
        text.push_str(&format!("left where they are: {}, {why}\n", count(*n, "letter")));
    }
    for (component, NoRows { letters, why }) in no_rows {
        let letters = count(*letters, "letter");
        text.push_str(&format!("left where they are: {letters} of `{component}`, no rows of this file: {why}\n"));
    }
    if in_queue.no_letters > 0 {
        let messages = count(in_queue.no_letters, "message");
        text.push_str(&format!("left in the queue: {messages}, no dead letters\n"));
    }
    if in_queue.newer > 0 {
        let letters = count(in_queue.newer, "dead letter");
        text.push_str(&format!("left in the queue: at least {letters}, sent since this replay was begun\n"));
    }
    if let Some(queued) = queued.filter(|it| *it > 0) {
        text.push_str(&format!("in the queue, and not looked at: about {}\n", count(queued, "dead letter")));
    }
    text
}
