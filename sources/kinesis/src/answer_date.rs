//! The time at which the service gave an answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

/// Keeps what the last answer to a call says in its head, `Date` (RFC 9110, 6.6.1).
#[derive(Clone, Debug, Default)]
pub struct AnswerDate(Arc<Mutex<Option<SystemTime>>>);

impl AnswerDate {
    /// What it said; `None`: nothing.
    pub fn get(&self) -> Option<SystemTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let said =
            context.response().headers().get("date").and_then(|it| DateTime::from_str(it, Format::HttpDate).ok());
        let said = said.and_then(|it| SystemTime::try_from(it).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
        Ok(())
    }
}
