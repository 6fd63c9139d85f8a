//! An HTTP server for sources that strangers may reach.
//!
//! [`Server::start`] listens, over TLS if there is a certificate, and hands requests to an [`Answer`]. What it sees to is
//! that nobody takes more than a part of what there is:
//!
//! | of | there is no more than | |
//! |--|--|--|
//! | connections | [`Bounds::connections_max`], [`Bounds::per_address_max`] of one subscriber, and what the system lets the process open | `crowd`, `descriptors` |
//! | time without a request | [`Bounds::header_timeout`] for a head, [`Bounds::idle_timeout`] between two requests | `activity` |
//! | bytes of a head | [`Bounds::head_bytes_max`] | hyper |
//! | time and bytes of a body | what [`collect`] is told | `body` |
//! | bytes of a decompressed body | what [`decompress`] is told | `body` |
//! | bytes of all bodies that are in memory | what [`Memory`] has | `memory` |
//!
//! Whatever is not taken is counted by its reason: [`Counters`]. Beyond that, [`malformed()`] tells requests that a proxy
//! could read in another way.

mod activity;
mod body;
mod certificate;
mod counters;
mod crowd;
mod descriptors;
mod malformed;
mod memory;
mod server;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;

pub use crate::body::{BodyError, Coding, collect, decompress};
pub use crate::certificate::Tls;
pub use crate::counters::Counters;
pub use crate::crowd::subscriber;
pub use crate::malformed::malformed;
pub use crate::memory::{Held, Memory, NoMemory};
pub use crate::server::{Bounds, Server};

/// A request, of whose body nothing was read yet.
pub type Request = http::Request<Incoming>;

/// Forgets the head of a request. It stands in the memory into which the connection has read it, so who is done with it before
/// a long wait lets the next request be read into that.
pub fn forget_head(request: &mut Request) {
    std::mem::take(request.headers_mut());
    std::mem::take(request.uri_mut());
}

/// What is answered.
pub type Reply = http::Response<Full<Bytes>>;

/// Answers requests.
pub trait Answer: Send + Sync + 'static {
    /// Answers a request of a peer. The peer is that of the connection, an IPv4 address in its own form.
    ///
    /// The body may be left unread. Unless the answer says `Connection: close`, the server reads what is left while it
    /// answers, as far as [`Bounds::linger_bytes_max`]: who is cut off while sending does not get to read the answer.
    fn answer(&self, request: &mut Request, peer: IpAddr) -> impl Future<Output = Reply> + Send;

    /// Whether connections of an address are those of many clients, which may be more than
    /// [`Bounds::per_address_max`]. By default no address is a proxy's.
    fn is_proxy(&self, _peer: IpAddr) -> bool {
        false
    }

    /// Where is counted what does not become a request, under these reasons:
    ///
    /// - `connections`: there were too many, altogether or of one subscriber.
    /// - `tls`: client and server did not agree, or not in time.
    /// - `http`: what was sent is not HTTP, or too long a head.
    /// - `head_timeout`: the head of a request was begun and did not come to its end.
    fn counters(&self) -> &Counters;
}
