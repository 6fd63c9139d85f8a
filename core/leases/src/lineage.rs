//! Which leases ought to be there: shards come and go, and so do their leases. Pure.
//!
//! - A stream that nobody has begun gets leases for the shards at which it is to be begun.
//! - A shard that was made of others gets its lease when those are done with, and is read from its first record on.
//! - A finished lease stays until all shards that were made of its shard are begun, so that nobody takes these for new
//!   ones, and until the leases of the shards that it was made of are gone: leases are forgotten from the oldest on.
//!
//! These are the rules of the Kinesis Client Library (its classes `HierarchicalShardSyncer` and `LeaseCleanupManager`), so
//! that it finds what it would have left.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::checkpoint::{Begin, Checkpoint};
use crate::lease::{Lease, key};

/// A shard as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedShard {
    /// Its ID.
    pub id: String,
    /// IDs of the one or two shards that it was made of; they need not be listed any more.
    pub parents: BTreeSet<String>,
    /// The hash keys that it takes.
    pub hash_keys: RangeInclusive<u128>,
}

/// What is to be changed in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A lease is missing.
    Create(Box<Lease>),
    /// It is not yet written which shards were made of this one.
    Children {
        /// Of the shard's lease.
        key: String,
        /// IDs of the shards.
        children: BTreeSet<String>,
    },
    /// A lease is not needed any more.
    Delete {
        /// Its key.
        key: String,
    },
}

/// The leases of one stream, and its shards.
struct Lineage<'a> {
    stream: Option<&'a str>,
    shards: BTreeMap<&'a str, &'a ListedShard>,
    leases: BTreeMap<&'a str, &'a Lease>,
    /// By shard, those that were made of it: as far as they are listed, have a lease, or are named by one.
    children: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// Whether nobody has begun with a stream, so that the shards to begin with must be asked for.
pub fn is_new<'a>(stream: Option<&str>, leases: impl IntoIterator<Item = &'a Lease>) -> bool {
    !leases.into_iter().any(|it| it.stream.as_deref() == stream && it.is_begun())
}

/// What has to change for one stream. `first`: the IDs of the shards to begin with, and how, if the stream [`is_new`].
pub fn changes(
    stream: Option<&str>,
    shards: &[ListedShard],
    leases: &[Lease],
    first: Option<(&BTreeSet<String>, Begin)>,
) -> Vec<Change> {
    let family = Lineage::new(stream, shards, leases);
    let mut changes = Vec::new();
    for shard in shards {
        if let Some(begin) = family.missing(shard, first) {
            changes.push(Change::Create(Box::new(family.lease(shard, begin))));
        }
    }
    for lease in family.leases.values().filter(|it| it.is_finished()) {
        let children: BTreeSet<String> = family.children_of(&lease.shard).map(str::to_owned).collect();
        if family.is_over(lease) {
            changes.push(Change::Delete { key: lease.key.clone() });
        } else if !children.is_subset(&lease.children) {
            changes.push(Change::Children { key: lease.key.clone(), children });
        }
    }
    changes
}

impl<'a> Lineage<'a> {
    fn new(stream: Option<&'a str>, shards: &'a [ListedShard], leases: &'a [Lease]) -> Self {
        let leases = leases.iter().filter(|it| it.stream.as_deref() == stream);
        let leases: BTreeMap<&str, &Lease> = leases.map(|it| (it.shard.as_str(), it)).collect();
        let mut children: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let by_shards = shards.iter().map(|it| (it.id.as_str(), &it.parents));
        let by_leases = leases.values().map(|it| (it.shard.as_str(), &it.parents));
        for (child, parents) in by_shards.chain(by_leases) {
            for parent in parents {
                children.entry(parent).or_default().insert(child);
            }
        }
        for lease in leases.values() {
            children.entry(&lease.shard).or_default().extend(lease.children.iter().map(String::as_str));
        }
        Self { stream, shards: shards.iter().map(|it| (it.id.as_str(), it)).collect(), leases, children }
    }

    fn children_of(&self, shard: &str) -> impl Iterator<Item = &'a str> {
        self.children.get(shard).into_iter().flatten().copied()
    }

    fn has_descendant_lease(&self, shard: &str) -> bool {
        self.children_of(shard).any(|it| self.leases.contains_key(it) || self.has_descendant_lease(it))
    }

    /// Whether a shard lacks a lease that it ought to have by now; then how it is begun.
    fn missing(&self, shard: &ListedShard, first: Option<(&BTreeSet<String>, Begin)>) -> Option<Begin> {
        if self.leases.contains_key(shard.id.as_str()) || self.has_descendant_lease(&shard.id) {
            return None;
        }
        let leased = || shard.parents.iter().filter_map(|it| self.leases.get(it.as_str()));
        if leased().next().is_some() {
            // All of its parents come first: those with a lease, and those that get one now or later.
            let is_ready =
                leased().all(|it| it.is_finished()) && !shard.parents.iter().any(|it| self.is_to_come(it, first));
            return is_ready.then_some(Begin::TrimHorizon);
        }
        match first {
            Some((ids, begin)) => ids.contains(&shard.id).then_some(begin),
            // Its parents were forgotten unread, or nobody knows of them.
            None => (!shard.parents.iter().any(|it| self.is_to_come(it, first))).then_some(Begin::TrimHorizon),
        }
    }

    /// Whether a shard has no lease, but gets one, now or when it is its turn.
    fn is_to_come(&self, id: &str, first: Option<(&BTreeSet<String>, Begin)>) -> bool {
        let Some(shard) = self.shards.get(id) else { return false };
        if self.leases.contains_key(id) || self.has_descendant_lease(id) {
            return false;
        }
        let has_ancestor =
            shard.parents.iter().any(|it| self.leases.contains_key(it.as_str()) || self.is_to_come(it, first));
        has_ancestor || first.is_none_or(|(ids, _)| ids.contains(id))
    }

    /// Whether a finished lease is not needed any more.
    fn is_over(&self, lease: &Lease) -> bool {
        if lease.parents.iter().any(|it| self.leases.contains_key(it.as_str())) {
            return false;
        }
        let is_listed = self.shards.contains_key(lease.shard.as_str());
        let mut children = self.children_of(&lease.shard).peekable();
        if children.peek().is_none() {
            // A closed shard has children. If it is not listed, nothing of it can come any more.
            return !is_listed;
        }
        children.all(|child| match self.leases.get(child) {
            Some(child) => child.is_begun() || !is_listed,
            None => self.has_descendant_lease(child) || !self.shards.contains_key(child),
        })
    }

    fn lease(&self, shard: &ListedShard, begin: Begin) -> Lease {
        Lease {
            key: key(self.stream, &shard.id),
            stream: self.stream.map(str::to_owned),
            shard: shard.id.clone(),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::Begin(begin),
            switches: 0,
            parents: shard.parents.clone(),
            children: BTreeSet::new(),
            hash_keys: Some(shard.hash_keys.clone()),
            checkpoint_owner: None,
            ours: None,
        }
    }
}
