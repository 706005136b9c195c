//! Every backend against the scalar one, for every byte value, position and distance from the
//! data's edges.

use super::*;
use alloc::vec;
use alloc::vec::Vec;

/// The result of each operation on the block at `at`.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    lines: Lines,
    outside: Vec<(u64, u32)>,
    equal: Vec<u64>,
    octets: Vec<u32>,
    differing: u32,
}

struct Ask<'a> {
    input: Padded<'a>,
    at: usize,
    entry: &'a [u8; 32],
}

impl Work for Ask<'_> {
    type Output = Answers;

    #[inline(always)]
    fn run<B: Block>(self, block: B) -> Answers {
        let bytes = self.input.bytes(self.at);
        let name = block.name(bytes);
        let (mut outside, mut equal) = (vec![], vec![]);
        for set in SETS {
            outside.push((block.outside(bytes, set), block.strange(name, set)));
        }
        for byte in [0, b'\n', b'?', 0x80] {
            equal.push(block.equal(bytes, byte));
        }
        Answers {
            lines: block.lines(bytes),
            outside,
            equal,
            octets: [b':', b'.', 0x80].map(|byte| block.octets(name, byte)).into(),
            differing: block.differing(name, self.entry),
        }
    }
}

static FEW: Set = Set::of(b"\0:\x7f");
static SETS: [&Set; 5] = [&TOKEN, &CONTROL, &HOST, &PLAIN_HOST, &FEW];

fn ask(backend: Backend, bytes: &[u8], at: usize, len: usize, entry: &[u8; 32]) -> Answers {
    dispatch(backend, Ask { input: Padded::new(bytes, len), at, entry })
}

#[test]
fn every_byte_at_every_position() {
    for background in [b'a', 0xff] {
        let mut bytes = [background; 64];
        let entry = &[background | 0x20; 32];
        for position in 0..64 {
            for value in 0..=255 {
                bytes[position] = value;
                let expected = ask(Backend::Scalar, &bytes, 0, 0, entry);
                for backend in Backend::available().skip(1) {
                    assert_eq!(ask(backend, &bytes, 0, 0, entry), expected, "{backend}");
                }
            }
            bytes[position] = background;
        }
    }
}

#[test]
fn every_alignment_and_edge() {
    // An allocation of exactly the readable bytes, so that a sanitizer catches any read beyond it.
    let mut random = 1u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    for len in 0..130 {
        let bytes: Vec<u8> = (0..len + PAD).map(|_| next()).collect();
        let entry = core::array::from_fn(|n| bytes[n] | 0x20);
        for at in 0..=len {
            let expected = ask(Backend::Scalar, &bytes, at, len, &entry);
            for backend in Backend::available() {
                assert_eq!(ask(backend, &bytes, at, len, &entry), expected, "{backend}");
            }
        }
    }
}

#[test]
fn sets_hold_what_the_rfcs_say() {
    for byte in 0..=255u8 {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(TOKEN.has(byte), token);
        let control = byte.is_ascii_control() && !b"\t\r\n".contains(&byte);
        assert_eq!(CONTROL.has(byte), control);
        assert_eq!(VISIBLE.has(byte), byte.is_ascii_graphic());
        let host = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
        assert_eq!(HOST.has(byte), host);
        assert_eq!(PLAIN_HOST.has(byte), host && !byte.is_ascii_uppercase());
        assert_eq!(VISIBLE.without(b'#').has(byte), byte.is_ascii_graphic() && byte != b'#');
    }
}

#[test]
fn names_round_trip() {
    for backend in Backend::available() {
        assert_eq!(Backend::from_name(backend.name()), Some(backend));
    }
    assert_eq!(Backend::from_name("mmx"), None);
    assert!(Backend::available().any(|b| b == Backend::detect()));
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    assert!(Backend::available().count() >= 2 || !std::arch::is_x86_feature_detected!("ssse3"));
}

#[test]
#[should_panic(expected = "64 bytes of padding")]
fn too_little_padding_is_refused() {
    Padded::new(&[0; 70], 7);
}
