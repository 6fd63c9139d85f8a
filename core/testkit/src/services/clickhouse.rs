//! A whole ClickHouse, in a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::npm::npm;
use super::program::free_port;

const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
const VERSION: &str = "26.7.3-stable.1";
const LIBRARY: &str = "libchdb.so";
const LIBRARY_SHA256: &str = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5";

/// Runs `clickhouse-local`, all of which is in the library, and lets it listen. It serves as long as its last query
/// reads a pipe: `SIGTERM` closes that, and it ends in order. The end of standard input ends it at once: even a killed
/// test leaves none behind.
///
/// A replica writes into Keeper from where others fetch what they lack, and only the server's own program, which the
/// library does not have, learns that address from its configuration: without it a replicated table stays read-only. For
/// `replicas` the two jumps to that error are taken out of the library's code in memory, so that the address is empty.
/// Where they are follows from [`LIBRARY_SHA256`].
const WRAPPER: &str = "\
import ctypes, os, signal, sys, threading

class Result(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ('buffer', 'length', 'vector', 'elapsed', 'rows', 'bytes')]
    _fields_.append(('error', ctypes.c_char_p))

library, config, kind = sys.argv[1:]
run = ctypes.CDLL(library, mode=os.RTLD_LAZY | os.RTLD_LOCAL).query_stable_v2
RUN_AT, JUMPS = 0xf20ef00, {0x1417c9e6: b'\\x74\\x54', 0x1417c9f3: b'\\x74\\x47'}
if kind == 'replicas':
    begins = ctypes.cast(run, ctypes.c_void_p).value - RUN_AT
    for at, jump in JUMPS.items():
        page = (begins + at) // 4096 * 4096
        writeable, as_before = 7, 5
        assert ctypes.string_at(begins + at, 2) == jump
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), 4096, writeable) == 0
        ctypes.memmove(begins + at, b'\\x90\\x90', 2)
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), 4096, as_before) == 0
run.restype = ctypes.POINTER(Result)
run.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
until_closed, open_end = os.pipe()

def serve():
    serving = f\"SELECT * FROM file('/proc/self/fd/{until_closed}', LineAsString, 'line String') FORMAT Null\"
    arguments = ['clickhouse-local', '--config-file', config, '--log-level', 'warning',
                 '--query', 'SYSTEM START LISTEN HTTP; ' + serving]
    result = run(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*[it.encode() for it in arguments], None))
    error = result.contents.error if result else b'no result'
    if error:
        print(error.decode(), file=sys.stderr, flush=True)
    os._exit(1 if error else 0)

def end_with_the_test():
    sys.stdin.buffer.read()
    os._exit(0)

signal.signal(signal.SIGTERM, lambda *_: os.close(open_end))
threading.Thread(target=serve, daemon=True).start()
threading.Thread(target=end_with_the_test, daemon=True).start()
while True:
    signal.pause()
";

/// The database `system` on disk: without this file it is in memory, and its logs cannot be made again after a restart.
const SYSTEM_DATABASE: &str = "ATTACH DATABASE _ UUID 'c4a7f0d2-5f0e-4b3a-9d1c-2e6b8a7f3d10' ENGINE = Atomic\n";

/// How long it may take to answer, on a machine that has other things to do.
const START: Duration = Duration::from_secs(120);

/// A ClickHouse 26.7 that listens for HTTP.
///
/// Everything is its own, nothing is imitated: `clickhouse-local` of this generation can listen, and the library of
/// the npm package `@chdb/lib-linux-x64-gnu` holds all of it. What it lacks: a queue for asynchronous inserts (they are
/// carried out at once), TLS, users made by SQL, and a port for other servers. Keeper is one in its memory: a replicated
/// table can be made, but stays read-only, since a replica must tell the others a port; but see
/// [`ClickHouse::with_replicas`].
///
/// Requests of the user `default` need no password. The others need [`ClickHouse::PASSWORD`]: [`ClickHouse::USER`],
/// [`ClickHouse::READER`], which may change neither data nor settings, [`ClickHouse::RATIONED`], which has one INSERT an
/// hour, [`ClickHouse::CUTTER`], whose INSERTs are cut where nothing else is said, [`ClickHouse::BOUND`], who may not
/// say it, and [`ClickHouse::INSERTER`] and [`ClickHouse::GRANTED`], who have few rights. As in a new server's own
/// configuration, most tables of `system` are for those only who have the right to read them.
#[derive(Debug)]
pub struct ClickHouse {
    home: TempDir,
    port: u16,
    with_replicas: bool,
    process: Option<Child>,
}

