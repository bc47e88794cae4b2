//! Numbers in texts, as Java's `Integer.valueOf`, `Long.valueOf` and `Double.valueOf` read them.

use std::cmp::Ordering;

/// Longer texts are no numbers: an expression may have one read again and again.
const BYTES_MAX: usize = 1_024;

/// A 32-bit number.
pub(crate) fn int(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(short(text)?).ok()?.parse().ok()
}

/// A 64-bit number.
pub(crate) fn long(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(short(text)?).ok()?.parse().ok()
}

fn short(text: &[u8]) -> Option<&[u8]> {
    (text.len() <= BYTES_MAX).then_some(text)
}

/// A floating-point number: blanks around it, a sign, digits with a point, an exponent, a letter for its type.
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    let text = trim(short(text)?);
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = match unsigned {
        b"NaN" => f64::NAN,
        b"Infinity" => f64::INFINITY,
        [digits @ .., b'f' | b'F' | b'd' | b'D'] => decimal(digits)?,
        digits => decimal(digits)?,
    };
    Some(if negative { -value } else { value })
}

/// What Rust reads is what Java reads, but for names and a sign before, which are looked at elsewhere.
fn decimal(digits: &[u8]) -> Option<f64> {
    if !matches!(digits.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Without what Java's `trim` takes off: everything up to the blank.
fn trim(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| *byte > b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|byte| *byte > b' ').map_or(begin, |last| last + 1);
    text.get(begin..end).unwrap_or_default()
}

/// Java's order: minus zero is before zero, what is no number behind everything and equal to itself.
pub(crate) fn compare(one: f64, two: f64) -> Ordering {
    let canonical = |value: f64| if value.is_nan() { f64::NAN.copysign(1.0) } else { value };
    canonical(one).total_cmp(&canonical(two))
}
