//! What a call says, and the texts that name things in it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::state::{ACCOUNT, Refusal};

/// The JSON object of a request.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a Value);

impl<'a> Input<'a> {
    pub fn text(self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.as_str()
    }

    pub fn required(self, key: &str) -> Result<&'a str, Refusal> {
        self.text(key).ok_or_else(|| missing(key))
    }

    /// A number within bounds, or what stands for it if it is not given.
    pub fn bounded(self, key: &str, otherwise: u64, max: u64) -> Result<u64, Refusal> {
        match self.0.get(key).map(Value::as_u64) {
            None => Ok(otherwise),
            Some(Some(number)) if (1..=max).contains(&number) => Ok(number),
            Some(_) => Err(validation(key, &format!("Member must have value between 1 and {max}"))),
        }
    }

    pub fn list(self, key: &str) -> Result<Vec<Self>, Refusal> {
        let list = self.0.get(key).and_then(Value::as_array).ok_or_else(|| missing(key))?;
        Ok(list.iter().map(Input).collect())
    }

    pub fn object(self, key: &str) -> Result<Self, Refusal> {
        self.0.get(key).map(Input).ok_or_else(|| missing(key))
    }

    pub fn bytes(self, key: &str) -> Result<Vec<u8>, Refusal> {
        let text = self.required(key)?;
        BASE64_STANDARD.decode(text).map_err(|_| Refusal::new("SerializationException", format!("{key} is not base64")))
    }

    /// A time in seconds as milliseconds.
    pub fn time(self, key: &str) -> Result<u64, Refusal> {
        let seconds = self.0.get(key).and_then(Value::as_f64).filter(|it| *it >= 0.0).ok_or_else(|| missing(key))?;
        Ok((seconds * 1000.0).round() as u64)
    }

    /// The stream that a call is about, by name or ARN.
    pub fn stream(self) -> Result<&'a str, Refusal> {
        match (self.text("StreamName"), self.text("StreamARN")) {
            (Some(name), _) => Ok(name),
            (None, Some(arn)) => stream_of(arn),
            (None, None) => Err(Refusal::invalid("Either StreamName or StreamARN must be provided.")),
        }
    }
}

fn missing(key: &str) -> Refusal {
    validation(key, "Member must not be null")
}

pub fn validation(key: &str, constraint: &str) -> Refusal {
    Refusal::new(
        "ValidationException",
        format!("1 validation error detected: Value at '{key}' failed to satisfy constraint: {constraint}"),
    )
}

pub fn stream_arn(name: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{name}")
}

/// The stream of its ARN, or of that of one of its consumers.
pub fn stream_of(arn: &str) -> Result<&str, Refusal> {
    let name = arn.split_once(":stream/").map(|it| it.1.split('/').next().unwrap_or_default());
    name.ok_or_else(|| Refusal::invalid(format!("ARN {arn} is not that of a stream")))
}

/// `…/consumer/NAME:1600000000`
pub fn consumer_arn(stream: &str, consumer: &str, created: u64) -> String {
    format!("{}/consumer/{consumer}:{}", stream_arn(stream), created / 1000)
}

/// Stream, consumer and the second in which it was made.
pub fn consumer_of(arn: &str) -> Result<(&str, &str, u64), Refusal> {
    let parts = || {
        let (name, created) = arn.split_once("/consumer/")?.1.rsplit_once(':')?;
        Some((name, created.parse().ok()?))
    };
    let (name, created) = parts().ok_or_else(|| Refusal::invalid(format!("ARN {arn} is not that of a consumer")))?;
    Ok((stream_of(arn)?, name, created))
}

/// A text that means something to this server alone.
pub fn seal(parts: &[&str]) -> String {
    BASE64_STANDARD.encode(parts.join("\n"))
}

/// The parts of a text from [`seal`]. `None` if it is not of this server, or has another number of them.
pub fn unseal<const N: usize>(sealed: &str) -> Option<[String; N]> {
    let text = String::from_utf8(BASE64_STANDARD.decode(sealed).ok()?).ok()?;
    let parts: Vec<String> = text.split('\n').map(str::to_owned).collect();
    parts.try_into().ok()
}