impl ClickHouse {
    /// A user who may do everything.
    pub const USER: &str = "writer";
    /// A user with `readonly = 1`.
    pub const READER: &str = "reader";
    /// A user with a quota of one INSERT an hour.
    pub const RATIONED: &str = "rationed";
    /// A user whose profile cuts INSERTs into blocks of 100 rows, deduplicates none, and answers before they are made.
    pub const CUTTER: &str = "cutter";
    /// A user whose profile has `insert_deduplicate = 0`, and lets nobody change it.
    pub const BOUND: &str = "bound";
    /// A user who may only insert, and into databases of tests only.
    pub const INSERTER: &str = "inserter";
    /// A user who may also read there, and nothing else.
    pub const GRANTED: &str = "granted";
    /// The password of all of them.
    pub const PASSWORD: &str = "forebay-password";

    /// The one server of this test process, for tests that do not stop it. Started when it is first asked for.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ClickHouse> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server with nothing in it.
    ///
    /// # Panics
    ///
    /// If this is not Linux on x86-64 with glibc, or there is no `python3`, or the library cannot be had.
    pub fn start() -> Self {
        Self::start_as(false, None)
    }

    /// Starts a server with nothing in it, with more users: the text of a file for its `users.d`.
    ///
    /// # Panics
    ///
    /// As [`ClickHouse::start`].
    pub fn with_users(users: &str) -> Self {
        Self::start_as(false, Some(users))
    }

    /// Starts a server with nothing in it, whose replicated tables can be written to.
    ///
    /// Two tables with the same path in Keeper are as two servers with the same table, save that nothing can be fetched: its
    /// program would end over that, so that each of them wants a `SYSTEM STOP REPLICATION QUEUES` before its first rows come.
    ///
    /// # Panics
    ///
    /// As [`ClickHouse::start`].
    pub fn with_replicas() -> Self {
        Self::start_as(true, None)
    }

    fn start_as(with_replicas: bool, more_users: Option<&str>) -> Self {
        let home = TempDir::new().expect("a temporary directory can be made");
        let mut server = Self { home, port: 0, with_replicas, process: None };
        let metadata = server.home.path().join("data/metadata");
        fs::create_dir_all(&metadata).expect("a directory can be made");
        fs::write(metadata.join("system.sql"), SYSTEM_DATABASE).expect("a file can be written");
        fs::write(server.home.path().join("users.xml"), users()).expect("a file can be written");
        let more = server.home.path().join("users.d");
        fs::create_dir_all(&more).expect("a directory can be made");
        more_users.iter().for_each(|it| fs::write(more.join("more.xml"), it).expect("a file can be written"));
        // Another program may take the port between the question and the start: then the next one is tried.
        let mut said = String::new();
        for _ in 0..5 {
            server.port = free_port();
            fs::write(server.config(), config(server.home.path(), server.port)).expect("a file can be written");
            match server.run() {
                Ok(()) => return server,
                Err(why) => said = why,
            }
            server.kill();
        }
        panic!("ClickHouse does not start: {said}");
    }

    /// Its URL, the same after a restart: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a database for one test, and gives its name.
    pub fn database(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.query(&format!("CREATE DATABASE {name}"));
        name
    }

