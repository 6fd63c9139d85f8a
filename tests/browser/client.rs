//! The client by itself, on pages that no server listens to.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::*;

/// Takes down what is sent, of the same id once as the source does, and how long is waited; and answers as the test says.
const PRELUDE: &str = "
    window.lines = [];
    window.delays = [];
    const take = (body) => {
        for (const line of body.split('\\n').map((it) => JSON.parse(it)))
            if (!lines.some((it) => it['event.id'] == line['event.id'])) lines.push(line);
    };
    window.fetch = async (url, { body }) => {
        if (window.isDown) throw new TypeError('down');
        const status = window.statuses?.shift() ?? 204;
        if (status == 204) take(body);
        return { status };
    };
    navigator.sendBeacon = (url, body) => {
        take(body);
        return true;
    };
    const timeout = setTimeout;
    window.setTimeout = (work, time) => {
        delays.push(time);
        return timeout(work, 0);
    };
";

/// A page on which only the test starts the client.
struct Blank {
    browser: Chromium,
    url: String,
}

impl Blank {
    fn new() -> Self {
        let pages = Pages::serve(0);
        let url = format!("http://localhost:{}/examples/web-telemetry/other.html", pages.port);
        Self { browser: Chromium::start(), url }
    }

    /// Runs a script on a page of its own, in which `module` is that of the client.
    fn run(&self, script: &str) -> Value {
        let page = self.browser.open(PRELUDE, &self.url);
        let value = page.evaluate(&format!("import('/clients/beacon.js').then(async (module) => {{ {script} }})"));
        page.close();
        value
    }
}

