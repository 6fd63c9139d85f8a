//! Messages of an event stream: "Amazon event stream specification" of the Smithy documentation.

use bytes::Bytes;
use flate2::Crc;

/// The type of a header's value: text.
const TEXT: u8 = 7;

/// The answer to the call itself, which comes before the first event.
pub fn initial_response() -> Bytes {
    message("event", (":event-type", "initial-response"), b"{}")
}

/// An event with a JSON object.
pub fn event(kind: &str, json: &[u8]) -> Bytes {
    message("event", (":event-type", kind), json)
}

/// An error that ends the stream.
pub fn exception(code: &str, text: &str) -> Bytes {
    message("exception", (":exception-type", code), serde_json::json!({ "message": text }).to_string().as_bytes())
}

fn message(kind: &str, what: (&str, &str), payload: &[u8]) -> Bytes {
    let mut headers = Vec::new();
    for (name, value) in [what, (":content-type", "application/json"), (":message-type", kind)] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(TEXT);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    // Both lengths and their checksum before, the checksum of everything behind.
    let whole = 12 + headers.len() + payload.len() + 4;
    let mut message = Vec::with_capacity(whole);
    message.extend_from_slice(&(whole as u32).to_be_bytes());
    message.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    message.extend_from_slice(&crc32(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32(&message).to_be_bytes());
    message.into()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
