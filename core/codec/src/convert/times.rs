//! Times in the layouts that logs use, read without a general parser. What is unusual in any way is left to jiff, which
//! also decides what is a time at all: a reader here either gives what jiff would give, or `None`.

/// A format of strftime that is read item by item. Every item has a fixed width, but for the fraction of a second.
pub(super) struct Layout(Vec<Item>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Byte(u8),
    /// `%Y`: four digits.
    Year,
    /// `%m`: two digits, as all that follow where nothing else is said.
    Month,
    /// `%b`: `Jan`.
    MonthName,
    /// `%d`.
    Day,
    /// `%H`.
    Hour,
    /// `%M`.
    Minute,
    /// `%S`.
    Second,
    /// `%.f`: a point and one to nine digits, or nothing.
    Fraction,
    /// `%z`: `+0100`.
    Offset,
    /// `%:z`: `+01:00`.
    OffsetWithColon,
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// What was read so far.
#[derive(Default)]
struct Parts {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    /// The digits of the fraction: as milliseconds, and whether there are finer ones.
    millis: u32,
    is_finer: bool,
    /// East of Greenwich, in minutes.
    offset: i32,
}

impl Layout {
    /// `None` if there is an item in it that is not in the list above, or no whole date.
    pub fn new(format: &str) -> Option<Self> {
        let mut items = Vec::new();
        let mut rest = format;
        while let Some(character) = rest.chars().next() {
            let directives: [(&str, &[Item]); 12] = [
                ("%Y", &[Item::Year]),
                ("%m", &[Item::Month]),
                ("%b", &[Item::MonthName]),
                ("%d", &[Item::Day]),
                ("%F", &[Item::Year, Item::Byte(b'-'), Item::Month, Item::Byte(b'-'), Item::Day]),
                ("%H", &[Item::Hour]),
                ("%M", &[Item::Minute]),
                ("%S", &[Item::Second]),
                ("%T", &[Item::Hour, Item::Byte(b':'), Item::Minute, Item::Byte(b':'), Item::Second]),
                ("%.f", &[Item::Fraction]),
                ("%z", &[Item::Offset]),
                ("%:z", &[Item::OffsetWithColon]),
            ];
            if character == '%' {
                let (directive, these) = directives.iter().find(|(directive, _)| rest.starts_with(directive))?;
                items.extend_from_slice(these);
                rest = &rest[directive.len()..];
            } else {
                // Other white space than a blank stands for any white space.
                if !(character.is_ascii_graphic() || character == ' ') {
                    return None;
                }
                items.push(Item::Byte(character as u8));
                rest = &rest[1..];
            }
        }
        let count = |wanted: &[Item]| items.iter().filter(|it| wanted.contains(it)).count();
        let once = [&[Item::Year][..], &[Item::Month, Item::MonthName], &[Item::Day]];
        let at_most_once = [
            &[Item::Hour][..],
            &[Item::Minute],
            &[Item::Second],
            &[Item::Fraction],
            &[Item::Offset, Item::OffsetWithColon],
        ];
        let is_whole = once.iter().all(|it| count(it) == 1) && at_most_once.iter().all(|it| count(it) <= 1);
        // A minute without its hour, a fraction without its second: that is no time.
        let nested =
            [Item::Hour, Item::Minute, Item::Second, Item::Fraction].map(|it| count(&[it])).is_sorted_by(|a, b| a >= b);
        (is_whole && nested).then_some(Self(items))
    }

    /// Milliseconds since 1970, if the text is as usual.
    pub fn millis(&self, text: &[u8]) -> Option<i64> {
        let mut parts = Parts::default();
        let mut rest = text;
        for item in &self.0 {
            match item {
                Item::Byte(byte) => match rest {
                    [first, behind @ ..] if first == byte => rest = behind,
                    _ => return None,
                },
                Item::Year => parts.year = two_digits(&mut rest)? * 100 + two_digits(&mut rest)?,
                Item::Month => parts.month = two_digits(&mut rest)?,
                Item::MonthName => parts.month = month_name(&mut rest)?,
                Item::Day => parts.day = two_digits(&mut rest)?,
                Item::Hour => parts.hour = two_digits(&mut rest)?,
                Item::Minute => parts.minute = two_digits(&mut rest)?,
                Item::Second => parts.second = two_digits(&mut rest)?,
                Item::Fraction => (parts.millis, parts.is_finer) = fraction(&mut rest)?,
                Item::Offset => parts.offset = offset(&mut rest, false)?,
                Item::OffsetWithColon => parts.offset = offset(&mut rest, true)?,
            }
        }
        if rest.is_empty() { parts.millis() } else { None }
    }
}

/// Milliseconds since 1970 of `2026-11-21T22:04:00.123Z` or `2026-11-21T22:04:00+01:00`, if it is as usual.
pub(super) fn rfc3339(text: &[u8]) -> Option<i64> {
    let (head, mut rest) = text.split_first_chunk::<19>()?;
    if [4, 7, 10, 13, 16].map(|at| head[at]) != *b"--T::" {
        return None;
    }
    let two_digits = |at: usize| two_digits(&mut &head[at..]);
    let mut parts = Parts {
        year: two_digits(0)? * 100 + two_digits(2)?,
        month: two_digits(5)?,
        day: two_digits(8)?,
        hour: two_digits(11)?,
        minute: two_digits(14)?,
        second: two_digits(17)?,
        ..Parts::default()
    };
    (parts.millis, parts.is_finer) = fraction(&mut rest)?;
    if rest != b"Z" {
        parts.offset = offset(&mut rest, true)?;
        if !rest.is_empty() {
            return None;
        }
    }
    parts.millis()
}

impl Parts {
    fn millis(&self) -> Option<i64> {
        // Leap seconds, and the years at the borders of what is a time, are unusual.
        let is_usual = (1..=9998).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if !is_usual {
            return None;
        }
        let minutes = days_since_1970(self.year, self.month, self.day) * 1440
            + i64::from(self.hour) * 60
            + i64::from(self.minute)
            - i64::from(self.offset);
        let millis = (minutes * 60 + i64::from(self.second)) * 1000 + i64::from(self.millis);
        // Before 1970 what is finer than a millisecond is cut off towards 1970.
        (millis >= 0 || !self.is_finer).then_some(millis)
    }
}

fn byte(rest: &mut &[u8], wanted: u8) -> Option<()> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    (*first == wanted).then_some(())
}

