//! Data Firehose, in this process.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::thread::Server;

/// What stands before the operation in `X-Amz-Target`.
const VERSION: &str = "Firehose_20150804.";

/// The limits of a call: "Amazon Data Firehose Quota" of the developer guide.
const RECORDS_MAX: usize = 500;
const CALL_BYTES_MAX: usize = 4 << 20;
const RECORD_BYTES_MAX: usize = 1000 << 10;

/// A server that speaks the part of Data Firehose's API that writers need: `PutRecordBatch` with the service's limits,
/// and `DescribeDeliveryStream`. It keeps what it takes, and delivers it nowhere.
///
/// What the emulators never do happens on request ([`FirehoseServer::fail`]): single records of a call are not taken,
/// calls are throttled, answers are lost. Every key is taken and no signature checked. It listens for HTTP/1.1 without
/// TLS.
///
/// Whatever fails panics: it is a test's own doing.
#[derive(Debug)]
pub struct FirehoseServer {
    server: Server,
    state: Arc<Mutex<State>>,
}

/// What goes wrong with a call: see [`FirehoseServer::fail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirehoseMishap {
    /// It is not carried out; the answer has this status and this error code, such as 503 and
    /// `ServiceUnavailableException`.
    Error(u16, String),
    /// It is carried out; then the connection is closed instead of an answer.
    AnswerLost,
    /// `PutRecordBatch` does not take the records with these numbers, counted from 0, and says so of each of them.
    Records(Vec<usize>),
    /// `PutRecordBatch` does not take so many of 100 records, by chance that is the same in each run.
    Share(u64),
}

/// A `PutRecordBatch` that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirehoseCall {
    /// What it brought.
    pub records: Vec<Bytes>,
    /// The numbers of those of them that were not taken.
    pub failed: Vec<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// By name.
    streams: BTreeMap<String, Stream>,
    mishaps: Vec<(String, usize, FirehoseMishap)>,
    /// Records seen so far: chance needs a beginning.
    seen: u64,
}

#[derive(Debug)]
struct Stream {
    /// `DirectPut`, or what it takes its records from instead.
    kind: String,
    calls: Vec<FirehoseCall>,
}

/// A call that is refused: status, code, message.
type Refusal = (u16, String, String);

impl FirehoseServer {
    /// Starts a server with no streams.
    pub fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let served = state.clone();
        let server = Server::start("firehose", 0, move |stream| serve(stream, served.clone()));
        Self { server, state }
    }

    /// Its URL: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Makes a stream that takes records, `ACTIVE` at once.
    pub fn create_stream(&self, name: &str) {
        self.create_stream_of(name, "DirectPut");
    }

    /// Makes a stream of this type: one of `KinesisStreamAsSource` takes no records.
    pub fn create_stream_of(&self, name: &str, kind: &str) {
        let stream = Stream { kind: kind.into(), calls: Vec::new() };
        assert!(lock(&self.state).streams.insert(name.into(), stream).is_none(), "there is a stream `{name}` already");
    }

    /// Lets the next calls of an operation, such as `PutRecordBatch`, go wrong. What was said before comes first.
    pub fn fail(&self, operation: &str, times: usize, mishap: FirehoseMishap) {
        lock(&self.state).mishaps.push((operation.into(), times, mishap));
    }

    /// The calls that were carried out, in their order.
    pub fn calls(&self, stream: &str) -> Vec<FirehoseCall> {
        let state = lock(&self.state);
        state.streams.get(stream).unwrap_or_else(|| panic!("there is no stream `{stream}`")).calls.clone()
    }

    /// The records that were taken, in their order.
    pub fn records(&self, stream: &str) -> Vec<Bytes> {
        let taken = |call: FirehoseCall| {
            let FirehoseCall { records, failed } = call;
            records.into_iter().enumerate().filter(move |(nth, _)| !failed.contains(nth)).map(|(_, record)| record)
        };
        self.calls(stream).into_iter().flat_map(taken).collect()
    }
}

impl State {
    /// What is to go wrong with this call; it counts.
    fn mishap(&mut self, operation: &str) -> Option<FirehoseMishap> {
        let (_, times, mishap) = self.mishaps.iter_mut().find(|it| it.0 == operation && it.1 > 0)?;
        *times -= 1;
        Some(mishap.clone())
    }

