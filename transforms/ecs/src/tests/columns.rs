//! Which columns are needed, and which are only passed on.

use std::collections::BTreeSet;

use arrow_array::Array;
use forebay_api::{Outputs, Transform};

use super::*;

fn planned(toml: &str, input: &RecordBatch) -> Box<dyn Transform> {
    let mut transform = config(toml).build().unwrap();
    transform.plan(&input.schema()).unwrap();
    transform
}

/// Scenario: outputs of which only some columns are used, with columns in the input that become no field.
/// Guarantees: every column that becomes a field is used, since it may refuse its row whoever reads the field; others
/// are not, and without them it is planned in the same way.
#[test]
fn uses() {
    let mapped = table(["timestamp | c-ip | cs-host | asn", "1607374321.541 | 192.0.2.1 | www.example.com | 64496"]);
    let more = table([
        "timestamp | nobody-knows | c-ip | cs-host | asn | x",
        "1607374321.541 | a | 192.0.2.1 | www.example.com | 64496 | b",
    ]);
    let check = |toml: &str, used: &[&str]| {
        let mut transform = planned(toml, &more);
        let used: BTreeSet<String> = used.iter().map(|it| (*it).to_owned()).collect();
        let narrower = transform.narrow(&used).unwrap();
        let names: BTreeSet<String> = narrower.fields().iter().map(|it| it.name().clone()).collect();
        assert_eq!(names, used);
        let uses = transform.uses().unwrap();
        assert_eq!(uses.iter().map(String::as_str).collect::<Vec<_>>(), ["asn", "c-ip", "cs-host", "timestamp"]);
        // What stands before may leave out all others, and it is planned again then.
        let mut again = planned(toml, &mapped);
        assert_eq!(again.narrow(&used).unwrap(), narrower);
    };
    let toml = "mapping = 'cloudfront_realtime'\nunmapped = 'ignore'";
    check(toml, &[]);
    check(toml, &["cloud.provider"]);
    check(toml, &["related.ip", "related.hosts"]);
    let own = "rename = { 'url.domain' = 'host' }\nmap = { asn = 'client.as.number' }";
    check(&format!("{toml}\n{own}"), &["@timestamp"]);
}

/// Scenario: columns in which nothing has to change.
/// Guarantees: they are passed on without a copy, and constants are made once.
#[test]
fn passes_on() {
    let input = table([
        "c-ip | s-ip | cs-method | cs-host | cs-uri-stem | cs-user-agent | cs-protocol",
        "192.0.2.1 | 2001:db8::1 | GET | www.example.com | /a | agent | https",
        "192.0.2.2 | 2001:db8:0:1::1 | GET | www.example.org | /b | agent | wss",
    ]);
    let mut transform = planned("mapping = 'cloudfront_realtime'", &input);
    let mut apply = || {
        let mut out = Outputs::new(input.num_rows());
        transform.apply(input.clone(), &mut out).unwrap();
        out.sent()[0].0.clone()
    };
    let (first, second) = (apply(), apply());
    let data = |rows: &RecordBatch, column: &str| {
        let data = rows.column_by_name(column).unwrap().to_data();
        data.buffers().last().or_else(|| data.child_data()[0].buffers().last()).unwrap().as_ptr()
    };
    let list_items = |rows: &RecordBatch, column: &str| {
        rows.column_by_name(column).unwrap().to_data().child_data()[0].buffers()[1].as_ptr()
    };
    for (column, field) in [
        ("c-ip", "source.address"),
        ("c-ip", "source.ip"),
        ("s-ip", "destination.ip"),
        ("cs-method", "http.request.method"),
        ("cs-host", "destination.domain"),
        ("cs-host", "url.domain"),
        ("cs-uri-stem", "url.path"),
        ("cs-user-agent", "user_agent.original"),
        ("cs-protocol", "url.scheme"),
    ] {
        assert_eq!(data(&input, column), data(&first, field), "{field}");
    }
    assert_eq!(data(&input, "cs-host"), list_items(&first, "related.hosts"));
    assert_eq!(data(&first, "ecs.version"), data(&second, "ecs.version"));
}
