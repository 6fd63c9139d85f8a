use super::*;
use crate::Columns;
use crate::types::Type;
use forebay_api::Wrong;

fn columns(columns: &[(&str, &str)]) -> Columns {
    Columns::new(columns.iter().map(|(name, kind)| ((*name).to_owned(), Type::try_from((*kind).to_owned()).unwrap())))
}

fn layout(declared: &[(&str, &str)], keys: FormatKeys<'_>) -> Result<Layout, Wrong> {
    FormatKeys { columns: Some(&columns(declared)), ..keys }.layout()
}

const LINES: FormatKeys<'_> = FormatKeys {
    format: Format::JsonLines,
    fields: None,
    columns: None,
    unknown_fields: None,
    unknown_column: None,
    null: None,
    records: None,
};

pub(super) fn json_lines(declared: &[(&str, &str)], unknown_fields: UnknownFields) -> Layout {
    layout(declared, FormatKeys { unknown_fields: Some(unknown_fields), ..LINES }).unwrap()
}

pub(super) fn json_array(declared: &[(&str, &str)], records: Option<&str>) -> Layout {
    let unknown_fields = Some(UnknownFields::Ignore);
    layout(declared, FormatKeys { format: Format::JsonArray, unknown_fields, records, ..LINES }).unwrap()
}

fn check_json(input: &str, layout: &Layout, expected: Expect) {
    check_with(input.as_bytes(), layout, Limits { line_bytes_max: 1000, ..Limits::default() }, expected);
}

