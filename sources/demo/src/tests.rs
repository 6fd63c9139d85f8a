use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use expect_test::expect;
use forebay_api::{Position, Read, Resume, SourceConfig, Wrong};
use forebay_codec::cloudfront::{REALTIME_FIELDS, STANDARD_FIELDS};
use serde_json::{Value, json};

use crate::{Demo, Generation, realtime, standard};

fn demo(config: Value) -> Demo {
    serde_json::from_value(config).unwrap()
}

fn lines(reads: &[Read]) -> Vec<String> {
    let lines = reads.iter().flat_map(|it| it.rows.column(0).as_string::<i32>().iter().flatten());
    lines.map(str::to_owned).collect()
}

async fn read(config: Value) -> Vec<String> {
    lines(&forebay_testkit::read(&demo(config), Resume::start()).await)
}

/// Scenario: sources with several partitions, with a rate, and one with fewer rows than partitions.
/// Guarantees: they keep the contract of a source.
#[tokio::test(start_paused = true)]
async fn conformance() {
    let with_rate = json!({ "rows": 100, "partitions": 3, "rate": 1000 });
    forebay_testkit::source(&demo(with_rate)).await;
    forebay_testkit::source(&demo(json!({ "rows": 9000, "partitions": 2, "fields": ["sc-status"] }))).await;
    forebay_testkit::source(&demo(json!({ "rows": 2, "partitions": 3 }))).await;
}

