//! Files without problems.

use expect_test::{Expect, expect};
use forebay_api::Plan;

use super::fakes::{World, registry};
use crate::{Checked, plan};

fn good(environment: Option<&str>, text: &str) -> Checked {
    plan("cdn.toml", text, &registry(), environment, &World).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What a plan says, on a few lines.
fn summary(plan: &Plan) -> String {
    let mut text = format!(
        "{}: state {}, dead letters {:?}, drain {}\n",
        plan.name,
        plan.state.display(),
        plan.dead_letters.as_ref().map(|it| it.at()),
        plan.drain_max
    );
    for it in &plan.sources {
        text += &format!("source {} ({}) -> {}, {:?}\n", it.name, it.kind, names(&it.schema), it.on_refused);
    }
    for it in &plan.transforms {
        let inputs: Vec<String> = it.inputs.iter().map(ToString::to_string).collect();
        text +=
            &format!("transform {} ({}) {inputs:?} -> {}, {:?}\n", it.name, it.kind, names(&it.output), it.on_refused);
    }
    for it in &plan.sinks {
        let inputs: Vec<String> = it.inputs.iter().map(ToString::to_string).collect();
        text += &format!("sink {} ({}) {inputs:?} <- {}, {:?}\n", it.name, it.kind, names(&it.input), it.on_refused);
        text += &format!("  {:?} {:?} in flight {}\n", it.batch, it.retry, it.in_flight_max);
        let resources = it.config.resources();
        text += &format!("  {resources:?}\n");
    }
    text
}

fn names(schema: &arrow_schema::Schema) -> String {
    schema.fields().iter().map(|it| it.name().as_str()).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(environment: Option<&str>, text: &str, expected: Expect) {
    let checked = good(environment, text);
    let mut found = checked.plan().map_or("no plan\n".to_owned(), summary);
    for note in checked.notes() {
        found += &format!("note: {}:{}: {}\n", note.line, note.column, note.text);
    }
    expected.assert_eq(&found);
}

const FILE: &str = "\
[dead_letters]
path = './refused'

[sources.access]
type = 'lines'
path = { env = 'HOME_DIR' }
on_refused = 'stop'

[transforms.second]
type = 'count'
inputs = ['first']
column = 'message'
max = { env = 'FOUR' }

[transforms.first]
type = 'count'
inputs = ['access']
column = 'message'
unit = 'letters'

[sinks.out]
type = 'store'
inputs = ['second']
path = { env = 'NOT_SET', default = './data' }
slow = { env = 'YES' }
password = { file = 'secrets.txt' }
batch = { age_max = '5s' }
retry.wait_max = '1m'
in_flight_max = 3

[sinks.letters]
type = 'hole'
inputs = ['first.refused', 'second.refused']

[env.dev]
name = 'trial'
drain_max = '1s'
dead_letters.path = './trial'
[env.dev.sinks.out]
path = './trial/data'
batch.rows_max = 10
[env.dev.sinks.letters]
type = 'store'
path = { file = 'nowhere' }

[env.hole.sinks.out]
type = 'hole'
[env.hole.sinks.more]
type = 'hole'
inputs = ['first']
";

/// Scenario: a file with everything in it, as it is and in two environments.
/// Guarantees: defaults, looked-up values, overlays and the order of the nodes are as documented, and a missing
/// value is a note.
#[test]
fn plans() {
    check(
        None,
        FILE,
        expect![[r#"
            cdn: state ./.forebay/cdn, dead letters Some("./refused"), drain 10s
            source access (lines) -> message, Stop
            transform first (count) ["access"] -> message count, DeadLetters
            transform second (count) ["first"] -> message count count, DeadLetters
            sink out (store) ["second"] <- message count count, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 5s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 1m, tries_max: None, age_max: None } in flight 3
              [Directory("./data")]
            sink letters (hole) ["first.refused", "second.refused"] <- payload encoding reason component source partition position pipeline version, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 1s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 30s, tries_max: None, age_max: None } in flight 2
              []
            note: 26:12: needs file `secrets.txt`, which cannot be read here
        "#]],
    );
    check(
        Some("dev"),
        FILE,
        expect![[r#"
            trial: state ./.forebay/trial-dev, dead letters Some("./trial"), drain 1s
            source access (lines) -> message, Stop
            transform first (count) ["access"] -> message count, DeadLetters
            transform second (count) ["first"] -> message count count, DeadLetters
            sink out (store) ["second"] <- message count count, DeadLetters
              Batch { rows_max: 10, bytes_max: 16MiB, age_max: 5s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 1m, tries_max: None, age_max: None } in flight 3
              [Directory("./trial/data")]
            sink letters (store) ["first.refused", "second.refused"] <- payload encoding reason component source partition position pipeline version, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 1s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 30s, tries_max: None, age_max: None } in flight 2
              [Directory("./data")]
            note: 26:12: needs file `secrets.txt`, which cannot be read here
            note: 44:8: needs file `nowhere`, which cannot be read here
        "#]],
    );
    check(
        Some("hole"),
        FILE,
        expect![[r#"
            cdn: state ./.forebay/cdn-hole, dead letters Some("./refused"), drain 10s
            source access (lines) -> message, Stop
            transform first (count) ["access"] -> message count, DeadLetters
            transform second (count) ["first"] -> message count count, DeadLetters
            sink out (hole) ["second"] <- message count count, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 1s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 30s, tries_max: None, age_max: None } in flight 2
              []
            sink letters (hole) ["first.refused", "second.refused"] <- payload encoding reason component source partition position pipeline version, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 1s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 30s, tries_max: None, age_max: None } in flight 2
              []
            sink more (hole) ["first"] <- message count, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 1s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 30s, tries_max: None, age_max: None } in flight 2
              []
        "#]],
    );
}

/// Scenario: a plan that wants a value that is not there.
/// Guarantees: it may be looked at, but not run.
#[test]
fn missing_values_are_not_run() {
    let missing = good(None, FILE).runnable().err().expect("the password is missing");
    expect![[r#"
        [
            Note {
                text: "needs file `secrets.txt`, which cannot be read here",
                line: 26,
                column: 12,
            },
        ]
    "#]]
    .assert_debug_eq(&missing);
    assert!(good(Some("hole"), FILE).runnable().is_ok());
}

/// Scenario: a value is missing that decides what columns there are; the nodes behind it seem not to fit.
/// Guarantees: nothing is reported that the missing value may be to blame for.
#[test]
fn missing_values_may_be_to_blame() {
    let text = "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
columns = ['message', { env = 'EXTRA' }]
[transforms.count]
type = 'count'
inputs = ['access']
column = 'extra'
[transforms.other]
type = 'count'
inputs = ['access']
column = { env = 'EXTRA' }
max = { env = 'MANY' }
[sinks.out]
type = 'hole'
inputs = ['count', 'other']
";
    check(
        None,
        text,
        expect![[r#"
        no plan
        note: 5:23: needs environment variable `EXTRA`, which is not set here
        note: 13:10: needs environment variable `EXTRA`, which is not set here
        note: 14:7: needs environment variable `MANY`, which is not set here
    "#]],
    );
}

/// Scenario: a column that is called like the key of a reference, in a table where any column may stand.
/// Guarantees: nothing is looked up.
#[test]
fn tables_are_not_references() {
    let text = "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
columns = ['env']
[transforms.count]
type = 'count'
inputs = ['access']
column = 'env'
types = { env = 'u8' }
[sinks.out]
type = 'hole'
inputs = ['count']
";
    check(
        None,
        text,
        expect![[r#"
            cdn: state ./.forebay/cdn, dead letters Some("./refused"), drain 10s
            source access (lines) -> env, DeadLetters
            transform count (count) ["access"] -> env count, DeadLetters
            sink out (hole) ["count"] <- env count, DeadLetters
              Batch { rows_max: 100000, bytes_max: 16MiB, age_max: 1s, interval_min: 0ms } Retry { wait_min: 200ms, wait_max: 30s, tries_max: None, age_max: None } in flight 2
              []
        "#]],
    );
}

/// Scenario: a key takes text or a table of its own keys.
/// Guarantees: a reference may stand in the place of the text, and of texts in the table; other tables are none.
#[test]
fn references_in_the_place_of_text_or_a_table() {
    let text = serde_json::json!({ "type": "string" });
    let table = serde_json::json!({ "type": "object", "properties": { "by": text }, "additionalProperties": false });
    let schema = serde_json::json!({ "properties": { "to": { "anyOf": [text, table] } } });
    let mut printed = String::new();
    for written in ["to = { env = 'PASSWORD' }", "to = { by = { env = 'PASSWORD' } }", "to = { by = 'env' }"] {
        let parsed = toml::de::DeTable::parse(written).unwrap().into_inner();
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        crate::lookup::collect(&parsed, &schema, &World, &mut found, &mut problems);
        let found: Vec<&str> = found.iter().map(|it| &written[it.span.clone()]).collect();
        printed.push_str(&format!("{found:?} {}\n", problems.len()));
    }
    expect![[r#"
        ["{ env = 'PASSWORD' }"] 0
        ["{ env = 'PASSWORD' }"] 0
        [] 0
    "#]]
    .assert_eq(&printed);
}

/// The fingerprint of the sink `out` after a change of [`FILE`].
fn fingerprint(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    let checked = good(None, &FILE.replace(from, to));
    let plan = checked.plan().expect("a plan");
    plan.sinks.iter().find(|it| it.name == "out").expect("the sink").fingerprint.clone()
}

/// Scenario: the file is changed in many ways.
/// Guarantees: the fingerprint changes if and only if the rows in the sink may.
#[test]
fn fingerprints() {
    let before = fingerprint("", "");
    assert_eq!(before.len(), 32);
    let same = [
        ("age_max = '5s'", "age_max = '6s'"),
        ("in_flight_max = 3", "in_flight_max = 0x3"),
        ("{ file = 'secrets.txt' }", "{ env = 'PASSWORD' }"),
        ("{ file = 'secrets.txt' }", "'rotated'"),
        ("on_refused = 'stop'\n", ""),
        ("{ env = 'HOME_DIR' }", "{ 'env' = \"HOME_DIR\" }"),
        ("'second'", "\"second\""),
    ];
    for (from, to) in same {
        assert_eq!(fingerprint(from, to), before, "{from} -> {to}");
    }
    let other = [
        ("{ env = 'HOME_DIR' }", "'/home/forebay'"),
        ("unit = 'letters'", "unit = 'bytes'"),
        ("'./data'", "'./other'"),
        ("path = { env = 'NOT_SET', default = './data' }", "path = { env = 'NOT_SET', default = './date' }"),
    ];
    for (from, to) in other {
        assert_ne!(fingerprint(from, to), before, "{from} -> {to}");
    }
}
