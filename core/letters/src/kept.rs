//! The letters of a place, and which of them replays have taken.
//!
//! A file of letters may be written again after a replay has taken letters out of it: by a pipeline that was ended before
//! it could note that the delivery is done, or out of a queue that gives a message twice. So a replay leaves a mark beside
//! the file, which names the letters that it took; a letter that is named there counts no more, wherever it came from.
//! Marks are small (17 bytes a letter), and are forgotten after [`FORGET_AFTER`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use forebay_api::{BoxError, SinkError};

use crate::letter::Letter;
use crate::place::Place;

/// How a file of letters ends.
pub const LETTERS: &str = ".jsonl";

/// How the mark ends that names the letters that were taken out of a file.
const TAKEN: &str = ".taken";

/// The file that says who replays letters of this place.
const LOCK: &str = "replay.lock";

/// How long marks are kept: longer than SQS keeps a message (14 days), and longer than a pipeline stands still with a
/// delivery that it has to make again.
pub const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What lies at a place.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The files of letters, without their ending, in order.
    pub files: Vec<String>,
    /// The files that letters were taken out of, and when. Most of them are gone.
    taken: BTreeMap<String, SystemTime>,
}

impl Listing {
    /// Whether letters of this file were taken.
    pub fn was_taken(&self, file: &str) -> bool {
        self.taken.contains_key(file)
    }
}

impl Place {
    /// What lies here.
    pub async fn listing(&self) -> Result<Listing, BoxError> {
        let mut listing = Listing::default();
        for (name, written) in self.list().await? {
            if let Some(file) = name.strip_suffix(LETTERS) {
                listing.files.push(file.to_owned());
            } else if let Some(file) = name.strip_suffix(TAKEN) {
                listing.taken.insert(file.to_owned(), written);
            }
        }
        Ok(listing)
    }

    /// The letters of a file that no replay has taken.
    pub async fn letters(&self, file: &str, listing: &Listing) -> Result<Vec<Letter>, BoxError> {
        let mut letters = self.all_letters(file).await?;
        if listing.was_taken(file) {
            let taken = self.taken(file).await?;
            letters.retain(|it| !taken.contains(&it.id()));
        }
        Ok(letters)
    }

    async fn all_letters(&self, file: &str) -> Result<Vec<Letter>, BoxError> {
        let file = format!("{file}{LETTERS}");
        let Some(text) = self.read(&file).await? else { return Ok(Vec::new()) };
        Letter::parse_all(&text).map_err(|error| format!("`{}`, {error}", self.at(&file)).into())
    }

    async fn taken(&self, file: &str) -> Result<BTreeSet<u64>, BoxError> {
        let file = format!("{file}{TAKEN}");
        let Some(text) = self.read(&file).await? else { return Ok(BTreeSet::new()) };
        let ids: Result<_, _> = text.lines().map(|it| u64::from_str_radix(it, 16)).collect();
        ids.map_err(|error| format!("`{}`: {error}", self.at(&file)).into())
    }

    /// Takes letters out of a file for good, whether or not they are there, and those that were taken before.
    ///
    /// The pipeline may write the file at the same time, if a crash made it do so again. What it writes between our
    /// reading the file and our removing it is lost only if it is more than it was before the crash.
    pub async fn take_out(&self, file: &str, ids: &BTreeSet<u64>) -> Result<(), BoxError> {
        let mut taken = self.taken(file).await?;
        if !ids.is_subset(&taken) {
            taken.extend(ids);
            let lines: String = taken.iter().map(|it| format!("{it:016x}\n")).collect();
            self.write(&format!("{file}{TAKEN}"), lines.into_bytes()).await.map_err(SinkError::into_error)?;
        }
        let letters = self.all_letters(file).await?;
        let rest: Vec<&Letter> = letters.iter().filter(|it| !taken.contains(&it.id())).collect();
        if rest.is_empty() {
            return self.remove(&format!("{file}{LETTERS}")).await;
        }
        if rest.len() < letters.len() {
            let mut lines = Vec::new();
            for letter in rest {
                serde_json::to_writer(&mut lines, letter)?;
                lines.push(b'\n');
            }
            self.write(&format!("{file}{LETTERS}"), lines).await.map_err(SinkError::into_error)?;
        }
        Ok(())
    }

    /// Removes marks that are old enough.
    pub async fn forget_taken(&self, listing: &Listing) -> Result<(), BoxError> {
        for (file, taken) in &listing.taken {
            let is_old = taken.elapsed().is_ok_and(|it| it > FORGET_AFTER);
            if is_old && listing.files.binary_search(file).is_err() {
                self.remove(&format!("{file}{TAKEN}")).await?;
            }
        }
        Ok(())
    }

    /// Lets nobody else replay letters of this place until [`Place::unlock`], whatever becomes of this process. Gives back
    /// who does so already, if that is not `owner`.
    ///
    /// A server that knows no conditional writes lets two replays begin in the same moment.
    pub async fn lock(&self, owner: &str) -> Result<Option<String>, BoxError> {
        while !self.write_new(LOCK, owner).await? {
            // It may have been removed in between.
            if let Some(holder) = self.read(LOCK).await? {
                return Ok(Some(holder).filter(|it| it != owner));
            }
        }
        Ok(None)
    }

    /// Lets others replay letters of this place.
    pub async fn unlock(&self) -> Result<(), BoxError> {
        self.remove(LOCK).await
    }

    /// Where the lock is, in words.
    pub fn lock_at(&self) -> String {
        self.at(LOCK)
    }
}