#[inline]
fn two_digits(rest: &mut &[u8]) -> Option<u32> {
    let ([tens, ones], behind) = rest.split_first_chunk()?;
    *rest = behind;
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

fn month_name(rest: &mut &[u8]) -> Option<u32> {
    let (name, behind) = rest.split_first_chunk::<3>()?;
    *rest = behind;
    MONTHS.iter().zip(1..).find(|(it, _)| **it == name).map(|(_, month)| month)
}

/// A point and one to nine digits, or nothing: milliseconds, and whether there is more behind them.
fn fraction(rest: &mut &[u8]) -> Option<(u32, bool)> {
    const DIGITS_MAX: usize = 9;
    let [b'.', behind @ ..] = *rest else { return Some((0, false)) };
    let digits = behind.iter().take_while(|it| it.is_ascii_digit()).count();
    if digits == 0 || digits > DIGITS_MAX {
        return None;
    }
    let (digits, behind) = behind.split_at(digits);
    let mut millis = 0;
    for nth in 0..3 {
        millis = millis * 10 + digits.get(nth).map_or(0, |it| u32::from(it - b'0'));
    }
    *rest = behind;
    Some((millis, digits.len() > 3))
}

/// `+0100` or `+01:00` in minutes.
fn offset(rest: &mut &[u8], with_colon: bool) -> Option<i32> {
    let (sign, behind) = rest.split_first()?;
    *rest = behind;
    let hours = two_digits(rest)?;
    if with_colon {
        byte(rest, b':')?;
    }
    let minutes = two_digits(rest)?;
    // More digits could be seconds.
    if hours > 23 || minutes > 59 || rest.first().is_some_and(|it| it.is_ascii_digit() || *it == b':') {
        return None;
    }
    let offset = (hours * 60 + minutes) as i32;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin with March, so that a leap day is the last day of its year.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    /// From the 1st of March of the year 0 to the 1st of January 1970.
    const BEFORE_1970: i64 = 719_468;
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    // The months from March on have 31, 30, 31, 30, 31 days, and again.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    i64::from(year) * 365 + i64::from(leap_days) + i64::from(day_of_year) - BEFORE_1970
}
