//! `forebay replay`: dead letters go through the pipeline again, from the node on that refused them.
//!
//! A replay is a run like any other, with letters as its source and a state of its own, which lies in the directory
//! `replay` of the pipeline's. A journal there says which files are taken up and which of their letters, so that a replay
//! that was interrupted goes on with the same ones. When all is delivered, the letters are taken out of their files, and
//! journal and state are removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use forebay_api::plan::DeadLetters;
use forebay_api::{BoxError, Deliver, Partition, Plan, SinkError};
use forebay_engine::{Counters, Ending, Options};
use forebay_letters::{Letter, LetterSource, Letters, OldPlaces, Place, from_node, schema_of};
use forebay_state::{FileStore, create_directory};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::arguments;
use crate::run::{failed, stop_on_signals};
use crate::terminal;

/// Which letters are taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    component: Option<String>,
    reason: Option<String>,
}

impl Choice {
    fn takes(&self, letter: &Letter) -> bool {
        self.component.as_ref().is_none_or(|it| *it == letter.component)
            && self.reason.as_ref().is_none_or(|it| letter.reason.contains(it.as_str()))
    }
}

/// What a replay that was begun has to finish.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    choice: Choice,
    from: String,
    files: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    letters: u64,
    delivered: u64,
    refused_again: u64,
    /// Letters that stay where they are, by the reason.
    left: BTreeMap<String, u64>,
}

/// Letters of one node, with rows of one source.
struct Group {
    source: String,
    component: String,
    files: BTreeMap<Partition, Vec<Letter>>,
}

/// Replays the letters of a pipeline.
pub async fn replay(plan: Plan, letters: Letters, arguments: &arguments::Replay) -> ExitCode {
    match run(&plan, &letters, arguments).await {
        Ok(Some(report)) => {
            match arguments.json {
                true => terminal::out(&format!("{}\n", json!(report))),
                false => terminal::out(&text(&report, arguments.dry_run)),
            }
            ExitCode::SUCCESS
        }
        Ok(None) => {
            terminal::err("stopped; the next `forebay replay` goes on from here\n");
            ExitCode::from(1)
        }
        Err(Problem { error, hint }) => failed(error.as_ref(), hint.as_deref()),
    }
}

struct Problem {
    error: BoxError,
    hint: Option<String>,
}

impl<E: Into<BoxError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self { error: error.into(), hint: None }
    }
}

async fn run(plan: &Plan, letters: &Letters, arguments: &arguments::Replay) -> Result<Option<Report>, Problem> {
    let from = match &arguments.from {
        Some(path) => letters.elsewhere(path)?,
        None => letters.clone(),
    };
    let place = from.place().await?;
    let directory = plan.state.join("replay");
    let choice = Choice { component: arguments.component.clone(), reason: arguments.reason.clone() };
    let journal_path = directory.join("journal.json");
    let journal = match read_journal(&journal_path)? {
        Some(journal) => {
            if journal.choice != choice || journal.from != from.path() {
                let error = "a replay of other letters was begun and is not finished".into();
                return Err(Problem { error, hint: Some(hint(&journal)) });
            }
            journal
        }
        None => {
            if !arguments.dry_run
                && arguments.from.is_none()
                && let Some(queue) = letters.queue().await?
            {
                queue.empty_into(&place).await?;
            }
            Journal { choice, from: from.path().to_owned(), files: place.list().await? }
        }
    };
    let mut report = Report::default();
    let groups = groups(plan, &place, &journal, &mut report).await?;
    if arguments.dry_run {
        return Ok(Some(report));
    }
    if report.letters > 0 {
        create_directory(&directory)?;
        write_whole(&journal_path, &serde_json::to_vec_pretty(&journal)?)?;
    }
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone(), plan.drain_max.duration())?;
    let kept = letters.open().await?;
    for group in groups {
        if !run_group(plan, group, &directory, kept.clone(), &stop, &mut report).await? {
            return Ok(None);
        }
    }
    for file in &journal.files {
        take_out(&place, file, |it| journal.choice.takes(it) && takes_up(plan, it).is_ok()).await?;
    }
    if directory.try_exists()? {
        // The journal goes first: without it, what is left of the state is nothing.
        remove_if_there(&journal_path)?;
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(Some(report))
}

