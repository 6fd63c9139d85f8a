//! S3 and SQS of one server, with notifications from one to the other.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::python;

/// Runs the server, and ends with whoever holds the other end of its standard input: even a killed test leaves none
/// behind.
const WRAPPER: &str = "\
import os, sys, threading
def end_with_the_test():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=end_with_the_test, daemon=True).start()
from ministack.app import main
sys.argv = ['ministack']
main()
";

/// How long it may take to answer, on a machine that has other things to do.
const START: Duration = Duration::from_secs(120);

/// A server that speaks S3 and SQS, and puts a notification into a queue when an object is made.
///
/// It is `ministack` from the Python package index. It takes every key and checks no signature; account
/// `000000000000`, region `us-east-1`. What it keeps is in memory and goes with it.
#[derive(Debug)]
pub struct Ministack {
    process: Child,
    port: u16,
    home: TempDir,
}

impl Ministack {
    /// Starts a server with nothing in it.
    pub fn start() -> Self {
        let python = python(&["ministack==1.5.33"]);
        // Another program may take the port between the question and the start: then the next one is tried.
        let mut said = String::new();
        for _ in 0..5 {
            let mut server = Self::spawn(&python, free_port());
            match server.ready() {
                Ok(()) => return server,
                Err(why) => said = why,
            }
        }
        panic!("ministack does not start: {said}");
    }

    fn spawn(python: &Path, port: u16) -> Self {
        let home = TempDir::new().expect("a temporary directory can be made");
        let log = File::create(home.path().join("log")).expect("a log can be made");
        let mut command = Command::new(python);
        command.args(["-u", "-c", WRAPPER]).env_clear().current_dir(home.path());
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
        command.env("HOME", home.path()).env("TMPDIR", home.path());
        // It would look for containers of its own, to remove them.
        command.env("DOCKER_HOST", "unix:///nonexistent");
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("{} cannot be run: {error}", python.display()));
        Self { process, port, home }
    }

    /// Waits until it says that it listens.
    fn ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if self.log().contains("Running on") {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait().expect("a child can be asked") {
                return Err(format!("it ended with {status}\n{}", self.log()));
            }
            if begun.elapsed() > START {
                return Err(format!("nothing within {START:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its URL, for S3 and SQS alike: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written so far, for the message of a test that fails.
    pub fn log(&self) -> String {
        let log = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port of the loopback address that nobody listens on at the moment.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback address has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
