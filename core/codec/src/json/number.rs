//! Numbers as other types want them written.

/// An exponent that would write more zeros than this stays.
const EXPONENT_MAX: i64 = 40;

/// A number without exponent, and without a fraction that is zero: `1.5e3` is `1500`, `200.0` is `200`. No digit is
/// lost or made up.
pub fn plain<'a>(number: &'a str, written: &'a mut String) -> &'a str {
    if !number.bytes().any(|it| matches!(it, b'.' | b'e' | b'E')) {
        return number;
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = match exponent.parse::<i64>() {
        Ok(exponent) if exponent.abs() <= EXPONENT_MAX => exponent,
        _ => return number,
    };
    let (sign, magnitude) = mantissa.strip_prefix('-').map_or(("", mantissa), |it| ("-", it));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    // So many digits of `whole` and `fraction` come before the point.
    let before = whole.len() as i64 + exponent;
    let digits = || whole.bytes().chain(fraction.bytes()).map(char::from);
    written.clear();
    written.push_str(sign);
    if before <= 0 {
        written.push_str("0.");
        written.extend((before..0).map(|_| '0'));
        written.extend(digits());
    } else {
        let before = before as usize;
        written.extend(digits().chain(std::iter::repeat('0')).take(before));
        written.push('.');
        written.extend(digits().skip(before));
    }
    written.trim_end_matches('0').trim_end_matches('.')
}
