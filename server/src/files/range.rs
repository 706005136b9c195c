//! The `Range` field: which bytes of a file of known size are asked for.
//!
//! Overlapping and nearly adjacent ranges are merged, so that all parts together are never larger
//! than the file and one part's overhead; more than [`PARTS_MAX`] parts, numbers that no file
//! reaches and whatever does not parse are answered with the whole file, as the RFC allows.
//! RFC 9110 sections 14.1 and 14.2.

use std::ops::Range;

/// The most parts that one response has.
pub(crate) const PARTS_MAX: usize = 16;

/// What a part of a multipart body costs besides its bytes; gaps smaller than this are sent.
const PART_OVERHEAD: u64 = 128;

/// The answer to a `Range` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RangeRequest {
    /// The field says nothing that binds: send the whole file, 200.
    Whole,
    /// One part: 206 with `Content-Range`.
    One(Range<u64>),
    /// 2 to [`PARTS_MAX`] disjoint parts, in the order asked for: 206 `multipart/byteranges`.
    Many(Vec<Range<u64>>),
    /// Nothing of it exists: 416.
    Unsatisfiable,
}

/// Reads a `Range` field's value for a representation of `size` bytes.
pub(crate) fn parse(value: &[u8], size: u64) -> RangeRequest {
    let Some((unit, specs)) = split_once(value, b'=') else {
        return RangeRequest::Whole;
    };
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return RangeRequest::Whole;
    }
    let mut ranges = Vec::new();
    let mut stated = false;
    for spec in specs.split(|&byte| byte == b',') {
        let spec = spec.trim_ascii();
        if spec.is_empty() {
            continue; // RFC 9110, 5.6.1.2: empty list members are allowed.
        }
        stated = true;
        match one(spec, size) {
            Some(range) if !range.is_empty() => ranges.push(range),
            Some(_) => {}
            None => return RangeRequest::Whole,
        }
    }
    match (stated, ranges.len()) {
        (false, _) => RangeRequest::Whole,
        // A suffix of an empty file is satisfiable, but `Content-Range` cannot express it.
        (true, 0) if size == 0 && specs.contains(&b'-') && suffix_only(specs) => {
            RangeRequest::Whole
        }
        (true, 0) => RangeRequest::Unsatisfiable,
        (true, _) => merged(ranges),
    }
}

/// One range-spec as a range, empty when it is not satisfiable; `None` when it is malformed or
/// names a position that no file has.
fn one(spec: &[u8], size: u64) -> Option<Range<u64>> {
    let (first, last) = split_once(spec, b'-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(size.saturating_sub(number(last)?)..size),
        (false, true) => Some(number(first)?.min(size)..size),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            Some(first.min(size)..(last + 1).min(size))
        }
    }
}

/// Digits only, below 2⁶², so that sums cannot overflow.
fn number(digits: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (value < 1 << 62).then_some(value)
}

fn suffix_only(specs: &[u8]) -> bool {
    specs
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|spec| spec.strip_prefix(b"-").is_some_and(|n| n.iter().any(|&b| b != b'0')))
}

