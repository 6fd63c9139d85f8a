//! DynamoDB, as AWS gives it away for tests.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::npm::npm_alone;
use super::program::Program;

/// The package holds AWS's program, version 1.25.1, whole; what it depends on itself is not needed to run that.
const PACKAGE: &str = "amplify-dynamodb-simulator";
const VERSION: &str = "2.9.30";
const SHA256: &str = "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9";

/// Runs the server, and ends it when whoever holds the other end of the standard input is gone: even a killed test
/// leaves none behind. Ends with the server. (A shell gives no standard input to what it runs in the background.)
const WRAPPER: &str =
    "exec 3<&0; \"$@\" </dev/null & server=$!; (read -r nothing <&3; kill -9 $server 2>/dev/null) & wait $server";

/// A server that speaks the API of DynamoDB: AWS's own DynamoDB Local, on Java.
///
/// Conditions, expressions and the texts of errors are those of the service. It takes every key and checks no
/// signature, throttles nothing, and knows no rights. What it keeps is in memory and goes with it. It listens on all
/// addresses of the machine, which cannot be helped: it takes a port and no address.
#[derive(Debug)]
pub struct DynamoDb(Program);

impl DynamoDb {
    /// Starts a server with no tables.
    ///
    /// # Panics
    ///
    /// If there is no `java`, or the package cannot be had.
    pub fn start() -> Self {
        let emulator = npm_alone(PACKAGE, VERSION, SHA256).join("emulator");
        let command = |home: &Path, port: u16| {
            let mut command = Command::new("sh");
            command.args(["-c", WRAPPER, "sh", "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
            // Where its SQLite is.
            command.env("LD_LIBRARY_PATH", emulator.join("DynamoDBLocal_lib"));
            command.arg("-jar").arg(emulator.join("DynamoDBLocal.jar"));
            command.args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()]);
            command.current_dir(home);
            command
        };
        let is_ready = |it: &Program| TcpStream::connect((Ipv4Addr::LOCALHOST, it.port())).is_ok();
        Self(Program::start("DynamoDB Local", command, is_ready))
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
