//! What is not to be known about visitors.
//!
//! What the head of a request decides happens before anything is written; what needs the body happens before anything
//! leaves the spool, refused events included.

use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::DNT;
use http::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::proxies::truncated;

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
    /// day can be told apart, and which nobody can undo when the day is over. `"remove"`: nothing.
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

const DAY_MILLIS: u64 = 86_400_000;

impl Addresses {
    /// `directory` holds the salt of the day, so that a restart does not make new visitors of old ones.
    pub fn new(kept: AddressKept, directory: &Path) -> Self {
        Self { kept, salts: Arc::new(Salts { path: directory.join("salt"), today: Mutex::default() }) }
    }

    /// The address, and whether it is a hash.
    pub fn kept(&self, address: IpAddr, now_millis: u64) -> io::Result<(Option<String>, bool)> {
        Ok(match self.kept {
            AddressKept::Keep => (Some(shown(address)), false),
            AddressKept::Truncate => {
                let bits = if address.is_ipv4() { 24 } else { 48 };
                (Some(shown(truncated(address, bits))), false)
            }
            AddressKept::Hash => (Some(self.salts.hash(address, now_millis / DAY_MILLIS)?), true),
            AddressKept::Remove => (None, false),
        })
    }

    /// Forgets the secret of a day that is over, by which its addresses could be found out.
    pub fn forget(&self, now_millis: u64) -> io::Result<()> {
        self.salts.forget(now_millis / DAY_MILLIS)
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

/// A secret for each day, of which only the one of today is there.
struct Salts {
    path: PathBuf,
    today: Mutex<Option<Salt>>,
}

#[derive(Clone, Copy)]
struct Salt {
    day: u64,
    bytes: [u8; 32],
}

impl Salts {
    fn hash(&self, address: IpAddr, day: u64) -> io::Result<String> {
        let salt = self.of(day)?;
        let mut hash = Sha256::new();
        // The salt has a fixed length, so nothing can be appended to what is hashed.
        hash.update(salt.bytes);
        match address {
            IpAddr::V4(it) => hash.update(it.octets()),
            IpAddr::V6(it) => hash.update(it.octets()),
        }
        Ok(hash.finalize()[..16].iter().map(|it| format!("{it:02x}")).collect())
    }

    fn of(&self, day: u64) -> io::Result<Salt> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        // A request may be a moment late, and must not end the day that has begun.
        let is_right = |it: &Salt| it.day == day || it.day == day + 1;
        if let Some(salt) = today.filter(is_right) {
            return Ok(salt);
        }
        let salt = match Salt::read(&self.path)?.filter(is_right) {
            Some(salt) => salt,
            None => {
                let mut bytes = [0; 32];
                std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                let salt = Salt { day, bytes };
                salt.write(&self.path)?;
                salt
            }
        };
        *today = Some(salt);
        Ok(salt)
    }

    fn forget(&self, day: u64) -> io::Result<()> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        today.take_if(|it| it.day < day);
        match Salt::read(&self.path)? {
            Some(salt) if salt.day < day => std::fs::remove_file(&self.path),
            _ => Ok(()),
        }
    }
}

impl Salt {
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let day = bytes.first_chunk().map(|it| u64::from_le_bytes(*it));
        let salt = bytes.get(8..).and_then(|it| it.try_into().ok());
        // Of a file that was not written to its end there is nothing to be had.
        Ok(day.zip(salt).map(|(day, bytes)| Self { day, bytes }))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        file?.write_all(&[&self.day.to_le_bytes()[..], &self.bytes].concat())
    }
}
