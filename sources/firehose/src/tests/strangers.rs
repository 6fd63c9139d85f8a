//! Who else may knock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_api::Resume;
use forebay_listen::Answer;
use forebay_spool::simulated::SimulatedDisk;
use forebay_spool::{Options, Spool};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::{body, config, deliver, open, post};
use crate::endpoint::Endpoint;
use crate::serve;

/// Scenario: one host opens more connections than there may be, and says nothing on any of them.
/// Guarantees: Firehose is served.
#[tokio::test]
async fn silent_sockets() {
    let directory = TempDir::new().unwrap();
    let (_source, address) = open(&config(directory.path(), ""), Resume::start()).await;
    let mut silent = Vec::new();
    for _ in 0..1100 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(address).await.unwrap());
    }
    deliver(address, "r-1", &[b"one"]).await;
}

/// Scenario: requests with a fault each, things that are no requests, and a good one, twice.
/// Guarantees: each is counted by its reason.
#[tokio::test]
async fn counted_by_reason() {
    let config = config("unused".as_ref(), "path = '/'\naccess_key = 'sesame'");
    let spool = Arc::new(Spool::open(Arc::new(SimulatedDisk::new(1)), Options::new(1 << 30)).unwrap());
    let endpoint = Arc::new(Endpoint::new(&config, &spool, Arc::new(Mutex::default())));
    let server = serve::start(&config, endpoint.clone()).await.unwrap();
    let address = server.address();
    let good = || body("r-1", &[b"x"]);
    let key = ("x-amz-firehose-access-key", "sesame");
    for (headers, body) in [
        (vec![key], good()),
        (vec![key], good()),
        (vec![], good()),
        (vec![key, ("content-encoding", "br")], good()),
        (vec![key, ("content-encoding", "gzip")], good()),
        (vec![key], b"{}".to_vec()),
        (vec![key, ("host", "another")], good()),
        (vec![key], body("r-2", &vec![&b"x"[..]; 10_001])),
    ] {
        post(address, &headers, body).await;
    }
    let key = "X-Amz-Firehose-Access-Key: sesame";
    let requests = [
        format!("GET / HTTP/1.1\r\nHost: b\r\n{key}\r\n\r\n"),
        format!("POST /other HTTP/1.1\r\nHost: b\r\n{key}\r\n\r\n"),
        "nonsense\r\n\r\n".to_owned(),
    ];
    let mut streams = Vec::new();
    for request in requests {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    drop(spool);
    post(address, &[("x-amz-firehose-access-key", "sesame")], body("r-3", &[b"x"])).await;
    let all = "accepted=2 access_key=1 body=1 ending=1 head=1 http=2 method=1 path=1 too_large=1 undecodable=1";
    let counted = async {
        while endpoint.counters().shown() != all {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(60), counted).await;
    assert!(counted.is_ok(), "{}", endpoint.counters().shown());
}
