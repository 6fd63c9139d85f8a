//! The table of settings, the table of errors, and both against real servers.

mod digest;
mod live;
mod location;
mod meaning;
mod settings;
mod waiting;

use forebay_api::Secret;
use forebay_testkit::services::{ACCESS_KEY, SECRET_KEY};

use crate::{Aws, Trouble};

/// The settings for a server of the testkit.
fn at(endpoint: String) -> Aws {
    Aws {
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint),
        access_key_id: Some(Secret::new(ACCESS_KEY)),
        secret_access_key: Some(Secret::new(SECRET_KEY)),
        ..Aws::default()
    }
}

/// What is done next, in a word.
fn word(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Retry(_) => "retry",
        Trouble::Wait(_) => "wait",
        Trouble::Gone(_) => "gone",
        Trouble::Exists(_) => "exists",
        Trouble::Wrong(_) => "wrong",
    }
}
