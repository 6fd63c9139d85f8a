//! From where on a shard is asked for records.

use forebay_api::Position;
use forebay_aws::{Reason, Trouble};

use crate::record::Shard;
use crate::start::{Place, Start};

/// A place in a shard that is asked for, by polling and by fan-out alike.
#[derive(Debug)]
pub struct Asking {
    place: Place,
    /// Whether the place is none of this shard's, so that the oldest record is asked for in its stead.
    is_strange: bool,
}

impl Asking {
    /// Asks for what comes after a position; `None`: nothing does.
    pub fn after(position: &Position, start: Start) -> Option<Self> {
        Some(Self { place: Place::after(position, start)?, is_strange: false })
    }

    /// What to ask for.
    pub fn place(&self) -> Place {
        if self.is_strange { Place::TrimHorizon } else { self.place.clone() }
    }

    /// What ought to be asked for: the first record that comes is this one, or one after it.
    pub fn into_place(self) -> Place {
        self.place
    }

    /// Takes notice of a refusal. Whether something else is to be asked for instead: the place was a record that was never
    /// there, or is not known any more, and the first record that comes will tell.
    pub fn is_refused(&mut self, shard: &Shard, trouble: &Trouble) -> bool {
        let is_strange = trouble.reason() == Some(Reason::Invalid) && matches!(self.place(), Place::Record(_));
        if is_strange {
            tracing::error!(
                shard = %shard.partition,
                "{trouble}: the shard is read from its oldest record on; was the stream made anew?"
            );
            self.is_strange = true;
        }
        is_strange
    }
}
