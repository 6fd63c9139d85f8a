//! What a message says. The shapes are those of the Amazon S3 user guide, "Event message structure" and "Using
//! EventBridge", and of the Amazon SNS guide, "HTTP/HTTPS JSON format" (which SQS gets as well, unless delivery is raw).

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::bucket::unquoted;
use crate::object::Content;
use crate::store::Found;

/// An event that a message tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An object was written.
    Created { bucket: String, found: Found },
    /// Something else happened, by its name.
    Other(String),
}

/// The events of a message; of each that is not understood, why. Or why the message as a whole is not understood.
pub fn events(body: &str) -> Result<Vec<Result<Event, String>>, String> {
    let message: Value = serde_json::from_str(body).map_err(|error| format!("it is not JSON: {error}"))?;
    if message["Type"] == "Notification"
        && let Some(inner) = message["Message"].as_str()
    {
        let inner = serde_json::from_str(inner);
        let inner: Value = inner.map_err(|error| format!("the message that SNS passed on is not JSON: {error}"))?;
        return plain_events(&inner);
    }
    plain_events(&message)
}

fn plain_events(message: &Value) -> Result<Vec<Result<Event, String>>, String> {
    if let Some(records) = message["Records"].as_array() {
        return Ok(records.iter().map(record).collect());
    }
    if let Some(test) = message["Event"].as_str().filter(|it| *it == "s3:TestEvent") {
        return Ok(vec![Ok(Event::Other(test.to_owned()))]);
    }
    if message["source"] == "aws.s3" && message["detail"].is_object() {
        return Ok(vec![bridged(message)]);
    }
    Err("it is no event of S3: neither from S3 itself, nor through SNS, nor through EventBridge".into())
}

/// One of `Records`, as S3 sends them to SQS and SNS.
fn record(record: &Value) -> Result<Event, String> {
    let source = record["eventSource"].as_str().unwrap_or("aws:s3");
    if !source.ends_with(":s3") {
        return Err(format!("it tells of an event of `{source}`, not of S3"));
    }
    let name = text(record, "eventName")?;
    // Elsewhere the names begin with `s3:`.
    let name = name.strip_prefix("s3:").unwrap_or(name);
    if !name.starts_with("ObjectCreated:") {
        return Ok(Event::Other(name.to_owned()));
    }
    let (bucket, object) = (&record["s3"]["bucket"], &record["s3"]["object"]);
    // As in the query of a URL: `+` is a space.
    let key = text(object, "key")?.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8().map_err(|_| format!("the key `{key}` is not UTF-8"))?.into_owned();
    let found = found(key, object, "eTag", "versionId");
    Ok(Event::Created { bucket: text(bucket, "name")?.to_owned(), found })
}

/// An event that EventBridge sends.
fn bridged(event: &Value) -> Result<Event, String> {
    let kind = text(event, "detail-type")?;
    if kind != "Object Created" {
        return Ok(Event::Other(kind.to_owned()));
    }
    let (bucket, object) = (&event["detail"]["bucket"], &event["detail"]["object"]);
    // Here the key is as it is.
    let found = found(text(object, "key")?.to_owned(), object, "etag", "version-id");
    Ok(Event::Created { bucket: text(bucket, "name")?.to_owned(), found })
}

fn found(key: String, object: &Value, etag: &str, version: &str) -> Found {
    let etag = object[etag].as_str().map(unquoted).filter(|it| !it.is_empty());
    let size = object["size"].as_u64();
    let content = etag.zip(size).map(|(etag, size)| Content { etag, size });
    // `null` is the version of objects in a bucket that keeps none (any more): the next one takes its place.
    let version = object[version].as_str().filter(|it| !it.is_empty() && *it != "null").map(str::to_owned);
    Found { content, version, size, ..Found::key(key) }
}

fn text<'a>(of: &'a Value, key: &str) -> Result<&'a str, String> {
    of[key].as_str().filter(|it| !it.is_empty()).ok_or_else(|| format!("its event has no `{key}`"))
}
