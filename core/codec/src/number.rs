//! Numbers as logs write them.

/// Reads `digits` or `digits.digits`, with an optional minus sign, up to so many digits behind the point, without
/// floating point: seconds become milliseconds or nanoseconds exactly. Gives the number in units of the last of these
/// digits, and the digits that were left over. `None` for anything else, and for what an `i64` cannot hold.
pub fn fixed_point(text: &str, digits: u8) -> Option<(i64, &str)> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |it| (true, it));
    let (whole, fraction) = match magnitude.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (magnitude, ""),
    };
    let only_digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || !only_digits(whole) || !only_digits(fraction) {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(digits.into()));
    let mut value = 0_i64;
    for digit in whole.bytes().chain(kept.bytes()) {
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    value = value.checked_mul(10_i64.checked_pow(u32::from(digits) - kept.len() as u32)?)?;
    Some((if negative { -value } else { value }, rest))
}