/// Merges ranges that overlap or nearly touch; the rest keep the order in which they were asked
/// for (RFC 9110, 15.3.7.2).
fn merged(ranges: Vec<Range<u64>>) -> RangeRequest {
    let mut ranked: Vec<(usize, Range<u64>)> = ranges.into_iter().enumerate().collect();
    ranked.sort_unstable_by_key(|(_, range)| range.start);
    let mut kept: Vec<(usize, Range<u64>)> = Vec::new();
    for (rank, range) in ranked {
        match kept.last_mut() {
            Some((first, last)) if range.start <= last.end.saturating_add(PART_OVERHEAD) => {
                last.end = last.end.max(range.end);
                *first = (*first).min(rank);
            }
            _ => kept.push((rank, range)),
        }
    }
    if kept.len() > PARTS_MAX {
        return RangeRequest::Whole;
    }
    kept.sort_unstable_by_key(|(rank, _)| *rank);
    if let [(_, only)] = kept.as_slice() {
        return RangeRequest::One(only.clone());
    }
    RangeRequest::Many(kept.into_iter().map(|(_, range)| range).collect())
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str, size: u64) -> RangeRequest {
        parse(value.as_bytes(), size)
    }

    /// Row B7, by the examples of RFC 9110, 14.1.2.
    #[test]
    fn single_ranges() {
        for (value, want) in [
            ("bytes=0-499", RangeRequest::One(0..500)),
            ("bytes=500-999", RangeRequest::One(500..1000)),
            ("bytes=-500", RangeRequest::One(9500..10000)),
            ("bytes=9500-", RangeRequest::One(9500..10000)),
            ("bytes=0-", RangeRequest::One(0..10000)),
            ("bytes=0-0", RangeRequest::One(0..1)),
            ("bytes=-1", RangeRequest::One(9999..10000)),
            ("bytes=9999-20000", RangeRequest::One(9999..10000)),
            ("bytes=-20000", RangeRequest::One(0..10000)),
            ("Bytes = 0-1", RangeRequest::One(0..2)),
            ("bytes=10000-", RangeRequest::Unsatisfiable),
            ("bytes=10000-10001", RangeRequest::Unsatisfiable),
            ("bytes=-0", RangeRequest::Unsatisfiable),
            ("bytes=20000-,0-1", RangeRequest::One(0..2)),
            ("bytes=,0-1,", RangeRequest::One(0..2)),
        ] {
            assert_eq!(asked(value, 10_000), want, "{value}");
        }
    }

    #[test]
    fn what_does_not_parse_asks_for_the_whole_file() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-0",
            "bytes=0x1-2",
            "bytes=1--2",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1 -2",
            "items=0-1",
            "bytes 0-1",
            "bytes=0-1;2-3",
        ] {
            assert_eq!(asked(value, 10_000), RangeRequest::Whole, "{value}");
        }
    }

    /// Row 34.
    #[test]
    fn numbers_beyond_any_file_are_ignored() {
        for value in [
            "bytes=-9223372036854775608",
            "bytes=9223372036854775808-",
            "bytes=0-18446744073709551615",
            "bytes=0-18446744073709551616",
            "bytes=0-99999999999999999999999999999999999999",
            "bytes=-18446744073709551615,0-1",
        ] {
            assert_eq!(asked(value, 10_000), RangeRequest::Whole, "{value}");
        }
        assert_eq!(asked("bytes=4611686018427387903-", 10_000), RangeRequest::Unsatisfiable);
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        assert_eq!(asked("bytes=0-", 0), RangeRequest::Unsatisfiable);
        assert_eq!(asked("bytes=-5", 0), RangeRequest::Whole);
        assert_eq!(asked("bytes=-0", 0), RangeRequest::Unsatisfiable);
    }

    #[test]
    fn many_ranges_keep_their_order_and_merge() {
        for (value, want) in [
            ("bytes=5000-5001,0-1", RangeRequest::Many(vec![5000..5002, 0..2])),
            ("bytes=0-0,-1", RangeRequest::Many(vec![0..1, 9999..10000])),
            ("bytes=0-10,5-20", RangeRequest::One(0..21)),
            ("bytes=0-10,11-20", RangeRequest::One(0..21)),
            ("bytes=0-10,139-140", RangeRequest::One(0..141)),
            ("bytes=0-10,140-141", RangeRequest::Many(vec![0..11, 140..142])),
            ("bytes=9000-9001,0-1,8950-9100", RangeRequest::Many(vec![8950..9101, 0..2])),
        ] {
            assert_eq!(asked(value, 10_000), want, "{value}");
        }
    }

    /// Row 35: whatever is asked, at most 16 parts and less than twice the file.
    #[test]
    fn many_ranges_are_bounded() {
        let overlapping: Vec<String> = (0..1000).map(|n| format!("{n}-")).collect();
        assert_eq!(
            asked(&format!("bytes={}", overlapping.join(",")), 10_000),
            RangeRequest::One(0..10000)
        );
        let disjoint: Vec<String> = (0..17).map(|n| format!("{0}-{0}", n * 500)).collect();
        assert_eq!(asked(&format!("bytes={}", disjoint.join(",")), 10_000), RangeRequest::Whole);
        let mut seed = 1_u64;
        for _ in 0..2000 {
            let mut random = |below: u64| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (seed >> 33) % below
            };
            let size = random(5000);
            let specs: Vec<String> = (0..random(40))
                .map(|_| {
                    let first = random(6000);
                    format!("{first}-{}", first + random(900))
                })
                .collect();
            if let RangeRequest::Many(parts) = asked(&format!("bytes={}", specs.join(",")), size) {
                assert!(parts.len() <= PARTS_MAX);
                let mut sorted = parts.clone();
                sorted.sort_by_key(|part| part.start);
                assert!(sorted.windows(2).all(|pair| pair[0].end + PART_OVERHEAD < pair[1].start));
                let bytes: u64 = parts.iter().map(|part| part.end - part.start).sum();
                assert!(bytes + PART_OVERHEAD * (parts.len() as u64 - 1) <= size);
            }
        }
    }
}
