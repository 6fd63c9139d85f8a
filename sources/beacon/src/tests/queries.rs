//! What `privacy.query_parameters` leaves of URLs.

use expect_test::{Expect, expect};

use super::*;

/// One event for each value of a field, as a row or a refusal, with some parameters that are kept.
async fn check(field: &str, kept: &[&str], values: &[&str], expected: Expect) {
    let beacon = beacon(json!({ "privacy": { "query_parameters": kept } }));
    let frames = values.iter().zip(0..).map(|(value, nth)| frame(nth, &json!({ field: value }).to_string()));
    put(&beacon, frames).await;
    let shown = shown(&read(&beacon).await);
    assert!(!shown.contains("SECRET"), "{shown}");
    expected.assert_eq(&shown);
}

/// Scenario: URLs with parameters that are kept and others, divided by `&` and `;`, with fragments, with question marks in
/// values, relative, and without a query.
/// Guarantees: the parameters that the file names are left, and what stands before the query; no fragment is.
#[tokio::test]
async fn urls() {
    let urls = [
        "https://e.com/p?a=1&token=SECRET#f",
        "https://e.com/p?token=SECRET&a=1&b&c=2",
        "https://e.com/p?a=1;token=SECRET",
        "https://e.com/p?token=SECRET;a=1;b=2",
        "https://e.com/p?A=SECRET&aa=SECRET&%61=SECRET&=SECRET",
        "https://e.com/p?SECRET",
        "https://e.com/p?a=1?&b=2",
        "https://e.com/p#access_token=SECRET",
        "https://e.com/p#/route?a=1&token=SECRET",
        "https://e.com/p?#?SECRET",
        "/p?token=SECRET",
        "?SECRET",
        "https://e.com/p",
    ];
    check(
        "event.url",
        &["a", "b"],
        &urls,
        expect![[r#"
        1:1 event.url=https://e.com/p?a=1
        2:1 event.url=https://e.com/p?a=1&b
        3:1 event.url=https://e.com/p?a=1
        4:1 event.url=https://e.com/p?a=1&b=2
        5:1 event.url=https://e.com/p
        6:1 event.url=https://e.com/p
        7:1 event.url=https://e.com/p?a=1?&b=2
        8:1 event.url=https://e.com/p
        9:1 event.url=https://e.com/p
        10:1 event.url=https://e.com/p
        11:1 event.url=/p
        12:1 event.url=
        13:1 event.url=https://e.com/p
    "#]],
    )
    .await;
    for field in ["url.full", "url.original", "http.request.referrer", "log.origin.file.name", "labels.url", "shop.url"]
    {
        let value = [urls[0], urls[5], urls[7], urls[11]];
        let kept = ["https://e.com/p?a=1", "https://e.com/p", "https://e.com/p", ""];
        let beacon = beacon(json!({ "privacy": { "query_parameters": ["a", "b"] } }));
        put(&beacon, value.iter().zip(0..).map(|(it, nth)| frame(nth, &json!({ field: it }).to_string()))).await;
        let lines = kept.iter().zip(1..).map(|(it, nth)| match field.split_once('.') {
            Some((group @ ("labels" | "shop"), name)) => {
                let name = if group == "labels" { name } else { field };
                format!("{nth}:1 labels={}\n", json!({ name: it }))
            }
            _ => format!("{nth}:1 {field}={it}\n"),
        });
        assert_eq!(shown(&read(&beacon).await), lines.collect::<String>());
    }
}

/// Scenario: errors as browsers write them, on pages whose addresses have secrets, and other texts with URLs in them.
/// Guarantees: every query and fragment is cut down, wherever it stands; the places of stack frames stay, and so do texts
/// that only have the marks in them.
#[tokio::test]
async fn texts() {
    let stacks = [
        // Chromium, Firefox, Safari.
        "RangeError: no\n    at act (https://e.com/p?token=SECRET:12:34)\n    at https://e.com/p?a=1&token=SECRET:56:7\n    at async Promise.all (index 0)",
        "act@https://e.com/p?token=SECRET:12:34\n@https://e.com/p?token=SECRET#SECRET line 3 > eval:1:1\n",
        "act@https://e.com/p?token=SECRET:12:34\n[native code]\nglobal code@https://e.com/a.js:1:2",
        "Error: https://e.com/?token=(SECRET)'SECRET failed\n    at a (webpack-internal:///./src/a.js?SECRET:1:2)",
        "at a (https://e.com/?token=SECRET:12345678:1)",
    ];
    check(
        "error.stack_trace",
        &["a"],
        &stacks,
        expect![[r#"
        1:1 error.stack_trace=RangeError: no
            at act (https://e.com/p:12:34)
            at https://e.com/p?a=1:56:7
            at async Promise.all (index 0)
        2:1 error.stack_trace=act@https://e.com/p:12:34
        @https://e.com/p line 3 > eval:1:1

        3:1 error.stack_trace=act@https://e.com/p:12:34
        [native code]
        global code@https://e.com/a.js:1:2
        4:1 error.stack_trace=Error: https://e.com/ failed
            at a (webpack-internal:///./src/a.js:1:2)
        5:1 error.stack_trace=at a (https://e.com/
    "#]],
    )
    .await;
    let messages = [
        "Failed to fetch https://e.com/p?token=SECRET",
        "`https://e.com/p?a=1&token=SECRET`, (https://e.com/#SECRET) and \"https://e.com/?SECRET\"",
        "no route for /p?token=SECRET, nor for ?token=SECRET or #token=SECRET",
        "https://e.com/p?token=SECRET:12:34",
        "see?https://e.com/?SECRET",
        "{\"url\":\"https://e.com/?token=SECRET\",\"more\":1}",
        "<a href=\"/p?token=SECRET\">really? yes#1</a>",
        "Really? Issue #42, a ?? b, C#",
        "日本?a=1 ü#token=SECRET",
    ];
    check(
        "error.message",
        &["a"],
        &messages,
        expect![[r#"
        1:1 error.message=Failed to fetch https://e.com/p
        2:1 error.message=`https://e.com/p?a=1 (https://e.com/ and "https://e.com/"
        3:1 error.message=no route for /p nor for  or 
        4:1 error.message=https://e.com/p
        5:1 error.message=see
        6:1 error.message={"url":"https://e.com/","more":1}
        7:1 error.message=<a href="/p">really? yes#1</a>
        8:1 error.message=Really? Issue #42, a ?? b, C#
        9:1 error.message=日本?a=1 ü
    "#]],
    )
    .await;
}

/// Scenario: what has a query and is no text: lists, lists of objects, numbers; fragments; and a time that is a URL.
/// Guarantees: what cannot be cut down is removed, also from refused events and from the reasons; other lists stay.
#[tokio::test]
async fn other_values() {
    let body = r##"[
        {"tags": ["a", "https://e.com/?token=SECRET"], "x": [{"y": "/p?token=SECRET"}], "z": ["https:\/\/e.com\u003fSECRET"]},
        {"tags": ["a?", "#1"], "x": [{"y": "\"really?\""}], "z": [1, null]},
        {"event": [{"url": "?SECRET"}], "event.url": ["?SECRET"], "log.origin.file.name": {"x": "SECRET"}, "url.query": 7},
        {"url.fragment": "SECRET", "url": {"fragment": "token=SECRET", "query": "token=SECRET;a=1"}},
        {"message": "https://e.com/?token=SECRET", "event.duration": "https://e.com/?token=SECRET"}
    ]"##;
    let beacon = beacon(json!({ "privacy": { "query_parameters": ["a"] } }));
    let referrer = Some("https://e.com/p?token=SECRET#SECRET".to_owned());
    put(&beacon, [Frame { referrer, ..frame(1, body) }]).await;
    let shown = shown(&read(&beacon).await);
    assert!(!shown.contains("SECRET"), "{shown}");
    expect![[r#"
        1:1 url.full=https://e.com/p
        1:2 tags=[a?, #1] url.full=https://e.com/p labels={"x":[{"y": "\"really?\""}],"z":[1, null]}
        1:3 url.full=https://e.com/p
        1:4 url.full=https://e.com/p url.query=a=1
        1:5 REFUSED "{\"message\":\"https://e.com/\",\"event.duration\":\"https://e.com/\"}": `event.duration`: `https://e.com/` is not a whole number of 64 bits
    "#]]
    .assert_eq(&shown);
}
