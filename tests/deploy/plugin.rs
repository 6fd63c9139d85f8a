//! What Grafana and its ClickHouse plug-in make of a query before ClickHouse sees it, by the plug-in's documentation
//! (<https://grafana.com/docs/plugins/grafana-clickhouse-datasource/latest/query-editor/>, "Macros").

use std::collections::BTreeMap;

/// What is looked at, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub from: i64,
    pub to: i64,
}

/// Variables of a dashboard of which one value is chosen; all values of the others.
pub type Variables<'a> = BTreeMap<&'a str, String>;

/// What a point of a curve stands for, in seconds.
const INTERVAL: u32 = 60;

/// The query that is sent.
pub fn filled(sql: &str, range: Range, variables: &Variables<'_>) -> String {
    let Range { from, to } = range;
    let mut sql = each_call(sql, "$__conditionalAll", |arguments| {
        let (condition, variable) = arguments.rsplit_once(',').expect("a condition and a variable");
        let name = variable.trim().strip_prefix('$').expect("a variable, and not in another form");
        if variables.contains_key(name) { condition.to_owned() } else { "1=1".to_owned() }
    });
    for (name, value) in variables {
        // As Grafana does it in the form `singlequote`.
        let quoted = format!("'{}'", value.replace('\'', "\\'"));
        sql = sql.replace(&format!("${{{name}:singlequote}}"), &quoted);
    }
    sql = each_call(&sql, "$__timeFilter", |column| {
        format!("{column} >= toDateTime({from}) AND {column} <= toDateTime({to})")
    });
    sql = each_call(&sql, "$__timeInterval", |column| {
        format!("toStartOfInterval(toDateTime({column}), INTERVAL {INTERVAL} second)")
    });
    // The longer names first.
    let values = [
        ("$__toTime_ms", format!("fromUnixTimestamp64Milli({to}000)")),
        ("$__fromTime", format!("toDateTime({from})")),
        ("$__toTime", format!("toDateTime({to})")),
        ("$__interval_s", INTERVAL.to_string()),
    ];
    for (name, value) in values {
        sql = sql.replace(name, &value);
    }
    assert!(!sql.contains('$'), "a macro or a variable that is none: {sql}");
    sql
}

/// Puts something in the place of each `name(arguments)`.
fn each_call(sql: &str, name: &str, put: impl Fn(&str) -> String) -> String {
    let mut done = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(&format!("{name}(")) {
        let mut depth = 1;
        let end = after.find(|it| {
            depth += i32::from(it == '(') - i32::from(it == ')');
            depth == 0
        });
        let end = end.expect("parentheses are closed");
        done = done + before + &put(&after[..end]);
        rest = &after[end + 1..];
    }
    done + rest
}
