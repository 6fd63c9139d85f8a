//! What time it is at the service.
//!
//! Records bear the time at which the service took them. A stream that is begun with what comes from now on is begun at a
//! time, and if that were one of this machine's clock, a clock that is fast would pass over records, and one that is slow
//! would read old ones. So the service is asked: each of its answers says when it was given, to the second.

use std::time::{Duration, SystemTime};

use forebay_aws::Patience;
use tokio::time::Instant;

use crate::api::Api;
use crate::stream::Stream;

/// What an answer says about the time is cut off to this.
const EXACT_TO: Duration = Duration::from_secs(1);

/// A moment, by both clocks of this machine: that of the wall may be wrong, the other one may not.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub wall: SystemTime,
    pub instant: Instant,
}

/// When an answer was given, by the service's clock and by ours.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// What it says: a whole second.
    pub date: SystemTime,
    /// It was given after this.
    pub asked: Instant,
    /// And before this.
    pub came: Instant,
}

impl Moment {
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), instant: Instant::now() }
    }

    /// By the clock of the service, for which it is asked now.
    pub async fn at_service(self, api: &Api, stream: &Stream) -> SystemTime {
        let mut patience = Patience::new(stream.name());
        loop {
            match api.answered(stream).await {
                Ok(Some(answered)) => return self.by(answered),
                // It does not say: then it is no service of Amazon's.
                Ok(None) => return self.wall,
                Err(trouble) => patience.wait(&trouble).await,
            }
        }
    }

    /// By the clock of the service, as an answer tells it that came since.
    ///
    /// The clock of this machine is more exact, and is believed if it may be right. Otherwise it is the earliest time that it
    /// may have been at the service: nothing is passed over that has come since, and what came in the second before is read.
    pub fn by(self, Answered { date, asked, came }: Answered) -> SystemTime {
        let earliest = date - (came - self.instant);
        let latest = date + EXACT_TO - (asked - self.instant);
        if (earliest..=latest).contains(&self.wall) {
            return self.wall;
        }
        let off = self.wall.duration_since(earliest).unwrap_or_else(|slow| slow.duration());
        tracing::warn!("the clock of this machine is off by {off:.1?}: the stream is begun by that of the service");
        earliest
    }
}