/// Scenario: objects with nested and dotted keys, escapes, nulls, repeated keys and white space in every place.
/// Guarantees: both kinds of keys mean the same, the last of equal ones counts, text is what the string says.
#[test]
fn keys_and_text() {
    let layout = json_lines(&[("a", "text"), ("b.c", "text"), ("b.d.e", "text")], UnknownFields::Refuse);
    check_json(
        r#"{"a":"1","b":{"c":"2","d":{"e":"3"}}}
{"b.c":"2","b.d.e":"3"}
{"b.d":{"e":"3"},"b":{"c":"2"},"a":null}

 	{ "a" : "x" , "b" : { } } 
   
{"a":"1","b.c":"old","a":"2","b":{"c":"new"}}
{"a":"1","a":null}
{"\u0061":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","b\u002ec":"é"}
{}"#,
        &layout,
        expect![[r#"
            object:(start..end]
            1 "1" "2" "3"
            2 ∅ "2" "3"
            3 ∅ "2" "3"
            5 "x" ∅ ∅
            7 "2" "new" ∅
            8 ∅ ∅ ∅
            9 "\"\\/\u{8}\u{c}\n\r\té😀" "é" ∅
            10 ∅ ∅ ∅
        "#]],
    );
}

/// Scenario: values of every kind where text, numbers, times and others are declared.
/// Guarantees: numbers keep their digits as text and are exact as numbers; strings convert like any text.
#[test]
fn values() {
    let typed = json_lines(&[("t", "text"), ("n", "u16"), ("d", "decimal:3"), ("f", "f64")], UnknownFields::Refuse);
    check_json(
        r#"{"t":0.10,"n":200,"d":0.251,"f":1e3}
{"t":1E400,"n":"200","d":"0.251","f":"0.5"}
{"t":true,"n":2e2,"d":1.5e-3,"f":-0}
{"t":[1, {"a":"}"}],"n":200.000,"d":123456789012345.678,"f":12345678901234567890}
{"t":{"x": null}}
{"n":200.5}
{"n":65536}
{"n":"2e2"}
{"n":""}
{"n":false}
{"n":[1]}
{"d":0.0001}
{"d":1e-4}
{"d":1e999999999999999999999}
{"f":1e999}
{"n":1,"d":"x","f":"y"}
{"n":7}"#,
        &typed,
        expect![[r#"
            object:(start..end]
            1 "0.10" 200 0.251 1000.0
            2 "1E400" 200 0.251 0.5
            3 refused "{\"t\":true,\"n\":2e2,\"d\":1.5e-3,\"f\":-0}": `d`: `0.0015` is not a number with 3 digits behind the point
            4 "[1, {\"a\":\"}\"}]" 200 123456789012345.678 1.2345678901234567e19
            5 "{\"x\": null}" ∅ ∅ ∅
            6 refused "{\"n\":200.5}": `n`: `200.5` is not a u16
            7 refused "{\"n\":65536}": `n`: `65536` is not a u16
            8 refused "{\"n\":\"2e2\"}": `n`: `2e2` is not a u16
            9 refused "{\"n\":\"\"}": `n`: `` is not a u16
            10 refused "{\"n\":false}": `n`: `false` is not a u16
            11 refused "{\"n\":[1]}": `n` is an array, not a u16
            12 refused "{\"d\":0.0001}": `d`: `0.0001` is not a number with 3 digits behind the point
            13 refused "{\"d\":1e-4}": `d`: `0.0001` is not a number with 3 digits behind the point
            14 refused "{\"d\":1e999999999999999999999}": `d`: `1e999999999999999999999` is not a number with 3 digits behind the point
            15 refused "{\"f\":1e999}": `f`: `1e999` is not a finite f64
            16 refused "{\"n\":1,\"d\":\"x\",\"f\":\"y\"}": `d`: `x` is not a number with 3 digits behind the point
            17 ∅ 7 ∅ ∅
        "#]],
    );
    let others = json_lines(
        &[
            ("b", "bool"),
            ("i", "ip"),
            ("s", "timestamp:epoch_s"),
            ("m", "timestamp:epoch_ms"),
            ("r", "timestamp:rfc3339"),
            ("p", "percent_decoded"),
        ],
        UnknownFields::Refuse,
    );
    check_json(
        r#"{"b":true,"i":"::0001","s":1731620046.814,"m":1.731620046814E12,"r":"2024-11-14T21:34:06Z","p":"a%20b"}
{"b":"false","i":"10.0.0.1","s":"1731620046","m":"1731620046814","p":1}
{"b":1}
{"i":"10.0.0"}
{"s":"-"}"#,
        &others,
        expect![[r#"
            object:(start..end]
            1 true "::1" 2024-11-14T21:34:06.814Z 2024-11-14T21:34:06.814Z 2024-11-14T21:34:06Z "a b"
            2 false "10.0.0.1" 2024-11-14T21:34:06Z 2024-11-14T21:34:06.814Z ∅ "1"
            3 refused "{\"b\":1}": `b`: `1` is not `true` or `false`
            4 refused "{\"i\":\"10.0.0\"}": `i`: `10.0.0` is not an IP address
            5 refused "{\"s\":\"-\"}": `s`: `-` is not a time in seconds since 1970
        "#]],
    );
    let null = layout(&[("a", "text"), ("n", "i64")], FormatKeys { null: Some("-"), ..LINES }).unwrap();
    check_json(
        r#"{"a":"-","n":"-"}
{"a":"\u002d","n":-1}
{"a":"--","n":"x"}"#,
        &null,
        expect![[r#"
            object:(start..end]
            1 ∅ ∅
            2 ∅ -1
            3 refused "{\"a\":\"--\",\"n\":\"x\"}": `n`: `x` is not an i64
        "#]],
    );
}

/// Scenario: keys that are not declared, in each of the three modes.
/// Guarantees: refused with their path, left out, or kept as they stand in the line; null is nothing.
#[test]
fn unknown_keys() {
    let declared = [("a.b", "text"), ("n", "u8")];
    let lines = r#"{"a":{"b":"1","x":{"y": 2}},"z\"z":"\u00e9","n":1}
{"a":5,"n":1}
{"a":[{"b":1}],"a.b.c":"deep"}
{"q":1,"q":"two","r":1,"r":null,"s":null}
{"a":null,"s":null}
{"q":"x","n":"bad"}"#;
    check_json(
        lines,
        &json_lines(&declared, UnknownFields::Refuse),
        expect![[r#"
        object:(start..end]
        1 refused "{\"a\":{\"b\":\"1\",\"x\":{\"y\": 2}},\"z\\\"z\":\"\\u00e9\",\"n\":1}": the key `a.x` is not declared: add it to `columns`, or set `unknown_fields` to "ignore" or "keep"
        2 refused "{\"a\":5,\"n\":1}": the key `a` is not declared: add it to `columns`, or set `unknown_fields` to "ignore" or "keep"
        3 refused "{\"a\":[{\"b\":1}],\"a.b.c\":\"deep\"}": the key `a` is not declared: add it to `columns`, or set `unknown_fields` to "ignore" or "keep"
        4 refused "{\"q\":1,\"q\":\"two\",\"r\":1,\"r\":null,\"s\":null}": the key `q` is not declared: add it to `columns`, or set `unknown_fields` to "ignore" or "keep"
        5 ∅ ∅
        6 refused "{\"q\":\"x\",\"n\":\"bad\"}": the key `q` is not declared: add it to `columns`, or set `unknown_fields` to "ignore" or "keep"
    "#]],
    );
    check_json(
        lines,
        &json_lines(&declared, UnknownFields::Ignore),
        expect![[r#"
        object:(start..end]
        1 "1" 1
        2 ∅ 1
        3 ∅ ∅
        4 ∅ ∅
        5 ∅ ∅
        6 refused "{\"q\":\"x\",\"n\":\"bad\"}": `n`: `bad` is not a u8
    "#]],
    );
    check_json(
        lines,
        &json_lines(&declared, UnknownFields::Keep),
        expect![[r#"
        object:(start..end]
        1 "1" 1 "{\"a.x\":{\"y\": 2},\"z\\\"z\":\"\\u00e9\"}"
        2 ∅ 1 "{\"a\":5}"
        3 ∅ ∅ "{\"a\":[{\"b\":1}],\"a.b.c\":\"deep\"}"
        4 ∅ ∅ "{\"q\":\"two\"}"
        5 ∅ ∅ ∅
        6 refused "{\"q\":\"x\",\"n\":\"bad\"}": `n`: `bad` is not a u8
    "#]],
    );
}

/// Scenario: lines that are not quite JSON, or not an object.
/// Guarantees: each is refused with what is wrong and where, and the lines around it are read.
#[test]
fn malformed() {
    let layout = json_lines(&[("a", "text")], UnknownFields::Ignore);
    let deep = |n: usize| format!("{{\"x\":{}1{}}}\n", "[".repeat(n), "]".repeat(n));
    let text = r#"{"a":"1"
{"a" "1"}
{"a":}
{"a":1,}
{,}
{a:1}
{"a":01}
{"a":-}
{"a":1.}
{"a":.5}
{"a":1e}
{"a":tru}
{"a":nulls}
{"a":"\x"}
{"a":"\u12g4"}
{"x":"\ud800"}
{"x":"\udc00\ud800"}
{"a":"	"}
{"a":"1"}{"a":"2"}
{"a":[1,]}
{"a":[1}
{"a":{"b":1]}
[1]
"a"
17
null
nul
}
NaN
{"a":"good"}
"#;
    check_json(
        &format!("{text}{}{}", deep(63), deep(64)),
        &layout,
        expect![[r#"
        object:(start..end]
        1 refused "{\"a\":\"1\"": it is not JSON: there is no `,` or `}` at byte 9
        2 refused "{\"a\" \"1\"}": it is not JSON: there is no `:` at byte 6
        3 refused "{\"a\":}": it is not JSON: there is no value at byte 6
        4 refused "{\"a\":1,}": it is not JSON: there is no name at byte 8
        5 refused "{,}": it is not JSON: there is no name at byte 2
        6 refused "{a:1}": it is not JSON: there is no name at byte 2
        7 refused "{\"a\":01}": it is not JSON: there is no `,` or `}` at byte 7
        8 refused "{\"a\":-}": it is not JSON: there is no digit at byte 7
        9 refused "{\"a\":1.}": it is not JSON: there is no digit at byte 8
        10 refused "{\"a\":.5}": it is not JSON: there is no value at byte 6
        11 refused "{\"a\":1e}": it is not JSON: there is no digit at byte 8
        12 refused "{\"a\":tru}": it is not JSON: there is no value at byte 6
        13 refused "{\"a\":nulls}": it is not JSON: there is no `,` or `}` at byte 10
        14 refused "{\"a\":\"\\x\"}": it is not JSON: there is a bad escape at byte 7
        15 refused "{\"a\":\"\\u12g4\"}": it is not JSON: there is a bad escape at byte 7
        16 refused "{\"x\":\"\\ud800\"}": it is not JSON: there is half of a surrogate pair at byte 7
        17 refused "{\"x\":\"\\udc00\\ud800\"}": it is not JSON: there is half of a surrogate pair at byte 7
        18 refused "{\"a\":\"\t\"}": it is not JSON: there is a control character in a string at byte 7
        19 refused "{\"a\":\"1\"}{\"a\":\"2\"}": it is not JSON: something follows the object at byte 10
        20 refused "{\"a\":[1,]}": it is not JSON: there is no value at byte 9
        21 refused "{\"a\":[1}": it is not JSON: there is no `,` or `]` at byte 8
        22 refused "{\"a\":{\"b\":1]}": it is not JSON: there is no `,` or `}` at byte 12
        23 refused "[1]": it is an array, not an object
        24 refused "\"a\"": it is a string, not an object
        25 refused "17": it is a number, not an object
        26 refused "null": it is `null`, not an object
        27 refused "nul": it is `null`, not an object
        28 refused "}": it is not JSON: there is no value at byte 1
        29 refused "NaN": it is not JSON: there is no value at byte 1
        30 "good"
        31 ∅
        32 refused "{\"x\":[[[[[[[[[[[[[[["… 135 bytes: it is not JSON: it is nested more than 64 deep at byte 69
    "#]],
    );
}

/// Scenario: arrays of objects, bare and inside of an object, in every shape, several of them, and damaged ones.
/// Guarantees: elements have numbers, bad ones are refused, and after damage there is one refusal for the rest.
#[test]
fn arrays() {
    let bare = json_array(&[("a", "text")], None);
    let inside = json_array(&[("a", "text")], Some("Records"));
    let mut shown = String::new();
    for input in [
        r#"[{"a":"1"},{"a":"2"}]"#,
        " [ {\"a\":\"]\\\"}\"} ,\r\n{\"a\":[[{}]]}\n] \n[]\n[{\"a\":\"3\"}]",
        "",
        "[]",
        r#"[1,"two",{"a":"3"},null,[{"a":"no"}],{"a":tru}]"#,
        r#"[{"a":"1"},]"#,
        r#"[,{"a":"1"}]"#,
        r#"[{"a":"1"} {"a":"2"}]"#,
        r#"[{"a":"1"},{"a":"2"]"#,
        r#"[{"a":"1"},{"a":"2"#,
        r#"[{"a":"1"}"#,
        r#"[{"a":"1"}]]"#,
        r#"{"a":"1"}"#,
        r#"[{"a":"1"},{"a":"this one is much too long, and yet it is passed over up to its end: }]"},{"a":"3"}]"#,
        "[{\"a\":\"\u{e9}\"}]",
    ] {
        shown += &format!("{input:?}\n");
        for (at, row) in
            rows(&reads(input.as_bytes(), &bare, Limits { line_bytes_max: 60, ..Limits::default() }, 0, &Position::End))
        {
            shown += &format!("  {at} {row}\n");
        }
    }
    expect![[r#"
        "[{\"a\":\"1\"},{\"a\":\"2\"}]"
          1 "1"
          2 "2"
        " [ {\"a\":\"]\\\"}\"} ,\r\n{\"a\":[[{}]]}\n] \n[]\n[{\"a\":\"3\"}]"
          1 "]\"}"
          2 "[[{}]]"
          3 "3"
        ""
        "[]"
        "[1,\"two\",{\"a\":\"3\"},null,[{\"a\":\"no\"}],{\"a\":tru}]"
          1 refused "1": it is a number, not an object
          2 refused "\"two\"": it is a string, not an object
          3 "3"
          4 refused "null": it is `null`, not an object
          5 refused "[{\"a\":\"no\"}]": it is an array, not an object
          6 refused "{\"a\":tru}": it is not JSON: there is no value at byte 6
        "[{\"a\":\"1\"},]"
          1 "1"
          2 refused "": the rest of the object, from here on, could not be read: there is no element at byte 12 of the JSON
        "[,{\"a\":\"1\"}]"
          1 refused "": the rest of the object, from here on, could not be read: there is no element at byte 2 of the JSON
        "[{\"a\":\"1\"} {\"a\":\"2\"}]"
          1 "1"
          2 refused "": the rest of the object, from here on, could not be read: there is no `,` or `]` at byte 12 of the JSON
        "[{\"a\":\"1\"},{\"a\":\"2\"]"
          1 "1"
          2 refused "{\"a\":\"2\"": the rest of the object, from here on, could not be read: a bracket is closed that was not opened at byte 20 of the JSON
        "[{\"a\":\"1\"},{\"a\":\"2"
          1 "1"
          2 refused "{\"a\":\"2": the rest of the object, from here on, could not be read: the JSON ends too early, after 18 bytes
        "[{\"a\":\"1\"}"
          1 "1"
          2 refused "": the rest of the object, from here on, could not be read: the JSON ends too early, after 10 bytes
        "[{\"a\":\"1\"}]]"
          1 "1"
          2 refused "": the rest of the object, from here on, could not be read: there is no `[` at byte 12 of the JSON
        "{\"a\":\"1\"}"
          1 refused "": the rest of the object, from here on, could not be read: there is no `[` at byte 1 of the JSON
        "[{\"a\":\"1\"},{\"a\":\"this one is much too long, and yet it is passed over up to its end: }]\"},{\"a\":\"3\"}]"
          1 "1"
          2 refused "{\"a\":\"this one is much too long, and yet it is passed over up to its end: }]\"}": it has 78 bytes, more than the 60 of `line_bytes_max`
          3 "3"
        "[{\"a\":\"é\"}]"
          1 "é"
    "#]].assert_eq(&shown);
    let mut shown = String::new();
    for input in [
        r#"{"Records":[{"a":"1"},{"a":"2"}]}"#,
        r#"{"v":[{"Records":[{"a":"no"}]}],"s":"]}\"","R\u0065cords" : [ {"a":"1"} ] , "n":-1.5e3, "t":true}{"Records":[{"a":"2"}]}"#,
        r#"{"records":[{"a":"1"}]}"#,
        r#"{"Records":null}"#,
        r#"{"Records":[{"a":"1"}],"Records":[{"a":"2"}]}"#,
        r#"{"Records":[{"a":"1"}]"#,
        r#"{"Records" [{"a":"1"}]}"#,
        r#"{"v":,"Records":[]}"#,
        r#"{"v":[},"Records":[]}"#,
        r#"{v:1}"#,
        r#"[{"a":"1"}]"#,
    ] {
        shown += &format!("{input:?}\n");
        for (at, row) in rows(&reads(input.as_bytes(), &inside, Limits::default(), 0, &Position::End)) {
            shown += &format!("  {at} {row}\n");
        }
    }
    expect![[r#"
        "{\"Records\":[{\"a\":\"1\"},{\"a\":\"2\"}]}"
          1 "1"
          2 "2"
        "{\"v\":[{\"Records\":[{\"a\":\"no\"}]}],\"s\":\"]}\\\"\",\"R\\u0065cords\" : [ {\"a\":\"1\"} ] , \"n\":-1.5e3, \"t\":true}{\"Records\":[{\"a\":\"2\"}]}"
          1 "1"
          2 "2"
        "{\"records\":[{\"a\":\"1\"}]}"
          1 refused "": the rest of the object, from here on, could not be read: the object has no `Records` before its end at byte 23 of the JSON
        "{\"Records\":null}"
          1 refused "": the rest of the object, from here on, could not be read: `Records` is no array at byte 12 of the JSON
        "{\"Records\":[{\"a\":\"1\"}],\"Records\":[{\"a\":\"2\"}]}"
          1 "1"
          2 refused "": the rest of the object, from here on, could not be read: there is a second `Records` at byte 34 of the JSON
        "{\"Records\":[{\"a\":\"1\"}]"
          1 "1"
          2 refused "": the rest of the object, from here on, could not be read: the JSON ends too early, after 22 bytes
        "{\"Records\" [{\"a\":\"1\"}]}"
          1 refused "": the rest of the object, from here on, could not be read: there is no `:` at byte 12 of the JSON
        "{\"v\":,\"Records\":[]}"
          1 refused "": the rest of the object, from here on, could not be read: there is no value at byte 6 of the JSON
        "{\"v\":[},\"Records\":[]}"
          1 refused "": the rest of the object, from here on, could not be read: a bracket is closed that was not opened at byte 7 of the JSON
        "{v:1}"
          1 refused "": the rest of the object, from here on, could not be read: there is no name at byte 2 of the JSON
        "[{\"a\":\"1\"}]"
          1 refused "": the rest of the object, from here on, could not be read: there is no `{` at byte 1 of the JSON
    "#]].assert_eq(&shown);
}

/// Scenario: keys of the file that do not go together.
/// Guarantees: the error names the key and what would have worked.
#[test]
fn wrong_keys() {
    let wrong = |declared: &[(&str, &str)], keys: FormatKeys<'_>| {
        let wrong = layout(declared, keys).unwrap_err();
        format!("{}: {} ({})\n", wrong.key, wrong.what, wrong.hint.unwrap_or_default())
    };
    let good: &[(&str, &str)] = &[("a", "text")];
    let all = [
        wrong(&[], LINES),
        format!("{}\n", LINES.layout().unwrap_err()),
        wrong(&[("a", "text"), ("a.b", "u8")], LINES),
        wrong(&[("a.b", "text"), ("a", "u8")], LINES),
        wrong(&[("a", "text"), ("a", "u8")], LINES),
        wrong(&[("", "text")], LINES),
        wrong(good, FormatKeys { fields: Some(&[]), ..LINES }),
        wrong(good, FormatKeys { records: Some("Records"), ..LINES }),
        wrong(good, FormatKeys { unknown_column: Some("x"), ..LINES }),
        wrong(good, FormatKeys { unknown_column: Some("a"), unknown_fields: Some(UnknownFields::Keep), ..LINES }),
        wrong(good, FormatKeys { unknown_column: Some(""), unknown_fields: Some(UnknownFields::Keep), ..LINES }),
        wrong(good, FormatKeys { format: Format::Lines, ..LINES }),
        wrong(good, FormatKeys { format: Format::Parquet, records: Some("-"), ..LINES }),
        wrong(&[("a", "u8"), ("a", "u8")], FormatKeys { format: Format::Parquet, ..LINES }),
        format!("{}\n", FormatKeys { format: Format::Parquet, ..LINES }.layout().unwrap_err()),
        format!(
            "{}\n",
            FormatKeys { format: Format::W3c, unknown_fields: Some(UnknownFields::Keep), ..LINES }
                .layout()
                .unwrap_err()
        ),
    ];
    expect![[r#"
        columns: `columns` names no column (for example `columns = { "time" = "timestamp:rfc3339", "http.response.status_code" = "u16" }`)
        `columns` is missing: the columns are known before any file is
        columns.a.b: `a.b` lies within `a`, which is a column itself (an object is one column, as JSON text, or a column for each of its keys)
        columns.a: other columns lie within `a`, so it cannot be a column itself (an object is one column, as JSON text, or a column for each of its keys)
        columns.a: `a` lies within `a`, which is a column itself (an object is one column, as JSON text, or a column for each of its keys)
        columns: a column has no name ()
        fields: `fields` says nothing about `format = "json_lines"` (its keys are `columns`, `unknown_fields`, `unknown_column` and `null`)
        records: `records` says nothing about `format = "json_lines"` (its keys are `columns`, `unknown_fields`, `unknown_column` and `null`)
        unknown_column: no unknown field is kept (write `unknown_fields = "keep"`, or leave `unknown_column` away)
        unknown_column: there would be two columns `a` (choose another name for the column of unknown fields)
        unknown_column: the column has no name (choose another name for the column of unknown fields)
        columns: `columns` says nothing about `format = "lines"` (lines have one column, `message`; for named fields choose another format)
        records: `records` says nothing about `format = "parquet"` (its keys are `columns` and `null`; columns that are not declared are not read)
        columns: column `a` is named twice ()
        `columns` is missing: the columns are known before any file is
        `"keep"` is for JSON only
    "#]].assert_eq(&all.concat());
    let kept = json_lines(good, UnknownFields::Keep);
    let names: Vec<_> = kept.schema().fields().iter().map(|it| it.to_string()).collect();
    expect![[r#"
        Field { "a": nullable Utf8 }
        Field { "unknown": nullable Utf8 }"#]]
    .assert_eq(&names.join("\n"));
}

/// Names that go down to the declared columns, beside them, and nowhere.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "a.b", "b.c", "c.d.e", "d", "e", "d.e"]).prop_map(ToOwned::to_owned),
        1 => "[a-c.\"\\\\é]{0,4}",
    ]
}

/// Values of all kinds, as text.
fn values_of_all_kinds() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        "\\PC{0,12}".prop_map(|it| serde_json::to_string(&it).unwrap()),
        "(\\\\(u00[0-9a-f]{2}|ud83d\\\\ude0[0-9]|[bfnrt\"/\\\\])|[a-zé]){0,6}".prop_map(|it| format!("\"{it}\"")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), spaces())
                .prop_map(|(values, space)| format!("[{space}{}{space}]", values.join(&format!("{space},{space}")))),
            object(inner),
        ]
    })
}

fn spaces() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " ", "\t \r"])
}

fn object(values: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec((names(), values), 0..6), spaces()).prop_map(|(mut members, space)| {
        // Of equal names serde_json forgets the first one with all that is in it; here the paths are what counts.
        members.sort_by(|one, other| one.0.cmp(&other.0));
        members.dedup_by(|one, other| one.0 == other.0);
        members.reverse();
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("{}{space}:{space}{value}", serde_json::to_string(name).unwrap()))
            .collect();
        format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
    })
}

/// What is found at each declared path; the last one counts.
fn expected(value: &serde_json::Value, path: &str, declared: &[&str], found: &mut [serde_json::Value]) {
    if let Some(column) = declared.iter().position(|it| *it == path) {
        found[column] = value.clone();
        return;
    }
    let leads_on = path.is_empty() || declared.iter().any(|it| it.starts_with(&format!("{path}.")));
    if let (Some(object), true) = (value.as_object(), leads_on) {
        for (key, value) in object {
            // A name that is empty is a level of its own, but at the top no path begins with one.
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if !below.is_empty() {
                expected(value, &below, declared, found);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Scenario: objects of any shape, written in any way; and the same with characters changed.
    /// Guarantees: every value is the one that serde_json finds at its path, and what is refused is what it refuses.
    #[test]
    fn objects_are_read_as_by_serde_json(
        text in object(values_of_all_kinds()),
        change in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(vec!["", "\"", "{", "}", "[", "]", ",", ":", "0", "e", ".", "-", "\\", "\\u", " ", "null"]))),
    ) {
        let mut text = text;
        if let Some((at, with)) = change {
            let at = text.char_indices().nth(at.index(text.chars().count())).unwrap();
            text.replace_range(at.0..at.0 + at.1.len_utf8(), with);
        }
        prop_assume!(!text.trim().is_empty());
        let declared = ["a.b", "b", "c.d.e", "c.f", "d.e"];
        let columns: Vec<_> = declared.iter().map(|it| (*it, "text")).collect();
        let layout = json_lines(&columns, UnknownFields::Keep);
        let read = reads(text.as_bytes(), &layout, Limits::default(), 0, &Position::End).remove(0);
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
        match parsed {
            Ok(value) if value.is_object() => {
                prop_assert_eq!(&read.refused, &[]);
                let mut found = vec![serde_json::Value::Null; declared.len()];
                expected(&value, "", &declared, &mut found);
                for (column, value) in found.iter().enumerate() {
                    let column = read.rows.column(column).as_string::<i32>();
                    let ours = column.is_valid(0).then(|| column.value(0));
                    let same = match (ours, value) {
                        (ours, serde_json::Value::Null) => ours.is_none(),
                        (Some(ours), serde_json::Value::String(text)) => ours == text,
                        (Some(ours), value) => serde_json::from_str::<serde_json::Value>(ours).unwrap() == *value,
                        (None, _) => false,
                    };
                    prop_assert!(same, "{ours:?} {value} in {text}");
                }
                let kept = read.rows.column(declared.len()).as_string::<i32>();
                if kept.is_valid(0) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(kept.value(0)).unwrap().is_object());
                }
            }
            Ok(_) => prop_assert_eq!(read.refused.len(), 1),
            // Here a number may be as large as it likes, until someone wants it to be a float.
            Err(error) if error.to_string().contains("out of range") => {}
            Err(error) => prop_assert_eq!(read.refused.len(), 1, "{} in {}", error, text),
        }
    }
}
