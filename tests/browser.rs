//! A real browser, the client of `clients/`, the program, and Parquet.

mod client;
mod leaving;
mod pages;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use forebay_testkit::services::{Chromium, Page};
use tempfile::TempDir;

use crate::beacon::{free_port, until};
use crate::harness::{files, forebay, python, root, signal, succeed};
use pages::Pages;

/// How long anything may take on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(120);

/// Laid over the example.
const TEST: &str = r#"
[env.test.sources.pages]
origins = ["http://localhost:PAGES", "http://*.test:PAGES"]
privacy = { query_parameters = ["case", "view"] }

[env.test.sinks.archive]
batch = { age_max = "300ms" }
"#;

/// Runs before the scripts of a page. Counts what becomes of requests, and the log events that were taken; and takes down
/// what is called while the page is hidden or ends, where other pages of the same origin see it, by the case.
///
/// A fetch that `stalls` is under way until the page ends, and fails then, as if it were aborted by that.
const PRELUDE: &str = "
    window.seen = { taken: 0, failed: 0, full: 0, beacons: 0, logs: new Set() };
    const take = (body) => {
        for (const line of body.split('\\n')) if (line.includes('\"log.level\"')) seen.logs.add(line);
    };
    const name = new URLSearchParams(location.search).get('case');
    const tell = (what) => {
        try { localStorage[name] = `${localStorage[name] ?? ''}${what} `; } catch {}
    };
    const fetches = window.fetch;
    window.fetch = async (...all) => {
        const kind = all[1].keepalive ? 'keepalive' : 'fetch';
        if (kind == 'keepalive' || document.visibilityState == 'hidden') tell(kind);
        try {
            if (window.stalls && kind == 'fetch')
                await new Promise((_, fail) => addEventListener('pagehide', () => {
                    window.stalls = false;
                    fail(new TypeError('aborted'));
                }));
            const answer = await fetches(...all);
            if (window.losesAnswers) throw new TypeError('the answer is lost');
            seen.taken += answer.ok;
            if (answer.ok) take(all[1].body);
            else seen.failed += 1;
            return answer;
        } catch (error) {
            seen.failed += 1;
            if (kind == 'keepalive') tell('refused');
            throw error;
        }
    };
    const beacons = navigator.sendBeacon.bind(navigator);
    navigator.sendBeacon = (...all) => {
        const isTaken = beacons(...all);
        seen.full += !isTaken;
        seen.beacons += isTaken;
        tell(isTaken ? `beacon:${all[1].split('\"log.level\"').length - 1}` : 'full');
        if (isTaken) take(all[1]);
        return isTaken;
    };
";

/// What Parquet has: for each case and action the rows, the ids among them, and the messages among them.
const QUERY: &str = r#"
import sys, duckdb
files = sys.argv[1] + "/data/web-telemetry/data/ecs/year=*/month=*/day=*/hour=*/*.parquet"
rows = duckdb.sql(f"""
    SELECT regexp_extract(url_full, 'case=(\w+)', 1) AS name, event_action, count(*), count(DISTINCT event_id),
        count(DISTINCT coalesce(message, error_message, transaction_id, web_vital_name))
    FROM read_parquet('{files}', hive_partitioning = true)
    WHERE NOT coalesce(web_vital_name = 'FCP', false)
    GROUP BY ALL ORDER BY ALL
""").fetchall()
print("case action rows ids different")
for row in rows:
    print(*row)
enriched = duckdb.sql(f"""
    SELECT DISTINCT user_agent_name, user_agent_os_name, client_ip, year || '-' || month = strftime(ts, '%Y-%m')
    FROM read_parquet('{files}', hive_partitioning = true, hive_types_autocast = false)
""").fetchall()
print(*enriched)
views = duckdb.sql(f"""
    SELECT DISTINCT event_duration BETWEEN 1 AND 120e9
    FROM read_parquet('{files}') WHERE event_action LIKE 'pageview%' AND event_id IS NOT NULL
""").fetchall()
print(*views)
secrets = duckdb.sql(f"SELECT count(*) FROM read_parquet('{files}') AS it WHERE it::VARCHAR LIKE '%SECRET%'").fetchall()
print(secrets[0][0], "secrets")
"#;

