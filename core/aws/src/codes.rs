//! The table: what an answer of AWS means for those who asked.
//!
//! After "Error responses" of the Amazon S3 API reference, "Common Errors" of the Amazon SQS API reference, the
//! errors of each action in the API references of Amazon Kinesis Data Streams and Amazon Data Firehose, the retry
//! rules of the AWS SDKs ("Retry behavior", AWS SDKs and Tools Reference Guide), and what S3-compatible servers add.

use crate::trouble::Answer;

/// See [`crate::Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Retry,
    Wait,
    Gone,
    Exists,
    Wrong,
}

/// What an error is about, for those who can do more about it than wait: what a code of a service says where it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// More was asked for in a second than is given.
    Throttled,
    /// A limit is reached: of calls in a second, or of things that there may be.
    TooMany,
    /// A stream, a shard, a consumer, a table is not there, or not yet.
    NotFound,
    /// Somebody else has it, or it is about to change.
    InUse,
    /// Something in the request is none: a position in another shard, among other things.
    Invalid,
    /// An iterator or a token is too old.
    Expired,
    /// The condition of a write does not hold.
    Condition,
}

const REASONS: [(Reason, &[&str]); 7] = [
    (Reason::Throttled, &["ProvisionedThroughputExceeded", "KMSThrottling"]),
    (Reason::TooMany, &["LimitExceeded"]),
    (Reason::NotFound, &["ResourceNotFound"]),
    (Reason::InUse, &["ResourceInUse"]),
    (Reason::Invalid, &["InvalidArgument"]),
    (Reason::Expired, &["ExpiredIterator", "ExpiredNextToken"]),
    (Reason::Condition, &["ConditionalCheckFailed"]),
];

/// What a code is about, as far as it is known.
pub fn reason(code: &str) -> Option<Reason> {
    let code = bare(code);
    REASONS.iter().find(|it| it.1.contains(&code)).map(|it| it.0)
}

/// A code without what some services add to it.
fn bare(code: &str) -> &str {
    let code = code.rsplit_once("SimpleQueueService.").map_or(code, |it| it.1);
    code.strip_suffix("Exception").unwrap_or(code)
}

/// Codes without the ending `Exception`, which some services add, and without the name space of SQS.
const CODES: [(Next, &[&str]); 5] = [
    (
        Next::Retry,
        &[
            // The service is busy, or fails.
            "SlowDown",
            "ServiceUnavailable",
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "RequestTimeout",
            // Too much was asked.
            "Throttling",
            "Throttled",
            "ThrottledRequest",
            "RequestThrottled",
            "RequestLimitExceeded",
            "TooManyRequests",
            "BandwidthLimitExceeded",
            "LimitExceeded",
            "KMS.Throttling",
            "KmsThrottled",
            "KMSThrottling",
            // Kinesis: a shard has given what it gives in a second; a consumer or a subscription is in another's way.
            "ProvisionedThroughputExceeded",
            "ResourceInUse",
            // SQS: as many messages as a queue allows are in flight.
            "OverLimit",
            // Another request about the same thing came between.
            "OperationAborted",
            "ConditionalRequestConflict",
            "PriorRequestNotComplete",
            // What was sent arrived damaged or cut.
            "BadDigest",
            "IncompleteBody",
            "XAmzContentSHA256Mismatch",
            // A new bucket, until the DNS knows it.
            "TemporaryRedirect",
        ],
    ),
    (
        Next::Wait,
        &[
            "AccessDenied",
            "AccessForbidden",
            "AllAccessDisabled",
            "AccountProblem",
            "AuthFailure",
            "NotSignedUp",
            "OptInRequired",
            "SubscriptionRequired",
            "UnauthorizedAccess",
            "NotAuthorized",
            // Credentials.
            "ExpiredToken",
            "RequestExpired",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSecurity",
            "InvalidToken",
            "TokenRefreshRequired",
            "UnrecognizedClient",
            "MissingAuthenticationToken",
            "SignatureDoesNotMatch",
            "InvalidSignature",
            "RequestTimeTooSkewed",
            // What was there, or will be.
            "NoSuchBucket",
            "NoSuchAccessPoint",
            "QueueDoesNotExist",
            "NonExistentQueue",
            "QueueDeletedRecently",
            // Kinesis: a stream, a shard or a consumer.
            "ResourceNotFound",
            "KMSAccessDenied",
            "KMSDisabled",
            "KMSInvalidState",
            "KMSNotFound",
            "KMSOptInRequired",
            // Firehose: the key of a stream.
            "InvalidKMSResource",
            // The server is full: MinIO, and others.
            "XMinioStorageFull",
            "InsufficientCapacity",
            "QuotaExceeded",
        ],
    ),
    (
        Next::Gone,
        &[
            "NoSuchKey",
            "NoSuchVersion",
            "NoSuchUpload",
            // The SDK's name for the answer to HEAD, which has no body.
            "NotFound",
            // Kinesis: what is valid for five minutes.
            "ExpiredIterator",
            "ExpiredNextToken",
            // SQS: somebody else has the message by now, or deleted it.
            "ReceiptHandleIsInvalid",
            "MessageNotInflight",
        ],
    ),
    (Next::Exists, &["PreconditionFailed"]),
    (
        Next::Wrong,
        &["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint", "InvalidObjectState"],
    ),
];

