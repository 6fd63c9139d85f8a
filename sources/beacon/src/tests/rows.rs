//! Bodies and the rows that they become.

use expect_test::{Expect, expect};

use super::*;

async fn check(keys: Value, frames: impl IntoIterator<Item = Frame>, expected: Expect) {
    let beacon = beacon(keys);
    put(&beacon, frames).await;
    expected.assert_eq(&shown(&read(&beacon).await));
}

/// Scenario: bodies of all shapes: an object, an array, lines, objects one after the other, forms; nested and flat keys.
/// Guarantees: each event is a row at its place; nested and dotted keys are the same; what has no column is a label; the
/// time, the address, the user agent and the page are filled as the reference says.
#[tokio::test]
async fn shapes() {
    let bodies = [
        r#"{"event.action": "pageview", "event": {"id": "a", "duration": 1234567.8999}, "url.full": "https://e.com/?q=1"}"#,
        r#"[{"message": "one"}, {"message": "two", "x": {"y": [1, 2], "z": null}, "labels": {"k": "v"}}]"#,
        "{\"message\": \"one\"}\n{\"message\": \"tw\\u00f6\"}\r\n\n",
        "{\"message\":\n\"on two lines\"} {\"message\": \"same line\"}",
        "[]",
        r#"{"@timestamp": "2026-11-22T09:00:00.5+01:00", "client.ip": "10.0.0.1", "user_agent.original": "faked"}"#,
        r#"{"@timestamp": 1795334400123.9, "event.category": ["web", "session"], "event.type": "info", "tags": []}"#,
        r#"{"http.response.status_code": "204", "event.severity": 7, "message": 12.50, "error.code": true}"#,
    ];
    let form =
        Frame { kind: Kind::Form, ..frame(9, "event.action=click&message=a+b%26c&tags=x&tags=y&event.duration=7&q=1") };
    let pixel = Frame { kind: Kind::Form, referrer: Some("https://e.com/page".to_owned()), ..frame(10, "") };
    let frames = bodies.iter().zip(0..).map(|(body, nth)| frame(nth, body)).chain([form, pixel]);
    check(
        json!({}),
        frames,
        expect![[r#"
        1:1 event.action=pageview event.duration=1234567 event.id=a url.full=https://e.com/?q=1
        2:1 message=one
        2:2 message=two labels={"x.y":[1, 2],"k":"v"}
        3:1 message=one
        3:2 message=twö
        4:1 message=on two lines
        4:2 message=same line
        6:1
        7:1 event.category=[web, session] event.type=[info] tags=[]
        8:1 error.code=true event.severity=7 http.response.status_code=204 message=12.50
        9:1 event.action=click event.duration=7 message=a b&c tags=[x, y] labels={"q":"1"}
        10:1 url.full=https://e.com/page
    "#]],
    )
    .await;
}

/// Scenario: events with values of wrong types, events that are no objects, and bodies that are no JSON.
/// Guarantees: each is refused by itself, with its text and the reason, and the others of its request are rows.
#[tokio::test]
async fn refused() {
    let bodies = [
        r#"[{"message": "good"}, {"event.duration": "long"}, {"event.duration": {"ns": 1}}, {"message": ["a"]}, 7, {"message": "good"}]"#,
        r#"{"@timestamp": "yesterday"}"#,
        r#"{"@timestamp": 1e300}"#,
        r#"{"event.category": [["web"]]}"#,
        r#"{"client": "x"}"#,
        "{\"message\": \"good\"}\n{\"message\": \n{\"message\": \"also good\"}\nnonsense\n{\"message\": \"good\"}",
        r#"[{"message": "good"}, {"message" "bad"}, {"message": "lost"}]"#,
        r#"[{"message": "good"} {"message": "lost"}]"#,
        r#"[{"message": "good"}"#,
        r#"[{"message": "good"}] and more"#,
        "nonsense",
    ];
    let invalid = Frame { body: Bytes::from_static(b"{\"message\": \"\xff\"}"), ..frame(50, "") };
    let deep = frame(51, &format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100)));
    let frames = bodies.iter().zip(0..).map(|(body, nth)| frame(nth, body)).chain([invalid, deep]);
    check(json!({}), frames, expect![[r#"
        1:1 message=good
        1:2 REFUSED "{\"event.duration\": \"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        1:3 labels={"event.duration.ns":1}
        1:4 REFUSED "{\"message\": [\"a\"]}": `message` is an array, not text
        1:5 REFUSED "7": it is a number, not an object
        1:6 message=good
        2:1 REFUSED "{\"@timestamp\": \"yesterday\"}": `@timestamp`: `yesterday` is not a time of RFC 3339
        3:1 REFUSED "{\"@timestamp\": 1e300}": `@timestamp`: `1e300` is not a time of RFC 3339
        4:1 REFUSED "{\"event.category\": [[\"web\"]]}": `event.category` is an array, not text
        5:1 labels={"client":"x"}
        6:1 message=good
        6:2 REFUSED "{\"message\": ": it is not JSON: there is no `,` or `}` at byte 39
        6:3 message=also good
        6:4 REFUSED "nonsense": it is not JSON: there is no value at byte 1
        6:5 message=good
        7:1 message=good
        7:2 REFUSED "{\"message\" \"bad\"}, {\"message\": \"lost\"}]": it is not JSON: there is no `:` at byte 12
        8:1 message=good
        8:2 REFUSED "{\"message\": \"lost\"}]": it is not JSON: there is no `,` or `]` after the event before it
        9:1 message=good
        9:2 REFUSED "": it is not JSON: there is no `,` or `]` after the event before it
        10:1 message=good
        10:2 REFUSED "and more": something follows the array
        11:1 REFUSED "nonsense": it is not JSON: there is no value at byte 1
        12:1 REFUSED "{\"message\": \"�\"}": it is not UTF-8: byte 14 is 0xff
        13:1 REFUSED "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}": it is not JSON: it is nested more than 64 deep at byte 69
    "#]]).await;
}

/// Scenario: texts with escapes of half a surrogate pair, in values, names, arrays and labels; with whole pairs, and with what
/// only looks like one.
/// Guarantees: each half is U+FFFD, and nothing else is changed; the event is a row.
#[tokio::test]
async fn half_pairs() {
    let bodies = [
        r#"{"message": "a\ud83d", "tags": ["\uDE00b", "\ud83d\ude00"], "x\udbff": ["\ud83d\u0041"], "y": "\ud83d\ud83d\ude00"}"#,
        r#"[{"message": "\\ud83d \\\ud83d"}, {"message": "\ud83d"}, {"message": "\ud83"}, {"message": "lost"}]"#,
    ];
    check(json!({}), bodies.iter().zip(0..).map(|(body, nth)| frame(nth, body)), expect![[r#"
        1:1 message=a� tags=[�b, 😀] labels={"x�":["\ufffd\u0041"],"y":"\ufffd\ud83d\ude00"}
        2:1 message=\ud83d \�
        2:2 message=�
        2:3 REFUSED "{\"message\": \"\\ud83\"}, {\"message\": \"lost\"}]": it is not JSON: there is a bad escape at byte 14
    "#]]).await;
}

/// Scenario: the file names its fields, columns and what becomes of other keys; a request has too many events.
/// Guarantees: the columns are those, with their types; other keys are kept, left out or refused; one refusal stands for
/// the events that are too many.
#[tokio::test]
async fn columns_of_the_file() {
    let body =
        r#"{"event.id": "1", "shop": {"cart": 12.50, "vip": true, "name": 0.10}, "url.full": "u", "message": "m"}"#;
    let keys = |unknown: &str| {
        json!({
            "fields": ["message"],
            "columns": { "shop.cart": "decimal:2", "shop.vip": "bool", "shop.name": "text" },
            "unknown": unknown,
        })
    };
    check(
        keys("labels"),
        [frame(1, body)],
        expect![[r#"
        1:1 event.id=1 message=m shop.cart=12.50 shop.name=0.10 shop.vip=true labels={"url.full":"u"}
    "#]],
    )
    .await;
    check(
        keys("ignore"),
        [frame(1, body)],
        expect![[r#"
        1:1 event.id=1 message=m shop.cart=12.50 shop.name=0.10 shop.vip=true
    "#]],
    )
    .await;
    check(keys("refuse"), [frame(1, body)], expect![[r#"
        1:1 REFUSED "{\"event.id\": \"1\", \"shop\": {\"cart\": 12.50, \"vip\": true, \"name\": 0.10}, \"url.full\": \"u\", \"message\": \"m\"}": the key `url.full` is no column: add it to `fields` or `columns`, or set `unknown` to "labels" or "ignore"
    "#]]).await;
    let many = r#"[{"message": "1"}, {"message": "2"}, {"message": "3"}, {"message": "4"}]"#;
    check(json!({ "limits": { "events_max": 2 } }), [frame(1, many)], expect![[r#"
        1:1 message=1
        1:2 message=2
        1:3 REFUSED "{\"message\": \"3\"}, {\"message\": \"4\"}]": the request has more than the 2 events of `limits.events_max`
    "#]]).await;
}

/// Scenario: fields are to be removed, queries to be cut down, addresses to be forgotten, and visitors have forbidden to be
/// known; of each an event that is a row, one that is refused late, one that is refused early, and one that is no JSON. Events
/// name addresses themselves, in columns or not.
/// Guarantees: nothing of it is in a row or in a refusal, be it written in an array; of what is no JSON only the length is.
#[tokio::test]
async fn privacy() {
    let body = r#"[{"user": {"id": "u7", "name": "Jo"}, "client.address": "10.9.9.9", "url.full": "https://e.com/p?a=1&token=s#f", "x.secret": 1, "x.public": 2},
        {"user.id": "u7", "event.duration": "long", "http.request.referrer": "https://e.com/?token=s"},
        {"user.id": "u7", "message": {"x": 1}, "url.query": "token=s&a=1"},
        {"user": [{"email": "a@b"}], "x": [{"secret": 2}, 3], "url": [{"full": "https://e.com/?token=s"}], "message": ["bad"]},
        {"url.full": ["https://e.com/?token=s"], "url.query": ["token=s"], "http.request.referrer": {"x": "?token=s"}, "client": ["10.9.9.9"], "": [{"user": "u7"}]},
        {"user.id": "u7" ]"#;
    const FORM: &str = "url.full=a&url.full=https://x/?token%3Ds&user=1&user=2&event.duration=long";
    let all = [
        json!({ "privacy": { "remove": ["user", "x.secret"], "query_parameters": ["a"] } }),
        json!({ "privacy": { "address": "truncate" } }),
        json!({ "privacy": { "remove": ["user_agent"] } }),
    ];
    let mut text = String::new();
    for keys in all {
        text += &format!("{}\n", keys["privacy"]);
        let beacon = beacon(keys);
        put(&beacon, [frame(1, body), Frame { kind: Kind::Form, ..frame(1, FORM) }]).await;
        text += &shown(&read(&beacon).await);
    }
    text += "stripped\n";
    let beacon = beacon(json!({}));
    put(&beacon, [Frame { is_stripped: true, address: None, user_agent: None, ..frame(1, body) }]).await;
    text += &shown(&read(&beacon).await);
    text += "hashed\n";
    let beacon = super::beacon(json!({ "privacy": { "address": "hash" } }));
    put(&beacon, [Frame { is_hashed: true, address: Some("5ca1ab1e".to_owned()), ..frame(1, body) }]).await;
    text += &shown(&read(&beacon).await);
    text += "whatever an event says of its address\n";
    const OWN: &str = r#"[{"client.ip": "10.9.9.9", "client": {"address": "10.9.9.9"}, "message": "row"},
        {"client.ip": "10.9.9.9", "client": {"address": "10.9.9.9"}, "event.duration": "long"}]"#;
    for kept in ["truncate", "hash", "remove"] {
        for fields in
            [json!(["message", "event.duration", "client.ip", "client.address"]), json!(["message", "event.duration"])]
        {
            let beacon = super::beacon(json!({ "privacy": { "address": kept }, "fields": fields }));
            let is_hashed = kept == "hash";
            let address = (kept != "remove").then(|| if is_hashed { "5ca1ab1e" } else { "192.0.2.0" }.to_owned());
            put(&beacon, [Frame { is_hashed, address, ..frame(1, OWN) }]).await;
            text += &format!("{kept}\n{}", shown(&read(&beacon).await));
        }
    }
    expect![[r#"
        {"remove":["user","x.secret"],"query_parameters":["a"]}
        1:1 url.full=https://e.com/p?a=1 labels={"client.address":"10.9.9.9","x.public":2}
        1:2 REFUSED "{\"event.duration\":\"long\",\"http.request.referrer\":\"https://e.com/\"}": `event.duration`: `long` is not a whole number of 64 bits
        1:3 url.query=a=1 labels={"message.x":1}
        1:4 REFUSED "{\"message\":[\"bad\"]}": `message` is an array, not text
        1:5 labels={"client":["10.9.9.9"]}
        1:6 REFUSED "": it is not JSON: there is no `,` or `}` at byte 18; its 18 bytes are not kept, since `privacy` cannot be applied to them
        2:1 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        {"address":"truncate"}
        1:1 url.full=https://e.com/p?a=1&token=s#f user.id=u7 labels={"user.name":"Jo","x.secret":1,"x.public":2}
        1:2 REFUSED "{\"user.id\":\"u7\",\"event.duration\":\"long\",\"http.request.referrer\":\"https://e.com/?token=s\"}": `event.duration`: `long` is not a whole number of 64 bits
        1:3 url.query=token=s&a=1 user.id=u7 labels={"message.x":1}
        1:4 REFUSED "{\"user\":[{\"email\": \"a@b\"}],\"x\":[{\"secret\": 2}, 3],\"url\":[{\"full\": \"https://e.com/?token=s\"}],\"message\":[\"bad\"]}": `message` is an array, not text
        1:5 REFUSED "{\"url.full\":[\"https://e.com/?token=s\"],\"url.query\":[\"token=s\"],\"http.request.referrer.x\":\"?token=s\"}": `url.full` is an array, not text
        1:6 REFUSED "": it is not JSON: there is no `,` or `}` at byte 18; its 18 bytes are not kept, since `privacy` cannot be applied to them
        2:1 REFUSED "{\"url.full\":[\"a\",\"https://x/?token=s\"],\"user\":[\"1\",\"2\"],\"event.duration\":\"long\"}": `url.full` is an array, not text
        {"remove":["user_agent"]}
        1:1 url.full=https://e.com/p?a=1&token=s#f user.id=u7 labels={"user.name":"Jo","client.address":"10.9.9.9","x.secret":1,"x.public":2}
        1:2 REFUSED "{\"user.id\":\"u7\",\"event.duration\":\"long\",\"http.request.referrer\":\"https://e.com/?token=s\"}": `event.duration`: `long` is not a whole number of 64 bits
        1:3 url.query=token=s&a=1 user.id=u7 labels={"message.x":1}
        1:4 REFUSED "{\"user\":[{\"email\": \"a@b\"}],\"x\":[{\"secret\": 2}, 3],\"url\":[{\"full\": \"https://e.com/?token=s\"}],\"message\":[\"bad\"]}": `message` is an array, not text
        1:5 REFUSED "{\"url.full\":[\"https://e.com/?token=s\"],\"url.query\":[\"token=s\"],\"http.request.referrer.x\":\"?token=s\",\"client\":[\"10.9.9.9\"]}": `url.full` is an array, not text
        1:6 REFUSED "": it is not JSON: there is no `,` or `}` at byte 18; its 18 bytes are not kept, since `privacy` cannot be applied to them
        2:1 REFUSED "{\"url.full\":[\"a\",\"https://x/?token=s\"],\"user\":[\"1\",\"2\"],\"event.duration\":\"long\"}": `url.full` is an array, not text
        stripped
        1:1 url.full=https://e.com/p?a=1&token=s#f labels={"x.secret":1,"x.public":2}
        1:2 REFUSED "{\"event.duration\":\"long\",\"http.request.referrer\":\"https://e.com/?token=s\"}": `event.duration`: `long` is not a whole number of 64 bits
        1:3 url.query=token=s&a=1 labels={"message.x":1}
        1:4 REFUSED "{\"x\":[{\"secret\": 2}, 3],\"url\":[{\"full\": \"https://e.com/?token=s\"}],\"message\":[\"bad\"]}": `message` is an array, not text
        1:5 REFUSED "{\"url.full\":[\"https://e.com/?token=s\"],\"url.query\":[\"token=s\"],\"http.request.referrer.x\":\"?token=s\"}": `url.full` is an array, not text
        1:6 REFUSED "": it is not JSON: there is no `,` or `}` at byte 18; its 18 bytes are not kept, since `privacy` cannot be applied to them
        hashed
        1:1 client.address=5ca1ab1e url.full=https://e.com/p?a=1&token=s#f user.id=u7 labels={"user.name":"Jo","x.secret":1,"x.public":2}
        1:2 REFUSED "{\"user.id\":\"u7\",\"event.duration\":\"long\",\"http.request.referrer\":\"https://e.com/?token=s\"}": `event.duration`: `long` is not a whole number of 64 bits
        1:3 client.address=5ca1ab1e url.query=token=s&a=1 user.id=u7 labels={"message.x":1}
        1:4 REFUSED "{\"user\":[{\"email\": \"a@b\"}],\"x\":[{\"secret\": 2}, 3],\"url\":[{\"full\": \"https://e.com/?token=s\"}],\"message\":[\"bad\"]}": `message` is an array, not text
        1:5 REFUSED "{\"url.full\":[\"https://e.com/?token=s\"],\"url.query\":[\"token=s\"],\"http.request.referrer.x\":\"?token=s\"}": `url.full` is an array, not text
        1:6 REFUSED "": it is not JSON: there is no `,` or `}` at byte 18; its 18 bytes are not kept, since `privacy` cannot be applied to them
        whatever an event says of its address
        truncate
        1:1 client.ip=192.0.2.0 message=row
        1:2 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        truncate
        1:1 message=row
        1:2 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        hash
        1:1 client.address=5ca1ab1e message=row
        1:2 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        hash
        1:1 message=row
        1:2 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        remove
        1:1 message=row
        1:2 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
        remove
        1:1 message=row
        1:2 REFUSED "{\"event.duration\":\"long\"}": `event.duration`: `long` is not a whole number of 64 bits
    "#]].assert_eq(&text);
}
