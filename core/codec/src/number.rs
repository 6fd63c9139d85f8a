//! Numbers as logs write them.

use std::str::FromStr;

const POWERS_OF_TEN: [i64; 19] = {
    let mut powers = [1; 19];
    let mut nth = 1;
    while nth < powers.len() {
        powers[nth] = powers[nth - 1] * 10;
        nth += 1;
    }
    powers
};

/// Reads `digits` or `digits.digits`, with an optional minus sign, up to so many digits behind the point, without
/// floating point: seconds become milliseconds or nanoseconds exactly. Gives the number in units of the last of these
/// digits, and the digits that were left over. `None` for anything else, and for what an `i64` cannot hold.
pub fn fixed_point(text: &str, digits: u8) -> Option<(i64, &str)> {
    let (value, rest) = fixed_point_bytes(text.as_bytes(), digits)?;
    Some((value, &text[text.len() - rest.len()..]))
}

/// [`fixed_point`] of bytes.
pub(crate) fn fixed_point_bytes(text: &[u8], digits: u8) -> Option<(i64, &[u8])> {
    let (negative, magnitude) = match text {
        [b'-', magnitude @ ..] => (true, magnitude),
        _ => (false, text),
    };
    if let Some(value) = short_fixed_point(magnitude, digits) {
        return Some((if negative { -value } else { value }, &[]));
    }
    let mut value = 0_i64;
    let behind = read_digits(magnitude, &mut value)?;
    if behind.len() == magnitude.len() {
        return None;
    }
    let mut missing = usize::from(digits);
    let mut rest = behind;
    if let [point, fraction @ ..] = behind {
        if *point != b'.' || fraction.is_empty() {
            return None;
        }
        let kept = &fraction[..fraction.len().min(missing)];
        if !read_digits(kept, &mut value)?.is_empty() {
            return None;
        }
        missing -= kept.len();
        rest = &fraction[kept.len()..];
        if !rest.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    value = value.checked_mul(*POWERS_OF_TEN.get(missing)?)?;
    Some((if negative { -value } else { value }, rest))
}

/// The same for digits of which none is left over, and too few to need care: nearly all that there are.
fn short_fixed_point(magnitude: &[u8], digits: u8) -> Option<i64> {
    const DIGITS_MAX: usize = 18;
    if magnitude.is_empty() || magnitude.len() > DIGITS_MAX {
        return None;
    }
    let mut value = 0_i64;
    let mut point = None;
    for (nth, byte) in magnitude.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            value = value * 10 + i64::from(digit);
        } else if *byte == b'.' && point.is_none() && nth > 0 {
            point = Some(nth);
        } else {
            return None;
        }
    }
    let fraction = match point {
        Some(point) if point + 1 < magnitude.len() => magnitude.len() - point - 1,
        Some(_) => return None,
        None => 0,
    };
    value.checked_mul(*POWERS_OF_TEN.get(usize::from(digits).checked_sub(fraction)?)?)
}

/// Adds the digits at the front of the text to a value, and gives what is behind them.
fn read_digits<'a>(text: &'a [u8], value: &mut i64) -> Option<&'a [u8]> {
    for (nth, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit >= 10 {
            return Some(&text[nth..]);
        }
        *value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(&[])
}

/// Reads a whole number just as [`str::parse`] does.
pub(crate) fn whole<T: FromStr + TryFrom<u32>>(text: &[u8]) -> Option<T> {
    /// So many digits always fit into 32 bits.
    const DIGITS_MAX: usize = 9;
    if (1..=DIGITS_MAX).contains(&text.len()) {
        let mut value = 0_u32;
        let mut only_digits = true;
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            only_digits &= digit < 10;
            value = value.wrapping_mul(10).wrapping_add(digit.into());
        }
        if only_digits {
            return T::try_from(value).ok();
        }
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
