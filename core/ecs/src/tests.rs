use crate::{CSV, Field, FieldType, field, is_ecs, names};

/// Scenario: the file of all fields.
/// Guarantees: every line of it is a field; types and arrays are those of ECS; objects and points are no columns.
#[test]
fn every_field_is_read() {
    assert_eq!((CSV.lines().count(), names().count()), (1 + 2725, 2725));
    let of = |kind, list| Some(Field { kind, list });
    assert_eq!(field("@timestamp"), of(FieldType::Date, false));
    assert_eq!(field("event.category"), of(FieldType::Keyword, true));
    assert_eq!(field("network.forwarded_ip"), of(FieldType::Ip, true));
    assert_eq!(field("client.geo.location"), None);
    assert!(is_ecs("client.geo.location") && !is_ecs("client.geo.place"));
}
