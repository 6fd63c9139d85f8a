//! What a replay that was begun has to finish.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use forebay_api::BoxError;
use forebay_state::{create_directory, write_whole};
use serde::{Deserialize, Serialize};

use super::Problem;
use super::collect::{Choice, Collected};

/// How far a replay has come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// What it calls itself in the lock of the place. No two replays have the same.
    pub owner: String,
    /// Which letters it takes up.
    pub choice: Choice,
    /// Where they are.
    pub from: String,
    /// What it does now.
    pub step: Step,
}

/// A step, and what came of those before.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Letters are copied. Begun anew after an interruption.
    Collect,
    /// The copies are delivered.
    Deliver(Collected),
    /// What was delivered is taken out of its files.
    TakeOut(Collected),
}

impl Journal {
    /// Begins a replay, whose directory is `home`.
    pub fn begin(home: &Path, choice: Choice, from: &str) -> Result<Self, BoxError> {
        // An earlier one may have been ended while it removed what it had kept.
        match std::fs::remove_dir_all(home) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove `{}`: {error}", home.display()).into());
            }
            _ => create_directory(home)?,
        }
        // The standard library seeds its hashers from the system's random source.
        let drawn = RandomState::new().hash_one(SystemTime::now());
        let owner = format!("{drawn:016x} in `{}`", std::path::absolute(home)?.display());
        let journal = Self { owner, choice, from: from.to_owned(), step: Step::Collect };
        journal.write(home)?;
        Ok(journal)
    }

    /// The journal of a replay that is not finished.
    pub fn read(home: &Path) -> Result<Option<Self>, BoxError> {
        let path = path(home);
        let failed = |error: &dyn std::fmt::Display| format!("cannot read `{}`: {error}", path.display());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|it| failed(&it))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error).into()),
        }
    }

    /// An error if it is about other letters.
    pub fn is_of(&self, choice: &Choice, from: &str) -> Result<(), Problem> {
        if self.choice == *choice && self.from == from {
            return Ok(());
        }
        let mut command = format!("forebay replay --from {}", self.from);
        for (name, value) in [("component", &self.choice.component), ("reason", &self.choice.reason)] {
            if let Some(value) = value {
                command.push_str(&format!(" --{name} '{value}'"));
            }
        }
        let hint = format!("finish it first: `{command}`");
        Err(Problem::new("a replay of other letters was begun and is not finished", hint))
    }

    /// Notes the next step.
    pub fn go_to(&mut self, home: &Path, step: Step) -> Result<(), BoxError> {
        self.step = step;
        self.write(home)
    }

    /// Removes all that a replay has kept.
    pub fn end(self, home: &Path) -> Result<(), BoxError> {
        // The journal goes first: without it, what is left is nothing.
        std::fs::remove_file(path(home))?;
        Ok(std::fs::remove_dir_all(home)?)
    }

    fn write(&self, home: &Path) -> Result<(), BoxError> {
        let path = path(home);
        let written = write_whole(&path, &serde_json::to_vec_pretty(self)?);
        written.map_err(|error| format!("cannot write `{}`: {error}", path.display()).into())
    }
}

fn path(home: &Path) -> PathBuf {
    home.join("journal.json")
}
