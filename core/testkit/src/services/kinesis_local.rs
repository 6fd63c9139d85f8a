//! Kinesis Data Streams, by others.

use std::path::Path;
use std::process::Command;

use super::npm::npm_alone;
use super::program::{Program, free_port};

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

/// A server that speaks the API of Kinesis Data Streams, written by others than [`KinesisServer`](super::KinesisServer):
/// the `kinesis-local` of the npm registry, on Node.js.
///
/// It splits and merges shards, keeps the closed ones, and pushes records; it throttles nothing and forgets nothing. It
/// takes every key and checks no signature; account `000000000000`, region `us-east-1`. What it keeps is in memory and
/// goes with it.
#[derive(Debug)]
pub struct KinesisLocal(Program);

impl KinesisLocal {
    /// Starts a server with no streams.
    ///
    /// # Panics
    ///
    /// If there is no `node`, or the package cannot be had.
    pub fn start() -> Self {
        let package = npm_alone(PACKAGE, VERSION, SHA256);
        let command = |_: &Path, port: u16| {
            let mut command = Command::new("node");
            // It finds its certificate in the directory that it is run in.
            command.args(["-e", WRAPPER]).current_dir(&package);
            command.env("KINESIS_MOCK_PLAIN_PORT", port.to_string());
            command.env("KINESIS_MOCK_TLS_PORT", free_port().to_string());
            command.env("AWS_REGION", "us-east-1").env("LOG_LEVEL", "WARN").env("SHARD_LIMIT", "1000");
            for takes in ["CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "REGISTER_STREAM_CONSUMER"] {
                command.env(format!("{takes}_DURATION"), "0ms");
            }
            command.env("DEREGISTER_STREAM_CONSUMER_DURATION", "0ms");
            command
        };
        let is_ready = |it: &Program| it.log().contains(&format!("listening on {}", it.port()));
        Self(Program::start(PACKAGE, command, is_ready))
    }

    /// Its URL: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// What it has written so far, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.0.log()
    }
}
