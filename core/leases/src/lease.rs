//! A lease: a row of the table, and what may be written to it. Pure.
//!
//! Every write names the row that it was decided upon, and has an effect only if owner and counter are still what they
//! were then. So of two who write, one comes too late and finds that out.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::checkpoint::Checkpoint;

/// A row as the Kinesis Client Library lays it out, without what is of no concern here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The shard's ID; with several streams in a table the stream's name before it.
    pub key: String,
    /// `account:name:creation`, if there are several streams in the table.
    pub stream: Option<String>,
    /// The shard's ID.
    pub shard: String,
    /// Who has it, or is to have it next while there is a `checkpoint_owner`.
    pub owner: Option<String>,
    /// Rises with every write of the owner, which is how others see that it is alive.
    pub counter: u64,
    /// How far the shard is done.
    pub checkpoint: Checkpoint,
    /// How often the lease changed hands since the checkpoint moved.
    pub switches: u64,
    /// IDs of the shards that this one was made of.
    pub parents: BTreeSet<String>,
    /// IDs of the shards that were made of this one.
    pub children: BTreeSet<String>,
    /// The hash keys of the shard.
    pub hash_keys: Option<RangeInclusive<u128>>,
    /// During a hand-over: who still has it.
    pub checkpoint_owner: Option<String>,
    /// The attribute that is ours alone.
    pub ours: Option<Vec<u8>>,
}

/// What may be written. Each but `Request` and `Children` makes the counter one larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Somebody has it from now on.
    Take {
        /// Who.
        by: String,
    },
    /// The owner is alive.
    Renew,
    /// The owner has done something.
    Keep {
        /// How far.
        checkpoint: Checkpoint,
        /// What else.
        ours: Vec<u8>,
    },
    /// Somebody is to have it next, when the owner lets go of it.
    Request {
        /// Who.
        by: String,
    },
    /// The owner lets go of it: it is the next one's, if somebody has asked for it, else nobody's.
    Release,
    /// The shards that were made of this one are known.
    Children(BTreeSet<String>),
}

impl Lease {
    /// Who may write to it now.
    pub fn holder(&self) -> Option<&str> {
        self.checkpoint_owner.as_deref().or(self.owner.as_deref())
    }

    /// Whether the shard is done with.
    pub fn is_finished(&self) -> bool {
        self.checkpoint == Checkpoint::ShardEnd
    }

    /// Whether anything of the shard is done.
    pub fn is_begun(&self) -> bool {
        !matches!(self.checkpoint, Checkpoint::Begin(_)) || self.ours.is_some()
    }

    /// The key of another shard of the same stream.
    pub fn key_of(&self, shard: &str) -> String {
        key(self.stream.as_deref(), shard)
    }

    /// The row after a write.
    #[must_use]
    pub fn after(&self, write: &Write) -> Self {
        let mut new = self.clone();
        match write {
            Write::Take { by } => {
                let is_another = self.owner.as_ref().is_some_and(|it| it != by);
                new.switches += u64::from(is_another || self.checkpoint_owner.is_some());
                new.owner = Some(by.clone());
                new.checkpoint_owner = None;
            }
            Write::Renew => {}
            Write::Keep { checkpoint, ours } => {
                if *checkpoint != self.checkpoint {
                    new.checkpoint = checkpoint.clone();
                    new.switches = 0;
                }
                new.ours = Some(ours.clone());
            }
            Write::Request { by } => {
                new.checkpoint_owner = self.owner.clone();
                new.owner = Some(by.clone());
            }
            Write::Release => match new.checkpoint_owner.take() {
                Some(_) => new.switches += 1,
                None => new.owner = None,
            },
            Write::Children(children) => new.children = children.clone(),
        }
        // These two come from others than the owner, who must not be disturbed.
        if !matches!(write, Write::Request { .. } | Write::Children(_)) {
            new.counter += 1;
        }
        new
    }
}

/// The key of a shard's lease.
pub fn key(stream: Option<&str>, shard: &str) -> String {
    match stream {
        None => shard.to_owned(),
        Some(stream) => format!("{stream}:{shard}"),
    }
}
