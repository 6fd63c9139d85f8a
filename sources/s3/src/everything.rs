//! The usual task: reads whatever is there and was not read yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use forebay_api::{BoxError, Partition, Position};

use crate::directory::{OpenFile, Stamp};
use crate::object::Object;
use crate::read::{Current, Opener, Step, changed};

pub struct Everything {
    opener: Opener,
    /// There is a next look.
    polls: bool,
    /// How far each partition was read, in this life or an earlier one. It grows with the number of objects, as the
    /// checkpoint itself does.
    after: BTreeMap<Partition, Position>,
    /// Objects that were begun in an earlier life and not met in this one.
    begun: BTreeSet<Partition>,
    /// Listed, and still to be looked at. `None`: it is time to list.
    keys: Option<VecDeque<String>>,
    /// Files that were met already, as they were then: to find out that a file did not change takes reading it.
    met: HashMap<String, Stamp>,
    current: Option<Current>,
}

impl Everything {
    pub fn new(opener: Opener, after: BTreeMap<Partition, Position>, polls: bool) -> Result<Self, BoxError> {
        let begun = after.iter().filter(|it| *it.1 != Position::End).map(|it| it.0.clone()).collect();
        let keys = Some(opener.directory.keys()?.into());
        Ok(Self { opener, polls, after, begun, keys, met: HashMap::new(), current: None })
    }

    pub fn step(&mut self) -> Result<Step, BoxError> {
        loop {
            if let Some(current) = &mut self.current
                && let Some(read) = current.next(&self.opener.directory, &Position::End)?
            {
                self.after.insert(read.span.partition.clone(), read.span.to.clone());
                return Ok(Step::Read(read));
            }
            self.current = None;
            let Some(key) = self.next_key()? else {
                self.say_what_is_lost();
                return Ok(Step::Idle);
            };
            if let Some((object, file, from)) = self.find(key)? {
                self.current = Some(self.opener.open(object, file, &from)?);
            }
        }
    }

    fn next_key(&mut self) -> Result<Option<String>, BoxError> {
        let keys = match &mut self.keys {
            Some(keys) => keys,
            None => {
                let keys = self.opener.directory.keys()?;
                let listed: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
                self.met.retain(|key, _| listed.contains(key.as_str()));
                self.keys.insert(keys.into())
            }
        };
        let key = keys.pop_front();
        if key.is_none() {
            self.keys = None;
        }
        Ok(key)
    }

    /// The object of a key, its file and from where on to read it, unless there is nothing of it to read now.
    fn find(&mut self, key: String) -> Result<Option<(Object, OpenFile, Position)>, BoxError> {
        let directory = &self.opener.directory;
        let Some(stamp) = directory.stamp(&key)? else {
            return Ok(None);
        };
        if self.met.get(&key) == Some(&stamp) {
            return Ok(None);
        }
        let Some(mut file) = directory.open(&key)? else {
            return Ok(None);
        };
        // Not the one above: another file may have taken the name, whole.
        let stamp = file.stamp()?;
        let content = file.content()?;
        if file.stamp()? != stamp {
            // Somebody writes to it. The next look may find it complete.
            return if self.polls { Ok(None) } else { Err(changed(&key)) };
        }
        let object = Object { key, content };
        let partition = object.partition();
        self.begun.remove(&partition);
        self.met.insert(object.key.clone(), stamp);
        let from = self.after.get(&partition).cloned().unwrap_or(Position::Start);
        Ok((from != Position::End).then_some((object, file, from)))
    }

    /// An object of which a part was read, and which is no longer there, has rows that nobody will ever see.
    fn say_what_is_lost(&mut self) {
        for partition in std::mem::take(&mut self.begun) {
            let position = &self.after[&partition];
            tracing::warn!(%partition, %position, "the rest of this object cannot be read: it is gone, or was changed");
        }
    }
}
