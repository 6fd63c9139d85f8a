mod any_bytes;
mod bodies;
mod certificates;
mod connections;
mod limits;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::descriptors::Descriptors;
use crate::{Answer, Bounds, Counters, Memory, Reply, Request, Server, Tls, collect};

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

const BOUNDS: Bounds = Bounds {
    connections_max: 1000,
    per_address_max: 1000,
    header_timeout: PATIENCE,
    idle_timeout: PATIENCE,
    head_bytes_max: 32 << 10,
    linger_bytes_max: 1 << 20,
    http_2: true,
};

/// Answers with 200 and the number of bytes of the body; or, at `/unread`, with 404, and does not read it.
#[derive(Default)]
struct Length(Counters);

impl Answer for Length {
    async fn answer(&self, request: &mut Request, _peer: IpAddr) -> Reply {
        let mut reply = Response::new(Full::default());
        if request.uri().path() == "/unread" {
            *reply.status_mut() = StatusCode::NOT_FOUND;
            return reply;
        }
        match collect(request.body_mut(), 1 << 20, PATIENCE, &mut Memory::new(2 << 20).hold()).await {
            Ok(body) => *reply.body_mut() = Bytes::from(body.len().to_string()).into(),
            Err(_) => *reply.status_mut() = StatusCode::BAD_REQUEST,
        }
        self.0.accept();
        reply
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        peer.to_string() == "127.0.0.9"
    }

    fn counters(&self) -> &Counters {
        &self.0
    }
}

struct Served {
    server: Server,
    answer: Arc<Length>,
}

async fn serve(bounds: Bounds) -> Served {
    serve_within(Descriptors::of_process(), None, bounds).await
}

async fn serve_within(descriptors: Arc<Descriptors>, tls: Option<&Tls>, bounds: Bounds) -> Served {
    let answer = Arc::new(Length::default());
    let listen = "127.0.0.1:0".parse().unwrap();
    Served { server: Server::within(descriptors, listen, tls, bounds, answer.clone()).await.unwrap(), answer }
}

impl Served {
    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// Connects from another address of this machine.
    async fn connect_from(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address()).await.unwrap()
    }

    /// Waits until so much was counted.
    async fn counted(&self, expected: &str) {
        let counted = async {
            while self.answer.0.shown() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let counted = tokio::time::timeout(PATIENCE, counted).await;
        assert!(counted.is_ok(), "{} instead of {expected}", self.answer.0.shown());
    }
}

const POST: &str = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}";

/// Sends a request and reads one answer, which has a length; of a server that has closed there may be none.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    let _ = stream.write_all(request.as_bytes()).await;
    let mut all = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
                if body.len() == length.unwrap().parse::<usize>().unwrap() {
                    return format!("{} {body}", head.split(' ').nth(1).unwrap());
                }
            }
            let mut some = [0; 4096];
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => return "closed".to_owned(),
                Ok(n) => all.extend_from_slice(&some[..n]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("there is an answer, or an end")
}

/// All that comes until the server closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the server closes");
    String::from_utf8_lossy(&all).into_owned()
}
