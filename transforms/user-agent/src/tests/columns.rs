//! Columns of every encoding.

use std::sync::Arc;

use arrow_array::types::{Int8Type, UInt16Type};
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use expect_test::{Expect, expect};
use forebay_api::TransformConfig;
use forebay_testkit::{canonical, columns, transform};

use super::config;

const CURL: &str = "curl/8.5.0";
const SAFARI: &str = "Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2017_4_1%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/17.4.1%20Mobile/15E148%20Safari/604.1";
const GOOGLE: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

const TEXTS: [Option<&str>; 8] =
    [Some(CURL), None, Some(SAFARI), Some(CURL), Some(GOOGLE), Some(""), Some(SAFARI), Some("-")];

fn rows(column: &str, agents: ArrayRef) -> RecordBatch {
    let numbers = Arc::new(Int64Array::from_iter_values(0..agents.len() as i64));
    let stale = Arc::new(StringArray::from(vec!["stale"; agents.len()]));
    columns([("n", numbers as ArrayRef), ("user_agent.name", stale), (column, agents)])
}

fn check(toml: &str, input: &RecordBatch, expected: Expect) {
    let applied = transform(|| config(toml).build().unwrap(), std::slice::from_ref(input));
    assert!(applied.refused.is_empty());
    let kinds = applied.sent.schema();
    let kinds: Vec<String> = kinds.fields().iter().map(|it| format!("{} {}", it.name(), it.data_type())).collect();
    expected.assert_eq(&format!("{}\n{}\n", kinds.join(", "), canonical(&[applied.sent]).join("\n")));
}

