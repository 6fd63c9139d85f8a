//! A browser.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::python::is_root;

/// What the browser is called, from the place that needs no installing on.
const NAMES: [&str; 4] = ["google-chrome-stable", "google-chrome", "chromium", "chromium-browser"];

/// Gives the browser the pipes where it looks for them: it reads descriptor 3 and writes descriptor 4.
const WRAPPER: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >"$LOG" 2>&1"#;

/// No site but ours is asked for anything, and names that end in `.test` are this machine.
const OPTIONS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    "--remote-debugging-pipe",
];

/// How long anything may take, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_secs(120);

/// A headless Chromium or Chrome, driven through the DevTools protocol. It ends with the test process.
///
/// Where there is none, it is installed if this is `root` on Debian.
///
/// Hosts below `.test` are the loopback address; pages of theirs are no secure contexts, as those of `localhost` are.
#[derive(Debug)]
pub struct Chromium {
    process: Child,
    pipe: Mutex<Pipe>,
    home: TempDir,
}

#[derive(Debug)]
struct Pipe {
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
}

impl Chromium {
    /// Starts a browser with a profile of its own.
    ///
    /// # Panics
    ///
    /// If there is none and it cannot be installed.
    pub fn start() -> Self {
        let name = name();
        let home = TempDir::new().expect("a temporary directory can be made");
        let mut command = Command::new("sh");
        command.args(["-c", WRAPPER, &name]).args(OPTIONS).arg("about:blank");
        command.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
        command.env("LOG", home.path().join("log")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("`{name}` cannot be run: {error}"));
        let to = process.stdin.take().expect("it was piped");
        let from = read(process.stdout.take().expect("it was piped"));
        let browser = Self { process, pipe: Mutex::new(Pipe { to, from, calls: 0 }), home };
        if let Err(why) = browser.call(None, "Browser.getVersion", json!({})) {
            panic!("`{name}` does not start: {why}\n{}", browser.log());
        }
        browser
    }

    /// Opens a tab in front of the others, which are hidden by it. `prelude` is run in all its pages before any script
    /// of theirs.
    pub fn open(&self, prelude: &str, url: &str) -> Page<'_> {
        let target = self.must(None, "Target.createTarget", json!({"url": "about:blank"}));
        let target = text(&target, "targetId");
        let session = self.must(None, "Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        let page = Page { browser: self, target, session: text(&session, "sessionId") };
        page.must("Page.enable", json!({}));
        page.must("Page.addScriptToEvaluateOnNewDocument", json!({"source": prelude}));
        page.go(url);
        page
    }

    /// One call of the protocol, and its answer.
    fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value, String> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.calls += 1;
        let id = pipe.calls;
        let mut call = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        let written = pipe.to.write_all(format!("{call}\0").as_bytes());
        written.and_then(|()| pipe.to.flush()).map_err(|error| format!("{method}: {error}"))?;
        loop {
            let mut answer = pipe.from.recv_timeout(LIMIT).map_err(|error| format!("{method}: {error}"))?;
            // Between the answers there are events.
            if answer["id"] == id {
                return match answer.get("error") {
                    Some(error) => Err(format!("{method}: {error}")),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    fn must(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.call(session, method, parameters).unwrap_or_else(|why| panic!("{why}\n{}", self.log()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.call(None, "Browser.close", json!({}));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A tab of a browser.
#[derive(Debug)]
pub struct Page<'a> {
    browser: &'a Chromium,
    target: String,
    session: String,
}

impl Page<'_> {
    /// Goes to another page, and waits until that is loaded.
    pub fn go(&self, url: &str) {
        let went = self.must("Page.navigate", json!({"url": url}));
        assert_eq!(went.get("errorText"), None, "{url}: {went}");
        self.until(&format!("location.href == {} && document.readyState == 'complete'", json!(url)));
    }

    /// What an expression in JavaScript comes to, after waiting for it if it is a promise.
    pub fn evaluate(&self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|why| panic!("{expression}: {why}"))
    }

    /// Waits until an expression comes to `true`.
    pub fn until(&self, expression: &str) {
        let begun = Instant::now();
        loop {
            // While it goes to another page, there may be none to ask.
            let is = self.try_evaluate(expression);
            if is == Ok(Value::Bool(true)) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{expression}: {is:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Opens an empty tab in front of this one, and waits until this one is hidden.
    pub fn hide(&self) {
        self.browser.must(None, "Target.createTarget", json!({"url": "about:blank"}));
        self.until("document.visibilityState == 'hidden'");
    }

    /// Puts this tab in front of the others, and waits until it is to be seen.
    pub fn show(&self) {
        self.must("Page.bringToFront", json!({}));
        self.until("document.visibilityState == 'visible'");
    }

    /// Closes the tab, as a visitor does.
    pub fn close(self) {
        self.browser.must(None, "Target.closeTarget", json!({"targetId": self.target}));
    }

    fn must(&self, method: &str, parameters: Value) -> Value {
        self.browser.must(Some(&self.session), method, parameters)
    }

    fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut said = self.browser.call(Some(&self.session), "Runtime.evaluate", parameters)?;
        match said.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(said["result"]["value"].take()),
        }
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {answer}")).to_owned()
}

/// Messages end with a zero byte. They are read on a thread, so that they can be waited for with a limit.
fn read(from: ChildStdout) -> Receiver<Value> {
    let (to, messages) = sync_channel(1024);
    std::thread::spawn(move || {
        for message in BufReader::new(from).split(0) {
            let Some(message) = message.ok().and_then(|it| serde_json::from_slice(&it).ok()) else { return };
            if to.send(message).is_err() {
                return;
            }
        }
    });
    messages
}

/// The browser that there is, or that is now.
fn name() -> String {
    const PACKAGE: &str = "chromium";
    let found =
        || NAMES.into_iter().find(|it| Command::new(it).arg("--version").output().is_ok_and(|it| it.status.success()));
    if let Some(name) = found() {
        return name.to_owned();
    }
    if is_root() {
        // Tests run at the same time, in several processes; the lock ends with the file's scope.
        let lock = File::create(Path::new("/var/lock/forebay-chromium")).expect("a lock file can be made");
        lock.lock().expect("a file can be locked");
        let install = || {
            // A failure shows below.
            let _ = Command::new("apt-get").args(["install", "-y", "--no-install-recommends", PACKAGE]).output();
            found().is_some()
        };
        // The package that the system knows of may be gone for a newer one.
        if found().is_none() && !install() {
            let _ = Command::new("apt-get").arg("update").output();
            install();
        }
    }
    let wanted = NAMES.join("`, `");
    found()
        .unwrap_or_else(|| panic!("the tests need a browser, one of `{wanted}`: `apt-get install {PACKAGE}`"))
        .to_owned()
}
