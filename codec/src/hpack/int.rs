//! Prefixed integers and string headers (RFC 7541 section 5, which QPACK shares with other
//! prefixes). Integers are limited to five octets after the prefix and to 2^28: nothing valid needs
//! more, and everything fits a `u32`.

use alloc::vec::Vec;

/// The largest accepted integer.
pub(crate) const MAX: u32 = (1 << 28) - 1;

/// Why an integer was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The input ends within it.
    Incomplete,
    /// It exceeds [`MAX`] or is longer than five octets.
    TooLarge,
}

/// Reads the integer whose first octet is `input[*at]`, its value in the low `prefix` bits, and
/// moves `at` past it.
#[inline]
pub(crate) fn read(input: &[u8], at: &mut usize, prefix: u32) -> Result<u32, Fault> {
    let mask = (1u32 << prefix) - 1;
    let first = u32::from(*input.get(*at).ok_or(Fault::Incomplete)?) & mask;
    if first < mask {
        *at += 1;
        return Ok(first);
    }
    read_long(input, at, mask)
}

fn read_long(input: &[u8], at: &mut usize, mask: u32) -> Result<u32, Fault> {
    let mut value = u64::from(mask);
    for (count, &octet) in input[*at + 1..].iter().enumerate().take(5) {
        value += u64::from(octet & 0x7f) << (7 * count);
        if octet < 0x80 {
            if value > u64::from(MAX) {
                return Err(Fault::TooLarge);
            }
            *at += count + 2;
            return Ok(value as u32);
        }
    }
    if input.len() - *at > 5 { Err(Fault::TooLarge) } else { Err(Fault::Incomplete) }
}

/// Reads all of `input` as an integer of at most 62 bits: those of the decoder stream, which hold
/// stream identifiers.
pub(crate) fn read_u64(input: &[u8], prefix: u32) -> Result<u64, Fault> {
    let mask = (1u64 << prefix) - 1;
    let (first, rest) = input.split_first().ok_or(Fault::Incomplete)?;
    let mut value = u64::from(*first) & mask;
    if value < mask {
        return Ok(value);
    }
    for (count, &octet) in rest.iter().enumerate() {
        if count == 9 {
            return Err(Fault::TooLarge);
        }
        value += u64::from(octet & 0x7f) << (7 * count);
        if octet < 0x80 {
            return if value >> 62 == 0 { Ok(value) } else { Err(Fault::TooLarge) };
        }
    }
    if rest.len() > 8 { Err(Fault::TooLarge) } else { Err(Fault::Incomplete) }
}

/// Appends `value` with a `prefix`-bit prefix; `pattern` fills the first octet's other bits.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: u32) {
    let mask = (1u32 << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
    } else {
        out.push(pattern | mask as u8);
        write_rest(out, u64::from(value - mask));
    }
}

/// [`write`] for stream and insert counts.
pub(crate) fn write_u64(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: u64) {
    let mask = (1u64 << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
    } else {
        out.push(pattern | mask as u8);
        write_rest(out, value - mask);
    }
}

fn write_rest(out: &mut Vec<u8>, mut rest: u64) {
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7541_appendix_c1() {
        for (value, prefix, coded) in
            [(10, 5, &b"\x0a"[..]), (1337, 5, b"\x1f\x9a\x0a"), (42, 8, b"\x2a")]
        {
            let (mut out, mut at) = (Vec::new(), 0);
            write(&mut out, 0, prefix, value);
            assert_eq!(out, coded);
            assert_eq!(read(coded, &mut at, prefix), Ok(value));
            assert_eq!(at, coded.len());
        }
    }

    #[test]
    fn every_prefix_and_edge() {
        for prefix in 1..=8 {
            for value in (0..1000).chain([16_383, 16_384, 1 << 20, MAX - 1, MAX]) {
                let (mut out, mut at) = (Vec::new(), 0);
                write(&mut out, 0, prefix, value);
                assert_eq!(read(&out, &mut at, prefix), Ok(value));
                assert_eq!(at, out.len());
                for cut in 0..out.len() {
                    assert_eq!(read(&out[..cut], &mut 0, prefix), Err(Fault::Incomplete));
                }
            }
        }
    }

    #[test]
    fn too_large() {
        assert_eq!(read(b"\x1f\xff\xff\xff\xff\x0f", &mut 0, 5), Err(Fault::TooLarge));
        assert_eq!(read(b"\x1f\x80\x80\x80\x80\x80\x00", &mut 0, 5), Err(Fault::TooLarge));
        assert_eq!(read(b"\x1f\x80\x80\x80\x80\x80", &mut 0, 5), Err(Fault::TooLarge));
        assert_eq!(read(b"\x1f\x80\x80\x80\x80", &mut 0, 5), Err(Fault::Incomplete));
        assert_eq!(read(b"\x1f\x80\x80\x80\x80\x00", &mut 0, 5), Ok(31));
    }
}
