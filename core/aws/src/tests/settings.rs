//! What stands in the file.

use std::fmt::Write;

use expect_test::{Expect, expect};

use crate::{Aws, backoff};

/// One setting a line; what is said about each.
fn check(settings: &str, expected: Expect) {
    let mut said = String::new();
    for line in settings.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let verdict = match toml::from_str::<Aws>(&line.replace("; ", "\n")) {
            Err(error) => error.message().to_owned(),
            Ok(aws) => match aws.check() {
                Ok(()) => "good".into(),
                Err(wrong) => format!("[{}] {wrong}; hint: {}", wrong.key, wrong.hint.as_deref().unwrap_or("none")),
            },
        };
        writeln!(said, "{line}\n    {verdict}").unwrap();
    }
    expected.assert_eq(&said);
}

/// Scenario: tables with one mistake each, and some without.
/// Guarantees: what can be seen to be wrong without asking anybody is found by `check`, at its key and with a hint.
#[test]
fn what_is_wrong_in_the_table() {
    check(
        r#"
        region = "eu-central-1"
        region = ""
        region = "Frankfurt"
        endpoint = "http://127.0.0.1:9000"
        endpoint = "https://gateway.example.com/s3"
        endpoint = "127.0.0.1:9000"
        endpoint = "minio"
        endpoint = "ftp://example.com"
        endpoint = "http://me:secret@example.com"
        endpoint = "http://example.com/?a=b"
        endpoint = "http://exa mple.com"
        profile = " "
        role = "arn:aws:iam::123456789012:role/forebay"
        role = "arn:aws-cn:iam::123456789012:role/team/forebay"; external_id = "x"; session_name = "night"
        role = "forebay"
        role = "arn:aws:iam::123456789012:user/forebay"
        role = "arn:aws:iam::123456789012:role/"
        external_id = "x"
        session_name = "x"
        role = "arn:aws:iam::123456789012:role/forebay"; session_name = "two words"
        access_key_id = "AK"; secret_access_key = "SK"; session_token = "T"
        access_key_id = "AK"
        secret_access_key = "SK"
        session_token = "T"
        access_key_id = "AK"; secret_access_key = ""
        access_key_id = "AK"; secret_access_key = "SK"; profile = "analytics"
        acces_key = "AK"
        "#,
        expect![[r#"
            region = "eu-central-1"
                good
            region = ""
                [aws.region] `region` is empty; hint: none
            region = "Frankfurt"
                [aws.region] `Frankfurt` is not a region; hint: write the region as AWS does, such as "eu-central-1"
            endpoint = "http://127.0.0.1:9000"
                good
            endpoint = "https://gateway.example.com/s3"
                good
            endpoint = "127.0.0.1:9000"
                [aws.endpoint] `endpoint` is not the URL of a server: it has no `http://` or `https://`; hint: write scheme, host and port, such as "http://127.0.0.1:9000"
            endpoint = "minio"
                [aws.endpoint] `endpoint` is not the URL of a server: it has no `http://` or `https://`; hint: write scheme, host and port, such as "http://127.0.0.1:9000"
            endpoint = "ftp://example.com"
                [aws.endpoint] `endpoint` is not the URL of a server: `ftp` is neither `http` nor `https`; hint: write scheme, host and port, such as "http://127.0.0.1:9000"
            endpoint = "http://me:secret@example.com"
                [aws.endpoint] `endpoint` is not the URL of a server: it must hold no user name and no password; hint: write scheme, host and port, such as "http://127.0.0.1:9000"
            endpoint = "http://example.com/?a=b"
                [aws.endpoint] `endpoint` is not the URL of a server: it must hold no `?`; hint: write scheme, host and port, such as "http://127.0.0.1:9000"
            endpoint = "http://exa mple.com"
                [aws.endpoint] `endpoint` is not the URL of a server: invalid uri character; hint: write scheme, host and port, such as "http://127.0.0.1:9000"
            profile = " "
                [aws.profile] `profile` is empty; hint: none
            role = "arn:aws:iam::123456789012:role/forebay"
                good
            role = "arn:aws-cn:iam::123456789012:role/team/forebay"; external_id = "x"; session_name = "night"
                good
            role = "forebay"
                [aws.role] `forebay` is not the ARN of a role; hint: write an ARN such as "arn:aws:iam::123456789012:role/forebay"
            role = "arn:aws:iam::123456789012:user/forebay"
                [aws.role] `arn:aws:iam::123456789012:user/forebay` is not the ARN of a role; hint: write an ARN such as "arn:aws:iam::123456789012:role/forebay"
            role = "arn:aws:iam::123456789012:role/"
                [aws.role] `arn:aws:iam::123456789012:role/` is not the ARN of a role; hint: write an ARN such as "arn:aws:iam::123456789012:role/forebay"
            external_id = "x"
                [aws.external_id] `external_id` means nothing without `role`; hint: write an ARN such as "arn:aws:iam::123456789012:role/forebay"
            session_name = "x"
                [aws.session_name] `session_name` means nothing without `role`; hint: write an ARN such as "arn:aws:iam::123456789012:role/forebay"
            role = "arn:aws:iam::123456789012:role/forebay"; session_name = "two words"
                [aws.session_name] `two words` cannot be the name of a session; hint: write 2 to 64 of the characters A-Z a-z 0-9 _ = , . @ -
            access_key_id = "AK"; secret_access_key = "SK"; session_token = "T"
                good
            access_key_id = "AK"
                [aws.access_key_id] `access_key_id` needs `secret_access_key`; hint: give both, or none: then the credentials are found in the environment, the profile or the instance's role
            secret_access_key = "SK"
                [aws.secret_access_key] `secret_access_key` needs `access_key_id`; hint: give both, or none: then the credentials are found in the environment, the profile or the instance's role
            session_token = "T"
                [aws.session_token] `session_token` needs `access_key_id`; hint: give both, or none: then the credentials are found in the environment, the profile or the instance's role
            access_key_id = "AK"; secret_access_key = ""
                [aws.secret_access_key] `secret_access_key` is empty; hint: none
            access_key_id = "AK"; secret_access_key = "SK"; profile = "analytics"
                [aws.profile] `profile` and `access_key_id` both say whose rights are used; hint: keep one of them
            acces_key = "AK"
                unknown field `acces_key`, expected one of `region`, `endpoint`, `path_style`, `profile`, `role`, `external_id`, `session_name`, `access_key_id`, `secret_access_key`, `session_token`
        "#]],
    );
}

/// Scenario: a table with a secret is printed.
/// Guarantees: the secret is not.
#[test]
fn secrets_stay_secret() {
    let aws: Aws = toml::from_str("access_key_id = \"AK\"\nsecret_access_key = \"hush\"").unwrap();
    let shown = format!("{aws:?}");
    assert!(!shown.contains("hush") && !shown.contains("AK"), "{shown}");
}

/// Scenario: no region is found, with and without an endpoint.
/// Guarantees: for AWS that is an error that says what to set; another server gets the region that such servers expect.
#[test]
fn no_region_anywhere() {
    let error = Aws::default().region_otherwise().unwrap_err().to_string();
    assert!(error.contains("set `region`") && error.contains("AWS_REGION"), "{error}");
    let other = Aws { endpoint: Some("http://127.0.0.1:9000".into()), ..Aws::default() };
    assert_eq!(other.region_otherwise().unwrap().as_ref(), "us-east-1");
}

/// Scenario: many failures in a row, for many seeds.
/// Guarantees: the pauses grow, have no fixed part, never exceed 30 s, and are the same for the same seed.
#[test]
fn pauses_grow_to_a_bound() {
    let mut said = String::new();
    for attempt in [0, 1, 2, 5, 7, 8, 31, 32, u32::MAX] {
        let mut pauses: Vec<u128> = (0..1000).map(|seed| backoff(attempt, seed).as_millis()).collect();
        pauses.sort_unstable();
        assert_eq!(backoff(attempt, 7), backoff(attempt, 7));
        let tenth = |nth: usize| pauses[nth * 100] / 100;
        let (low, middle, high) = (tenth(1), tenth(5), pauses[999] / 100);
        writeln!(said, "{attempt}: a tenth below {low}, half below {middle}, all below {} (in 100 ms)", high + 1)
            .unwrap();
    }
    expect![[r#"
        0: a tenth below 0, half below 1, all below 2 (in 100 ms)
        1: a tenth below 0, half below 1, all below 4 (in 100 ms)
        2: a tenth below 0, half below 3, all below 8 (in 100 ms)
        5: a tenth below 7, half below 32, all below 64 (in 100 ms)
        7: a tenth below 24, half below 125, all below 256 (in 100 ms)
        8: a tenth below 26, half below 140, all below 300 (in 100 ms)
        31: a tenth below 29, half below 151, all below 300 (in 100 ms)
        32: a tenth below 32, half below 151, all below 300 (in 100 ms)
        4294967295: a tenth below 29, half below 148, all below 300 (in 100 ms)
    "#]]
    .assert_eq(&said);
}
