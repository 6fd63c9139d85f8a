//! How many connections there may be.

use std::process::Command;

use expect_test::expect;
use nix::sys::resource::{Resource, getrlimit};

use super::*;
use crate::crowd::Crowd;
use crate::subscriber;

/// Scenario: addresses of both families.
/// Guarantees: an IPv4 address is a subscriber, however it is written, and of IPv6 the first 64 bits are.
#[test]
fn subscribers() {
    let addresses = ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:3::1"];
    let shown = addresses.map(|it| format!("{it} {}\n", subscriber(it.parse().unwrap())));
    expect![[r#"
        192.0.2.7 192.0.2.7
        ::ffff:192.0.2.7 192.0.2.7
        2001:db8:1:2:3:4:5:6 2001:db8:1:2::
        2001:db8:1:2:: 2001:db8:1:2::
        2001:db8:1:3::1 2001:db8:1:3::
    "#]]
    .assert_eq(&shown.concat());
}

/// Scenario: 300 addresses of one IPv6 network connect, then others; connections end.
/// Guarantees: the network has no more places than one subscriber may have, others have theirs, a proxy as many as there
/// are, and places become free again; two servers together have no more than the process may open.
#[test]
fn places() {
    let descriptors = Arc::new(Descriptors::of(40));
    assert_eq!(descriptors.connections_max(), 20);
    let (crowd, other) = (Crowd::new(15, 10, descriptors.clone()), Crowd::new(15, 10, descriptors));
    let address = |nth: u128| IpAddr::V6(((0x2001_0db8 << 96) + nth).into());
    let mut places: Vec<_> = (0..300).filter_map(|nth| crowd.enter(address(nth), false)).collect();
    assert_eq!(places.len(), 10);
    let proxied: Vec<_> = (0..300).filter_map(|_| crowd.enter(address(1 << 64), true)).collect();
    assert_eq!(proxied.len(), 5);
    let of_other: Vec<_> = (0..300).filter_map(|nth| other.enter(address(nth << 64), false)).collect();
    assert_eq!(of_other.len(), 5);
    drop(places.pop());
    assert!(crowd.enter(address(7), false).is_some());
    drop((places, proxied, of_other));
    let again: Vec<_> = (0..300).filter_map(|nth| crowd.enter(address(nth), false)).collect();
    assert_eq!(again.len(), 10);
}

/// Scenario: one host opens many connections and says nothing, until it gets no more.
/// Guarantees: those beyond its part are closed and counted, and the others of the world are answered; so is a proxy.
#[tokio::test]
async fn silent_sockets() {
    let served = serve(Bounds { per_address_max: 50, ..BOUNDS }).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(served.connect_from("127.0.0.2").await);
    }
    served.counted("accepted=0 connections=250").await;
    assert_eq!(ask(&mut served.connect().await, POST).await, "200 2");
    for _ in 0..60 {
        silent.push(served.connect_from("127.0.0.9").await);
    }
    assert_eq!(ask(&mut served.connect_from("127.0.0.9").await, POST).await, "200 2");
    served.counted("accepted=2 connections=250").await;
}

/// Scenario: more connections than the process may have files.
/// Guarantees: those beyond that are closed and counted, and as many as before may come when they have ended.
#[tokio::test]
async fn few_descriptors() {
    let served = serve_within(Arc::new(Descriptors::of(20)), None, BOUNDS).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = served.connect().await;
        assert_eq!(ask(&mut stream, POST).await, "200 2");
        streams.push(stream);
    }
    assert_eq!(rest(&mut served.connect().await).await, "");
    served.counted("accepted=10 connections=1").await;
    drop(streams);
    let again = async { while ask(&mut served.connect().await, POST).await != "200 2" {} };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

/// Scenario: a process starts with the usual limit of files, which may be raised.
/// Guarantees: a server raises it as far as it may.
#[tokio::test]
async fn the_usual_limit() {
    let _served = serve(BOUNDS).await;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(soft, hard);
}

/// Scenario: the test before this one, in a process with a small limit that may be raised to 2000.
/// Guarantees: the same.
#[test]
fn a_small_limit() {
    let script = "ulimit -Sn 300 && ulimit -Hn 2000 && exec \"$0\" --exact tests::limits::the_usual_limit";
    let out = Command::new("sh").args(["-c", script]).arg(std::env::current_exe().unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&out.stderr));
}
