//! S3 and SQS of one server, with notifications from one to the other.

use std::path::Path;
use std::process::Command;

use super::program::Program;
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

/// A server that speaks S3 and SQS, and puts a notification into a queue when an object is made.
///
/// It is `ministack` from the Python package index. It takes every key and checks no signature; account
/// `000000000000`, region `us-east-1`. What it keeps is in memory and goes with it.
#[derive(Debug)]
pub struct Ministack(Program);

impl Ministack {
    /// Starts a server with nothing in it.
    pub fn start() -> Self {
        let python = python(&["ministack==1.5.33"]);
        let command = |home: &Path, port: u16| {
            let mut command = Command::new(&python);
            command.args(["-u", "-c", WRAPPER]).env_clear().current_dir(home);
            command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
            command.env("HOME", home).env("TMPDIR", home);
            // It would look for containers of its own, to remove them.
            command.env("DOCKER_HOST", "unix:///nonexistent");
            command
        };
        Self(Program::start("ministack", command, |it| it.log().contains("Running on")))
    }

    /// Its URL, for S3 and SQS alike: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// What it has written so far, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.0.log()
    }
}
