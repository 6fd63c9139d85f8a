//! A server under a load of a fixed number of requests: what it took, and how long each answer did.
//!
//! It runs as a process of its own, whose only child is the server: so the kernel's sum over all children is what the server
//! took, and nothing of the load.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Outcome;
use crate::beacon_requests::{Kind, Requests};
use crate::measure::{Taken, cpu_s};

/// For so long a server may take to begin to listen.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);
/// Kernels count the time of other processes in these.
const TICKS_PER_SECOND: f64 = 100.0;
/// A server that takes no time for so long has done all that it had to do.
const IDLE: Duration = Duration::from_millis(1000);
/// How often the disk is asked how long a sync takes.
const SYNCS: usize = 200;

/// What is run, and what is sent to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub server: Vec<String>,
    /// Those on which the server runs, as `taskset` wants them.
    pub processors: String,
    pub port: u16,
    /// On the disk that is asked for its own time.
    pub directory: PathBuf,
    pub kind: Kind,
    pub requests: u64,
    pub connections: u64,
    /// Requests a second; `None`: as fast as they are answered.
    pub rate: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loaded {
    /// From the first request until the server has nothing more to do, and its end.
    pub taken: Taken,
    /// From the first request to the last answer, in seconds.
    pub answered_s: f64,
    /// How long an answer took.
    pub answers: Times,
    /// How long the disk took to make a kilobyte durable, before and after.
    pub syncs: Times,
}

/// Times, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    pub median: u64,
    pub p99: u64,
    pub p999: u64,
    pub most: u64,
}

impl Times {
    fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |part: f64| micros.get((micros.len() as f64 * part) as usize).or(micros.last()).copied().unwrap_or(0);
        Self { median: at(0.5), p99: at(0.99), p999: at(0.999), most: at(1.0) }
    }
}

/// Runs a load in a process of its own.
pub fn loaded(load: &Load) -> Result<Loaded, Box<dyn Error>> {
    let file = load.directory.join("load.json");
    fs::write(&file, serde_json::to_string(load)?)?;
    let last = std::thread::available_parallelism()?.get() - 1;
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &last.to_string()]).arg(std::env::current_exe()?).arg("load").arg(&file);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{:?}: {}", load.server, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The other end of [`loaded`].
#[allow(clippy::print_stdout, reason = "its only answer")]
pub fn loaded_here(file: &Path) -> Outcome {
    let load: Load = serde_json::from_slice(&fs::read(file)?)?;
    let said = load.directory.join("said");
    let mut server = Command::new("taskset")
        .args(["--cpu-list", &load.processors])
        .args(&load.server)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said)?)
        .spawn()?;
    // The server is there first: as long as this process has little memory, what the kernel says of its children is theirs.
    let done = measured(&load, &mut server);
    // An error: it has ended by itself, and has said why.
    let _ = kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM);
    let status = server.wait()?;
    let said = || fs::read_to_string(&said).unwrap_or_default();
    let Served { before_s, answered_s, wall_s, answers, mut syncs } =
        done.map_err(|error| format!("{error}: {}", said()))?;
    if !status.success() {
        return Err(format!("the server ended with {status}: {}", said()).into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let taken = Taken { cpu_s: cpu_s(&usage) - before_s, wall_s, resident_kib: usage.max_rss() };
    syncs.extend(self::syncs(&load.directory)?);
    let loaded = Loaded { taken, answered_s, answers: Times::of(answers), syncs: Times::of(syncs) };
    println!("{}", serde_json::to_string(&loaded)?);
    Ok(())
}

/// How long the disk takes to make a kilobyte at the end of a file durable, some times, in microseconds.
fn syncs(directory: &Path) -> Result<Vec<u64>, Box<dyn Error>> {
    let place = directory.join("sync");
    let mut file = File::create(&place)?;
    let mut all = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[1; 1024])?;
        let began = Instant::now();
        file.sync_data()?;
        all.push(began.elapsed().as_micros() as u64);
    }
    fs::remove_file(place)?;
    Ok(all)
}

