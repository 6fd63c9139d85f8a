//! What stands where a ClickHouse is expected: it answers requests, be it over TLS, as a test says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Answers each request, of which it gets head and body, with what `answer` gives: head and body. Listens on a free
/// port until the test process ends, and gives the port.
pub(super) fn front(
    tls: Option<Arc<ServerConfig>>,
    answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, tls, answer) = (stream.unwrap(), tls.clone(), answer.clone());
            std::thread::spawn(move || match tls {
                None => serve(stream, answer.as_ref()),
                Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), answer.as_ref()),
            });
        }
    });
    port
}

/// One request for each connection. Errors: the client has gone, or was not let in.
fn serve(mut stream: impl Read + Write, answer: &impl Fn(&str, &[u8]) -> Vec<u8>) {
    let Ok((head, body)) = request(&mut stream) else { return };
    let _ = stream.write_all(&answer(&head, &body)).and_then(|()| stream.flush());
}

/// Head and body of a request, the body as it is on the wire.
fn request(stream: &mut impl Read) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let (head, body) = (String::from_utf8_lossy(&bytes[..end]).to_lowercase(), &bytes[end + 4..]);
            let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next()?.parse().ok());
            let is_whole = match length {
                Some(length) => body.len() >= length,
                None => body.ends_with(b"0\r\n\r\n"),
            };
            if is_whole {
                return Ok((String::from_utf8_lossy(&bytes[..end]).into_owned(), body.to_vec()));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// An answer with this body.
pub(super) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Some\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

/// Passes a request on to a real server.
pub(super) fn passed_on(port: u16, head: &str, body: &[u8]) -> Vec<u8> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    server.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    server.write_all(body).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    answer
}

/// A server that gives certain answers to statements that contain certain words, and to all others nothing.
pub(super) struct Parrot {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Parrot {
    pub(super) fn new(answers: Vec<(String, String)>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = heard.clone();
        let port = front(None, move |head, body| {
            let said = format!("{}\n{}", head.lines().next().unwrap_or_default(), String::from_utf8_lossy(body));
            let known = answers.iter().find(|it| said.contains(&it.0)).map_or("", |it| it.1.as_str());
            notes.lock().unwrap().push(said);
            answer(200, known)
        });
        Self { port, heard }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many of the requests since the last question contain these words.
    pub(super) fn count(&self, words: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|it| it.contains(words)).count()
    }
}
