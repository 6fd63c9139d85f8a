//! What errors mean.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ConnectorError, ErrorMetadata};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use expect_test::{Expect, expect};

use super::word;
use crate::{broken, failed, trouble};

type Failure = SdkError<GetObjectError, HttpResponse>;

/// One answer a line: status, code (`-`: none), then headers as `name=value`.
fn answer(line: &str) -> Failure {
    let mut words = line.split_whitespace();
    let status: u16 = words.next().unwrap().parse().unwrap();
    let code = words.next().unwrap();
    let mut raw = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
    for (name, value) in words.map(|it| it.split_once('=').unwrap()) {
        raw.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    let mut metadata = ErrorMetadata::builder();
    if code != "-" {
        metadata = metadata.code(code);
    }
    SdkError::service_error(GetObjectError::generic(metadata.build()), raw)
}

/// Scenario: codes that components act upon, with and without the ending that some services add, and others.
/// Guarantees: each is about what its service says it is; of all others nothing is claimed.
#[test]
fn what_an_error_is_about() {
    let codes = [
        "ProvisionedThroughputExceededException",
        "KMSThrottlingException",
        "LimitExceededException",
        "ResourceNotFoundException",
        "ResourceInUseException",
        "InvalidArgumentException",
        "ExpiredIteratorException",
        "ExpiredNextTokenException",
        "ConditionalCheckFailedException",
        "ConditionalCheckFailed",
        "AccessDenied",
        "-",
    ];
    let about = |code: &&str| format!("{code}: {:?}", trouble("reading", answer(&format!("400 {code}"))).reason());
    expect![[r#"
        ProvisionedThroughputExceededException: Some(Throttled)
        KMSThrottlingException: Some(Throttled)
        LimitExceededException: Some(TooMany)
        ResourceNotFoundException: Some(NotFound)
        ResourceInUseException: Some(InUse)
        InvalidArgumentException: Some(Invalid)
        ExpiredIteratorException: Some(Expired)
        ExpiredNextTokenException: Some(Expired)
        ConditionalCheckFailedException: Some(Condition)
        ConditionalCheckFailed: Some(Condition)
        AccessDenied: None
        -: None"#]]
    .assert_eq(&codes.iter().map(about).collect::<Vec<_>>().join("\n"));
}

fn check(answers: &str, expected: Expect) {
    let mut said = String::new();
    for line in answers.lines().map(str::trim).filter(|it| !it.is_empty()) {
        writeln!(said, "{:<6} {line}", word(&trouble("reading", answer(line)))).unwrap();
    }
    expected.assert_eq(&said);
}

/// Scenario: answers of S3, SQS and S3-compatible servers, by status, code and headers.
/// Guarantees: what passes is tried again, what needs a person is waited for, what is gone is not waited for, and only
/// what can never work is called wrong. A code goes before the status; a 404 without a code is no word about an object.
#[test]
fn what_an_answer_means() {
    check(
        "
        503 SlowDown
        503 ServiceUnavailable
        500 InternalError
        400 RequestTimeout
        400 ThrottlingException
        400 RequestThrottled
        403 RequestThrottled
        403 OverLimit
        409 OperationAborted
        409 ConditionalRequestConflict
        400 BadDigest
        307 TemporaryRedirect
        400 KmsThrottled
        400 KMS.ThrottlingException
        503 XMinioServerNotInitialized
        500 -
        502 -
        429 -
        408 -
        200 -
        403 AccessDenied
        403 -
        401 -
        404 NoSuchBucket
        400 ExpiredToken
        403 ExpiredTokenException
        403 InvalidAccessKeyId
        403 InvalidClientTokenId
        403 SignatureDoesNotMatch
        403 RequestTimeTooSkewed
        400 QueueDoesNotExist
        400 AWS.SimpleQueueService.NonExistentQueue
        400 KMS.DisabledException
        400 KmsAccessDenied
        507 XMinioStorageFull
        507 -
        404 -
        404 NoSuchKey
        404 NoSuchVersion
        404 NoSuchUpload
        404 NotFound
        404 - x-amz-delete-marker=true
        405 MethodNotAllowed x-amz-delete-marker=true
        405 MethodNotAllowed
        400 ReceiptHandleIsInvalid
        400 AWS.SimpleQueueService.MessageNotInflight
        412 PreconditionFailed
        412 -
        301 PermanentRedirect
        301 - x-amz-bucket-region=eu-west-1
        400 AuthorizationHeaderMalformed
        400 InvalidArgument
        400 MalformedXML
        416 InvalidRange
        403 InvalidObjectState
        501 NotImplemented
        400 -
        ",
        expect![[r#"
            retry  503 SlowDown
            retry  503 ServiceUnavailable
            retry  500 InternalError
            retry  400 RequestTimeout
            retry  400 ThrottlingException
            retry  400 RequestThrottled
            retry  403 RequestThrottled
            retry  403 OverLimit
            retry  409 OperationAborted
            retry  409 ConditionalRequestConflict
            retry  400 BadDigest
            retry  307 TemporaryRedirect
            retry  400 KmsThrottled
            retry  400 KMS.ThrottlingException
            retry  503 XMinioServerNotInitialized
            retry  500 -
            retry  502 -
            retry  429 -
            retry  408 -
            retry  200 -
            wait   403 AccessDenied
            wait   403 -
            wait   401 -
            wait   404 NoSuchBucket
            wait   400 ExpiredToken
            wait   403 ExpiredTokenException
            wait   403 InvalidAccessKeyId
            wait   403 InvalidClientTokenId
            wait   403 SignatureDoesNotMatch
            wait   403 RequestTimeTooSkewed
            wait   400 QueueDoesNotExist
            wait   400 AWS.SimpleQueueService.NonExistentQueue
            wait   400 KMS.DisabledException
            wait   400 KmsAccessDenied
            wait   507 XMinioStorageFull
            wait   507 -
            wait   404 -
            gone   404 NoSuchKey
            gone   404 NoSuchVersion
            gone   404 NoSuchUpload
            gone   404 NotFound
            gone   404 - x-amz-delete-marker=true
            gone   405 MethodNotAllowed x-amz-delete-marker=true
            wrong  405 MethodNotAllowed
            gone   400 ReceiptHandleIsInvalid
            gone   400 AWS.SimpleQueueService.MessageNotInflight
            exists 412 PreconditionFailed
            exists 412 -
            wrong  301 PermanentRedirect
            wrong  301 - x-amz-bucket-region=eu-west-1
            wrong  400 AuthorizationHeaderMalformed
            wrong  400 InvalidArgument
            wrong  400 MalformedXML
            wrong  416 InvalidRange
            wrong  403 InvalidObjectState
            wrong  501 NotImplemented
            wrong  400 -
        "#]],
    );
}

fn io(kind: io::ErrorKind, text: &str) -> ConnectorError {
    ConnectorError::io(io::Error::new(kind, text).into())
}

/// Scenario: failures of every kind, with all that an answer may hold.
/// Guarantees: the text names what was tried, the code, the message, the status, the request and all causes, in one
/// line, and says what might help; "service error" and "dispatch failure" do not occur.
#[test]
fn what_is_said() {
    let raw = |status: u16, headers: &[(&'static str, &'static str)]| {
        let mut raw = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        for (name, value) in headers {
            raw.headers_mut().insert(*name, *value);
        }
        raw
    };
    let service = |code, message, raw| {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        Failure::service_error(GetObjectError::generic(metadata), raw)
    };
    let request = ("x-amz-request-id", "4442587FB7D0A2F9");
    let west = ("x-amz-bucket-region", "eu-west-1");
    let failures = [
        service("SlowDown", "Please reduce your request rate.", raw(503, &[request])),
        service("AccessDenied", "User: arn:aws:iam::1:user/me is not\nauthorized", raw(403, &[request])),
        service("PermanentRedirect", "The bucket is elsewhere.", raw(301, &[request, west])),
        service("PermanentRedirect", "The bucket is elsewhere.", raw(301, &[])),
        service("SignatureDoesNotMatch", "", raw(403, &[])),
        answer("403 -"),
        answer("404 -"),
        answer("400 - x-amz-bucket-region=eu-west-1"),
        Failure::response_error("unexpected end of input", raw(200, &[])),
        Failure::response_error("unexpected end of input", raw(400, &[request])),
        Failure::response_error("unexpected end of input", raw(301, &[west])),
        Failure::timeout_error("no answer within 30s"),
        Failure::dispatch_failure(io(io::ErrorKind::ConnectionRefused, "Connection refused (os error 111)")),
        Failure::dispatch_failure(ConnectorError::timeout("connect timed out after 5s".into())),
        Failure::dispatch_failure(ConnectorError::user("invalid port".into())),
        Failure::construction_failure("`bucket` was unset"),
        Failure::construction_failure(CredentialsError::not_loaded("no providers in chain provided credentials")),
        Failure::dispatch_failure(ConnectorError::other(
            CredentialsError::provider_timed_out(Duration::from_secs(5)).into(),
            None,
        )),
    ];
    let mut said = String::new();
    for failure in failures {
        let trouble = trouble("reading `s3://logs/a.gz`", failure);
        writeln!(said, "{}: {trouble}", word(&trouble)).unwrap();
    }
    let entry = failed("deleting a message", "InternalError", Some("try later"));
    writeln!(said, "{}: {entry}", word(&entry)).unwrap();
    let stale = "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.";
    let entry = failed("deleting a message", "InvalidParameterValue", Some(stale));
    writeln!(said, "{}: {entry}", word(&entry)).unwrap();
    let cut = broken("reading `s3://logs/a.gz`", &io::Error::other("connection reset"));
    writeln!(said, "{}: {cut}", word(&cut)).unwrap();
    expect![[r#"
        retry: reading `s3://logs/a.gz`: `SlowDown`: Please reduce your request rate (status 503, request `4442587FB7D0A2F9`)
        wait: reading `s3://logs/a.gz`: `AccessDenied`: User: arn:aws:iam::1:user/me is not authorized (status 403, request `4442587FB7D0A2F9`)
        wrong: reading `s3://logs/a.gz`: `PermanentRedirect`: The bucket is elsewhere (status 301, request `4442587FB7D0A2F9`); the bucket is in `eu-west-1`: set `region = "eu-west-1"`
        wrong: reading `s3://logs/a.gz`: `PermanentRedirect`: The bucket is elsewhere (status 301); the bucket is in another region: set `region`
        wait: reading `s3://logs/a.gz`: `SignatureDoesNotMatch` (status 403); the secret does not belong to the access key
        wait: reading `s3://logs/a.gz`: refused without a reason (status 403)
        wait: reading `s3://logs/a.gz`: refused without a reason (status 404); is `endpoint` the address of the service?
        wrong: reading `s3://logs/a.gz`: refused without a reason (status 400); the bucket is in `eu-west-1`: set `region = "eu-west-1"`
        retry: reading `s3://logs/a.gz`: the answer cannot be read: unexpected end of input (status 200)
        retry: reading `s3://logs/a.gz`: the answer cannot be read: unexpected end of input (status 400, request `4442587FB7D0A2F9`)
        wrong: reading `s3://logs/a.gz`: the answer cannot be read: unexpected end of input (status 301); the bucket is in `eu-west-1`: set `region = "eu-west-1"`
        retry: reading `s3://logs/a.gz`: no answer: no answer within 30s
        retry: reading `s3://logs/a.gz`: no answer: Connection refused (os error 111)
        retry: reading `s3://logs/a.gz`: no answer: connect timed out after 5s
        wrong: reading `s3://logs/a.gz`: the request cannot be sent: invalid port
        wrong: reading `s3://logs/a.gz`: the request cannot be made: `bucket` was unset
        wait: reading `s3://logs/a.gz`: no credentials: the credential provider was not enabled: no providers in chain provided credentials; give the machine a role, log in, set `AWS_PROFILE`, or set `access_key_id` and `secret_access_key`
        wait: reading `s3://logs/a.gz`: no credentials: credentials provider timed out after 5 seconds
        retry: deleting a message: `InternalError`: try later
        gone: deleting a message: `InvalidParameterValue`: Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired
        retry: reading `s3://logs/a.gz`: the answer broke off: connection reset
    "#]].assert_eq(&said);
}
