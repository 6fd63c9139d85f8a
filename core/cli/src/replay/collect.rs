//! Which letters are taken up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use forebay_api::{BoxError, Plan};
use forebay_letters::{CopyWriter, Letter, Place, schema_of};
use serde::{Deserialize, Serialize};

use crate::arguments;

/// The letters that the command line means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Those of this node.
    pub component: Option<String>,
    /// Those whose reason contains this text.
    pub reason: Option<String>,
}

impl Choice {
    /// What the command line says.
    pub fn new(arguments: &arguments::Replay) -> Self {
        Self { component: arguments.component.clone(), reason: arguments.reason.clone() }
    }

    fn takes(&self, letter: &Letter) -> bool {
        self.component.as_ref().is_none_or(|it| *it == letter.component)
            && self.reason.as_ref().is_none_or(|it| letter.reason.contains(it.as_str()))
    }
}

/// Letters that were chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Those that are taken up.
    pub groups: Vec<Group>,
    /// How many of them stay where they are, by the reason.
    pub left: BTreeMap<String, u64>,
    /// Those that stay since they are no rows of this file, by the node that has refused them.
    #[serde(default)]
    pub no_rows: BTreeMap<String, NoRows>,
    /// What stays in the queue.
    #[serde(default)]
    pub in_queue: InQueue,
}

/// Letters that are no rows of the file: of columns that have another type now, or of a type that has no form in a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoRows {
    /// How many they are.
    pub letters: u64,
    /// Why the first of them is none.
    pub why: String,
}

impl NoRows {
    /// More of them.
    pub fn add(&mut self, letters: u64, why: impl FnOnce() -> String) {
        if self.letters == 0 {
            self.why = why();
        }
        self.letters += letters;
    }
}

/// What stays in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InQueue {
    /// Letters that were sent when the replay had begun.
    pub newer: u64,
    /// Messages that are no letters.
    pub no_letters: u64,
}

impl InQueue {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Letters of one node, with rows of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The source.
    pub source: String,
    /// The node.
    pub component: String,
    /// How many they are.
    pub letters: u64,
    /// What they go through, once that has begun.
    pub way: Vec<String>,
    /// The directory in that of the replay where all about them is.
    directory: String,
}

impl Group {
    /// The directory of the copies. `home` is that of the replay.
    pub fn copies(&self, home: &Path) -> PathBuf {
        home.join(&self.directory).join("letters")
    }

    /// The directory of the state.
    pub fn state(&self, home: &Path) -> PathBuf {
        home.join(&self.directory).join("state")
    }
}

/// Finds the letters that a replay takes up, one file at a time. With a `home`, they are copied to there, and what nobody
/// needs any more is removed from their place.
pub async fn collect(plan: &Plan, place: &Place, choice: &Choice, home: Option<&Path>) -> Result<Collected, BoxError> {
    let mut collected = Collected::default();
    let mut writers: Vec<CopyWriter> = Vec::new();
    let listing = place.listing().await?;
    if home.is_some() {
        place.forget_taken(&listing).await?;
    }
    for file in &listing.files {
        let letters = place.letters(file, &listing).await?;
        if home.is_some() && letters.is_empty() && listing.was_taken(file) {
            // It was written again, and holds nothing new.
            place.take_out(file, &BTreeSet::new()).await?;
        }
        // Letters about the same row are one: a mark cannot tell them apart.
        let chosen: BTreeSet<u64> = letters.iter().filter(|it| choice.takes(it)).map(Letter::id).collect();
        for letter in letters.into_iter().filter(|it| chosen.contains(&it.id())) {
            let schema = match takes_up(plan, &letter) {
                Ok(schema) => schema,
                Err(why) => {
                    *collected.left.entry(why).or_default() += 1;
                    continue;
                }
            };
            if let Err(error) = letter.row(&schema) {
                // No node could judge it: it keeps the reason that it has.
                collected.no_rows.entry(letter.component.clone()).or_default().add(1, || error.to_string());
                continue;
            }
            let of_group = |it: &Group| it.source == letter.source && it.component == letter.component;
            let nth = match collected.groups.iter().position(of_group) {
                Some(nth) => nth,
                None => {
                    let nth = collected.groups.len();
                    let (source, component) = (letter.source.clone(), letter.component.clone());
                    let group = Group { source, component, letters: 0, way: Vec::new(), directory: nth.to_string() };
                    if let Some(home) = home {
                        writers.push(begin(&group, home)?);
                    }
                    collected.groups.push(group);
                    nth
                }
            };
            collected.groups[nth].letters += 1;
            if let Some(writer) = writers.get_mut(nth) {
                writer.push(file, letter)?;
            }
        }
    }
    writers.iter_mut().try_for_each(CopyWriter::flush)?;
    Ok(collected)
}

/// Begins the copies of a group, without what an interrupted attempt has left.
fn begin(group: &Group, home: &Path) -> Result<CopyWriter, BoxError> {
    let directory = group.copies(home);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove `{}`: {error}", directory.display()).into())
        }
        _ => CopyWriter::new(&directory),
    }
}

/// What a letter is to be a row of, if it can be taken up in this pipeline; an error says why it cannot.
fn takes_up(plan: &Plan, letter: &Letter) -> Result<SchemaRef, String> {
    if letter.pipeline != plan.name {
        return Err(format!("of the pipeline `{}`", letter.pipeline));
    }
    schema_of(plan, &letter.source, &letter.component)
}
