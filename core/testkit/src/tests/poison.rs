use std::fs;
use std::panic::catch_unwind;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use expect_test::expect;
use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::proof::{KINDS, Poison, RARITY, judge_letters};

/// The letter that a row is to have, as the program writes it.
fn letter(oracle: &Oracle, id: u64, poison: Poison) -> Value {
    let row = poison.spoil(&oracle.line(id));
    let text = String::from_utf8_lossy(&row).into_owned();
    let (component, encoding, payload, reason) = match poison {
        Poison::NoText => ("logs", "base64", BASE64_STANDARD.encode(&row), "it is not UTF-8: byte 70 is 0xff"),
        Poison::OverlongText => ("logs", "base64", BASE64_STANDARD.encode(&row), "it is not UTF-8: byte 70 is 0xc0"),
        Poison::LongText | Poison::OneColumnMore => ("parse", "text", text, "does not match the pattern"),
        Poison::NumberTooLarge => ("parse", "text", text, "status: no `u16`"),
        Poison::TooLargeForColumn => ("warehouse", "json", as_json(&text), "bytes: too large"),
        Poison::AgainstConstraint => ("warehouse", "json", as_json(&text), "constraint `status_is_one` is violated"),
    };
    json!({
        "component": component, "encoding": encoding, "payload": payload, "reason": reason, "pipeline": "proof",
        "source": "logs", "partition": "shardId-000000000000", "position": "1:0",
    })
}

/// A line as a row of the transform's columns. All moments of the first 10,000 rows are in the same ten seconds.
fn as_json(line: &str) -> String {
    let fields: Vec<&str> = line.split('\t').collect();
    let [id, _, host, path, status, bytes, seal] = fields[..] else { panic!("{line}") };
    let millis: u64 = id.parse().unwrap();
    let moment = format!("2026-11-01T00:00:0{}.{:03}Z", millis / 1000, millis % 1000);
    let number = |it: &str| it.parse::<u64>().unwrap();
    json!({
        "id": number(id), "moment": moment, "host": host, "path": path, "status": number(status), "bytes": number(bytes),
        "seal": seal,
    })
    .to_string()
}

/// What the judge says of the letters, when something was done to those that are right.
fn judged(change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut oracle = Oracle::new(5);
    let ids = oracle.claim(RARITY);
    oracle.acknowledge(ids.clone());
    let mut letters: Vec<Value> =
        ids.filter_map(|id| Poison::of(id).map(|poison| letter(&oracle, id, poison))).collect();
    assert_eq!(letters.len(), KINDS.len());
    change(&mut letters);
    let directory = tempfile::tempdir().unwrap();
    let lines: String = letters.iter().map(|it| format!("{it}\n")).collect();
    fs::write(directory.path().join("letters.jsonl"), lines).unwrap();
    let said = catch_unwind(|| judge_letters(directory.path(), &oracle).to_string());
    let said = said.unwrap_or_else(|panic| *panic.downcast::<String>().unwrap());
    said.lines().next().unwrap_or_default().chars().take(100).collect()
}

/// Scenario: the dead letters have what they should have, once for each way in which a row can be wrong; one is lacking; one
/// is there twice; one says another reason, or another component; the row in one is not as it was put.
/// Guarantees: the judge takes the first, and finds fault with each of the others.
#[test]
fn letters_are_held_against_what_was_put() {
    let verdicts = [
        judged(|_| {}),
        judged(|it| drop(it.remove(3))),
        judged(|it| it.push(it[5].clone())),
        judged(|it| it[2]["reason"] = "it is Tuesday".into()),
        judged(|it| it[5]["component"] = "parse".into()),
        judged(|it| it[4]["payload"] = it[4]["payload"].as_str().unwrap().replace("too many", "too few").into()),
        judged(|it| it[3]["payload"] = it[3]["payload"].as_str().unwrap().replace("example", "exampel").into()),
    ];
    expect![[r#"
        7 attempted, 7 acknowledged, 7 rows: 0 lost, 0 duplicated, 0 unexpected, 0 corrupted
        7 attempted, 7 acknowledged, 6 rows: 1 lost (3999), 0 duplicated, 0 unexpected, 0 corrupted
        7 attempted, 7 acknowledged, 8 rows: 0 lost, 1 duplicated (5999), 0 unexpected, 0 corrupted
        NumberTooLarge: no `status` in the reason of {"component":"parse","encoding":"text","payload":"2999\
        assertion `left == right` failed: AgainstConstraint: {"component":"parse","encoding":"json","payload
        7 attempted, 7 acknowledged, 7 rows: 1 lost (4999), 0 duplicated, 0 unexpected, 1 corrupted (4999)
        7 attempted, 7 acknowledged, 7 rows: 1 lost (3999), 0 duplicated, 0 unexpected, 1 corrupted (3999)"#]]
    .assert_eq(&verdicts.join("\n"));
}
