//! What can be refused only as a whole: a message that nobody understands, an object that cannot be read (further).

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use forebay_api::{Partition, Position, Positions, Read, Refusal, Span};
use serde::{Deserialize, Serialize};

use crate::object::Id;

/// So much of a message's body is kept.
const BODY_KEPT_BYTES: usize = 4 << 10;

/// One refusal, which is a partition of its own.
///
/// Everything that is refused stands in the partition's name. So it can be refused in the same words after a crash,
/// when the message may be out of reach and the object may be readable again; and an object's own partition holds only
/// rows that can be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Letter {
    /// A message that is not the notification of an event in this bucket.
    Message {
        /// SQS's name for it.
        id: String,
        /// The first [`BODY_KEPT_BYTES`] of what it says.
        body: String,
        /// Why it was refused.
        why: String,
    },
    /// An object of which no more rows can be had.
    Unreadable {
        /// Its partition.
        object: Partition,
        /// The last row of it that could be read.
        after: Position,
        /// Why there are no more.
        why: String,
    },
}

impl Letter {
    /// Refuses a message.
    pub fn message(id: &str, body: &str, mut why: String) -> Self {
        let kept = body.floor_char_boundary(BODY_KEPT_BYTES);
        if kept < body.len() {
            why.push_str(&format!("; its first {kept} bytes of {} are kept here", body.len()));
        }
        Self::Message { id: id.to_owned(), body: body[..kept].to_owned(), why }
    }

    /// The letter that this partition is, if it is one.
    pub fn of(partition: &Partition) -> Option<Self> {
        let json = Some(partition.as_str()).filter(|it| it.starts_with('{'))?;
        serde_json::from_str(json).ok()
    }

    /// What it is to the engine.
    pub fn partition(&self) -> Partition {
        Partition::new(serde_json::to_string(self).expect("text can be written as JSON"))
    }

    /// What it is known by.
    pub fn id(&self) -> Id {
        Id::of(self.partition().as_str())
    }

    /// All that there is to read of it.
    pub fn read(&self, schema: SchemaRef) -> Read {
        let (payload, why) = match self {
            Self::Message { body, why, .. } => (body.clone(), why.clone()),
            Self::Unreadable { object, after, why } => {
                let what = match after {
                    Position::Start => "the object could not be read".to_owned(),
                    after => format!("the object could not be read after row {after}"),
                };
                (object.to_string(), format!("{what}: {why}"))
            }
        };
        Read {
            span: Span::new(self.partition(), Position::Start, Position::End),
            rows: RecordBatch::new_empty(schema),
            positions: Positions::Listed(Vec::new()),
            refused: vec![Refusal { position: Position::row(1), payload: payload.into_bytes(), why }],
        }
    }
}
