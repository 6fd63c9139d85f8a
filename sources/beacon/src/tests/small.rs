//! Functions by themselves.

use std::io::Write;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Instant;

use ::http::HeaderMap;
use expect_test::{Expect, expect};
use forebay_listen::{Coding, Memory};
use forebay_spool::Disk;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::*;
use crate::body::{Caps, decompressed};
use crate::origins::Origin;
use crate::privacy::{AddressKept, Addresses};
use crate::proxies::{AddressHeader, Network, Proxies};
use crate::rates::Rates;
use crate::refusal::Refusal;

/// Scenario: headers of clients and of proxies, true ones and forged ones.
/// Guarantees: nobody but a trusted proxy can say where a request comes from, and of a list nothing counts that stands to the
/// left of what a client may have written.
#[test]
fn whose_address() {
    let cases: &[(&str, &str)] = &[
        ("203.0.113.5", "x-forwarded-for: 1.1.1.1"),
        ("10.0.0.1", ""),
        ("10.0.0.1", "x-forwarded-for: 192.0.2.7"),
        ("::ffff:10.0.0.1", "x-forwarded-for: 192.0.2.7"),
        ("10.0.0.1", "x-forwarded-for: 1.1.1.1, 192.0.2.7"),
        ("10.0.0.1", "x-forwarded-for: 1.1.1.1, 192.0.2.7, 10.0.0.9"),
        ("10.0.0.1", "x-forwarded-for: 1.1.1.1\nx-forwarded-for: 192.0.2.7, 10.0.0.9"),
        ("10.0.0.1", "x-forwarded-for: 10.0.0.8, 10.0.0.9"),
        ("10.0.0.1", "x-forwarded-for: 1.1.1.1, nonsense, 10.0.0.9"),
        ("10.0.0.1", "x-forwarded-for: nonsense"),
        ("10.0.0.1", "x-forwarded-for: 192.0.2.7:4711"),
        ("10.0.0.1", "x-forwarded-for: [2001:db8::7]:4711"),
        ("10.0.0.1", "x-forwarded-for: 2001:db8::7"),
        ("10.0.0.1", "forwarded: for=1.1.1.1, for=192.0.2.7;proto=https;by=10.0.0.1"),
        ("10.0.0.1", "forwarded: for=\"[2001:db8::7]:4711\""),
        ("10.0.0.1", "forwarded: for=_hidden"),
        ("10.0.0.1", "forwarded: for=_hidden\nx-forwarded-for: 192.0.2.7"),
        ("10.0.0.1", "forwarded: proto=https;host=\"x;for=6.6.6.6\";for=192.0.2.7"),
        ("10.0.0.1", "forwarded: for=192.0.2.7;host=\"x,for=6.6.6.6\""),
        ("10.0.0.1", "forwarded: for=192.0.2.7;host=\"x\\\",for=6.6.6.6\\\\\""),
        ("10.0.0.1", "forwarded: host=\"x, for=192.0.2.7"),
        ("10.0.0.1", "forwarded: for=\"6.6.6.6, for=192.0.2.7;host=\"y\""),
        ("10.0.0.1", "forwarded: for=192.0.2.7;host=x;for=6.6.6.6"),
        ("10.0.0.1", "cloudfront-viewer-address: 192.0.2.7:46532\nx-forwarded-for: 1.1.1.1"),
        ("10.0.0.1", "cloudfront-viewer-address: 2001:db8::7:46532"),
        ("203.0.113.5", "cloudfront-viewer-address: 192.0.2.7:46532"),
    ];
    let headers = vec![AddressHeader::CloudfrontViewerAddress, AddressHeader::Forwarded, AddressHeader::XForwardedFor];
    let proxies = Proxies { trusted: vec![Network::try_from("10.0.0.0/8".to_owned()).unwrap()], headers };
    let mut text = String::new();
    for (peer, lines) in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.lines().filter_map(|it| it.split_once(": ")) {
            headers.append(::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let client = proxies.client(peer.parse().unwrap(), &headers);
        text += &format!("{client:15} <- {peer}, {}\n", lines.replace('\n', ", "));
    }
    expect![[r#"
        203.0.113.5     <- 203.0.113.5, x-forwarded-for: 1.1.1.1
        10.0.0.1        <- 10.0.0.1, 
        192.0.2.7       <- 10.0.0.1, x-forwarded-for: 192.0.2.7
        192.0.2.7       <- ::ffff:10.0.0.1, x-forwarded-for: 192.0.2.7
        192.0.2.7       <- 10.0.0.1, x-forwarded-for: 1.1.1.1, 192.0.2.7
        192.0.2.7       <- 10.0.0.1, x-forwarded-for: 1.1.1.1, 192.0.2.7, 10.0.0.9
        192.0.2.7       <- 10.0.0.1, x-forwarded-for: 1.1.1.1, x-forwarded-for: 192.0.2.7, 10.0.0.9
        10.0.0.8        <- 10.0.0.1, x-forwarded-for: 10.0.0.8, 10.0.0.9
        10.0.0.9        <- 10.0.0.1, x-forwarded-for: 1.1.1.1, nonsense, 10.0.0.9
        10.0.0.1        <- 10.0.0.1, x-forwarded-for: nonsense
        192.0.2.7       <- 10.0.0.1, x-forwarded-for: 192.0.2.7:4711
        2001:db8::7     <- 10.0.0.1, x-forwarded-for: [2001:db8::7]:4711
        2001:db8::7     <- 10.0.0.1, x-forwarded-for: 2001:db8::7
        192.0.2.7       <- 10.0.0.1, forwarded: for=1.1.1.1, for=192.0.2.7;proto=https;by=10.0.0.1
        2001:db8::7     <- 10.0.0.1, forwarded: for="[2001:db8::7]:4711"
        10.0.0.1        <- 10.0.0.1, forwarded: for=_hidden
        192.0.2.7       <- 10.0.0.1, forwarded: for=_hidden, x-forwarded-for: 192.0.2.7
        192.0.2.7       <- 10.0.0.1, forwarded: proto=https;host="x;for=6.6.6.6";for=192.0.2.7
        192.0.2.7       <- 10.0.0.1, forwarded: for=192.0.2.7;host="x,for=6.6.6.6"
        192.0.2.7       <- 10.0.0.1, forwarded: for=192.0.2.7;host="x\",for=6.6.6.6\\"
        192.0.2.7       <- 10.0.0.1, forwarded: host="x, for=192.0.2.7
        192.0.2.7       <- 10.0.0.1, forwarded: for="6.6.6.6, for=192.0.2.7;host="y"
        10.0.0.1        <- 10.0.0.1, forwarded: for=192.0.2.7;host=x;for=6.6.6.6
        192.0.2.7       <- 10.0.0.1, cloudfront-viewer-address: 192.0.2.7:46532, x-forwarded-for: 1.1.1.1
        2001:db8::7     <- 10.0.0.1, cloudfront-viewer-address: 2001:db8::7:46532
        203.0.113.5     <- 203.0.113.5, cloudfront-viewer-address: 192.0.2.7:46532
    "#]]
    .assert_eq(&text);
}

fn check<T: TryFrom<String, Error = String>>(texts: &[&str], expected: Expect) {
    let verdict = |it: &&str| match T::try_from((*it).to_owned()) {
        Ok(_) => format!("{it}: good\n"),
        Err(error) => format!("{error}\n"),
    };
    expected.assert_eq(&texts.iter().map(verdict).collect::<String>());
}

/// Scenario: networks and origins as people may write them.
/// Guarantees: what could not match is an error that says how to write it; an origin matches what browsers make of it.
#[test]
fn networks_and_origins() {
    let networks = [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "192.0.2.7",
        "2001:db8::/32",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "ten",
        "10.0.0.0/",
    ];
    check::<Network>(
        &networks,
        expect![[r#"
        10.0.0.0/8: good
        0.0.0.0/0: good
        ::/0: good
        192.0.2.7: good
        2001:db8::/32: good
        `10.0.0.1/8` is not a network: write it as "10.0.0.0/8", "2001:db8::/32" or "192.0.2.7"
        `10.0.0.0/33` is not a network: write it as "10.0.0.0/8", "2001:db8::/32" or "192.0.2.7"
        `ten` is not a network: write it as "10.0.0.0/8", "2001:db8::/32" or "192.0.2.7"
        `10.0.0.0/` is not a network: write it as "10.0.0.0/8", "2001:db8::/32" or "192.0.2.7"
    "#]],
    );
    let origins = [
        "https://e.com",
        "http://localhost:8080",
        "https://*.e.com",
        "*",
        "e.com",
        "https://e.com/",
        "https://*",
        "ftp://e.com",
        "https://e.com:*",
        "https://e.com:",
        "https://e.com:80800",
        "https://e.com:80:80",
        "https://[::1]:8443",
        "https://[::1",
    ];
    check::<Origin>(
        &origins,
        expect![[r#"
            https://e.com: good
            http://localhost:8080: good
            https://*.e.com: good
            `*` is not an origin: leave `origins` away, and the pages of all may send
            `e.com` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `https://e.com/` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `https://*` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `ftp://e.com` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `https://e.com:*` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `https://e.com:` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `https://e.com:80800` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            `https://e.com:80:80` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
            https://[::1]:8443: good
            `https://[::1` is not an origin: write a scheme and a host, such as "https://example.com" or "https://*.example.com"
        "#]],
    );
    for (written, sent) in [
        ("https://E.com:443", "https://e.com"),
        ("http://e.com:80", "http://e.com"),
        ("http://e.com:0443", "http://e.com:443"),
        ("https://*.e.com:443", "https://www.e.com"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
    ] {
        let origin = Origin::try_from(written.to_owned()).unwrap();
        assert!(origin.allows(sent) && !origin.allows("https://e.com:8443"), "{written}");
    }
    let all: Network = Network::try_from("0.0.0.0/0".to_owned()).unwrap();
    assert!(all.holds("192.0.2.1".parse().unwrap()) && !all.holds("2001:db8::1".parse().unwrap()));
}

/// Scenario: requests of many addresses in and after a second.
/// Guarantees: each has a bucket of its own that fills up with time; however many there are, only so many are remembered.
#[test]
fn buckets() {
    let rates = Rates::new(2);
    let start = Instant::now();
    let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let at = |millis| start + Duration::from_millis(millis);
    let taken = [
        (one, 0),
        (one, 0),
        (one, 0),
        (other, 0),
        (one, 400),
        (one, 600),
        (one, 600),
        (one, 5000),
        (one, 5000),
        (one, 5000),
    ];
    let taken: Vec<bool> = taken.into_iter().map(|(who, millis)| rates.take(who, at(millis))).collect();
    assert_eq!(taken, [true, true, false, true, false, true, false, true, true, false]);
    for nth in 0..200_000_u32 {
        assert!(rates.take(std::net::Ipv4Addr::from(nth).into(), at(6000)));
    }
}

/// Scenario: a frame with everything and one with nothing, and every beginning of them.
/// Guarantees: what was encoded is decoded; half a frame is none, and nothing panics.
#[test]
fn frames() {
    let full =
        Frame { is_stripped: true, is_hashed: true, referrer: Some("https://e.com/ö".to_owned()), ..frame(1, "{}") };
    let empty = Frame { address: None, user_agent: None, kind: Kind::Form, ..frame(2, "") };
    for frame in [full, empty] {
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes), Some(frame.clone()));
        let head = bytes.len() - frame.body.len();
        for end in 0..head {
            assert_eq!(Frame::decode(&bytes.slice(..end)), None);
        }
    }
}

/// Scenario: addresses are hashed on two days, by a request of the first one that is late too; then the first day is over
/// and no more requests come.
/// Guarantees: an address has one hash in a day, after a restart too, and another one on the next; of a day that is over
/// the secret is nowhere.
#[tokio::test]
async fn the_salt_of_a_day() {
    let disk = SimulatedDisk::new(1);
    let open = || hashed(&disk);
    let addresses = open();
    let first = hash(&addresses, 5 * DAY).await;
    assert_eq!(hash(&addresses, 6 * DAY - 1).await, first);
    assert_eq!(hash(&open(), 6 * DAY - 1).await, first);
    let second = hash(&addresses, 6 * DAY).await;
    assert_ne!(second, first);
    for (of, now) in [(&addresses, 6 * DAY - 1), (&addresses, 6 * DAY), (&open(), 6 * DAY)] {
        assert_eq!(hash(of, now).await, second);
    }
    let is_there = || disk.names().unwrap().contains(&"salt".to_owned());
    addresses.forget(7 * DAY - 1).await.unwrap();
    assert!(is_there());
    addresses.clone().forget(7 * DAY).await.unwrap();
    assert!(!is_there());
    assert_ne!(hash(&addresses, 7 * DAY - 1).await, second, "it is nowhere in memory either");
    open().forget(9 * DAY).await.unwrap();
    open().forget(9 * DAY).await.unwrap();
    assert!(!is_there());
}

const DAY: u64 = 86_400_000;

fn hashed(disk: &SimulatedDisk) -> Addresses {
    Addresses::new(AddressKept::Hash, Arc::new(disk.clone()))
}

async fn hash(of: &Addresses, now: u64) -> String {
    of.kept("192.0.2.7".parse().unwrap(), now, PATIENCE).await.unwrap().0.unwrap()
}

/// Scenario: the power is cut right after the first address was hashed, and while the salt of the next day is written, with
/// many seeds.
/// Guarantees: an address that was hashed has the same hash afterwards; there is always a salt that can be used.
#[tokio::test]
async fn a_power_cut_behind_a_hash() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let before = hash(&hashed(&disk), 5 * DAY).await;
        disk.restart();
        let addresses = hashed(&disk);
        assert_eq!(hash(&addresses, 5 * DAY).await, before, "seed {seed}");
        disk.cut_power_after(seed % 7);
        let next = addresses.kept("192.0.2.7".parse().unwrap(), 6 * DAY, PATIENCE).await.ok().and_then(|it| it.0);
        disk.restart();
        let after = hash(&hashed(&disk), 6 * DAY).await;
        assert!(next.is_none_or(|it| it == after) && after != before, "seed {seed}");
    }
}

/// Scenario: the clock goes back by a moment over midnight; it jumps a year ahead, and back again; then no request comes.
/// Guarantees: what was kept of a day does not come back, no two days share a hash, and of a day that is wrong nothing stays.
#[tokio::test]
async fn a_clock_that_jumps() {
    let disk = SimulatedDisk::new(1);
    let addresses = hashed(&disk);
    let mut seen = Vec::new();
    for (now, is_new) in
        [(5 * DAY, true), (6 * DAY, true), (6 * DAY - 1, false), (371 * DAY, true), (6 * DAY, true), (371 * DAY, true)]
    {
        let hash = hash(&addresses, now).await;
        assert_eq!(seen.last() != Some(&hash), is_new);
        assert_eq!(!seen.contains(&hash), is_new);
        seen.push(hash);
    }
    addresses.forget(6 * DAY).await.unwrap();
    assert!(!disk.names().unwrap().contains(&"salt".to_owned()));
}

/// Scenario: the disk hangs when the salt of the day is needed, while others ask for it too; then it answers.
/// Guarantees: nobody keeps the thread that serves requests, and all get one salt.
#[tokio::test]
async fn a_salt_on_a_disk_that_hangs() {
    let disk = SimulatedDisk::new(1);
    let addresses = hashed(&disk);
    disk.set_hangs(true);
    let late = tokio::time::timeout(Duration::from_millis(50), hash(&addresses, 5 * DAY)).await;
    assert!(late.is_err());
    let answering = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        disk.set_hangs(false);
    };
    let (one, other, ()) = tokio::join!(hash(&addresses, 5 * DAY), hash(&addresses, 5 * DAY), answering);
    assert_eq!(one, other);
}

/// Scenario: addresses with numbers of one, two and three digits, and of both families.
/// Guarantees: they are kept as they are usually written.
#[tokio::test]
async fn addresses_as_text() {
    let addresses = Addresses::new(AddressKept::Keep, Arc::new(SimulatedDisk::new(1)));
    let kept = async |address: IpAddr| addresses.kept(address, 0, PATIENCE).await.unwrap().0;
    for number in 0..=u8::MAX {
        let address = IpAddr::from([number, 0, 255 - number, number]);
        assert_eq!(kept(address).await, Some(address.to_string()));
    }
    assert_eq!(kept("2001:db8::1".parse().unwrap()).await.as_deref(), Some("2001:db8::1"));
}

/// Scenario: small bodies, while nobody may decompress large ones: an event, compressed; then ones that become four megabytes,
/// and more than is taken.
/// Guarantees: the event is there at once; the others do not hold up whoever serves all requests, but wait for their turn.
#[tokio::test]
async fn small_bodies_that_become_large() {
    let decoders = Arc::new(Semaphore::new(0));
    let caps = Caps {
        body_bytes_max: 256 << 10,
        decoded_bytes_max: 4 << 20,
        body_timeout: PATIENCE,
        memory: Memory::new(64 << 20),
        decoders: decoders.clone(),
    };
    let compressed = |bytes: usize| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; bytes]).unwrap();
        encoder.finish().unwrap()
    };
    let length = async |bytes: usize| {
        let body = compressed(bytes);
        assert!(body.len() < 16 << 10);
        decompressed(body, Coding::Gzip, caps.memory.hold(), &caps).await.map(|it| it.0.len())
    };
    assert_eq!(length(2000).now_or_never(), Some(Ok(2000)));
    for (bytes, expected) in [(4 << 20, Ok(4 << 20)), (12 << 20, Err(Refusal::TooLarge))] {
        let mut length = pin!(length(bytes));
        assert_eq!(length.as_mut().now_or_never(), None);
        decoders.add_permits(1);
        assert_eq!(length.await, expected);
        decoders.acquire().await.unwrap().forget();
    }
}