/// Scenario: plain text with nulls, an empty text, repeated and percent-encoded ones, beside a column that gives way.
/// Guarantees: the contract of a transform, and plain columns.
#[test]
fn plain_text() {
    let input = rows("user_agent.original", Arc::new(StringArray::from_iter(TEXTS)));
    check(
        "",
        &input,
        expect![[r#"
        n Int64, user_agent.original Utf8, user_agent.name Utf8, user_agent.version Utf8, user_agent.device.name Utf8, user_agent.os.name Utf8, user_agent.os.version Utf8, user_agent.os.full Utf8, user_agent.is_bot Boolean
        {"n":0,"user_agent.original":"curl/8.5.0","user_agent.name":"curl","user_agent.version":"8.5.0","user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
        {"n":1,"user_agent.original":null,"user_agent.name":null,"user_agent.version":null,"user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":null}
        {"n":2,"user_agent.original":"Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2017_4_1%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/17.4.1%20Mobile/15E148%20Safari/604.1","user_agent.name":"Mobile Safari","user_agent.version":"17.4.1","user_agent.device.name":"iPhone","user_agent.os.name":"iOS","user_agent.os.version":"17.4.1","user_agent.os.full":"iOS 17.4.1","user_agent.is_bot":false}
        {"n":3,"user_agent.original":"curl/8.5.0","user_agent.name":"curl","user_agent.version":"8.5.0","user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
        {"n":4,"user_agent.original":"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)","user_agent.name":"Googlebot","user_agent.version":"2.1","user_agent.device.name":"Spider","user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":true}
        {"n":5,"user_agent.original":"","user_agent.name":null,"user_agent.version":null,"user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
        {"n":6,"user_agent.original":"Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2017_4_1%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/17.4.1%20Mobile/15E148%20Safari/604.1","user_agent.name":"Mobile Safari","user_agent.version":"17.4.1","user_agent.device.name":"iPhone","user_agent.os.name":"iOS","user_agent.os.version":"17.4.1","user_agent.os.full":"iOS 17.4.1","user_agent.is_bot":false}
        {"n":7,"user_agent.original":"-","user_agent.name":null,"user_agent.version":null,"user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
    "#]],
    );
}

/// Scenario: the same texts in each other encoding of text.
/// Guarantees: the same values; a dictionary stays one, with its type of keys.
#[test]
fn other_encodings() {
    let expected = {
        let input = rows("ua", Arc::new(StringArray::from_iter(TEXTS)));
        transform(|| config("column = 'ua'").build().unwrap(), &[input]).sent
    };
    let others: [ArrayRef; 4] = [
        Arc::new(LargeStringArray::from_iter(TEXTS)),
        Arc::new(StringViewArray::from_iter(TEXTS)),
        Arc::new(DictionaryArray::<Int8Type>::from_iter(TEXTS)),
        Arc::new(DictionaryArray::<UInt16Type>::from_iter(TEXTS)),
    ];
    for agents in others {
        let kind = agents.data_type().clone();
        let sent = transform(|| config("column = 'ua'").build().unwrap(), &[rows("ua", agents)]).sent;
        assert_eq!(canonical(std::slice::from_ref(&sent)), canonical(std::slice::from_ref(&expected)), "{kind}");
        let told = sent.schema().field_with_name("user_agent.os.name").unwrap().data_type().clone();
        assert_eq!(matches!(kind, arrow_schema::DataType::Dictionary(..)), told == kind, "{kind} became {told}");
    }
}

/// Scenario: a dictionary with values that no row points at, a value twice, and a null among its values.
/// Guarantees: nothing is told of what no row has; a null value is no user agent.
#[test]
fn an_odd_dictionary() {
    let values = StringArray::from(vec![Some(CURL), Some("Lynx/2.9.0"), None, Some(CURL)]);
    let keys = arrow_array::Int8Array::from(vec![Some(0), Some(3), None, Some(2), Some(0)]);
    let input = rows("user_agent.original", Arc::new(DictionaryArray::new(keys, Arc::new(values))));
    check(
        "",
        &input,
        expect![[r#"
        n Int64, user_agent.original Dictionary(Int8, Utf8), user_agent.name Dictionary(Int8, Utf8), user_agent.version Dictionary(Int8, Utf8), user_agent.device.name Dictionary(Int8, Utf8), user_agent.os.name Dictionary(Int8, Utf8), user_agent.os.version Dictionary(Int8, Utf8), user_agent.os.full Dictionary(Int8, Utf8), user_agent.is_bot Boolean
        {"n":0,"user_agent.original":"curl/8.5.0","user_agent.name":"curl","user_agent.version":"8.5.0","user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
        {"n":1,"user_agent.original":"curl/8.5.0","user_agent.name":"curl","user_agent.version":"8.5.0","user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
        {"n":2,"user_agent.original":null,"user_agent.name":null,"user_agent.version":null,"user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":null}
        {"n":3,"user_agent.original":"","user_agent.name":null,"user_agent.version":null,"user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":null}
        {"n":4,"user_agent.original":"curl/8.5.0","user_agent.name":"curl","user_agent.version":"8.5.0","user_agent.device.name":null,"user_agent.os.name":null,"user_agent.os.version":null,"user_agent.os.full":null,"user_agent.is_bot":false}
    "#]],
    );
}

/// Scenario: names with underscores, bots of one's own, and texts that are to be taken as they are.
/// Guarantees: each option does what its page says.
#[test]
fn options() {
    let input = rows("user_agent_original", Arc::new(StringArray::from_iter(TEXTS)));
    check(
        "names = 'underscored'\nbots = ['CURL/']\npercent_encoded = false",
        &input,
        expect![[r#"
        n Int64, user_agent.name Utf8, user_agent_original Utf8, user_agent_name Utf8, user_agent_version Utf8, user_agent_device_name Utf8, user_agent_os_name Utf8, user_agent_os_version Utf8, user_agent_os_full Utf8, user_agent_is_bot Boolean
        {"n":0,"user_agent.name":"stale","user_agent_original":"curl/8.5.0","user_agent_name":"curl","user_agent_version":"8.5.0","user_agent_device_name":null,"user_agent_os_name":null,"user_agent_os_version":null,"user_agent_os_full":null,"user_agent_is_bot":true}
        {"n":1,"user_agent.name":"stale","user_agent_original":null,"user_agent_name":null,"user_agent_version":null,"user_agent_device_name":null,"user_agent_os_name":null,"user_agent_os_version":null,"user_agent_os_full":null,"user_agent_is_bot":null}
        {"n":2,"user_agent.name":"stale","user_agent_original":"Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2017_4_1%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/17.4.1%20Mobile/15E148%20Safari/604.1","user_agent_name":"Mobile Safari UI/WKWebView","user_agent_version":"17.4.1","user_agent_device_name":"iPhone","user_agent_os_name":"iOS","user_agent_os_version":null,"user_agent_os_full":"iOS","user_agent_is_bot":false}
        {"n":3,"user_agent.name":"stale","user_agent_original":"curl/8.5.0","user_agent_name":"curl","user_agent_version":"8.5.0","user_agent_device_name":null,"user_agent_os_name":null,"user_agent_os_version":null,"user_agent_os_full":null,"user_agent_is_bot":true}
        {"n":4,"user_agent.name":"stale","user_agent_original":"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)","user_agent_name":"Googlebot","user_agent_version":"2.1","user_agent_device_name":"Spider","user_agent_os_name":null,"user_agent_os_version":null,"user_agent_os_full":null,"user_agent_is_bot":true}
        {"n":5,"user_agent.name":"stale","user_agent_original":"","user_agent_name":null,"user_agent_version":null,"user_agent_device_name":null,"user_agent_os_name":null,"user_agent_os_version":null,"user_agent_os_full":null,"user_agent_is_bot":false}
        {"n":6,"user_agent.name":"stale","user_agent_original":"Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2017_4_1%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/17.4.1%20Mobile/15E148%20Safari/604.1","user_agent_name":"Mobile Safari UI/WKWebView","user_agent_version":"17.4.1","user_agent_device_name":"iPhone","user_agent_os_name":"iOS","user_agent_os_version":null,"user_agent_os_full":"iOS","user_agent_is_bot":false}
        {"n":7,"user_agent.name":"stale","user_agent_original":"-","user_agent_name":null,"user_agent_version":null,"user_agent_device_name":null,"user_agent_os_name":null,"user_agent_os_version":null,"user_agent_os_full":null,"user_agent_is_bot":false}
    "#]],
    );
}
