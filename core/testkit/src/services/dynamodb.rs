//! DynamoDB, as AWS gives it away for tests.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ministack::free_port;
use super::npm::npm_alone;

/// The package holds AWS's program, version 1.25.1, whole; what it depends on itself is not needed to run that.
const PACKAGE: &str = "amplify-dynamodb-simulator";
const VERSION: &str = "2.9.30";
const SHA256: &str = "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9";

/// Runs the server, and ends it when whoever holds the other end of the standard input is gone: even a killed test
/// leaves none behind. Ends with the server. (A shell gives no standard input to what it runs in the background.)
const WRAPPER: &str =
    "exec 3<&0; \"$@\" </dev/null & server=$!; (read -r nothing <&3; kill -9 $server 2>/dev/null) & wait $server";

/// How long it may take to answer, on a machine that has other things to do.
const START: Duration = Duration::from_secs(120);

/// A server that speaks the API of DynamoDB: AWS's own DynamoDB Local, on Java.
///
/// Conditions, expressions and the texts of errors are those of the service. It takes every key and checks no
/// signature, throttles nothing, and knows no rights. What it keeps is in memory and goes with it. It listens on all
/// addresses of the machine, which cannot be helped: it takes a port and no address.
#[derive(Debug)]
pub struct DynamoDb {
    process: Child,
    port: u16,
    home: TempDir,
}

impl DynamoDb {
    /// Starts a server with no tables.
    pub fn start() -> Self {
        let package = npm_alone(PACKAGE, VERSION, SHA256);
        // Another program may take the port between the question and the start: then the next one is tried.
        let mut said = String::new();
        for _ in 0..5 {
            let mut server = Self::spawn(&package.join("emulator"), free_port());
            match server.ready() {
                Ok(()) => return server,
                Err(why) => said = why,
            }
        }
        panic!("DynamoDB Local does not start: {said}");
    }

    fn spawn(emulator: &Path, port: u16) -> Self {
        let home = TempDir::new().expect("a temporary directory can be made");
        let log = File::create(home.path().join("log")).expect("a log can be made");
        let mut command = Command::new("sh");
        command.args(["-c", WRAPPER, "sh", "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg(format!("-Djava.library.path={}", emulator.join("DynamoDBLocal_lib").display()));
        command.arg("-jar").arg(emulator.join("DynamoDBLocal.jar"));
        command.args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()]);
        command.current_dir(home.path());
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("`sh` cannot be run: {error}"));
        Self { process, port, home }
    }

    /// Waits until it takes connections.
    fn ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child can be asked") {
                return Err(format!("it ended with {status}; is there a `java`?\n{}", self.log()));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
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

impl Drop for DynamoDb {
    fn drop(&mut self) {
        // That the standard input ends is the sign for the wrapper. Errors: it has ended already.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
