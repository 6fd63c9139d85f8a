//! Addresses in their canonical form, found to be so without parsing and printing them.

/// Whether it is an IPv4 or IPv6 address, written just as the standard library writes it. Those of
/// `::ffff:0:0/96`, which end with an IPv4 address, are not found to be.
pub(super) fn is_canonical(text: &[u8]) -> bool {
    is_dotted(text) || is_canonical_v6(text)
}

/// Whether it is four numbers of at most 255 without leading zeros, with points between them: an IPv4 address, which is
/// written in this one way only.
fn is_dotted(text: &[u8]) -> bool {
    /// Of the number that is being read: there is no digit yet.
    const NONE: u32 = u32::MAX;
    let mut points = 0;
    let mut number = NONE;
    for byte in text {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        number = match number {
            _ if *byte == b'.' && number != NONE && points < 3 => {
                points += 1;
                NONE
            }
            NONE if digit < 10 => digit,
            1.. if digit < 10 && number * 10 + digit <= 255 => number * 10 + digit,
            _ => return false,
        };
    }
    points == 3 && number != NONE
}

/// Whether it is as RFC 5952 says: groups of lower-case digits without leading zeros, and `::` for the longest run of
/// two or more groups of zero, for the first one if there are several.
fn is_canonical_v6(text: &[u8]) -> bool {
    // What is mapped to an IPv4 address is written with it.
    if text.starts_with(b"::ffff:") {
        return false;
    }
    // The length of each run of zeros, and of the one that is left out.
    let (mut groups, mut run, mut longest_before, mut longest_behind) = (0, 0, 0, 0);
    let mut left_out_at = None;
    let mut rest = text;
    if let [b':', b':', behind @ ..] = rest {
        left_out_at = Some(0);
        rest = behind;
    }
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')).count();
        let (group, behind) = rest.split_at(digits);
        let is_zero = group == b"0";
        if !(1..=4).contains(&digits) || (group[0] == b'0' && !is_zero) {
            return false;
        }
        groups += 1;
        run = if is_zero { run + 1 } else { 0 };
        let longest = if left_out_at.is_some() { &mut longest_behind } else { &mut longest_before };
        *longest = run.max(*longest);
        match behind {
            [] => rest = behind,
            [b':', b':', behind @ ..] if left_out_at.is_none() => {
                // A zero beside the run that is left out would belong to it.
                if is_zero {
                    return false;
                }
                left_out_at = Some(groups);
                (rest, run) = (behind, 0);
            }
            [b':', behind @ ..] if !behind.is_empty() && behind[0] != b':' => rest = behind,
            _ => return false,
        }
        // The same on its other side.
        if is_zero && left_out_at == Some(groups - 1) {
            return false;
        }
    }
    match left_out_at {
        None => groups == 8 && longest_before < 2,
        Some(_) if groups > 6 => false,
        Some(_) => {
            let left_out = 8 - groups;
            longest_before < left_out && longest_behind <= left_out
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::{is_canonical, is_dotted};

    fn canonical(text: &str) -> bool {
        text.parse::<IpAddr>().is_ok_and(|it| it.to_string() == text)
    }

    /// Whether there are four numbers in it, or it may be printed with them.
    fn is_special(text: &str) -> bool {
        text.contains('.') || text.starts_with("::")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// Scenario: texts that are numbers with points, in range and out of it, with zeros in front, and nearly so.
        /// Guarantees: what is taken for an IPv4 address is one, and nothing else is one.
        #[test]
        fn dotted_addresses(text in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9.]{0,17}|(0|1|25[0-9]|[0-9])(\\.(00?|255|256|7)){2,4}.?") {
            prop_assert_eq!(is_dotted(text.as_bytes()), canonical(&text));
        }

        /// Scenario: texts of a few groups, many of them zero, with `::` anywhere, and those that the standard library
        /// prints.
        /// Guarantees: what is taken for canonical is, and nothing else that is not special.
        #[test]
        fn canonical_addresses(text in "(0|1|0|ffff|10|A|01|:|abcde|1\\.2\\.3\\.4)?(:(0|0|0|1|ffff|)){0,9}:?", groups: [u16; 8], zeros: u8) {
            let mut groups = groups;
            for (nth, group) in groups.iter_mut().enumerate() {
                if zeros & (1 << nth) != 0 {
                    *group = 0;
                }
            }
            for text in [text, IpAddr::from(groups).to_string()] {
                let found = is_canonical(text.as_bytes());
                prop_assert!(!found || canonical(&text), "{}", text);
                prop_assert!(found || !canonical(&text) || is_special(&text), "{}", text);
            }
        }
    }
}