    fn ask(&mut self, operation: &str, body: &[u8], mishap: Option<&FirehoseMishap>) -> Result<Value, Refusal> {
        let input: Value =
            serde_json::from_slice(body).map_err(|error| refusal("SerializationException", &error.to_string()))?;
        let name = input["DeliveryStreamName"].as_str().ok_or_else(|| invalid("DeliveryStreamName is missing"))?;
        let Self { streams, seen, .. } = self;
        let stream = streams.get_mut(name).ok_or_else(|| {
            let message = format!("Firehose {name} under account 000000000000 not found.");
            refusal("ResourceNotFoundException", &message)
        })?;
        match operation {
            "DescribeDeliveryStream" => Ok(stream.describe(name)),
            "PutRecordBatch" => {
                let is_failed = |nth: usize| match mishap {
                    Some(FirehoseMishap::Records(numbers)) => numbers.contains(&nth),
                    Some(FirehoseMishap::Share(of_100)) => {
                        *seen += 1;
                        // Knuth's multiplicative hash, by its upper bits.
                        (seen.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100 < *of_100
                    }
                    _ => false,
                };
                stream.put(&input, is_failed)
            }
            _ => Err(refusal("UnknownOperationException", &format!("there is no operation {operation}"))),
        }
    }
}

impl Stream {
    fn describe(&self, name: &str) -> Value {
        json!({ "DeliveryStreamDescription": {
            "DeliveryStreamName": name,
            "DeliveryStreamARN": format!("arn:aws:firehose:us-east-1:000000000000:deliverystream/{name}"),
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": self.kind,
            "VersionId": "1",
            "Destinations": [],
            "HasMoreDestinations": false,
        }})
    }

    fn put(&mut self, input: &Value, is_failed: impl FnMut(usize) -> bool) -> Result<Value, Refusal> {
        if self.kind != "DirectPut" {
            let message = format!("This operation is not permitted on {} delivery stream type.", self.kind);
            return Err(refusal("InvalidSourceException", &message));
        }
        let records = input["Records"].as_array().ok_or_else(|| invalid("Records is missing"))?;
        if records.is_empty() || records.len() > RECORDS_MAX {
            return Err(refusal("ValidationException", "Member must have length between 1 and 500"));
        }
        let data = |record: &Value| BASE64_STANDARD.decode(record["Data"].as_str()?).ok().map(Bytes::from);
        let records: Option<Vec<Bytes>> = records.iter().map(data).collect();
        let records = records.ok_or_else(|| refusal("SerializationException", "Data is not base64"))?;
        if records.iter().any(|it| it.len() > RECORD_BYTES_MAX) {
            return Err(invalid("Record size is larger than 1024000 bytes"));
        }
        if records.iter().map(Bytes::len).sum::<usize>() > CALL_BYTES_MAX {
            return Err(invalid("Records size exceeds 4 MB limit"));
        }
        let mut is_failed = is_failed;
        let failed: Vec<usize> = (0..records.len()).filter(|it| is_failed(*it)).collect();
        let answer = |nth: usize| match failed.contains(&nth) {
            true => json!({ "ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down." }),
            false => json!({ "RecordId": format!("{}-{nth}", self.calls.len()) }),
        };
        let answers: Vec<Value> = (0..records.len()).map(answer).collect();
        let output = json!({ "FailedPutCount": failed.len(), "Encrypted": false, "RequestResponses": answers });
        self.calls.push(FirehoseCall { records, failed });
        Ok(output)
    }
}

fn refusal(code: &str, message: &str) -> Refusal {
    (400, code.to_owned(), message.to_owned())
}

fn invalid(message: &str) -> Refusal {
    refusal("InvalidArgumentException", message)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection.
async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let answer = service_fn(move |request| answer(request, state.clone()));
    // An error: the client has gone, or an answer was to be lost.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

/// An error closes the connection without an answer.
async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, io::Error> {
    let target = request.headers().get("x-amz-target").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(VERSION).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let (output, lost) = {
        let mut state = lock(&state);
        let mishap = state.mishap(&operation);
        let output = match &mishap {
            Some(FirehoseMishap::Error(status, code)) => {
                Err((*status, code.clone(), "this went wrong on request".into()))
            }
            _ => state.ask(&operation, &body, mishap.as_ref()),
        };
        (output, mishap == Some(FirehoseMishap::AnswerLost))
    };
    if lost {
        return Err(io::Error::other("the answer is lost"));
    }
    let (status, json) = match output {
        Ok(output) => (200, output),
        Err((status, code, message)) => (status, json!({ "__type": code, "message": message })),
    };
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    let response = response.header("x-amzn-requestid", "00000000-0000-0000-0000-000000000000");
    response.body(Full::new(Bytes::from(json.to_string()))).map_err(io::Error::other)
}