/// The example in a directory of its own, between pages and files.
struct Site {
    dir: TempDir,
    browser: Chromium,
    pages: Pages,
    beacons: u16,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let beacons = free_port();
        let pages = Pages::serve(beacons);
        let example = fs::read_to_string(root().join("examples/web-telemetry.toml")).unwrap();
        fs::write(dir.path().join("pipeline.toml"), example + &TEST.replace("PAGES", &pages.port.to_string())).unwrap();
        Self { dir, browser: Chromium::start(), pages, beacons }
    }

    /// The example's page, on one of its hosts; rows are told apart by the case.
    fn url(&self, host: &str, case: &str) -> String {
        let to = format!("http://127.0.0.1:{}/beacon", self.beacons);
        format!("http://{host}:{}/examples/web-telemetry/index.html?case={case}&to={to}", self.pages.port)
    }

    /// A page of the same origin that is not watched.
    fn elsewhere(&self) -> String {
        format!("http://localhost:{}/examples/web-telemetry/other.html", self.pages.port)
    }

    fn open(&self, case: &str) -> Page<'_> {
        self.open_with("", "localhost", case)
    }

    fn open_with(&self, more: &str, host: &str, case: &str) -> Page<'_> {
        let page = self.browser.open(&format!("{PRELUDE}{more}"), &self.url(host, case));
        page.until("Boolean(window.telemetry)");
        page
    }

    /// Leaves a page and comes back to it, out of the back/forward cache; `meanwhile` is done in between.
    fn leave_and_return(&self, page: &Page<'_>, meanwhile: impl FnOnce()) {
        page.evaluate("window.isSame = true");
        page.go(&self.elsewhere());
        meanwhile();
        page.evaluate("history.back()");
        page.until("window.isSame == true && document.visibilityState == 'visible'");
    }

    /// Waits until what is expected has arrived, ends the program, and gives what is there then; as `shown` has it.
    fn settled(&self, program: Program, expected: &Expect, shown: impl Fn(String) -> String) -> String {
        let begun = Instant::now();
        let lake = self.dir.path().join("data/web-telemetry/data/ecs");
        until("something arrives", || files(&lake).iter().any(|it| it.to_string_lossy().contains("/hour=")));
        let lines = |text: &str| -> Vec<String> {
            text.lines().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
        };
        while lines(&shown(self.rows())) != lines(expected.data()) && begun.elapsed() < LIMIT {
            sleep(Duration::from_millis(500));
        }
        // What comes late is there then, too.
        assert!(program.end("TERM").success());
        shown(self.rows())
    }

    /// What has arrived.
    fn rows(&self) -> String {
        succeed(Command::new(python()).args(["-c", QUERY]).arg(self.dir.path())).out
    }
}

/// The program, as long as the test runs.
struct Program(Child);

impl Program {
    /// Starts it, and waits until it answers.
    fn start(site: &Site) -> Self {
        let mut command = forebay(site.dir.path());
        command.args(["run", "--env", "test", "--quiet"]).env("LISTEN", format!("127.0.0.1:{}", site.beacons));
        let mut program = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while !is_healthy(site.beacons) {
            assert_eq!(program.0.try_wait().unwrap(), None, "it has ended");
            assert!(begun.elapsed() < LIMIT, "it does not answer");
            sleep(Duration::from_millis(20));
        }
        program
    }

    /// Ends it by a signal.
    fn end(mut self, name: &str) -> ExitStatus {
        signal(&self.0, name);
        self.0.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|it| it.starts_with("HTTP/1.1 200"))
}