/// Scenario: an error that nobody catches, a log event and the end of a page, with each option.
/// Guarantees: what an option switches off is not sent; its fields are in every event, and stand for those of the client; it
/// is waited for as long as it says.
#[test]
fn options() {
    let blank = Blank::new();
    let cases = [
        "{}",
        "{ views: false }",
        "{ errors: false }",
        "{ views: false, errors: false }",
        "{ interval: 250 }",
        "{ fields: { 'service.name': 'blog', user: { id: 7 }, 'url.full': 'mine' } }",
    ];
    let mut text = String::new();
    for case in cases {
        let script = format!(
            "const client = module.start('/beacon', {case});
            client.log('info', 'a line');
            const waited = [...delays];
            await new Promise((done) => {{
                addEventListener('error', () => queueMicrotask(done));
                timeout(() => {{ throw new RangeError('an error'); }});
            }});
            dispatchEvent(new PageTransitionEvent('pagehide'));
            const actions = lines.map((line) => line['event.action']).sort().join(' ');
            const fields = Object.keys(lines[0]).sort().join(' ');
            const values = new Set(lines.map((line) => [line['service.name'], line.user?.id, line['url.full']].join(' ')));
            return `${{actions}}; after ${{waited}}; ${{fields}}; ${{[...values]}}`;"
        );
        let said = blank.run(&script);
        let said = said.as_str().unwrap().replace(&blank.url, "the page");
        text += &format!("{case}: {said}\n");
    }
    expect![[r#"
        {}: error log pageview; after 5000; @timestamp event.action event.id log.level message url.full;   the page
        { views: false }: error log; after 5000; @timestamp event.action event.id log.level message url.full;   the page
        { errors: false }: log pageview; after 5000; @timestamp event.action event.id log.level message url.full;   the page
        { views: false, errors: false }: log; after 5000; @timestamp event.action event.id log.level message url.full;   the page
        { interval: 250 }: error log pageview; after 250; @timestamp event.action event.id log.level message url.full;   the page
        { fields: { 'service.name': 'blog', user: { id: 7 }, 'url.full': 'mine' } }: error log pageview; after 5000; @timestamp event.action event.id log.level message service.name url.full user; blog 7 mine
    "#]]
    .assert_eq(&text);
}

/// Scenario: a page throws in a loop; a page logs while there is no server.
/// Guarantees: a hundred errors are sent, of all kinds together; a thousand events wait, the last ones.
#[test]
fn bounds() {
    let blank = Blank::new();
    let errors = blank.run(
        "const client = module.start('/beacon', { views: false });
        for (let nth = 0; nth < 70; nth++) client.error(new Error(`${nth}`));
        for (let nth = 70; nth < 140; nth++) dispatchEvent(new ErrorEvent('error', { message: `${nth}` }));
        client.log('info', 'still there');
        dispatchEvent(new PageTransitionEvent('pagehide'));
        const messages = lines.map((line) => line['error.message'] ?? line.message);
        return [messages.length, ...messages.slice(-2)];",
    );
    assert_eq!(errors, serde_json::json!([101, "99", "still there"]));
    let waiting = blank.run(
        "window.isDown = true;
        const client = module.start('/beacon', { views: false });
        for (let nth = 0; nth < 1234; nth++) client.log('info', `${nth}`);
        window.isDown = false;
        while (lines.length < 1000) await new Promise((done) => timeout(done, 10));
        dispatchEvent(new PageTransitionEvent('pagehide'));
        const messages = lines.map((line) => line.message);
        return [messages.length, new Set(messages).size, messages[0], messages.at(-1)];",
    );
    assert_eq!(waiting, serde_json::json!([1000, 1000, "234", "1233"]));
}

/// Scenario: a server answers everything that a server may, once each.
/// Guarantees: what it may want later is sent again, after a time that doubles; anything else is not.
#[test]
fn answers() {
    let blank = Blank::new();
    let mut text = String::new();
    for statuses in ["204", "400", "403", "404", "413", "415", "408", "429", "500", "503", "503, 429, 502, 408"] {
        let script = format!(
            "window.statuses = [{statuses}];
            const client = module.start('/beacon', {{ views: false }});
            client.log('info', 'a line');
            while (statuses.length) await new Promise((done) => timeout(done, 10));
            await new Promise((done) => timeout(done, 100));
            return `${{lines.length}} arrived, after ${{delays}}`;"
        );
        text += &format!("{statuses}: {}\n", blank.run(&script).as_str().unwrap());
    }
    expect![[r#"
        204: 1 arrived, after 5000
        400: 0 arrived, after 5000
        403: 0 arrived, after 5000
        404: 0 arrived, after 5000
        413: 0 arrived, after 5000
        415: 0 arrived, after 5000
        408: 1 arrived, after 5000,1000
        429: 1 arrived, after 5000,1000
        500: 1 arrived, after 5000,1000
        503: 1 arrived, after 5000,1000
        503, 429, 502, 408: 1 arrived, after 5000,1000,2000,4000,8000
    "#]]
    .assert_eq(&text);
}

/// The names in an interface of the types; of functions with the number of their parameters.
fn declared(types: &str, interface: &str) -> Vec<String> {
    let begin = format!("export interface {interface} {{\n");
    let (_, rest) = types.split_once(&begin).unwrap_or_else(|| panic!("no {interface}"));
    let (body, _) = rest.split_once("\n}").unwrap();
    let is_comment = |it: &&str| it.trim_start().starts_with(['/', '*']);
    let member = |line: &str| match line.split_once('(') {
        Some((name, parameters)) => format!("{} {}", name.trim(), parameters.matches(": ").count() - 1),
        None => line.split([':', '?']).next().unwrap().trim().to_owned(),
    };
    let mut names: Vec<String> = body.lines().filter(|it| !is_comment(it)).map(member).collect();
    names.sort();
    names
}

/// Scenario: the names in the types, and those that the script exports, reads of its options and of a measurement, and gives.
/// Guarantees: they are the same, and functions have as many parameters.
#[test]
fn types() {
    let types = fs::read_to_string(root().join("clients/beacon.d.ts")).unwrap();
    let found = Blank::new().run(
        "const read = () => {
            const names = new Set();
            return [names, new Proxy({}, { get: (_, name) => { names.add(name); } })];
        };
        const [options, all] = read();
        const [metric, measured] = read();
        const client = module.start('/beacon', all);
        client.vital(measured);
        const functions = Object.entries(client).map(([name, it]) => `${name} ${it.length}`);
        return [Object.keys(module), [...options], functions, [...metric]].map((it) => it.sort());",
    );
    let functions = types.lines().filter_map(|it| it.strip_prefix("export function ")?.split('(').next());
    let declared = [
        functions.map(str::to_owned).collect(),
        declared(&types, "Options"),
        declared(&types, "Client"),
        declared(&types, "Metric"),
    ];
    assert_eq!(found, serde_json::json!(declared));
    assert!(declared.iter().all(|it| !it.is_empty()), "{declared:?}");
}

/// Scenario: the file that sites copy; its source; and the file compressed.
/// Guarantees: it is the source without comments and indentation; it costs a page less than 2 KiB.
#[test]
fn the_client_is_small() {
    const HEAD: &str =
        "// Forebay's client for browsers: README.md says how to use it, source/beacon.js how it works.\n";
    let source = fs::read_to_string(root().join("clients/source/beacon.js")).unwrap();
    let code = source
        .lines()
        .map(|it| it.split_once(" // ").map_or(it, |it| it.0).trim())
        .filter(|it| !it.is_empty() && !it.starts_with("//"));
    let client: String = HEAD.to_owned() + &code.map(|it| format!("{it}\n")).collect::<String>();
    expect_test::expect_file![root().join("clients/beacon.js")].assert_eq(&client);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&fs::read(root().join("clients/beacon.js")).unwrap()).unwrap();
    let bytes = encoder.finish().unwrap().len();
    println!("{bytes} bytes");
    assert!(bytes < 2048, "{bytes} bytes");
}
