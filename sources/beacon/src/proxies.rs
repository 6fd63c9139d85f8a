//! Where a request comes from, if proxies stand in between.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// Addresses with a common beginning, such as `10.0.0.0/8`; or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a network: write it as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\"");
        let (address, bits) = text.split_once('/').map_or((text.as_str(), None), |it| (it.0, Some(it.1)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most || truncated(address, bits) != address {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl Network {
    /// Whether the address, which is [`plain`], is one of them.
    pub fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && truncated(address, self.bits) == self.address
    }
}

/// The address with all but its first bits zero.
pub fn truncated(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(it) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            IpAddr::V4((u32::from(it) & mask).into())
        }
        IpAddr::V6(it) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            IpAddr::V6((u128::from(it) & mask).into())
        }
    }
}

/// An IPv4 address is one, however it is written.
pub fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// A header that says where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressHeader {
    /// `CloudFront-Viewer-Address`: the address and the port of who has asked CloudFront.
    CloudfrontViewerAddress,
    /// `Forwarded`, as RFC 7239 describes it. Only for proxies that put quotes around what they take from a client, such as
    /// `host`: otherwise it may say what it likes.
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// Who may say where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    pub trusted: Vec<Network>,
    pub headers: Vec<AddressHeader>,
}

impl Proxies {
    /// Whether an address is that of a proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|it| it.holds(address))
    }

    /// The address of the client. A header counts only if a proxy has sent it; and of a list the last address that is not
    /// that of a proxy, because everything to the left of it may have been made up.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = plain(peer);
        if !self.trusts(peer) {
            return peer;
        }
        let found = self.headers.iter().find_map(|header| match header {
            AddressHeader::CloudfrontViewerAddress => {
                let (address, _port) = headers.get("cloudfront-viewer-address")?.to_str().ok()?.rsplit_once(':')?;
                parsed(address)
            }
            AddressHeader::Forwarded => {
                self.last_client(lines(headers, "forwarded").flat_map(|it| unquoted(it, b',')).map(forwarded_for))
            }
            AddressHeader::XForwardedFor => {
                self.last_client(lines(headers, "x-forwarded-for").flat_map(|it| it.rsplit(',')).map(parsed))
            }
        });
        found.unwrap_or(peer)
    }

    /// Of addresses from the right the first one that is not a proxy. What is no address ends the search: it was not a proxy
    /// of ours that wrote what stands to the left of it.
    fn last_client(&self, addresses: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut reached = None;
        for address in addresses {
            let Some(address) = address else { return reached };
            if !self.trusts(address) {
                return Some(address);
            }
            reached = Some(address);
        }
        reached
    }
}

/// The lines of a header, the last one first.
fn lines<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().rev().map(|it| it.to_str().unwrap_or("?"))
}

/// The pieces of a text that a mark parts where it does not stand in quotes, the last one first. The quotes are found from
/// the right too: those that a proxy has written end, and what a client has written to the left of them need not.
fn unquoted(text: &str, mark: u8) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is_escaped = |at: usize| bytes[..at].iter().rev().take_while(|it| **it == b'\\').count() % 2 == 1;
    let (mut pieces, mut end, mut is_quoted) = (Vec::new(), bytes.len(), false);
    for at in (0..bytes.len()).rev() {
        if bytes[at] == b'"' && !is_escaped(at) {
            is_quoted = !is_quoted;
        } else if bytes[at] == mark && !is_quoted {
            pieces.push(&text[at + 1..end]);
            end = at;
        }
    }
    pieces.push(&text[..end]);
    pieces
}

/// The address of `for=` in an element of `Forwarded`, which may have only one.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut values = unquoted(element, b';').into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let value = values.next()?;
    let address = parsed(value.trim().trim_matches('"'));
    address.filter(|_| values.next().is_none())
}

/// An address, with or without a port and brackets.
fn parsed(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = || text.strip_prefix('[')?.split_once(']')?.0.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.rsplit_once(':')?.0.parse().ok().filter(IpAddr::is_ipv4);
    text.parse().ok().or_else(bracketed).or_else(with_port).map(plain)
}