/// Scenario: the first rows of each generation.
/// Guarantees: lines stay what they are from version to version, and look as CloudFront writes them.
#[tokio::test]
async fn generations() {
    let mut shown = String::new();
    for (generation, rows) in [("2020", 1), ("2022", 1), ("2023", 3), ("2024", 2)] {
        for line in read(json!({ "generation": generation, "rows": rows, "seed": 7 })).await {
            shown.push_str(&format!("{generation} {}: {}\n", line.split('\t').count(), line.replace('\t', " ")));
        }
    }
    expect![[r#"
        2020 40: 1793491200.003 198.19.142.211 0.017 200 13049 GET https www.example.com /products/49 531 CDG50-P2 IjdyUFOo4KWVFIIf8oJuGMaN8hePOnqnmwaPXxOh9XZ5MRjc6al7Y5== d111111abcdef8.cloudfront.net 0.022 HTTP/3.0 IPv4 Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36 https://www.example.com/ session=6ef667ac0dd2;%20consent=all - RefreshHit - TLSv1.3 TLS_AES_128_GCM_SHA256 RefreshHit - - text/html;%20charset=utf-8 - - - 41575 RefreshHit FR gzip,%20deflate,%20br,%20zstd text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8 * Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%0AAccept:text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:fr-FR,en;q=0.7%0Asec-ch-ua:%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22%0Asec-ch-ua-mobile:?0%0AReferer:https://www.example.com/%0ACookie:session=6ef667ac0dd2;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0Asec-ch-ua%0Asec-ch-ua-mobile%0AReferer%0ACookie%0A 9
        2022 43: 1793491200.003 198.19.142.211 0.017 200 13049 GET https www.example.com /products/49 531 CDG50-P2 IjdyUFOo4KWVFIIf8oJuGMaN8hePOnqnmwaPXxOh9XZ5MRjc6al7Y5== d111111abcdef8.cloudfront.net 0.022 HTTP/3.0 IPv4 Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36 https://www.example.com/ session=6ef667ac0dd2;%20consent=all - RefreshHit - TLSv1.3 TLS_AES_128_GCM_SHA256 RefreshHit - - text/html;%20charset=utf-8 - - - 41575 RefreshHit FR gzip,%20deflate,%20br,%20zstd text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8 * Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%0AAccept:text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:fr-FR,en;q=0.7%0Asec-ch-ua:%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22%0Asec-ch-ua-mobile:?0%0AReferer:https://www.example.com/%0ACookie:session=6ef667ac0dd2;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0Asec-ch-ua%0Asec-ch-ua-mobile%0AReferer%0ACookie%0A 9 0.015 0.022 15557
        2023 45: 1793491200.003 198.19.142.211 0.017 200 13049 GET https www.example.com /products/49 531 CDG50-P2 IjdyUFOo4KWVFIIf8oJuGMaN8hePOnqnmwaPXxOh9XZ5MRjc6al7Y5== d111111abcdef8.cloudfront.net 0.022 HTTP/3.0 IPv4 Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36 https://www.example.com/ session=6ef667ac0dd2;%20consent=all - RefreshHit - TLSv1.3 TLS_AES_128_GCM_SHA256 RefreshHit - - text/html;%20charset=utf-8 - - - 41575 RefreshHit FR gzip,%20deflate,%20br,%20zstd text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8 * Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%0AAccept:text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:fr-FR,en;q=0.7%0Asec-ch-ua:%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22%0Asec-ch-ua-mobile:?0%0AReferer:https://www.example.com/%0ACookie:session=6ef667ac0dd2;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0Asec-ch-ua%0Asec-ch-ua-mobile%0AReferer%0ACookie%0A 9 - - 0.015 0.022 15557
        2023 45: 1793491200.036 198.18.51.22 0.033 200 1167 GET https www.example.com /api/cart 492 JNB50-C1 64EqjiVdA5l5MWYN83cSiAD-butjNjUQOrtmD_u5ZzU27ri_n_15ba== d111111abcdef8.cloudfront.net 0.033 HTTP/3.0 IPv4 Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36 https://www.example.com/products/17 session=dd5e2f2afb15;%20consent=all - Miss - TLSv1.3 TLS_AES_128_GCM_SHA256 Miss - - application/json - - - 63510 Miss ZA gzip,%20deflate,%20br,%20zstd application/json /api/* Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%0AAccept:application/json%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:en-ZA,en;q=0.7%0Asec-ch-ua:%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22%0Asec-ch-ua-mobile:?0%0AReferer:https://www.example.com/products/17%0ACookie:session=dd5e2f2afb15;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0Asec-ch-ua%0Asec-ch-ua-mobile%0AReferer%0ACookie%0A 9 - - 0.022 0.022 37457
        2023 45: 1793491200.059 198.18.45.50 0.007 200 7588 GET https www.example.com /images/273.webp 486 BOM78-P4 SffDfwxcGGDn0xt_XvPALQibptiiXHCtZlj9qrrDKsUedBzS0HG1bK== d111111abcdef8.cloudfront.net 0.018 HTTP/2.0 IPv4 Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2018_7%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/26.0%20Mobile/15E148%20Safari/604.1 https://www.example.com/products/17 session=b44133712431;%20consent=all - Hit - TLSv1.3 TLS_AES_128_GCM_SHA256 Hit - - image/webp 7027 - - 35338 Hit IN gzip,%20deflate,%20br,%20zstd image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8 /images/* Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2018_7%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/26.0%20Mobile/15E148%20Safari/604.1%0AAccept:image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:en-IN,en;q=0.7%0AReferer:https://www.example.com/products/17%0ACookie:session=b44133712431;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0AReferer%0ACookie%0A 7 - - - - 55836
        2024 69: 1793491200.003 198.19.142.211 203.0.113.233 0.017 200 13049 GET https www.example.com /products/49 531 CDG50-P2 IjdyUFOo4KWVFIIf8oJuGMaN8hePOnqnmwaPXxOh9XZ5MRjc6al7Y5== d111111abcdef8.cloudfront.net 0.022 HTTP/3.0 IPv4 Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36 https://www.example.com/ session=6ef667ac0dd2;%20consent=all - RefreshHit - TLSv1.3 TLS_AES_128_GCM_SHA256 RefreshHit - - text/html;%20charset=utf-8 - - - 41575 RefreshHit FR gzip,%20deflate,%20br,%20zstd text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8 * Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%0AAccept:text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:fr-FR,en;q=0.7%0Asec-ch-ua:%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22%0Asec-ch-ua-mobile:?0%0AReferer:https://www.example.com/%0ACookie:session=6ef667ac0dd2;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0Asec-ch-ua%0Asec-ch-ua-mobile%0AReferer%0ACookie%0A 9 - - 0.015 0.022 15557 - - - - - - - - - - - - - - - - - - origin.example.com - - - -
        2024 69: 1793491200.036 198.18.51.22 203.0.113.231 0.033 200 1167 GET https www.example.com /api/cart 492 JNB50-C1 64EqjiVdA5l5MWYN83cSiAD-butjNjUQOrtmD_u5ZzU27ri_n_15ba== d111111abcdef8.cloudfront.net 0.033 HTTP/3.0 IPv4 Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36 https://www.example.com/products/17 session=dd5e2f2afb15;%20consent=all - Miss - TLSv1.3 TLS_AES_128_GCM_SHA256 Miss - - application/json - - - 63510 Miss ZA gzip,%20deflate,%20br,%20zstd application/json /api/* Host:www.example.com%0AUser-Agent:Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%0AAccept:application/json%0AAccept-Encoding:gzip,%20deflate,%20br,%20zstd%0AAccept-Language:en-ZA,en;q=0.7%0Asec-ch-ua:%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22%0Asec-ch-ua-mobile:?0%0AReferer:https://www.example.com/products/17%0ACookie:session=dd5e2f2afb15;%20consent=all%0A Host%0AUser-Agent%0AAccept%0AAccept-Encoding%0AAccept-Language%0Asec-ch-ua%0Asec-ch-ua-mobile%0AReferer%0ACookie%0A 9 - - 0.022 0.022 37457 - - - - - - - - - - - - - - - - - - origin.example.com - - - -
    "#]].assert_eq(&shown);
}

/// Scenario: the lists of fields of every generation.
/// Guarantees: they have as many fields as CloudFront had, in its order, and each of them can be written.
#[test]
fn fields() {
    let counts =
        [Generation::Of2020, Generation::Of2022, Generation::Of2023, Generation::Of2024].map(|it| it.fields().len());
    assert_eq!(counts, [40, 43, 45, 69]);
    assert_eq!(Generation::Of2024.fields(), REALTIME_FIELDS);
    assert!(REALTIME_FIELDS.iter().all(|it| realtime(it).is_some()));
    assert!(STANDARD_FIELDS.iter().all(|it| standard(it).is_some()));
}

/// Scenario: fields given in another order than CloudFront's.
/// Guarantees: they come in CloudFront's order, with the values they have among all fields.
#[tokio::test]
async fn chosen_fields() {
    let chosen = read(json!({ "rows": 50, "fields": ["c-country", "sc-status", "timestamp"] })).await;
    let all = read(json!({ "rows": 50, "generation": "2024" })).await;
    let picked = all.iter().map(|it| {
        let values: Vec<&str> = it.split('\t').collect();
        [values[0], values[4], values[34]].join("\t")
    });
    assert_eq!(chosen, picked.collect::<Vec<_>>());
}

/// Scenario: ten thousand rows.
/// Guarantees: each value is what its field may hold, and the values of a row fit each other.
#[tokio::test]
async fn realistic() {
    let rows = read(json!({ "rows": 10_000, "generation": "2024" })).await;
    let mut errors = 0;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut visitors = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for row in &rows {
        let row: BTreeMap<&str, &str> = REALTIME_FIELDS.iter().copied().zip(row.split('\t')).collect();
        let number = |field: &str| row[field].parse::<f64>().unwrap_or(0.0);
        assert!(row.values().all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_graphic())), "{row:?}");
        let status: u16 = row["sc-status"].parse().unwrap();
        let result = row["x-edge-result-type"];
        assert_eq!(row["sc-status"].len(), 3);
        assert!(number("time-to-first-byte") <= number("time-taken"), "{row:?}");
        assert!(number("origin-fbl") <= number("origin-lbl"), "{row:?}");
        assert!(number("sc-content-len") <= number("sc-bytes") || row["cs-method"] == "HEAD", "{row:?}");
        assert_eq!(row["cs-protocol"] == "http", row["ssl-protocol"] == "-", "{row:?}");
        assert_eq!(row["c-ip"].contains(':'), row["c-ip-version"] == "IPv6", "{row:?}");
        assert_eq!(status == 206, row["sc-range-end"] != "-", "{row:?}");
        assert_eq!(
            matches!(status, 0 | 400..),
            matches!(result, "Error" | "LimitExceeded" | "CapacityExceeded"),
            "{row:?}"
        );
        if result == "Hit" {
            assert!(row["origin-fbl"] == "-", "{row:?}");
        }
        assert!(row["cs-headers"].len() <= 800);
        errors += usize::from(status >= 400);
        *counts.entry(format!("status {status}")).or_default() += 1;
        *counts.entry(format!("result {result}")).or_default() += 1;
        visitors.insert(row["c-ip"]);
        ids.insert(row["x-edge-request-id"]);
    }
    assert!((100..=300).contains(&errors), "{errors} errors in {counts:?}");
    assert!((1000..6000).contains(&visitors.len()), "{} visitors", visitors.len());
    assert_eq!(ids.len(), rows.len());
    expect![[r#"
        result CapacityExceeded: 2
        result Error: 150
        result Hit: 7121
        result LimitExceeded: 4
        result Miss: 2445
        result Redirect: 99
        result RefreshHit: 179
        status 0: 28
        status 200: 8535
        status 204: 143
        status 206: 601
        status 301: 99
        status 304: 466
        status 403: 26
        status 404: 87
        status 500: 4
        status 502: 2
        status 503: 6
        status 504: 3
    "#]]
    .assert_eq(&counts.iter().map(|(what, count)| format!("{what}: {count}\n")).collect::<String>());
}

/// Scenario: the same source twice, and with another seed, start or number of partitions.
/// Guarantees: seed and start decide, and nothing else.
#[tokio::test]
async fn deterministic() {
    let one = read(json!({ "rows": 100 })).await;
    assert_eq!(one, read(json!({ "rows": 100 })).await);
    assert_eq!(one[..30], read(json!({ "rows": 30, "partitions": 1, "rate": 1_000_000 })).await);
    assert_ne!(one, read(json!({ "rows": 100, "seed": 1 })).await);
    let later = read(json!({ "rows": 100, "start": "2027-02-03T04:05:06+01:00" })).await;
    assert_eq!(later[0].split('\t').next().unwrap().split('.').next(), Some("1801623906"));
    let without_time =
        |it: &[String]| it.iter().map(|it| it.split_once('\t').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(without_time(&one), without_time(&later));
}

/// Scenario: a source with a rate, and one without an end.
/// Guarantees: the rate is kept from the first row on, over all partitions; an endless source goes on after any position.
#[tokio::test(start_paused = true)]
async fn rate() {
    let began = tokio::time::Instant::now();
    assert_eq!(read(json!({ "rows": 5000, "rate": 1000, "partitions": 3 })).await.len(), 5000);
    let took = began.elapsed().as_millis();
    assert!((4900..5200).contains(&took), "{took} ms");
    let far = [("demo-0".into(), Position::row(1_000_000_000_000))];
    let mut source = demo(json!({})).open(Resume::After(far.into())).await.unwrap();
    let read = source.next().await.unwrap().unwrap();
    assert_eq!((read.fault(), read.span.from), (None, Position::row(1_000_000_000_000)));
}

/// Scenario: values that cannot be meant.
/// Guarantees: they are found before anything runs, with the key and what would have worked.
#[test]
fn wrong() {
    let mut found = String::new();
    for config in [
        json!({ "fields": ["timestamp"], "generation": "2020" }),
        json!({ "fields": [] }),
        json!({ "fields": ["sc-staus"] }),
        json!({ "fields": ["asn", "asn"] }),
    ] {
        let error = demo(config).schema().unwrap_err();
        let Wrong { key, what, label, .. } = error.downcast_ref::<Wrong>().unwrap();
        found.push_str(&format!("{key}: {what} ({})\n", label.as_deref().unwrap_or_default()));
    }
    for config in [json!({ "generation": "2021" }), json!({ "rows": 0 }), json!({ "start": "yesterday" })] {
        found.push_str(&format!("{}\n", serde_json::from_value::<Demo>(config).unwrap_err()));
    }
    expect![[r#"
        fields: `fields` and `generation` both say which fields there are ()
        fields: `fields` names no field ()
        fields: CloudFront's real-time log has no field `sc-staus` (did you mean `sc-status`?)
        fields: field `asn` is named twice ()
        unknown variant `2021`, expected one of `2020`, `2022`, `2023`, `2024`
        invalid value: integer `0`, expected a nonzero u64
        `yesterday` is not a moment: write date, time and offset, such as "2026-11-01T00:00:00Z"
    "#]]
    .assert_eq(&found);
}
