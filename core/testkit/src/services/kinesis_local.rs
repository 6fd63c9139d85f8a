//! Kinesis Data Streams, by others.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ministack::free_port;
use super::npm::npm_alone;

const PACKAGE: &str = "kinesis-local";
const VERSION: &str = "0.6.2";
const SHA256: &str = "7f450e244b3c609b640b22ab005c9fdeaeb6e49d72403a3b6ebd9c3270b32cb5";

/// Runs the program, which listens on all addresses if it is left alone, on the loopback address; says when it listens;
/// and ends with whoever holds the other end of its standard input: even a killed test leaves none behind.
const WRAPPER: &str = "\
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  this.once('listening', () => console.log('listening on', port));
  return listen.call(this, { port, host: '127.0.0.1' }, ...rest);
};
process.stdin.on('end', () => process.exit()).resume();
require(process.cwd() + '/main.js');
";

/// How long it may take to answer, on a machine that has other things to do.
const START: Duration = Duration::from_secs(120);

/// A server that speaks the API of Kinesis Data Streams, written by others than [`KinesisServer`](super::KinesisServer):
/// the `kinesis-local` of the npm registry, on Node.js.
///
/// It splits and merges shards, keeps the closed ones, and pushes records; it throttles nothing and forgets nothing. It
/// takes every key and checks no signature; account `000000000000`, region `us-east-1`. What it keeps is in memory and
/// goes with it.
#[derive(Debug)]
pub struct KinesisLocal {
    process: Child,
    port: u16,
    home: TempDir,
}

impl KinesisLocal {
    /// Starts a server with no streams.
    pub fn start() -> Self {
        let package = npm_alone(PACKAGE, VERSION, SHA256);
        // Another program may take the port between the question and the start: then the next one is tried.
        let mut said = String::new();
        for _ in 0..5 {
            let mut server = Self::spawn(&package, free_port());
            match server.ready() {
                Ok(()) => return server,
                Err(why) => said = why,
            }
        }
        panic!("kinesis-local does not start: {said}");
    }

    fn spawn(package: &Path, port: u16) -> Self {
        let home = TempDir::new().expect("a temporary directory can be made");
        let log = File::create(home.path().join("log")).expect("a log can be made");
        let mut command = Command::new("node");
        // It finds its certificate in the directory that it is run in.
        command.args(["-e", WRAPPER]).current_dir(package);
        command.env("KINESIS_MOCK_PLAIN_PORT", port.to_string());
        command.env("KINESIS_MOCK_TLS_PORT", free_port().to_string());
        command.env("AWS_REGION", "us-east-1").env("LOG_LEVEL", "WARN").env("SHARD_LIMIT", "1000");
        for takes in ["CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "REGISTER_STREAM_CONSUMER"] {
            command.env(format!("{takes}_DURATION"), "0ms");
        }
        command.env("DEREGISTER_STREAM_CONSUMER_DURATION", "0ms");
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("`node` cannot be run: {error}"));
        Self { process, port, home }
    }

    /// Waits until it says that it listens.
    fn ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let listens = format!("listening on {}", self.port);
        loop {
            if self.log().contains(&listens) {
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

    /// Its URL: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written so far, for the message of a test that fails.
    pub fn log(&self) -> String {
        let log = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for KinesisLocal {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
