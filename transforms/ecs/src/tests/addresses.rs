//! Addresses against the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::convert::address::canonical;

/// Every address of so few different groups, where the rules of writing them meet.
fn v6() -> impl Iterator<Item = Ipv6Addr> {
    const GROUPS: [u16; 3] = [0, 1, 0xffff];
    (0..3_usize.pow(8)).map(|mut nth| {
        let groups: [u16; 8] = std::array::from_fn(|_| {
            let group = GROUPS[nth % 3];
            nth /= 3;
            group
        });
        groups.into()
    })
}

/// Ways to write an address that are not the canonical one, for the most part.
fn spellings(address: Ipv6Addr) -> [String; 5] {
    let groups = address.segments().map(|it| format!("{it:x}"));
    let all = groups.join(":");
    let gap = |from: usize, to: usize| format!("{}::{}", groups[..from].join(":"), groups[to..].join(":"));
    [all.clone(), all.to_uppercase(), gap(0, 2), gap(3, 5), gap(6, 8)]
}

/// Scenario: thousands of addresses, as they are canonical, and in other ways.
/// Guarantees: what passes as canonical without being read is what the standard library writes; everything that it
/// reads is read, and nothing else.
#[test]
fn canonical_is_what_the_standard_library_writes() {
    let v4 = [
        "0.0.0.0",
        "1.2.3.4",
        "255.255.255.255",
        "01.2.3.4",
        "1.2.3",
        "1.2.3.4.",
        "1..3.4",
        "256.1.1.1",
        "1.2.3.4.5",
        "",
    ];
    let odd = [
        ":",
        "::",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7:8:9",
        "1:",
        ":1",
        "::1.2.3.4",
        "::ffff:1.2.3.4",
        "::FFFF:1",
        "g::1",
        "12345::",
        "::1%eth0",
    ];
    let v6 = v6().flat_map(|it| spellings(it).into_iter().chain([it.to_string()]));
    let short = v4.iter().chain(&odd).map(|it| (*it).to_owned());
    let all_v4 = (0..2_000_u32).map(|it| Ipv4Addr::from(it.wrapping_mul(0x9e37_79b1)).to_string());
    for text in short.chain(all_v4).chain(v6) {
        let expected = text.parse::<IpAddr>().ok().map(|it| it.to_string());
        assert_eq!(canonical(&text).map(std::borrow::Cow::into_owned), expected, "{text}");
    }
}
