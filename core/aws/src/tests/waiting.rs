//! How long things are waited for.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use tokio::time::Instant;

use crate::{Patience, Trouble, within};

fn trouble() -> Trouble {
    Trouble::Retry("reading: no answer".into())
}

/// Scenario: something fails again and again, for hours; with an end to the waiting; then it works, and fails again.
/// Guarantees: the waits grow to at most 30 s; none goes beyond the end; after a success they begin anew; two that wait for
/// different things do not wait equally long.
#[tokio::test(start_paused = true)]
async fn patience() {
    let (mut one, mut other) = (Patience::new("one"), Patience::new("other"));
    let waits = |patience: &mut Patience| (0..200).map(|_| patience.failed_with(&trouble())).collect::<Vec<_>>();
    let (waited, otherwise) = (waits(&mut one), waits(&mut other));
    assert_ne!(waited, otherwise);
    assert!(waited[0] <= Duration::from_millis(200) && waited.iter().all(|it| *it <= Duration::from_secs(30)));
    assert!(waited[100..].iter().sum::<Duration>() > Duration::from_secs(600), "{waited:?}");

    let begun = Instant::now();
    one.wait_until(&trouble(), begun + Duration::from_millis(1)).await;
    assert!(begun.elapsed() <= Duration::from_millis(2));
    one.reset();
    one.wait(&trouble()).await;
    assert!(begun.elapsed() <= Duration::from_millis(203), "{:?}", begun.elapsed());
}

/// Scenario: a call that is never answered.
/// Guarantees: it ends in its time, as one that is to be tried again, and says what was tried.
#[tokio::test(start_paused = true)]
async fn no_answer() {
    let never = std::future::pending::<Result<(), SdkError<GetObjectError, HttpResponse>>>();
    let late = within(Duration::from_secs(3), "reading `s3://logs/a.gz`", never).await.unwrap_err();
    assert!(matches!(late, Trouble::Retry(_)));
    assert_eq!(late.to_string(), "reading `s3://logs/a.gz`: no answer within 3s");
}