/// Scenario: pages of the example in a headless browser, all of another origin than the source. They are closed, hidden
/// and shown again, left and come back to out of the back/forward cache, and change their address themselves, with the
/// Navigation API and without. One has more to send than all beacons together may hold when it is hidden; one loses
/// every answer for a while, and one is told some times that the server has no time; at one the program is killed and started
/// again later. One is no secure context; one has secrets in its address and throws; one comes from an origin that may not
/// send, and its clock is fast; one has a visitor who asks for Global Privacy Control, and one a browser without scripts.
/// Guarantees: each event of the pages that may send is in Parquet exactly once, and none of the others is; a page that
/// may not send gives up; secrets are nowhere.
#[test]
fn events_of_a_browser_arrive_once() {
    let site = Site::start();
    let program = Program::start(&site);

    let page = site.open("closed");
    page.evaluate("document.getElementById('custom').click()");
    page.evaluate(
        "telemetry.vital({ name: 'LCP', value: 1234.5, rating: 'good', id: 'v6', navigationType: 'reload' })",
    );
    page.close();

    let page = site.open("hidden");
    page.evaluate("telemetry.log('info', 'before')");
    page.hide();
    page.evaluate("telemetry.log('info', 'meanwhile')");
    page.show();
    page.evaluate("telemetry.log('info', 'after')");
    page.hide();
    page.close();

    let page = site.open("cached");
    page.evaluate("telemetry.log('info', 'first')");
    page.until("seen.taken > 0");
    site.leave_and_return(&page, || {});
    page.evaluate("telemetry.log('info', 'second')");
    page.close();

    let old = "window.navigation = undefined;";
    for (case, prelude) in [("navigated", ""), ("navigated_without_api", old)] {
        let page = site.open_with(prelude, "localhost", case);
        assert_eq!(page.evaluate("Boolean(window.navigation)"), prelude.is_empty());
        page.evaluate(&format!("history.pushState(null, '', '?case={case}&view=2')"));
        page.evaluate("location.hash = 'of-the-same-view'");
        page.evaluate(&format!("history.replaceState(null, '', '?case={case}&view=3')"));
        page.evaluate("new Promise((done) => { addEventListener('popstate', done); history.go(-2) }).then(() => 0)");
        page.close();
    }

    // Messages of an odd length end with half a character.
    let page = site.open("much");
    page.evaluate("for (let nth = 0; nth < 300; nth++) telemetry.log('info', `${nth} `.padEnd(1000, '😀'))");
    page.hide();
    assert_ne!(page.evaluate("seen.full"), 0, "there was room for all of it");
    page.until("seen.logs.size == 300");
    page.close();

    let page = site.open("unanswered");
    page.until("seen.taken > 0");
    page.evaluate("window.losesAnswers = true; telemetry.log('info', 'once'); telemetry.log('info', 'only')");
    page.until("seen.failed > 1");
    page.evaluate("window.losesAnswers = false; seen.taken = 0");
    page.until("seen.taken > 0");
    page.close();

    // A proxy of the same origin, which lets the page see the answers.
    let origin = format!("http://localhost:{}", site.pages.port);
    let url = format!("{origin}/examples/web-telemetry/index.html?case=busy&to={origin}/beacon");
    let page = site.browser.open(PRELUDE, &url);
    page.until("Boolean(window.telemetry)");
    page.until("seen.taken > 0");
    site.pages.answer_first([503, 429]);
    page.evaluate("seen.taken = 0; telemetry.log('info', 'nobody has time')");
    page.until("seen.failed == 2 && seen.taken > 0");
    page.close();

    let page = site.open("killed");
    page.evaluate("telemetry.log('info', 'before')");
    page.until("seen.taken > 0");
    program.end("KILL");
    page.evaluate("telemetry.log('info', 'meanwhile')");
    page.until("seen.failed > 1");
    page.hide();
    page.show();
    let program = Program::start(&site);
    page.evaluate("seen.taken = 0");
    page.until("seen.taken > 0");
    page.close();

    let page = site.open_with("", "blog.test", "insecure");
    assert_eq!(page.evaluate("isSecureContext"), false);
    page.evaluate("document.getElementById('thrown').click()");
    page.evaluate("document.getElementById('rejected').click()");
    page.until("seen.taken > 0");
    page.close();

    let fast = "const timeout = setTimeout; window.setTimeout = (work, time) => timeout(work, time / 10_000);";
    let page = site.open_with(fast, "127.0.0.1", "stranger");
    page.evaluate("telemetry.log('info', 'from another site')");
    page.until("seen.failed > 20");
    page.evaluate("telemetry.log('info', 'too late'); new Promise((done) => timeout(done, 500)).then(() => 0)");
    assert_eq!(page.evaluate("seen.failed"), 21);
    page.close();

    let page =
        site.browser.open(PRELUDE, &format!("{}&token=SECRET#access_token=SECRET", site.url("localhost", "secret")));
    page.until("Boolean(window.telemetry)");
    page.evaluate("document.getElementById('thrown').click()");
    page.evaluate("document.getElementById('rejected').click()");
    page.evaluate("telemetry.log('warn', `${location.href} is not to be told`)");
    page.close();

    let private = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true });";
    let page = site.open_with(private, "localhost", "private");
    page.evaluate("document.getElementById('thrown').click()");
    page.evaluate("telemetry.log('info', 'of nobody')");
    page.close();

    // What a browser without scripts takes for a part of the page.
    let page = site.open_with(private, "localhost", "noscript");
    page.evaluate(&format!(
        "document.body.insertAdjacentHTML('beforeend',
            document.querySelector('noscript').textContent.replace('127.0.0.1:8080', '127.0.0.1:{}'))",
        site.beacons
    ));
    page.until("document.querySelector('img').complete");
    assert_eq!(page.evaluate("document.querySelector('img').naturalWidth"), 1);
    page.close();

    let expected = expect![[r#"
        case action rows ids different
        busy log 1 1 1
        busy pageview 1 1 1
        cached log 2 2 2
        cached pageview 2 2 2
        closed button-pressed 1 1 1
        closed pageview 1 1 1
        closed web-vital 1 1 1
        hidden log 3 3 3
        hidden pageview 1 1 1
        hidden pageview-resumed 1 1 1
        insecure error 2 2 2
        insecure pageview 1 1 1
        killed log 2 2 2
        killed pageview 1 1 1
        killed pageview-resumed 1 1 1
        much log 300 300 300
        much pageview 1 1 1
        navigated pageview 4 4 4
        navigated_without_api pageview 4 4 4
        noscript pageview 1 0 0
        secret error 2 2 2
        secret log 1 1 1
        secret pageview 1 1 1
        unanswered log 2 2 2
        unanswered pageview 1 1 1
        ('HeadlessChrome', 'Linux', '127.0.0.1', True)
        (True,)
        0 secrets
    "#]];
    expected.assert_eq(&site.settled(program, &expected, |it| it));
}
