//! Numbers as Python writes them.

use crate::python::object::{DIGIT_BITS, Integer};

/// `repr` of a `float`: the shortest digits that give the same number again, `1e-07` below 0.0001 and `1e+16` from
/// there on.
pub(super) fn float(value: f64) -> String {
    let text = float_digits(value);
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_whole { text + ".0" } else { text }
}

/// As [`float`], with the digits that are enough for half the width.
pub(super) fn float32(value: f32) -> String {
    // The shortest text of the narrow number, read as a wide one, is that wide number's shortest text too.
    value.to_string().parse().map_or_else(|_| value.to_string(), float)
}

/// `repr` of a `complex`: without parentheses where the real part is a positive zero.
pub(super) fn complex(real: f64, imaginary: f64) -> String {
    let imaginary_text = float_digits(imaginary);
    if real == 0.0 && real.is_sign_positive() {
        return imaginary_text + "j";
    }
    let sign = if imaginary_text.starts_with('-') { "" } else { "+" };
    format!("({}{sign}{imaginary_text}j)", float_digits(real))
}

/// As [`float`], but a whole number has no fraction.
fn float_digits(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        format!("{value}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
    }
}

/// The decimal digits of an integer.
pub(super) fn integer(value: &Integer) -> String {
    const BILLION: u64 = 1_000_000_000;
    let mut digits = value.digits.clone();
    // Nine decimal digits each, the lowest first.
    let mut groups = Vec::new();
    while !digits.is_empty() {
        let mut rest = 0;
        for digit in digits.iter_mut().rev() {
            let current = rest << DIGIT_BITS | u64::from(*digit);
            *digit = (current / BILLION) as u32;
            rest = current % BILLION;
        }
        groups.push(rest);
        while digits.last() == Some(&0) {
            digits.pop();
        }
    }
    let sign = if value.negative { "-" } else { "" };
    let mut text = format!("{sign}{}", groups.pop().unwrap_or(0));
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    text
}

/// A decimal number `±digits × 10^exponent` in the notation of the General Decimal Arithmetic specification
/// ("to-scientific-string").
pub(super) fn decimal(negative: bool, digits: &str, exponent: i64) -> String {
    let sign = if negative { "-" } else { "" };
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let adjusted = exponent.saturating_add(length - 1);
    if exponent <= 0 && adjusted >= -6 {
        // The point falls inside of the digits or a little before them.
        let point = length + exponent;
        return match usize::try_from(point) {
            _ if exponent == 0 => format!("{sign}{digits}"),
            Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
            _ => format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0))),
        };
    }
    let (first, rest) = digits.split_at(digits.len().min(1));
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}E{adjusted:+}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_as_short_as_pythons() {
        let cases = [
            (3.0, "3.0"),
            (-0.0, "-0.0"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
        assert_eq!(complex(0.0, 1.0), "1j");
        assert_eq!(complex(-0.0, -1.5), "(-0-1.5j)");
    }

    #[test]
    fn integers_of_any_size_are_decimal() {
        for value in [0, 1, -1, 999_999_999, 1_000_000_000, i64::MAX, i64::MIN] {
            assert_eq!(integer(&Integer::from_i64(value)), value.to_string());
        }
        let power = Integer { negative: true, digits: [vec![0; 10], vec![1]].concat() };
        let expected = "-2037035976334486086268445688409378161051468393665936250636140449354381299763336706183397376";
        assert_eq!(integer(&power), expected);
    }
}
