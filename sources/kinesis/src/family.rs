//! Which shards of a stream are read when. Pure.
//!
//! A shard that is split or merged is closed, and its children take the records from then on. So that the records of one
//! key keep their order, a child is begun when everything of its parents was read.

use std::collections::{BTreeMap, BTreeSet};

use forebay_api::Position;

use crate::record::{ALL_HASH_KEYS, Found};

/// The shards of a stream, as far as they are known.
#[derive(Debug)]
pub struct Family {
    members: BTreeMap<String, Member>,
    /// Where shards stand that were read in an earlier life.
    after: BTreeMap<String, Position>,
    /// Where the shards begin that are there when nothing of the stream was ever read, until that is known of all of them.
    first: Option<Position>,
    /// Whether all were listed once.
    listed: bool,
    /// Shards that ended, and nobody said what follows them.
    childless: BTreeSet<String>,
    /// Something has ended since all were listed last.
    stale: bool,
}

#[derive(Debug)]
struct Member {
    found: Found,
    state: State,
    from: Position,
    /// Whether it was listed, not only told by a parent. Then those of its parents that were not have expired.
    is_listed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Reading,
    /// Everything that was there was read, and no more is wanted.
    CaughtUp,
    Ended,
}

/// A shard whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Begin {
    pub shard: Found,
    pub from: Position,
}

impl Family {
    /// `after`: where the stream's shards stand. `first`: the point in time at which they are begun if nothing of the stream
    /// was ever read; `None`: they are begun at their start.
    ///
    /// Nothing is read before it is durable of all shards where they are begun. So if only some of them have a place, and each
    /// of these is a point in time, then the first start was cut short, and the others are begun there too.
    pub fn new(after: BTreeMap<String, Position>, first: Option<Position>) -> Self {
        let begun: Option<Vec<u64>> = after.values().map(Position::as_time).collect();
        let first = first.zip(begun).map(|(now, begun)| begun.into_iter().min().map_or(now, Position::time));
        Self { members: BTreeMap::new(), after, first, listed: false, childless: BTreeSet::new(), stale: false }
    }

    /// Takes notice of shards, listed or told by their parents. Gives those that were finished in an earlier life, but
    /// are open.
    pub fn learn(&mut self, found: Vec<Found>) -> Vec<String> {
        let mut odd = Vec::new();
        for found in found {
            for parent in &found.parents {
                self.childless.remove(parent);
            }
            if let Some(member) = self.members.get_mut(&found.id) {
                // Parents do not know whether their children are closed by now. What is closed stays closed.
                let is_open = member.found.is_open && found.is_open;
                member.found = Found { is_open, ..found };
                continue;
            }
            let from = self.after.get(&found.id).cloned().unwrap_or(Position::Start);
            if from == Position::End && found.is_open {
                odd.push(found.id.clone());
            }
            let state = if from == Position::End { State::Ended } else { State::Waiting };
            self.members.insert(found.id.clone(), Member { found, state, from, is_listed: false });
        }
        odd
    }

    /// All shards were listed, those of these names. Gives shards that are to be begun at a position other than their
    /// start, which has to be made durable.
    pub fn listed(&mut self, names: &BTreeSet<String>) -> Vec<(String, Position)> {
        let is_first = !std::mem::replace(&mut self.listed, true);
        self.stale = false;
        // What has ended and is not listed any more has no children that wait for it, nor will it have any.
        self.members.retain(|name, it| it.state != State::Ended || names.contains(name));
        for (name, member) in &mut self.members {
            member.is_listed |= names.contains(name);
        }
        if !is_first {
            return Vec::new();
        }
        // They were not read to their end; whoever reads them will find out that they have expired.
        for (name, from) in self.after.iter().filter(|it| *it.1 != Position::End) {
            self.members.entry(name.clone()).or_insert_with(|| Member {
                found: Found { id: name.clone(), parents: Vec::new(), hash_keys: ALL_HASH_KEYS, is_open: false },
                state: State::Waiting,
                from: from.clone(),
                is_listed: false,
            });
        }
        let Some(first) = self.first.take() else { return Vec::new() };
        let place = |(name, member): (&String, &mut Member)| {
            member.from = first.clone();
            (name.clone(), first.clone())
        };
        self.members.iter_mut().filter(|it| it.1.from == Position::Start).map(place).collect()
    }

    /// The shards that can be begun now. They count as being read from here on.
    pub fn begin(&mut self) -> Vec<Begin> {
        if self.first.is_some() {
            // Where they begin is written down for all of them at once.
            return Vec::new();
        }
        let is_ready = |member: &Member| {
            let is_done = |parent: &String| match self.members.get(parent) {
                Some(parent) => parent.state == State::Ended,
                None => member.is_listed,
            };
            member.state == State::Waiting && member.found.parents.iter().all(is_done)
        };
        let ready: Vec<String> = self.members.iter().filter(|it| is_ready(it.1)).map(|it| it.0.clone()).collect();
        let begin = |name: String| {
            let member = self.members.get_mut(&name).expect("it was found a moment ago");
            member.state = State::Reading;
            Begin { shard: member.found.clone(), from: member.from.clone() }
        };
        ready.into_iter().map(begin).collect()
    }

    /// Everything of a shard was read. These come after it, as far as it is known.
    pub fn ended(&mut self, shard: &str, children: Vec<Found>) {
        self.set(shard, State::Ended);
        self.stale |= children.is_empty();
        self.childless.insert(shard.to_owned());
        self.learn(children);
        let has_child = self.members.values().any(|it| it.found.parents.iter().any(|it| it == shard));
        if has_child {
            self.childless.remove(shard);
        }
    }

    /// Everything of a shard that was there was read, and no more is wanted.
    pub fn caught_up(&mut self, shard: &str) {
        self.set(shard, State::CaughtUp);
    }

    /// Whether there may be shards that nobody has told of: something has ended, and what follows it is not known, or not
    /// known for sure; or a parent of something is not known.
    pub fn lacks_shards(&self) -> bool {
        self.stale || !self.childless.is_empty() || self.lacks_parents()
    }

    /// Whether it is not known of a shard if its parents have expired or were not told yet.
    fn lacks_parents(&self) -> bool {
        let lacks_one = |it: &Member| it.found.parents.iter().any(|parent| !self.members.contains_key(parent));
        self.members.values().any(|it| it.state == State::Waiting && !it.is_listed && lacks_one(it))
    }

    /// Whether everything that was there was read.
    pub fn is_through(&self) -> bool {
        let is_reading = self.members.values().any(|it| it.state == State::Reading);
        self.listed && !self.stale && !is_reading && !self.lacks_parents()
    }

    fn set(&mut self, shard: &str, state: State) {
        if let Some(member) = self.members.get_mut(shard) {
            member.state = state;
        }
    }
}
