//! The web server of the pages.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::harness::root;

/// Serves the files of the repository, as any web server does, until the test process ends. What is posted it passes on to
/// the beacon source.
pub struct Pages {
    pub port: u16,
    busy: Arc<Busy>,
}

struct Busy {
    beacons: u16,
    /// What is answered to the next posts, which are not passed on.
    statuses: Mutex<VecDeque<u16>>,
}

impl Pages {
    pub fn serve(beacons: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let busy = Arc::new(Busy { beacons, statuses: Mutex::default() });
        let shared = busy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                // A browser opens connections that it never uses.
                std::thread::spawn(move || answer(stream.unwrap(), &shared));
            }
        });
        Self { port, busy }
    }

    /// Answers the next posts so, without passing them on.
    pub fn answer_first(&self, statuses: impl IntoIterator<Item = u16>) {
        self.busy.statuses.lock().unwrap().extend(statuses);
    }
}

fn answer(mut stream: TcpStream, busy: &Busy) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut first = head.split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    if method == "POST" {
        let body = body(&head, &mut reader)?;
        return match busy.statuses.lock().unwrap().pop_front() {
            Some(status) => send(&mut stream, &format!("{status} Busy"), "text/plain", &[]),
            None => pass_on(&mut stream, &head, &body, busy.beacons),
        };
    }
    let path = target.split('?').next().unwrap().trim_start_matches('/');
    match fs::read(root().join(path)) {
        Ok(body) if path.ends_with(".js") => send(&mut stream, "200 OK", "text/javascript", &body),
        Ok(body) => send(&mut stream, "200 OK", "text/html", &body),
        Err(_) => send(&mut stream, "404 Not Found", "text/plain", &[]),
    }
}

fn send(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn body(head: &str, reader: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let length = head.lines().find_map(|it| it.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn pass_on(stream: &mut TcpStream, head: &str, body: &[u8], to: u16) -> io::Result<()> {
    let mut source = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    source.write_all(head.replace("keep-alive", "close").as_bytes())?;
    source.write_all(body)?;
    let mut answer = Vec::new();
    source.read_to_end(&mut answer)?;
    stream.write_all(&answer)
}
