//! Mappings of one's own, and mistakes in them.

use super::*;

/// Scenario: own mappings, constants, custom fields and names, without a ready mapping.
/// Guarantees: each column goes where it is said, typed as its field; a column named like a field is that field; what
/// does not fit is refused with column and value.
#[test]
fn own_mapping() {
    check(
        r#"
        map = { when = "@timestamp", status = "http.response.status_code", kind = "event.category", cart = "shop.cart", ok = "tls.established" }
        constants = { "event.dataset" = "shop", "event.type" = "info", "event.severity" = "7" }
        custom = { "shop.cart" = "integer", "shop.total" = "double" }
        "#,
        table([
            "when | status | kind | cart | ok | shop.total | client.ip",
            "2024-11-14T22:34:06.8149+01:00 | 200 | web | 7 | true | 0.1 | 2001:DB8::1",
            "2024-11-14 | 200 | web | 7 | true | 1 | 192.0.2.1",
            "2024-11-14T21:34:06Z | 200 | web | 7.5 | true | 1 | 192.0.2.1",
            "2024-11-14T21:34:06Z | 200 | web | 7 | yes | 1 | 192.0.2.1",
            "2024-11-14T21:34:06Z | 200 | web | 7 | false | nan | 192.0.2.1",
            "2024-11-14T21:34:06Z | 200 | web | 7 | false | 1 | localhost",
            "2024-11-14T21:34:06Z | - | web | 7 | false | 1 | 192.0.2.1",
        ]),
        expect![[r#"
            row 0
              @timestamp: Timestamp(ms, "UTC") = "2024-11-14T21:34:06.814Z"
              client.ip: Utf8 = "2001:db8::1"
              ecs.version: Utf8 = "9.4.0"
              event.category: List(Utf8) = ["web"]
              event.dataset: Utf8 = "shop"
              event.severity: Int64 = 7
              event.type: List(Utf8) = ["info"]
              http.response.status_code: Int64 = 200
              shop.cart: Int32 = 7
              shop.total: Float64 = 0.1
              tls.established: Boolean = true
            row 1 refused: column `when`: `2024-11-14` is not a time of RFC 3339
            row 2 refused: column `cart`: `7.5` is not a whole number of 32 bits
            row 3 refused: column `ok`: `yes` is not `true` or `false`
            row 4 refused: column `shop.total`: `nan` is not a finite number of double precision
            row 5 refused: column `client.ip`: `localhost` is not an IP address
            row 6 refused: column `status`: `-` is not a whole number of 64 bits
        "#]],
    );
}

/// Scenario: columns that are already typed, some with values that their field cannot hold.
/// Guarantees: they are cast where nothing is lost, and refuse the row otherwise.
#[test]
fn casts() {
    let input = columns([
        ("bytes", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX, 4])) as ArrayRef),
        ("code", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("score", Arc::new(Int64Array::from(vec![1, 2, 3, (1 << 53) + 1]))),
        ("ratio", Arc::new(Float64Array::from(vec![0.1, f64::NAN, 1.0, 1.0]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_607_374_321_541_999; 4]))),
        ("day", Arc::new(Date32Array::from(vec![18_603; 4]))),
        ("tag", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
    ]);
    check(
        r#"
        map = { bytes = "source.bytes", code = "event.code", score = "event.risk_score", ratio = "shop.ratio", at = "@timestamp", day = "event.start", tag = "tags" }
        custom = { "shop.ratio" = "float" }
        "#,
        input,
        expect![[r#"
            row 0
              @timestamp: Timestamp(ms, "UTC") = "2020-12-07T20:52:01.541Z"
              ecs.version: Utf8 = "9.4.0"
              event.code: Utf8 = "1"
              event.risk_score: Float64 = 1.0
              event.start: Timestamp(ms, "UTC") = "2020-12-07T00:00:00Z"
              shop.ratio: Float64 = 0.1
              source.bytes: Int64 = 1
              tags: List(Utf8) = ["1"]
            row 1 refused: column `ratio`: `NaN` is not a finite number of double precision
            row 2 refused: column `bytes`: `18446744073709551615` is not a whole number of 64 bits
            row 3 refused: column `score`: `9007199254740993` is not a finite number of double precision
        "#]],
    );
}

/// Scenario: columns that are lists of text, some of addresses.
/// Guarantees: they stay lists; an item that does not fit refuses the row.
#[test]
fn lists() {
    let list = |rows: Vec<Option<Vec<&str>>>| -> ArrayRef {
        let mut lists = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
        for row in rows {
            lists.append_option(row.map(|it| it.into_iter().map(|it| Some(it.to_owned())).collect::<Vec<_>>()));
        }
        Arc::new(lists.finish())
    };
    let tags = list(vec![Some(vec!["a", "b"]), Some(vec![]), None]);
    let ips = list(vec![Some(vec!["2001:DB8::1", "192.0.2.1"]), None, Some(vec!["192.0.2.1", "localhost"])]);
    let input = columns([("tags", tags), ("ips", ips)]);
    check_some(
        "map = { ips = 'related.ip' }",
        input,
        &["tags", "related.ip"],
        expect![[r#"
            0 {"tags":["a","b"],"related.ip":["2001:db8::1","192.0.2.1"]}
            1 {"tags":[],"related.ip":null}
            2 refused: column `ips`: `localhost` is not an IP address
        "#]],
    );
}

/// Scenario: a ready mapping, partly overridden, with other names.
/// Guarantees: the file wins over the mapping; what follows from a field that is gone is gone too.
#[test]
fn overrides() {
    check(
        r#"
        mapping = "cloudfront_realtime"
        map = { c-ip = "client.ip", x-edge-request-id = "event.id" }
        constants = { "event.kind" = "metric", "url.domain" = "example.com" }
        rename = { "@timestamp" = "ts" }
        names = "underscored"
        unmapped = "ignore"
        "#,
        table([
            "timestamp | c_ip | CS_HOST | x_edge_request_id | other",
            "1607374321.541 | 192.0.2.1 | www.example.com | abc | x",
        ]),
        expect![[r#"
            row 0
              ts: Timestamp(ms, "UTC") = "2020-12-07T20:52:01.541Z"
              client_ip: Utf8 = "192.0.2.1"
              cloud_provider: Utf8 = "aws"
              destination_address: Utf8 = "www.example.com"
              destination_domain: Utf8 = "www.example.com"
              ecs_version: Utf8 = "9.4.0"
              event_category: List(Utf8) = ["web"]
              event_id: Utf8 = "abc"
              event_kind: Utf8 = "metric"
              event_type: List(Utf8) = ["access"]
              related_hosts: List(Utf8) = ["www.example.com"]
              url_domain: Utf8 = "example.com"
        "#]],
    );
}

/// Scenario: a field of a mapping, from which others follow, is declared with another type.
/// Guarantees: it has that type, and nothing follows from it.
#[test]
fn another_type() {
    check_some(
        "mapping = 'cloudfront_realtime'\ncustom = { 'aws.cloudfront.domain' = 'long' }",
        table(["cs-host | x-host-header", "www.example.com | 17"]),
        &["aws.cloudfront.domain", "related.hosts"],
        expect![[r#"
            0 {"aws.cloudfront.domain":17,"related.hosts":["www.example.com"]}
        "#]],
    );
}

/// Scenario: every row of the mappings.
/// Guarantees: it fills a field that there is, from text of the log; what follows from fields follows from such that
/// the mapping fills, and stands behind them; every field of CloudFront is mapped.
#[test]
fn mappings_are_whole() {
    let fields = Fields { custom: &Default::default() };
    for mapping in Mapping::ALL {
        for row in mapping.rows() {
            let field = fields.named("mapping", row.field).unwrap();
            assert!(row.how.takes(&arrow_schema::DataType::Utf8, field), "{row:?}");
        }
        let mut filled: Vec<&str> = mapping.rows().iter().map(|it| it.field).collect();
        for derived in mapping.derived() {
            fields.named("mapping", derived.field).unwrap();
            let from = derived.from.present(|it| filled.contains(&it));
            assert!(from.is_some(), "{mapping:?}: nothing fills `{}`", derived.field);
            filled.push(derived.field);
        }
        for (name, _) in mapping.constants() {
            fields.named("mapping", name).unwrap();
        }
    }
    for (mapping, logged) in
        [(Mapping::CloudfrontRealtime, REALTIME_FIELDS), (Mapping::CloudfrontStandard, STANDARD_FIELDS)]
    {
        let unmapped = logged.iter().find(|it| !mapping.rows().iter().any(|row| row.columns.contains(it)));
        assert_eq!(unmapped, None);
    }
}

/// Scenario: the fields of ECS.
/// Guarantees: all 2,725 are there, and those that a column can become have the type that ECS gives them.
#[test]
fn ecs_fields() {
    assert_eq!(forebay_ecs::names().count(), 2725);
    let fields = Fields { custom: &Default::default() };
    let of = |name: &str| fields.get(name);
    assert_eq!(of("@timestamp"), Some(Field { kind: FieldType::Date, list: false }));
    assert_eq!(of("related.ip"), Some(Field { kind: FieldType::Ip, list: true }));
    assert_eq!(of("source.port"), Some(Field { kind: FieldType::Long, list: false }));
    assert_eq!(of("labels"), None);
    assert!(!How::Copy.takes(&arrow_schema::DataType::Boolean, of("source.port").unwrap()));
}

/// Scenario: configurations with one mistake each.
/// Guarantees: each is told with the key to blame and what would have worked.
#[test]
fn wrong() {
    let input = || table(["status | timestamp | other", "1 | 2 | 3"]);
    let realtime = || table(["c-ip | sc-status | note", "1 | 2 | 3"]);
    for (toml, input, expected) in [
        (
            "map = { status = 'http.response.staus_code' }",
            input(),
            expect![[r#"
                map.status: ECS 9.4.0 has no field `http.response.staus_code`
                  did you mean `http.response.status_code`?
                  a field of your own needs a type: `custom = { "http.response.staus_code" = "keyword" }`
            "#]],
        ),
        (
            "map = { status = 'shop.cart' }",
            input(),
            expect![[r#"
            map.status: ECS 9.4.0 has no field `shop.cart`
              -
              a field of your own needs a type: `custom = { "shop.cart" = "keyword" }`
        "#]],
        ),
        (
            "map = { staus = 'http.response.status_code' }",
            input(),
            expect![[r#"
                map.staus: column `staus` does not exist
                  did you mean `status`?
                  known: status, timestamp, other
            "#]],
        ),
        (
            "map = { status = 'labels' }",
            input(),
            expect![[r#"
            map.status: field `labels` cannot be built from a column
              -
              it is an object or a point: fill the fields below it
        "#]],
        ),
        (
            "map = { status = 'source.geo.location' }",
            input(),
            expect![[r#"
                map.status: field `source.geo.location` cannot be built from a column
                  -
                  it is an object or a point: fill the fields below it
            "#]],
        ),
        (
            "map = { status = 'event.code', other = 'event.code' }",
            input(),
            expect![[r#"
                map.status: field `event.code` comes from another column already
                  -
                  -
            "#]],
        ),
        (
            "map = { status = 'event.code', Status = 'event.id' }",
            input(),
            expect![[r#"
                map.status: column `status` is mapped twice
                  -
                  -
            "#]],
        ),
        (
            "map = { status = 'event.code' }",
            input(),
            expect![[r#"
                unmapped: columns `timestamp`, `other` would become no field
                  is `timestamp` meant to be `@timestamp`?
                  name the field in `map` (and declare it in `custom` if ECS does not know it), or set `unmapped = "ignore"`
            "#]],
        ),
        (
            "map = { status = 'event.code', other = 'event.id' }",
            input(),
            expect![[r#"
                unmapped: column `timestamp` would become no field
                  is `timestamp` meant to be `@timestamp`?
                  name the field in `map` (and declare it in `custom` if ECS does not know it), or set `unmapped = "ignore"`
            "#]],
        ),
        (
            "mapping = 'cloudfront'",
            input(),
            expect![[r#"
                unknown variant `cloudfront`, expected one of `cloudfront_realtime`, `cloudfront_standard`, `alb`, `s3_access`, `nginx`, `apache`
            "#]],
        ),
        (
            "mapping = 'cloudfront_realtime'",
            realtime(),
            expect![[r#"
            unmapped: column `note` would become no field
              -
              name the field in `map` (and declare it in `custom` if ECS does not know it), or set `unmapped = "ignore"`
        "#]],
        ),
        (
            "mapping = 'cloudfront_realtime'",
            table(["c-ip | note | sc-staus", "1 | 2 | 3"]),
            expect![[r#"
            unmapped: columns `note`, `sc-staus` would become no field
              is `sc-staus` meant to be `sc-status`?
              name the field in `map` (and declare it in `custom` if ECS does not know it), or set `unmapped = "ignore"`
        "#]],
        ),
        (
            "mapping = 'cloudfront_realtime'",
            table(["message", "x"]),
            expect![[r#"
                mapping: the input has none of the columns that `cloudfront_realtime` maps
                  -
                  the columns are message; `type = "regex"` with `preset = "cloudfront_realtime"` before it gives others
            "#]],
        ),
        (
            "custom = { 'source.ip' = 'ip' }",
            input(),
            expect![[r#"
            custom.source.ip: ECS itself has a field `source.ip`
              -
              -
        "#]],
        ),
        (
            "custom = { 'shop.cart' = 'object' }",
            input(),
            expect![[r#"
                unknown variant `object`, expected one of `keyword`, `wildcard`, `match_only_text`, `constant_keyword`, `flattened`, `long`, `integer`, `double`, `float`, `scaled_float`, `boolean`, `ip`, `date`
            "#]],
        ),
        (
            "constants = { 'event.severity' = 'high' }",
            input(),
            expect![[r#"
                constants.event.severity: `high` is not a whole number of 64 bits
                  -
                  -
            "#]],
        ),
        (
            "constants = { 'related.ip' = 'localhost' }",
            input(),
            expect![[r#"
                constants.related.ip: `localhost` is not an IP address
                  -
                  -
            "#]],
        ),
        (
            "constants = { 'event.datset' = 'x' }",
            input(),
            expect![[r#"
                constants.event.datset: ECS 9.4.0 has no field `event.datset`
                  did you mean `event.dataset`?
                  a field of your own needs a type: `custom = { "event.datset" = "keyword" }`
            "#]],
        ),
        (
            "constants = { 'event.code' = 'x' }\nmap = { status = 'event.code' }",
            input(),
            expect![[r#"
                constants.event.code: field `event.code` comes from a column already
                  -
                  -
            "#]],
        ),
        (
            "rename = { 'event.knd' = 'x' }\nunmapped = 'ignore'",
            input(),
            expect![[r#"
                rename.event.knd: there is no field `event.knd` in the output
                  -
                  known: ecs.version
            "#]],
        ),
        (
            "rename = { 'ecs.version' = 'event.kind' }\nmapping = 'cloudfront_realtime'\nunmapped = 'ignore'",
            realtime(),
            expect![[r#"
                rename.ecs.version: `ecs.version` and `event.kind` would both be named `event.kind`
                  -
                  give one of them another name in `rename`
            "#]],
        ),
        (
            "",
            text("a-b", ["x"]),
            expect![[r#"
            unmapped: column `a-b` would become no field
              -
              name the field in `map` (and declare it in `custom` if ECS does not know it), or set `unmapped = "ignore"`
        "#]],
        ),
        (
            "",
            columns([("a-b", text("x", ["x"]).column(0).clone()), ("a_b", text("x", ["x"]).column(0).clone())]),
            expect![[r#"
                : columns `a-b` and `a_b` have names that count as the same
                  -
                  -
            "#]],
        ),
        (
            "map = { n = 'event.created' }",
            columns([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]),
            expect![[r#"
                map.n: column `n` holds Int64, which cannot become `event.created`
                  -
                  it must be text, a timestamp or a date
            "#]],
        ),
        (
            "mapping = 'cloudfront_realtime'",
            columns([("time_taken", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]),
            expect![[r#"
                mapping: column `time_taken` holds Float64, which cannot become `event.duration`
                  -
                  it must be text, a whole number or a decimal
            "#]],
        ),
    ] {
        check_wrong(toml, input, expected);
    }
}