    /// What it answers to a statement, without the last line's end.
    ///
    /// # Panics
    ///
    /// If it answers with an error, or not at all.
    pub fn query(&self, sql: &str) -> String {
        self.ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same, where an error may be what a test wants.
    pub fn ask(&self, sql: &str) -> Result<String, String> {
        self.request("/?wait_end_of_query=1", sql)
    }

    /// The same as a user, neither of whose words needs escapes in a URL.
    pub fn ask_as(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        self.request(&format!("/?wait_end_of_query=1&user={user}&password={password}"), sql)
    }

    fn request(&self, path: &str, sql: &str) -> Result<String, String> {
        let answer = self.answer(path, sql).map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
        let body = body.strip_suffix('\n').unwrap_or(body).to_owned();
        if head.split(' ').nth(1) == Some("200") { Ok(body) } else { Err(body) }
    }

    /// Hands every line of the answer to a query to `each`, as they come: for answers that are larger than memory.
    /// An error in the middle is a line like the others.
    ///
    /// # Panics
    ///
    /// If it answers with an error at once, or not at all.
    pub fn each_line(&self, sql: &str, mut each: impl FnMut(&str)) {
        let mut lines = || -> std::io::Result<()> {
            let mut answer = BufReader::with_capacity(1 << 20, self.send("/", sql)?);
            let mut line = Vec::new();
            answer.read_until(b'\n', &mut line)?;
            let status = String::from_utf8_lossy(&line).into_owned();
            assert_eq!(status.split(' ').nth(1), Some("200"), "{sql}: {status}");
            let mut is_body = false;
            line.clear();
            while answer.read_until(b'\n', &mut line)? > 0 {
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                if is_body {
                    each(&String::from_utf8_lossy(text));
                }
                is_body |= text == b"\r";
                line.clear();
            }
            Ok(())
        };
        lines().unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Kills the server as a crash does, if it runs. Its data stay.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Errors: it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops the server in order, if it runs. Its data stay.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(&process, "TERM");
            process.wait().expect("a child can be waited for");
        }
    }

    /// Starts it again on the same port with the data that it has, after ending it as a crash does if it runs.
    pub fn restart(&mut self) {
        self.kill();
        self.run().unwrap_or_else(|why| panic!("ClickHouse does not start again: {why}"));
    }

    /// Makes it stand still: connections are accepted, and nothing is answered.
    pub fn pause(&self) {
        self.process.iter().for_each(|it| signal(it, "STOP"));
    }

    /// Ends a [`ClickHouse::pause`].
    pub fn resume(&self) {
        self.process.iter().for_each(|it| signal(it, "CONT"));
    }

    /// From now on it has the processor only where nobody else wants it, as if it were on another machine.
    pub fn give_way(&self) {
        if let Some(process) = &self.process {
            let mut chrt = Command::new("chrt");
            chrt.args(["--all-tasks", "--idle", "--pid", "0", &process.id().to_string()]);
            let status = chrt.status().unwrap_or_else(|error| panic!("{chrt:?} cannot be run: {error}"));
            assert!(status.success(), "{chrt:?} ended with {status}");
        }
    }