/// The letters that are taken up, by the node that refused them; the others are counted.
async fn groups(plan: &Plan, place: &Place, journal: &Journal, report: &mut Report) -> Result<Vec<Group>, BoxError> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for file in &journal.files {
        let Some(text) = place.read(file).await? else { continue };
        let letters = Letter::parse_all(&text).map_err(|error| format!("`{}`, {error}", place.at(file)))?;
        // A file that has changed is another partition: what was delivered of the old one says nothing about it.
        let partition = Partition::new(format!("{file} {:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes())));
        for letter in letters.into_iter().filter(|it| journal.choice.takes(it)) {
            if let Err(why) = takes_up(plan, &letter) {
                *report.left.entry(why).or_default() += 1;
                continue;
            }
            report.letters += 1;
            let (source, component) = (letter.source.clone(), letter.component.clone());
            let group = groups.entry((source.clone(), component.clone()));
            let group = group.or_insert_with(|| Group { source, component, files: BTreeMap::new() });
            group.files.entry(partition.clone()).or_default().push(letter);
        }
    }
    Ok(groups.into_values().collect())
}

/// Whether a letter can be taken up in this pipeline; an error says why not.
fn takes_up(plan: &Plan, letter: &Letter) -> Result<(), String> {
    if letter.pipeline != plan.name {
        return Err(format!("of the pipeline `{}`", letter.pipeline));
    }
    schema_of(plan, &letter.source, &letter.component).map(drop)
}

/// Takes letters of one node through. `false` if a stop was asked for.
async fn run_group(
    plan: &Plan,
    group: Group,
    directory: &Path,
    letters: Arc<dyn Deliver>,
    stop: &CancellationToken,
    report: &mut Report,
) -> Result<bool, Problem> {
    let Group { source, component, files } = group;
    let schema = schema_of(plan, &source, &component)?;
    let files = Arc::new(files);
    let config = Arc::new(LetterSource::new(schema.clone(), files.clone()));
    let plan = from_node(plan, &source, &component, config, schema);
    let state =
        directory.join(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(format!("{source} {component}").as_bytes())));
    let counters = Arc::new(Counters::new(&plan));
    let options = Options {
        store: Arc::new(FileStore::open(&state, &plan.name)?),
        letters: Some(Arc::new(OldPlaces::new(letters, files))),
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
    for node in plan.sources.iter().map(|it| &it.name).chain(plan.transforms.iter().map(|it| &it.name)) {
        report.refused_again += counters.node(node).counts().refused;
    }
    Ok(ending == Ending::InputEnded)
}

/// Takes letters that are done with out of their file.
async fn take_out(place: &Place, file: &str, is_done: impl Fn(&Letter) -> bool) -> Result<(), BoxError> {
    let Some(text) = place.read(file).await? else { return Ok(()) };
    let letters = Letter::parse_all(&text)?;
    let rest: Vec<&Letter> = letters.iter().filter(|it| !is_done(it)).collect();
    if rest.is_empty() {
        return place.remove(file).await;
    }
    if rest.len() < letters.len() {
        let mut lines = Vec::new();
        for letter in rest {
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
        }
        place.write(file, lines).await.map_err(SinkError::into_error)?;
    }
    Ok(())
}

fn read_journal(path: &PathBuf) -> Result<Option<Journal>, BoxError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read `{}`: {error}", path.display()).into()),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let hidden = path.with_extension("tmp");
    std::fs::write(&hidden, bytes)?;
    std::fs::File::open(&hidden)?.sync_all()?;
    std::fs::rename(&hidden, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The command that goes on.
fn hint(journal: &Journal) -> String {
    let mut command = format!("finish it first: `forebay replay --from {}", journal.from);
    for (name, value) in [("component", &journal.choice.component), ("reason", &journal.choice.reason)] {
        if let Some(value) = value {
            command.push_str(&format!(" --{name} '{value}'"));
        }
    }
    command + "`"
}

fn text(report: &Report, dry_run: bool) -> String {
    let Report { letters, delivered, refused_again, left } = report;
    let count = |n: u64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let taken = count(*letters, "dead letter");
    let mut text = match (letters, dry_run) {
        (0, _) => "no dead letters to replay\n".to_owned(),
        (_, true) => format!("{taken} would be replayed\n"),
        (_, false) => {
            let rows = count(*delivered, "row");
            format!("{taken} replayed: {rows} delivered, {refused_again} refused again and kept\n")
        }
    };
    for (why, n) in left {
        text.push_str(&format!("left where they are: {}, {why}\n", count(*n, "letter")));
    }
    text
}
