//! The SHA-256 of what is sent.

use aws_runtime::auth::PayloadSigningOverride;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use ring::digest::{SHA256, digest};

/// Tells the SDK's signer the SHA-256 of a request's body, which is nearly all that a signature costs.
///
/// The signer would use the crate `sha2`, whose code for a processor without instructions for SHA is portable Rust. That
/// of ring, which is here for TLS, is assembly, and takes half the time.
#[derive(Debug)]
pub struct BodyDigest;

impl Intercept for BodyDigest {
    fn name(&self) -> &'static str {
        "BodyDigest"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A body that is not in memory, and one that is not to be signed, are the SDK's business. The digest of an earlier
        // try is not relied on: what is signed is always what is sent.
        let is_settled = bag
            .load::<PayloadSigningOverride>()
            .is_some_and(|it| !matches!(it, PayloadSigningOverride::Precomputed(_)));
        if let Some(body) = context.request().body().bytes()
            && !body.is_empty()
            && !is_settled
        {
            let hex = digest(&SHA256, body).as_ref().iter().map(|it| format!("{it:02x}")).collect();
            bag.interceptor_state().store_put(PayloadSigningOverride::Precomputed(hex));
        }
        Ok(())
    }
}
