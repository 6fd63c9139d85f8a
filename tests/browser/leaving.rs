//! Pages that end while something is in the way.

use super::*;

/// Log events of a thousand bytes and more.
const MUCH: &str = "for (let nth = 0; nth < 150; nth++) telemetry.log('info', `${nth} `.padEnd(1000, 'x'))";

/// What a page did while it was hidden or ended, as another page of its origin sees it once there is so much.
fn told(site: &Site, case: &str, until: &str) -> String {
    let page = site.browser.open("", &site.elsewhere());
    page.until(&format!("(localStorage.{case} ?? '').includes('{until}')"));
    let told = page.evaluate(&format!("localStorage.{case}"));
    page.close();
    told.as_str().unwrap().to_owned()
}

/// Of a page whose events beacons could take some of, the rows without their number, if each is there once.
fn some(rows: &str, case: &str) -> String {
    let shown = |line: &str| match line.strip_prefix(&format!("{case} log ")) {
        Some(counts) => {
            let counts: Vec<u64> = counts.split(' ').map(|it| it.parse().unwrap()).collect();
            assert!((1..150).contains(&counts[0]) && counts == [counts[0]; 3], "{line}");
            format!("{case} log some\n")
        }
        None => format!("{line}\n"),
    };
    rows.lines().map(shown).collect()
}

/// Scenario: pages are hidden, left or closed while a request is under way that never gets its answer: with little to send,
/// or with more than all beacons may hold; one of them comes back.
/// Guarantees: beacons take what there is room for, beside the request, which counts as no failure of the server; the rest is
/// tried with `keepalive`, for which there is no room either, and then without. A page that lives on loses nothing; one that
/// is closed loses what the browser did not take, and nothing else.
#[test]
fn with_a_request_under_way() {
    let site = Site::start();
    let program = Program::start(&site);

    let page = site.open("little");
    page.until("seen.taken > 0");
    page.evaluate("window.stalls = true");
    page.evaluate("for (let nth = 0; nth < 50; nth++) telemetry.log('info', `${nth}`)");
    site.leave_and_return(&page, || {});
    page.evaluate("seen.beacons = 0");
    page.evaluate("telemetry.log('info', 'after')");
    page.hide();
    assert_eq!(page.evaluate("seen.beacons"), 1, "it waits for a server that is there");
    page.close();

    let page = site.open("hidden");
    page.evaluate(MUCH);
    page.hide();
    page.until("seen.logs.size == 150");
    page.close();
    let hidden = told(&site, "hidden", "refused");

    let page = site.open("returned");
    page.evaluate("window.stalls = true");
    page.evaluate(MUCH);
    site.leave_and_return(&page, || {});
    page.until("seen.logs.size == 150");
    page.close();
    let returned = told(&site, "returned", "refused");

    let page = site.open("closed");
    page.evaluate("window.stalls = true");
    page.evaluate(MUCH);
    page.close();

    println!("hidden: {hidden}\nreturned: {returned}");
    for told in [&hidden, &returned] {
        assert!(told.contains("beacon:") && told.contains("full"), "{told}");
        let behind = told.split_once("keepalive").map(|it| it.1);
        assert!(behind.is_some_and(|it| it.contains("refused")), "{told}");
    }
    assert!(hidden.contains("fetch"), "{hidden}");
    let expected = expect![[r#"
        case action rows ids different
        closed log some
        hidden log 150 150 150
        hidden pageview 1 1 1
        little log 51 51 51
        little pageview 2 2 2
        returned log 150 150 150
        returned pageview 2 2 2
        ('HeadlessChrome', 'Linux', '127.0.0.1', True)
        (True,)
        0 secrets
    "#]];
    expected.assert_eq(&site.settled(program, &expected, |it| some(&it, "closed")));
}

/// Scenario: pages whose first event is larger than any beacon are closed, and hidden.
/// Guarantees: what is behind it goes by beacon; the large one is lost with a page that is closed, and with no other.
#[test]
fn with_an_event_too_large_for_a_beacon() {
    let site = Site::start();
    let program = Program::start(&site);
    let events = "telemetry.event('state', { message: 'x'.repeat(70_000) }); telemetry.log('info', 'small')";

    let page = site.open("closed");
    page.evaluate("window.stalls = true");
    page.evaluate(events);
    page.close();

    let page = site.open("hidden");
    page.evaluate(events);
    page.hide();
    page.until("seen.taken > 0");
    page.close();

    let expected = expect![[r#"
        case action rows ids different
        closed log 1 1 1
        closed pageview 1 1 1
        hidden log 1 1 1
        hidden pageview 1 1 1
        hidden state 1 1 1
        ('HeadlessChrome', 'Linux', '127.0.0.1', True)
        (True,)
        0 secrets
    "#]];
    expected.assert_eq(&site.settled(program, &expected, |it| it));
}

/// Scenario: the server is down while pages are hidden, left or closed, of which all but one have noticed it; then it is there
/// again.
/// Guarantees: a page that has noticed and lives on sends everything, once; if it is hidden it does not wait for its turn, but
/// sends a beacon beside, also of what happens while it is hidden. What a beacon took while the server was down is lost, and what a page had when it was closed then.
#[test]
fn without_a_server() {
    // What is waited for after a failure does not come while time stands still.
    let clock = "const timeout = setTimeout;
        window.setTimeout = (work, time) => timeout(() => window.isStill || work(), time);";
    let site = Site::start();
    let open = |case| {
        let page = site.open_with(clock, "localhost", case);
        page.evaluate("telemetry.log('info', 'before')");
        page.until("seen.taken > 0");
        page
    };
    let fail = |page: &Page<'_>| {
        page.evaluate("telemetry.log('info', 'meanwhile')");
        page.until("seen.failed > 0");
    };

    let program = Program::start(&site);
    let page = open("unnoticed");
    program.end("KILL");
    page.evaluate("telemetry.log('info', 'meanwhile')");
    page.close();

    let program = Program::start(&site);
    let page = open("noticed");
    program.end("KILL");
    fail(&page);
    page.close();

    let program = Program::start(&site);
    let page = open("returned");
    program.end("KILL");
    fail(&page);
    let mut program = None;
    site.leave_and_return(&page, || program = Some(Program::start(&site)));
    page.until("seen.taken > 1");
    page.close();

    let page = open("hidden");
    program.unwrap().end("KILL");
    fail(&page);
    page.evaluate("window.isStill = true; seen.beacons = 0");
    let program = Program::start(&site);
    page.hide();
    assert_ne!(page.evaluate("seen.beacons"), 0, "it only waits");
    page.evaluate("seen.beacons = 0; telemetry.log('info', 'late')");
    assert_ne!(page.evaluate("seen.beacons"), 0, "it waits, and may never run again");
    page.close();

    let expected = expect![[r#"
        case action rows ids different
        hidden log 3 3 3
        hidden pageview 1 1 1
        noticed log 1 1 1
        returned log 2 2 2
        returned pageview 2 2 2
        unnoticed log 1 1 1
        ('HeadlessChrome', 'Linux', '127.0.0.1', True)
        (True,)
        0 secrets
    "#]];
    expected.assert_eq(&site.settled(program, &expected, |it| it));
}
