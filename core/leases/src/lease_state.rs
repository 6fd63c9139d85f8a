//! What a lease carries for us besides what the Kinesis Client Library knows: one attribute of bytes.
//!
//! The bytes begin with a few lines: which format this is, the partition, the checkpoint that was written along with it, and
//! the exact position. If the checkpoint in the row is another one by now, somebody else has moved it, and what the bytes
//! say is void.

use forebay_api::{Kept, Partition, Position};

use crate::checkpoint::{Checkpoint, RowsAre};

/// The first line. Another number is another format.
const FORMAT: &str = "forebay 1";

/// What stands in the attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// Whose lease this is, so that two streams do not share a table by mistake.
    pub partition: Partition,
    pub checkpoint: Checkpoint,
    pub committed: Position,
    pub state: Vec<u8>,
}

impl LeaseState {
    pub fn encode(&self) -> Vec<u8> {
        let Self { partition, checkpoint, committed, state } = self;
        let head = format!("{FORMAT}\n{partition}\n{checkpoint}\n{}\n{committed}\n", checkpoint.sub());
        [head.as_bytes(), state].concat()
    }

    /// `None`: these bytes are not ours, or of a format that is not known here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.splitn(6, |it| *it == b'\n');
        let mut line = || std::str::from_utf8(parts.next()?).ok();
        if line()? != FORMAT {
            return None;
        }
        let partition = Partition::new(line()?);
        let checkpoint = line()?;
        let checkpoint = Checkpoint::parse(checkpoint, Some(line()?.parse().ok()?))?;
        let committed = line()?.parse().ok()?;
        Some(Self { partition, checkpoint, committed, state: parts.next()?.to_vec() })
    }
}

/// What is known of a partition from the row of its lease.
pub fn known(checkpoint: &Checkpoint, state: Option<&LeaseState>, rows: RowsAre) -> Kept {
    match state.filter(|it| it.checkpoint == *checkpoint) {
        Some(it) => Kept { state: Some(it.state.clone()), committed: Some(it.committed.clone()) },
        None => Kept { state: None, committed: checkpoint.position(rows) },
    }
}
