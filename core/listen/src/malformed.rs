//! Requests that two readers could read in two ways.

use http::header::{HOST, TRANSFER_ENCODING};
use http::{Request, Version};

/// Whether a proxy in front could read the request in another way, so that what one takes for a body is a request to the
/// other: RFC 9112, sections 3.2 and 6.3. To be answered with 400, and the connection to be closed.
///
/// The rest of that chapter is hyper's: it refuses a coding that does not end with `chunked`, any coding in HTTP/1.0, and
/// lengths that differ; it leaves a length away that stands beside a coding, and the second of two that are equal. So
/// none of these is seen here.
pub fn malformed<B>(request: &Request<B>) -> bool {
    if request.version() > Version::HTTP_11 {
        // Lengths are those of frames there, and the host is a pseudo-header.
        return false;
    }
    let count = |name| request.headers().get_all(name).iter().count();
    let is_odd = |it: &http::HeaderValue| !it.as_bytes().eq_ignore_ascii_case(b"chunked");
    let is_odd_coding = request.headers().get(TRANSFER_ENCODING).is_some_and(is_odd);
    let is_without_host = request.version() == Version::HTTP_11 && count(HOST) == 0;
    is_odd_coding || count(TRANSFER_ENCODING) > 1 || is_without_host || count(HOST) > 1
}
