//! Requests and answers over HTTP: the protocol `awsJson1_1`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::input::Input;
use super::pushing::Subscription;
use super::state::{KinesisMishap, Refusal, State};
use super::{Shared, managing, reading, writing};

/// What stands before the operation in `X-Amz-Target`.
const VERSION: &str = "Kinesis_20131202.";

type AnyBody = BoxBody<Bytes, io::Error>;

/// Serves one connection.
pub async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let answer = service_fn(move |request| answer(request, shared.clone()));
    // An error: the client has gone, or an answer was to be lost.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

/// What a call gives.
enum Answer {
    Json(Vec<u8>),
    Events(Subscription),
}

/// An error closes the connection without an answer.
async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<AnyBody>, io::Error> {
    let target = request.headers().get("x-amz-target").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(VERSION).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let (answer, lost) = carry_out(&shared, &operation, &body);
    let now = shared.lock().now();
    shared.changes.send_modify(|it| *it += 1);
    if lost {
        return Err(io::Error::other("the answer is lost"));
    }
    match answer {
        Ok(Answer::Json(json)) => respond(now, 200, "application/x-amz-json-1.1", full(json)),
        Ok(Answer::Events(subscription)) => {
            let (to, events) = mpsc::channel(4);
            tokio::spawn(subscription.run(shared, to));
            respond(now, 200, "application/vnd.amazon.eventstream", BodyExt::boxed(Events(events)))
        }
        Err(Refusal { status, code, message }) => {
            let json = json!({ "__type": code, "message": message }).to_string();
            respond(now, status, "application/x-amz-json-1.1", full(json.into_bytes()))
        }
    }
}

/// The answer, and whether it is to be lost.
fn carry_out(shared: &Shared, operation: &str, body: &[u8]) -> (Result<Answer, Refusal>, bool) {
    let mut state = shared.lock();
    let mishap = state.mishap(operation);
    let answer = match &mishap {
        Some(KinesisMishap::Error(status, code)) => {
            Err(Refusal { status: *status, code: code.clone(), message: "this went wrong on request".into() })
        }
        _ => ask(&mut state, operation, body, mishap == Some(KinesisMishap::Nothing)),
    };
    let calls = state.calls.entry(operation.into()).or_default();
    match &answer {
        Ok(answer) => {
            calls.answered += 1;
            if let Answer::Json(json) = answer {
                calls.bytes += json.len();
            }
        }
        Err(_) => calls.refused += 1,
    }
    (answer, mishap == Some(KinesisMishap::AnswerLost))
}

fn ask(state: &mut State, operation: &str, body: &[u8], nothing: bool) -> Result<Answer, Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::new("SerializationException", format!("the request is not JSON: {error}")))?;
    let input = Input(&value);
    let answer = match operation {
        "GetRecords" => return reading::get_records(state, input, nothing).map(Answer::Json),
        "SubscribeToShard" => return Subscription::begin(state, input).map(Answer::Events),
        "GetShardIterator" => reading::get_shard_iterator(state, input),
        "PutRecord" => writing::put_record(state, input),
        "PutRecords" => writing::put_records(state, input),
        "CreateStream" => managing::create_stream(state, input),
        "DeleteStream" => managing::delete_stream(state, input),
        "ListStreams" => Ok(managing::list_streams(state)),
        "DescribeStreamSummary" => managing::describe_stream_summary(state, input),
        "ListShards" => managing::list_shards(state, input),
        "SplitShard" => managing::split_shard(state, input),
        "MergeShards" => managing::merge_shards(state, input),
        "RegisterStreamConsumer" => managing::register_stream_consumer(state, input),
        "DescribeStreamConsumer" => managing::describe_stream_consumer(state, input),
        "ListStreamConsumers" => managing::list_stream_consumers(state, input),
        "DeregisterStreamConsumer" => managing::deregister_stream_consumer(state, input),
        _ => Err(Refusal::new("UnknownOperationException", format!("there is no operation `{operation}`"))),
    }?;
    // Where there is nothing to say, there is no body either.
    Ok(Answer::Json(if answer.is_null() { Vec::new() } else { answer.to_string().into_bytes() }))
}

/// `now`: in milliseconds since 1970, by the server's clock.
fn respond(now: u64, status: u16, kind: &str, body: AnyBody) -> Result<Response<AnyBody>, io::Error> {
    let now = jiff::Timestamp::from_millisecond(now as i64).map_err(io::Error::other)?;
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).map_err(io::Error::other)?;
    let response = Response::builder().status(status).header("date", date).header("content-type", kind);
    response.header("x-amzn-requestid", "00000000-0000-0000-0000-000000000000").body(body).map_err(io::Error::other)
}

fn full(bytes: Vec<u8>) -> AnyBody {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed()
}

/// A body that goes on as long as something is sent.
struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|it| it.map(|bytes| Ok(Frame::data(bytes))))
    }
}
