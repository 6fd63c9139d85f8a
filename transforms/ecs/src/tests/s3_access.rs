//! Server access logs of S3.

use super::*;

const COLUMNS: &str = "bucket_owner | bucket | time | remote_ip | requester | request_id | operation | key | request | \
    http_status | error_code | bytes_sent | object_size | total_time | turn_around_time | referer | user_agent | \
    version_id | host_id | signature_version | cipher_suite | authentication_type | host_header | tls_version | \
    access_point_arn | acl_required | source_region";

/// Scenario: a record with all fields of today.
/// Guarantees: no field is forgotten; who asked, what for and how it went are where ECS has them.
#[test]
fn record() {
    let row = "79a59df9 | bucket | 01/Nov/2026:09:00:00 +0000 | 192.0.2.3 | arn:aws:iam::1:user/me | 3E57427F3EXAMPLE | \
        REST.GET.OBJECT | photos/a%2520b.jpg | GET /photos/a%20b.jpg?versionId=1 HTTP/1.1 | 200 | - | 113 | 4406583 | 41 | 28 | \
        https://example.com/ | aws-sdk-rust/1.3.11 | 1 | hostid= | SigV4 | TLS_AES_128_GCM_SHA256 | AuthHeader | \
        bucket.s3.eu-central-1.amazonaws.com:443 | TLSv1.3 | arn:aws:s3:ap | Yes | eu-central-1";
    check(
        "mapping = 's3_access'",
        table([COLUMNS, row]),
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2026-11-01T09:00:00Z"
          aws.s3access.access_point_arn: Utf8 = "arn:aws:s3:ap"
          aws.s3access.acl_required: Utf8 = "Yes"
          aws.s3access.authentication_type: Utf8 = "AuthHeader"
          aws.s3access.bucket: Utf8 = "bucket"
          aws.s3access.bucket_owner: Utf8 = "79a59df9"
          aws.s3access.host_id: Utf8 = "hostid="
          aws.s3access.key: Utf8 = "photos/a%2520b.jpg"
          aws.s3access.object_size: Int64 = 4406583
          aws.s3access.signature_version: Utf8 = "SigV4"
          aws.s3access.source_region: Utf8 = "eu-central-1"
          aws.s3access.turn_around_time: Int64 = 28
          aws.s3access.version_id: Utf8 = "1"
          client.address: Utf8 = "192.0.2.3"
          client.ip: Utf8 = "192.0.2.3"
          client.user.id: Utf8 = "arn:aws:iam::1:user/me"
          cloud.provider: Utf8 = "aws"
          destination.address: Utf8 = "bucket.s3.eu-central-1.amazonaws.com:443"
          destination.domain: Utf8 = "bucket.s3.eu-central-1.amazonaws.com"
          ecs.version: Utf8 = "9.4.0"
          event.action: Utf8 = "REST.GET.OBJECT"
          event.category: List(Utf8) = ["web"]
          event.code: Utf8 = null
          event.duration: Int64 = 41000000
          event.id: Utf8 = "3E57427F3EXAMPLE"
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "success"
          event.type: List(Utf8) = ["access"]
          http.request.method: Utf8 = "GET"
          http.request.referrer: Utf8 = "https://example.com/"
          http.response.body.bytes: Int64 = 113
          http.response.status_code: Int64 = 200
          http.version: Utf8 = "1.1"
          network.type: Utf8 = "ipv4"
          related.hosts: List(Utf8) = ["bucket.s3.eu-central-1.amazonaws.com"]
          related.ip: List(Utf8) = ["192.0.2.3"]
          related.user: List(Utf8) = ["arn:aws:iam::1:user/me"]
          tls.cipher: Utf8 = "TLS_AES_128_GCM_SHA256"
          tls.version: Utf8 = "1.3"
          tls.version_protocol: Utf8 = "tls"
          url.domain: Utf8 = "bucket.s3.eu-central-1.amazonaws.com"
          url.extension: Utf8 = "jpg"
          url.full: Utf8 = "https://bucket.s3.eu-central-1.amazonaws.com:443/photos/a%20b.jpg?versionId=1"
          url.original: Utf8 = "/photos/a%20b.jpg?versionId=1"
          url.path: Utf8 = "/photos/a%20b.jpg"
          url.query: Utf8 = "versionId=1"
          url.scheme: Utf8 = "https"
          user_agent.original: Utf8 = "aws-sdk-rust/1.3.11"
    "#]],
    );
}

/// Scenario: failures, requests without TLS, and operations that are no HTTP requests.
/// Guarantees: an error code is a failure whatever the status; there is no scheme where there is no URL.
#[test]
fn records() {
    let input = table([
        "request | http_status | error_code | host_header | tls_version | total_time | remote_ip | requester",
        "GET /a HTTP/1.1 | 200 | - | h | TLSv1.2 | 41 | 192.0.2.3 | -",
        "GET /a? HTTP/1.1 | 200 | InternalError | h:80 | - | 0 | 2001:DB8::1 | me",
        "HEAD /a HTTP/1.1 | 404 | - | h | TLSv1.2 | - | AWS Internal | me",
        "- | - | - | - | - | - | - | AmazonS3",
        "GET /a HTTP/1.1 | 200 | - | h | TLSv1.2 | soon | 192.0.2.3 | -",
    ]);
    let fields = [
        "event.outcome",
        "event.duration",
        "url.full",
        "url.domain",
        "client.address",
        "client.ip",
        "network.type",
        "related.ip",
        "related.user",
    ];
    check_some(
        "mapping = 's3_access'",
        input,
        &fields,
        expect![[r#"
        0 {"event.outcome":"success","event.duration":41000000,"url.full":"https://h/a","url.domain":"h","client.address":"192.0.2.3","client.ip":"192.0.2.3","network.type":"ipv4","related.ip":["192.0.2.3"],"related.user":null}
        1 {"event.outcome":"failure","event.duration":0,"url.full":"http://h:80/a?","url.domain":"h","client.address":"2001:DB8::1","client.ip":"2001:db8::1","network.type":"ipv6","related.ip":["2001:db8::1"],"related.user":["me"]}
        2 {"event.outcome":"failure","event.duration":null,"url.full":"https://h/a","url.domain":"h","client.address":"AWS Internal","client.ip":null,"network.type":null,"related.ip":null,"related.user":["me"]}
        3 {"event.outcome":null,"event.duration":null,"url.full":null,"url.domain":null,"client.address":null,"client.ip":null,"network.type":null,"related.ip":null,"related.user":["AmazonS3"]}
        4 refused: column `total_time`: `soon` is not a number of milliseconds
    "#]],
    );
}
