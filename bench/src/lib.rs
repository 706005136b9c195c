//! Shared pieces of ringway's benchmarks.

/// Parses `text` as a decimal integer with an optional sign. The arena's handler and its rivals'
/// read numbers the same way.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // So few digits cannot overflow.
    if digits.len() <= 18 {
        let mut number = 0;
        for digit in digits {
            let value = digit.wrapping_sub(b'0');
            if value > 9 {
                return None;
            }
            number = number * 10 + i64::from(value);
        }
        return Some(if negative { -number } else { number });
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let value = i64::from(digit.wrapping_sub(b'0'));
        let shifted = number.checked_mul(10)?;
        let sum = if negative { shifted.checked_sub(value) } else { shifted.checked_add(value) };
        sum.filter(|_| value < 10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_the_standard_library() {
        let largest = [i64::MAX.to_string(), i64::MIN.to_string()];
        let beyond = ["9223372036854775808", "-9223372036854775809", "99999999999999999999"];
        let odd = ["", "-", "+", "+7", "-7", "0", "007", "1x", "x1", "--1", " 1", "1 ", "\u{f3}"];
        let all = largest.iter().map(String::as_str).chain(beyond).chain(odd);
        for text in all {
            assert_eq!(integer(text.as_bytes()), text.parse().ok(), "{text:?}");
        }
    }
}
