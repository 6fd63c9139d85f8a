//! The data of records, lifted out of an answer before the SDK reads it.
//!
//! The SDK's reader of JSON walks through a string byte by byte, copies it, and decodes the copy: a third of all that reading
//! from Kinesis took. So the texts of `"Data"` are found and decoded here, and the SDK reads the answer with a number in
//! the place of each. What the fields mean and what is wrong with an answer stays its business: an answer with anything
//! unusual in these texts is read by it as it came.

use aws_sdk_kinesis::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextMut, Output, OutputOrError,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use memchr::{memchr, memchr2};

/// Makes a call of `GetRecords` have its answer read as this module does it.
#[derive(Debug)]
pub struct LiftData;

impl Intercept for LiftData {
    fn name(&self) -> &'static str {
        "LiftData"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = GetRecords::new().config() {
            bag.interceptor_state().store_put(SharedResponseDeserializer::new(Reader { operation }));
        }
        Ok(())
    }
}

/// Reads answers to `GetRecords`.
#[derive(Debug)]
struct Reader {
    /// What the SDK configures for the operation, its own reader among it.
    operation: FrozenLayer,
}

impl DeserializeResponse for Reader {
    fn deserialize_nonstreaming_with_config(&self, answer: &HttpResponse, bag: &ConfigBag) -> OutputOrError {
        let own = self.operation.load::<SharedResponseDeserializer>();
        let own = own.ok_or_else(|| OrchestratorError::other("the SDK has no reader for `GetRecords`"))?;
        match read(own, answer, bag) {
            Some(output) => Ok(output),
            None => own.deserialize_nonstreaming_with_config(answer, bag),
        }
    }
}

/// Reads an answer without its data, and puts the data in. `None`: the answer is to be read as it came.
fn read(own: &SharedResponseDeserializer, answer: &HttpResponse, bag: &ConfigBag) -> Option<Output> {
    if !answer.status().is_success() {
        return None;
    }
    let Lifted { rest, data } = lift(answer.body().bytes()?)?;
    let mut short = HttpResponse::new(answer.status(), SdkBody::from(rest));
    *short.headers_mut() = answer.headers().clone();
    let mut output = own.deserialize_nonstreaming_with_config(&short, bag).ok()?;
    put_back(output.downcast_mut()?, data)?;
    Some(output)
}

/// An answer in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lifted {
    /// The answer, with the base64 of a number in the place of each text of `"Data"`.
    pub(crate) rest: Vec<u8>,
    /// What the texts stand for, by these numbers.
    pub(crate) data: Vec<Vec<u8>>,
}

/// Takes the texts of all `"Data"` out of some JSON. `None`: there are none, or there is something that is left to others:
/// a text that is not base64 as it stands, a key with an escape, which might be another way to write `"Data"`, or a string
/// without an end.
pub(crate) fn lift(json: &[u8]) -> Option<Lifted> {
    let mut lifted = Lifted { rest: Vec::new(), data: Vec::new() };
    // Up to here everything is in one of the parts.
    let mut done = 0;
    let mut at = 0;
    while let Some(quote) = memchr(b'"', &json[at..]) {
        let begin = at + quote + 1;
        let key = string(json, begin)?;
        at = key.end + 1;
        let colon = past_spaces(json, at);
        if json.get(colon) != Some(&b':') {
            continue;
        }
        if key.has_escapes {
            return None;
        }
        let value = past_spaces(json, colon + 1);
        if &json[begin..key.end] != b"Data" || json.get(value) != Some(&b'"') {
            continue;
        }
        let text = string(json, value + 1)?;
        let number = u32::try_from(lifted.data.len()).ok()?;
        lifted.data.push(base64::decode(std::str::from_utf8(&json[value + 1..text.end]).ok()?).ok()?);
        lifted.rest.extend_from_slice(&json[done..=value]);
        lifted.rest.extend_from_slice(base64::encode(number.to_be_bytes()).as_bytes());
        done = text.end;
        at = text.end + 1;
    }
    lifted.rest.extend_from_slice(&json[done..]);
    (!lifted.data.is_empty()).then_some(lifted)
}

/// How a string goes on.
struct Text {
    /// Where its closing quote is.
    end: usize,
    has_escapes: bool,
}

/// Finds the end of a string that begins here.
fn string(json: &[u8], begin: usize) -> Option<Text> {
    let mut text = Text { end: begin, has_escapes: false };
    loop {
        text.end += memchr2(b'"', b'\\', json.get(text.end..)?)?;
        if json[text.end] == b'"' {
            return Some(text);
        }
        text.has_escapes = true;
        text.end += 2;
    }
}

fn past_spaces(json: &[u8], from: usize) -> usize {
    let spaces = json[from..].iter().take_while(|it| matches!(it, b' ' | b'\t' | b'\n' | b'\r'));
    from + spaces.count()
}

/// Puts data where their numbers stand. `None` if there is anything else, or a number twice.
fn put_back(output: &mut GetRecordsOutput, data: Vec<Vec<u8>>) -> Option<()> {
    let mut data: Vec<Option<Vec<u8>>> = data.into_iter().map(Some).collect();
    // A record without data has an empty one.
    for record in output.records.iter_mut().filter(|it| !it.data.as_ref().is_empty()) {
        let number = u32::from_be_bytes(record.data.as_ref().try_into().ok()?);
        record.data = Blob::new(data.get_mut(number as usize)?.take()?);
    }
    Some(())
}
