mod contract;
mod file;
mod fuzz;
mod keeping;
mod reading;
mod strangers;
mod tls;

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use forebay_api::{Resume, Source, SourceConfig};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::Firehose;

fn config(directory: &Path, keys: &str) -> Firehose {
    let spool = format!("spool = {{ directory = '{}' }}", directory.display());
    toml::from_str(&format!("listen = '127.0.0.1:0'\n{spool}\n{keys}"))
        .unwrap_or_else(|error| panic!("{keys}: {error}"))
}

/// The same, of a source that ends when everything is read.
fn ending(directory: &Path, keys: &str) -> Firehose {
    let mut config = config(directory, keys);
    config.tuning.ends = true;
    config
}

async fn open(config: &Firehose, resume: Resume) -> (Box<dyn Source>, SocketAddr) {
    config.schema().unwrap();
    let source = config.open(resume).await.unwrap();
    let address = config.tuning.address.lock().unwrap().take();
    (source, address.expect("it listens"))
}

/// The body of a request.
fn body(id: &str, records: &[&[u8]]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|it| serde_json::json!({ "data": BASE64_STANDARD.encode(it) })).collect();
    serde_json::json!({ "requestId": id, "timestamp": 1_795_298_640_123_i64, "records": records }).to_string().into()
}

/// Sends a request. The status, the headers and the body of the answer.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> (u16, http::HeaderMap, String) {
    let (mut to, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = to.send_request(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    connection.abort();
    (head.status.as_u16(), head.headers, text)
}

async fn post(address: SocketAddr, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
    let mut request = Request::post("/").header("host", "endpoint");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let (status, _, text) = send(stream, request.body(Full::new(body.into())).unwrap()).await;
    (status, text)
}

/// Delivers records as one request, which must be taken.
async fn deliver(address: SocketAddr, id: &str, records: &[&[u8]]) {
    let (status, text) = post(address, &[("x-amz-firehose-request-id", id)], body(id, records)).await;
    assert_eq!(status, 200, "{text}");
}
