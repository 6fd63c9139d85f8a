//! A server that is a program of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to answer, on a machine that has other things to do.
const START: Duration = Duration::from_secs(120);

/// A program that listens on a port of the loopback address, and ends when its standard input does: with this value, or
/// with a test that was killed.
#[derive(Debug)]
pub struct Program {
    process: Child,
    port: u16,
    home: TempDir,
}

impl Program {
    /// Starts `name`. `command` is given an empty directory and a port; `is_ready` is asked until it says so.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or ends, or is not ready for too long.
    pub fn start(name: &str, command: impl Fn(&Path, u16) -> Command, is_ready: impl Fn(&Self) -> bool) -> Self {
        // Another program may take the port between the question and the start: then the next one is tried.
        let mut said = String::new();
        for _ in 0..5 {
            let mut program = Self::spawn(&command);
            match program.wait_for(&is_ready) {
                Ok(()) => return program,
                Err(why) => said = why,
            }
        }
        panic!("{name} does not start: {said}");
    }

    fn spawn(command: impl Fn(&Path, u16) -> Command) -> Self {
        let home = TempDir::new().expect("a temporary directory can be made");
        let port = free_port();
        let log = File::create(home.path().join("log")).expect("a log can be made");
        let mut command = command(home.path(), port);
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
        Self { process, port, home }
    }

    fn wait_for(&mut self, is_ready: impl Fn(&Self) -> bool) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child can be asked") {
                return Err(format!("it ended with {status}\n{}", self.log()));
            }
            if is_ready(self) {
                return Ok(());
            }
            if begun.elapsed() > START {
                return Err(format!("nothing within {START:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The port that it was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // An error: it has ended already.
        let _ = self.process.wait();
    }
}

/// A port of the loopback address that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback address has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
