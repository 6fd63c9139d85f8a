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
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    let is_hostless = hosts == 0 && request.version() == Version::HTTP_11;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_odd = codings.next().is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"chunked"));
    is_hostless || hosts > 1 || is_odd || codings.next().is_some()
}
