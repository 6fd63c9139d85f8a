//! What is not to be known about visitors.
//!
//! What the head of a request decides happens before anything is written; what needs the body happens before anything
//! leaves the spool, refused events included.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use forebay_spool::Disk;
use http::header::DNT;
use http::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;

use crate::proxies::truncated;
use crate::refusal::Refusal;
use crate::salts::Salts;

/// What is not kept of visitors.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// What becomes of requests with `Sec-GPC: 1`, by which visitors forbid that data about them is sold or shared. By
    /// default `"strip"`: they are kept without the address and the user agent, and without the fields `client`, `device`,
    /// `host`, `related`, `source`, `user` and `user_agent`. `"refuse"`: they are answered, and nothing is kept.
    /// `"ignore"`: they are kept as others are.
    #[serde(default)]
    pub gpc: Wish,
    /// The same for `DNT: 1`. By default `"ignore"`, since it was never agreed upon what it means.
    #[serde(default = "Wish::ignored")]
    pub dnt: Wish,
    /// What is kept of the client's address. By default `"keep"`: all, in `client.ip`. `"truncate"`: the first 24 bits of an
    /// IPv4 and the first 48 of an IPv6 address. `"hash"`: 32 hexadecimal digits in `client.address`, by which visits of one
    /// day can be told apart, and which nobody can undo when the day is over, by UTC; each process has a salt of its own.
    /// `"remove"`: nothing.
    #[serde(default)]
    pub address: AddressKept,
    /// The parameters that are kept in the queries of URLs, such as `["utm_source"]`. By default all, and fragments too. If it
    /// is set, `url.fragment` is removed, and so are the other parameters and all fragments: of `url.full`, `url.original`,
    /// `url.query`, `http.request.referrer`, `log.origin.file.name`, and fields that are called `url`, such as `event.url`;
    /// and wherever a URL, or a piece such as `/search?q=x`, stands in any other text, such as that of `error.message`,
    /// `error.stack_trace` and `message`, up to the next space or one of `"<>`. Values that are no text and may have a query
    /// are removed.
    pub query_parameters: Option<Vec<String>>,
    /// Fields that are removed, with all that lies below them, such as `["user", "http.request.body"]`; and arrays that
    /// may hold them, in this case one in `http`. By default none.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// What is done if a visitor has a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Nothing is kept.
    Refuse,
    /// What tells who it is is not kept.
    #[default]
    Strip,
    /// Everything is kept.
    Ignore,
}

impl Wish {
    fn ignored() -> Self {
        Self::Ignore
    }
}

/// What is kept of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressKept {
    /// All of it.
    #[default]
    Keep,
    /// The network.
    Truncate,
    /// A hash with a salt of the day.
    Hash,
    /// Nothing.
    Remove,
}

/// The fields that tell who a visitor is.
pub const STRIPPED: [&str; 7] = ["client", "device", "host", "related", "source", "user", "user_agent"];

static SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// A wish that is not ignored, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wished {
    Nothing,
    Strip,
    RefuseGpc,
    RefuseDnt,
}

impl Privacy {
    /// What the head of a request asks for.
    pub fn wished(&self, headers: &HeaderMap) -> Wished {
        let asks = |name: &HeaderName| headers.get(name).is_some_and(|it| it.as_bytes() == b"1");
        let gpc = if asks(&SEC_GPC) { self.gpc } else { Wish::Ignore };
        let dnt = if asks(&DNT) { self.dnt } else { Wish::Ignore };
        match (gpc, dnt) {
            (Wish::Refuse, _) => Wished::RefuseGpc,
            (_, Wish::Refuse) => Wished::RefuseDnt,
            (Wish::Ignore, Wish::Ignore) => Wished::Nothing,
            (Wish::Strip, _) | (_, Wish::Strip) => Wished::Strip,
        }
    }
}

/// Addresses as they are kept. Copies have the same secret.
#[derive(Clone)]
pub struct Addresses {
    kept: AddressKept,
    salts: Arc<Salts>,
}

impl Addresses {
    /// `disk` holds the salt of the day, so that a restart does not make new visitors of old ones.
    pub fn new(kept: AddressKept, disk: Arc<dyn Disk>) -> Self {
        Self { kept, salts: Salts::on(disk) }
    }

    /// The address, and whether it is a hash. `patience`: so long is waited for the disk that has the salt.
    pub async fn kept(
        &self,
        address: IpAddr,
        now_millis: u64,
        patience: Duration,
    ) -> Result<(Option<String>, bool), Refusal> {
        Ok(match self.kept {
            AddressKept::Keep => (Some(shown(address)), false),
            AddressKept::Truncate => {
                let bits = if address.is_ipv4() { 24 } else { 48 };
                (Some(shown(truncated(address, bits))), false)
            }
            AddressKept::Hash => {
                let salt = timeout(patience, self.salts.of(now_millis)).await.map_err(|_| Refusal::Stalled)?;
                let salt = salt.map_err(|error| {
                    tracing::warn!("there is no salt for addresses: {error}");
                    Refusal::Spool
                })?;
                (Some(salt.hash(address)), true)
            }
            AddressKept::Remove => (None, false),
        })
    }

    /// Forgets the secret of a day that is over, by which its addresses could be found out.
    pub async fn forget(&self, now_millis: u64) -> io::Result<()> {
        self.salts.forget(now_millis).await
    }
}

/// An address as text. The four numbers of an IPv4 address are written by hand, since every request has one, and to format
/// them takes longer than all else that is done with it.
fn shown(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (nth, number) in address.octets().into_iter().enumerate() {
        if nth > 0 {
            text.push('.');
        }
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if number >= least {
                text.push(char::from(b'0' + number / unit % 10));
            }
        }
    }
    text
}
