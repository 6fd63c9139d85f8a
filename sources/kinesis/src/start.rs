//! Where a stream is begun, and how a position says from where on to read.
//!
//! A position in a shard is `sequence:row`: a row of a record, counted from 1. Two kinds are made up:
//!
//! - [`Position::before`] the first row of a record. A shard whose first record is known is begun there, so that what is
//!   read again after a crash begins with the same record even if older ones have expired since.
//! - [`Position::time`]. It makes durable where a shard was begun of which no record has come yet: a shard that was begun
//!   at `latest` yesterday does not begin at today's latest record after a restart.

use std::time::{SystemTime, UNIX_EPOCH};

use forebay_api::Position;
use forebay_api::position::Sequence;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where to begin with a stream of which nothing was read yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("examples" = ["trim_horizon", "latest", "2026-11-21T22:04:00Z"]))]
pub enum Start {
    /// With the oldest records that there are.
    #[default]
    TrimHorizon,
    /// With what comes from now on.
    Latest,
    /// With what arrived at this time or later, in milliseconds since 1970.
    At(u64),
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "trim_horizon" => Ok(Self::TrimHorizon),
            "latest" => Ok(Self::Latest),
            time => {
                let time: Option<jiff::Timestamp> = time.parse().ok();
                let millis = time.and_then(|it| u64::try_from(it.as_millisecond()).ok());
                millis.map(Self::At).ok_or_else(|| {
                    format!(
                        "`{text}` is no start: write \"trim_horizon\", \"latest\", or a time, such as \
                         \"2026-11-21T22:04:00Z\""
                    )
                })
            }
        }
    }
}

impl Start {
    /// The position at which the shards are begun that are there at the first start ever, which is `now` at the service;
    /// `None`: at their start.
    pub fn position(self, now: SystemTime) -> Option<Position> {
        match self {
            Self::TrimHorizon | Self::At(_) => None,
            Self::Latest => Some(Position::time(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)),
        }
    }

    /// What to ask for to read a shard from its start.
    pub fn place(self) -> Place {
        match self {
            Self::TrimHorizon | Self::Latest => Place::TrimHorizon,
            Self::At(millis) => Place::Time(millis),
        }
    }
}

/// From where on to ask for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The oldest record that there is.
    TrimHorizon,
    /// The first record that arrived at this time or later, in milliseconds since 1970.
    Time(u64),
    /// This record. Of its rows some may be known.
    Record(Sequence),
}

impl Place {
    /// What to ask for to get the rows after a position; `None`: there are none.
    pub fn after(position: &Position, start: Start) -> Option<Self> {
        match (position, position.as_time()) {
            (Position::Start, _) => Some(start.place()),
            (_, Some(millis)) => Some(Self::Time(millis)),
            (Position::At { sequence, .. }, None) => Some(Self::Record(sequence.clone())),
            (Position::End, None) => None,
        }
    }
}