/// What an answer means, and what might help. `status` is 0 for an entry of a batch.
pub fn by_answer(answer: &Answer<'_>) -> (Next, Option<String>) {
    (next(answer), hint(answer))
}

fn next(answer: &Answer<'_>) -> Next {
    if answer.deleted && matches!(answer.status, 404 | 405) {
        return Next::Gone;
    }
    if answer.code.is_some_and(|it| it.ends_with("InvalidParameterValue")) && about_a_receipt(answer) {
        return Next::Gone;
    }
    answer.code.and_then(by_code).unwrap_or_else(|| by_status(answer.status))
}

/// SQS has no code of its own for a receipt handle that has expired.
fn about_a_receipt(answer: &Answer<'_>) -> bool {
    answer.message.is_some_and(|it| it.contains("ReceiptHandle"))
}

fn by_code(code: &str) -> Option<Next> {
    let code = bare(code);
    let listed = CODES.iter().find(|it| it.1.contains(&code)).map(|it| it.0);
    // The key is disabled, pending deletion, or not ours to use: a person must decide.
    listed.or((code.starts_with("KMS.") || code.starts_with("Kms")).then_some(Next::Wait))
}

fn by_status(status: u16) -> Next {
    match status {
        // The entry of a batch, or an answer that says neither yes nor no.
        0..=299 | 307 | 408 | 409 | 425 | 429 => Next::Retry,
        // Without a code it was no S3 that answered, but something before it: that is no word about an object.
        401 | 403 | 404 | 407 => Next::Wait,
        412 => Next::Exists,
        501 | 505 => Next::Wrong,
        507 => Next::Wait,
        500.. => Next::Retry,
        _ => Next::Wrong,
    }
}

fn hint(answer: &Answer<'_>) -> Option<String> {
    let region = |it| format!("the bucket is in `{it}`: set `region = \"{it}\"`");
    match (answer.status, answer.code) {
        (301 | 400, _) if answer.region.is_some() => answer.region.map(region),
        (301, _) => Some("the bucket is in another region: set `region`".into()),
        (_, Some("RequestTimeTooSkewed")) => Some("set the clock of this machine".into()),
        (_, Some("InvalidObjectState")) => Some("the object is archived: restore it first".into()),
        (_, Some("SignatureDoesNotMatch")) => Some("the secret does not belong to the access key".into()),
        (404, None) => Some("is `endpoint` the address of the service?".into()),
        _ => None,
    }
}