    /// What it has written so far, for the message of a test that fails.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.home.path().join(name)).unwrap_or_default();
        let log = [read("log"), read("server.log")].concat();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("config.xml")
    }

    fn run(&mut self) -> Result<(), String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            panic!("the ClickHouse for tests runs on Linux on x86-64 only");
        }
        let library = npm(PACKAGE, VERSION, LIBRARY, LIBRARY_SHA256);
        let log = File::options().create(true).append(true).open(self.home.path().join("log"));
        let log = log.expect("a log can be made");
        let mut command = Command::new("python3");
        let kind = if self.with_replicas { "replicas" } else { "alone" };
        command.args(["-u", "-c", WRAPPER]).arg(library).arg(self.config()).arg(kind).current_dir(self.home.path());
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("`python3` cannot be run: {error}"));
        self.process = Some(process);
        let begun = Instant::now();
        loop {
            let ended = self.process.as_mut().and_then(|it| it.try_wait().expect("a child can be asked"));
            if let Some(status) = ended {
                return Err(format!("it ended with {status}\n{}", self.log()));
            }
            if self.ask("SELECT 1").is_ok() {
                return Ok(());
            }
            if begun.elapsed() > START {
                return Err(format!("nothing within {START:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// An answer with its head.
    fn answer(&self, path: &str, sql: &str) -> std::io::Result<String> {
        let mut answer = Vec::new();
        self.send(path, sql)?.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Where the answer comes from. HTTP/1.0, so that the body comes in one piece and the connection ends with it.
    fn send(&self, path: &str, sql: &str) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(START))?;
        let length = sql.len();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{sql}")?;
        Ok(stream)
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(process: &Child, name: &str) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(process.id().to_string());
    let status = kill.status().unwrap_or_else(|error| panic!("{kill:?} cannot be run: {error}"));
    assert!(status.success(), "{kill:?} ended with {status}");
}

fn config(home: &Path, port: u16) -> String {
    let home = home.display();
    // Written every seven seconds, as a new server has it: each time is an INSERT of a hundred columns, and who wants to read
    // them says `SYSTEM FLUSH LOGS`.
    let log = |name: &str| format!("<{name}><database>system</database><table>{name}</table></{name}>");
    format!(
        "<clickhouse><logger><level>warning</level><log>{home}/server.log</log></logger><path>{home}/data/</path>\
         <users_config>{home}/users.xml</users_config><listen_host>127.0.0.1</listen_host><http_port>{port}</http_port>\
         <keep_alive_timeout>10</keep_alive_timeout><background_schedule_pool_size>16</background_schedule_pool_size>\
         <mark_cache_size>67108864</mark_cache_size><zookeeper><implementation>testkeeper</implementation></zookeeper>\
         <access_control_improvements><select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>\
         </access_control_improvements>{}{}</clickhouse>\n",
        log("query_log"),
        log("part_log")
    )
}

fn users() -> String {
    let user_with = |name: &str, password: &str, profile: &str, quota: &str, more: &str| {
        format!(
            "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>\
             <profile>{profile}</profile><quota>{quota}</quota>{more}</{name}>"
        )
    };
    let user = |name: &str, password: &str, profile: &str, quota: &str| user_with(name, password, profile, quota, "");
    let granted = |name: &str, rights: &str| {
        let grants = format!("<grants><query>GRANT {rights} ON test_*.*</query></grants>");
        user_with(name, ClickHouse::PASSWORD, "default", "default", &grants)
    };
    let users = [
        user("default", "", "default", "default"),
        user(ClickHouse::USER, ClickHouse::PASSWORD, "default", "default"),
        user(ClickHouse::READER, ClickHouse::PASSWORD, "readonly", "default"),
        user(ClickHouse::RATIONED, ClickHouse::PASSWORD, "default", "rationed"),
        user(ClickHouse::CUTTER, ClickHouse::PASSWORD, "cutter", "default"),
        user(ClickHouse::BOUND, ClickHouse::PASSWORD, "bound", "default"),
        granted(ClickHouse::INSERTER, "INSERT"),
        granted(ClickHouse::GRANTED, "INSERT, SELECT"),
    ];
    let set = |settings: &[(&str, &str)]| -> String {
        settings.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect()
    };
    let cutter = set(&[
        ("async_insert", "1"),
        ("wait_for_async_insert", "0"),
        ("insert_deduplicate", "0"),
        ("deduplicate_insert", "disable"),
        ("deduplicate_blocks_in_dependent_materialized_views", "0"),
        ("max_insert_block_size", "100"),
        ("max_insert_block_size_bytes", "1000"),
        ("min_insert_block_size_rows", "10"),
        ("min_insert_block_size_bytes", "100"),
        ("use_strict_insert_block_limits", "1"),
        ("max_insert_threads", "4"),
        ("max_block_size", "100"),
        ("max_partitions_per_insert_block", "2"),
        ("input_format_native_allow_types_conversion", "0"),
        ("input_format_null_as_default", "0"),
    ]);
    let bound = "<insert_deduplicate>0</insert_deduplicate>\
        <constraints><insert_deduplicate><readonly/></insert_deduplicate></constraints>";
    format!(
        "<clickhouse><profiles><default></default><readonly><readonly>1</readonly></readonly>\
         <cutter>{cutter}</cutter><bound>{bound}</bound></profiles><quotas><default></default><rationed><interval><duration>3600</duration><query_inserts>1</query_inserts>\
         </interval></rationed></quotas><users>{}</users></clickhouse>\n",
        users.concat()
    )
}
