//! What connections may do.

use std::sync::Arc;
use std::time::Duration;

use forebay_api::BoxError;
use forebay_listen::{Bounds, Server};

use crate::Firehose;
use crate::endpoint::Endpoint;
use crate::request::BODY_BYTES_MAX;

/// One host that says nothing must not keep Firehose out, and Firehose comes from many addresses.
const CONNECTIONS_MAX: usize = 1024;
const PER_ADDRESS_MAX: usize = 256;

/// How long a client may take for TLS, and for the head of a request.
const HEADER: Duration = Duration::from_secs(10);
/// How long a connection may wait for the next request: longer than load balancers do.
const IDLE: Duration = Duration::from_secs(75);

/// The largest head: 50 common attributes of 256 and 1024 bytes, and the access key of 4096.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// Begins to listen.
pub(crate) async fn start(config: &Firehose, endpoint: Arc<Endpoint>) -> Result<Server, BoxError> {
    let bounds = Bounds {
        connections_max: CONNECTIONS_MAX,
        per_address_max: PER_ADDRESS_MAX,
        header_timeout: HEADER,
        idle_timeout: IDLE,
        head_bytes_max: HEAD_BYTES_MAX,
        linger_bytes_max: 2 * BODY_BYTES_MAX as u64,
        // Firehose does not speak HTTP/2.
        http_2: false,
    };
    Server::start(config.listen, config.tls.as_ref(), bounds, endpoint).await
}
