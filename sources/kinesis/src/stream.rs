//! Which stream, and what its shards are called.

use std::fmt;

use forebay_api::Partition;
use schemars::JsonSchema;
use serde::Deserialize;

/// A stream, as the file names it: `"cdn-logs"`, or
/// `"arn:aws:kinesis:eu-central-1:123456789012:stream/cdn-logs"`.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Stream {
    name: String,
    arn: Option<String>,
}

impl Stream {
    /// Its name, without what else an ARN says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, if that is how it was given. Calls take this or [`Stream::arn`].
    pub fn name_only(&self) -> Option<String> {
        self.arn.is_none().then(|| self.name.clone())
    }

    /// The ARN, if that is how it was given.
    pub fn arn(&self) -> Option<String> {
        self.arn.clone()
    }

    /// What a shard is called among all that the source reads.
    pub fn partition(&self, shard: &str) -> Partition {
        Partition::new(format!("{}/{shard}", self.name))
    }

    /// The shard that is called so, if it is one of this stream.
    pub fn shard<'a>(&self, partition: &'a Partition) -> Option<&'a str> {
        partition.as_str().strip_prefix(&self.name)?.strip_prefix('/').filter(|it| !it.contains('/'))
    }

    /// Under this name it is noted which consumer is ours. No shard is called so.
    pub fn consumer_partition(&self, consumer: &str) -> Partition {
        Partition::new(format!("{}/consumer/{consumer}", self.name))
    }
}

impl TryFrom<String> for Stream {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        const EXAMPLE: &str =
            "write its name, or its ARN, such as \"arn:aws:kinesis:eu-central-1:123456789012:stream/cdn-logs\"";
        let name = match given.strip_prefix("arn:") {
            None => Some(given.as_str()),
            // `arn:partition:kinesis:region:account:stream/name`
            Some(rest) => match rest.splitn(5, ':').collect::<Vec<_>>()[..] {
                [_, "kinesis", _, _, resource] => resource.strip_prefix("stream/"),
                _ => None,
            },
        };
        // What CreateStream allows: its API reference, StreamName.
        let fits = |it: &&str| {
            (1..=128).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"_.-".contains(&it))
        };
        match name.filter(fits) {
            Some(name) => {
                let (name, arn) = (name.to_owned(), given.starts_with("arn:").then(|| given.clone()));
                Ok(Self { name, arn })
            }
            None => Err(format!("`{given}` is not a stream: {EXAMPLE}")),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.arn.as_deref().unwrap_or(&self.name))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
