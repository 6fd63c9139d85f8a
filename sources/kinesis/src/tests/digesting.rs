//! Many digests at once.

use md5::{Digest, Md5};
use proptest::prelude::*;

use crate::digests::digests;

fn check(messages: &[&[u8]]) {
    let expected: Vec<[u8; 16]> = messages.iter().map(|it| Md5::digest(it).into()).collect();
    assert_eq!(digests(messages), expected, "{:?}", messages.iter().map(|it| it.len()).collect::<Vec<_>>());
}

/// Scenario: no message, few of them, and many; lengths around the end of a block, and very different ones together.
/// Guarantees: the digest of each is what another implementation has for it.
#[test]
fn lengths() {
    let data: Vec<u8> = (0..200_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let of = |lengths: &[usize]| lengths.iter().enumerate().map(|(nth, it)| &data[nth..nth + it]).collect::<Vec<_>>();
    for count in 0..20 {
        check(&vec![&data[..1000]; count]);
    }
    check(&of(&[0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 1000]));
    check(&of(&[100_000, 0, 5, 64, 0, 3, 20, 70_000, 0, 1, 55, 56, 100, 50_000]));
    check(&of(&[0, 0, 0, 0]));
}

proptest! {
    /// Scenario: any messages.
    /// Guarantees: the digest of each is what another implementation has for it.
    #[test]
    fn any_messages(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..30)) {
        check(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
}
