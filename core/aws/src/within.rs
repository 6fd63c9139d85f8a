//! Calls that take no longer than they may.

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::{Trouble, trouble};

/// Carries out a call of the SDK. One that has no answer within `limit` has failed like any other that got none: what was to
/// be done may have been, or may yet be. `doing` says what is tried: ``reading `s3://logs/a.gz` ``.
pub async fn within<T, E>(
    limit: Duration,
    doing: &str,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Trouble>
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| trouble(doing, error)),
        Err(_) => Err(Trouble::Retry(format!("{doing}: no answer within {limit:?}").into())),
    }
}