/// Waits until the server listens.
fn begun(server: &mut Child, port: u16) -> Outcome {
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = server.try_wait()? {
            return Err(format!("the server ended with {status}").into());
        }
        if began.elapsed() > BEGINS_WITHIN {
            return Err("the server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // What a start takes is not measured.
    std::thread::sleep(Duration::from_millis(300));
    Ok(())
}

/// What was seen while requests were sent.
struct Served {
    /// The CPU time that the server had taken when it began.
    before_s: f64,
    /// Until the last answer.
    answered_s: f64,
    /// Until the server had nothing more to do.
    wall_s: f64,
    /// The time that each took, in microseconds.
    answers: Vec<u64>,
    /// The time that syncs took before, in microseconds.
    syncs: Vec<u64>,
}

/// Sends everything.
fn measured(load: &Load, server: &mut Child) -> Result<Served, Box<dyn Error>> {
    let requests = Requests::new(load.kind, load.requests)?;
    let syncs = syncs(&load.directory)?;
    begun(server, load.port)?;
    let before_s = taken_so_far(server)?;
    let began = Instant::now();
    let sender = Rc::new(Sender {
        requests,
        load: load.clone(),
        began,
        next: Cell::new(0),
        micros: RefCell::new(Vec::with_capacity(load.requests as usize)),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let sent = local.block_on(&runtime, async {
        let connections: Vec<_> =
            (0..load.connections).map(|nth| tokio::task::spawn_local(sender.clone().connection(nth))).collect();
        for connection in connections {
            connection.await.map_err(|error| error.to_string())??;
        }
        Ok::<_, String>(())
    });
    sent?;
    let answered_s = began.elapsed().as_secs_f64();
    let wall_s = (idle_since(server)? - began).as_secs_f64();
    Ok(Served { before_s, answered_s, wall_s, answers: sender.micros.take(), syncs })
}

/// Waits until a server takes no more time, and gives when that began.
fn idle_since(server: &Child) -> Result<Instant, Box<dyn Error>> {
    let (mut taken, mut since) = (taken_so_far(server)?, Instant::now());
    while since.elapsed() < IDLE {
        std::thread::sleep(Duration::from_millis(50));
        let now = taken_so_far(server)?;
        if now > taken {
            (taken, since) = (now, Instant::now());
        }
    }
    Ok(since)
}

/// User and system time of a process, in seconds.
fn taken_so_far(server: &Child) -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id()))?;
    // The name, in brackets, may hold anything; the 14th and the 15th field are the times.
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().collect();
    let ticks = |nth: usize| fields.get(nth - 3).and_then(|it| it.parse::<f64>().ok()).ok_or("no time");
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

/// What all connections share.
struct Sender {
    requests: Requests,
    load: Load,
    began: Instant,
    next: Cell<u64>,
    micros: RefCell<Vec<u64>>,
}

impl Sender {
    /// One connection: a request is sent when the one before was answered, and if there is a rate, not before its time.
    async fn connection(self: Rc<Self>, nth: u64) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("a connection failed: {error}");
        let mut stream = TcpStream::connect(("127.0.0.1", self.load.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (mut request, mut answer) = (Vec::new(), vec![0; 4096]);
        for turn in 0.. {
            let number = self.next.get();
            if number == self.load.requests {
                break;
            }
            self.next.set(number + 1);
            self.requests.write(number, &mut request);
            let mut since = Instant::now();
            if let Some(rate) = self.load.rate {
                // The connections take turns.
                let due =
                    self.began + Duration::from_secs_f64((turn * self.load.connections + nth) as f64 / rate as f64);
                if since < due {
                    tokio::time::sleep_until(due.into()).await;
                    since = Instant::now();
                } else {
                    // The answer before came so late that this request had to wait, which counts.
                    since = due;
                }
            }
            stream.write_all(&request).await.map_err(failed)?;
            let mut filled = 0;
            while !answer[..filled].ends_with(b"\r\n\r\n") {
                match stream.read(&mut answer[filled..]).await.map_err(failed)? {
                    0 => return Err("the server closed a connection".to_owned()),
                    bytes => filled += bytes,
                }
            }
            self.micros.borrow_mut().push(since.elapsed().as_micros() as u64);
            if !answer.starts_with(b"HTTP/1.1 204") {
                return Err(format!("an answer is not 204: {}", String::from_utf8_lossy(&answer[..filled])));
            }
        }
        Ok(())
    }
}
