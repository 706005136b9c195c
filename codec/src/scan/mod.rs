//! Block classifiers: 64 bytes in, one bit per byte out, on whatever instruction set the CPU has.
//!
//! The parsers are written once, as safe code over the sealed trait [`Block`], and [`dispatch`]
//! enters them once per message inside a function that carries the instruction set's
//! `#[target_feature]`, so that everything below is inlined into it. `scalar` is the definition of
//! correct; the others are tested against it for every byte value, at every position. All reads are
//! of whole blocks: [`Padded`] promises 64 readable bytes after the data, and that promise, checked
//! when it is made, is what the unsafe code of this folder rests on.

mod scalar;

use core::fmt;

/// Bytes that have to be readable after the data of a [`Padded`].
pub const PAD: usize = 64;

/// An instruction set that the classifiers are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// No vector instructions; on every CPU.
    Scalar,
    /// SSSE3 and below.
    #[cfg(target_arch = "x86_64")]
    Sse,
    /// AVX2 with BMI1, BMI2, LZCNT and POPCNT.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VL and VBMI, and what [`Backend::Avx2`] has.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Advanced SIMD.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Backend {
    /// Every backend of this architecture, slowest first, whether or not this CPU has it.
    #[cfg(target_arch = "x86_64")]
    pub const ALL: &'static [Self] = &[Self::Scalar, Self::Sse, Self::Avx2, Self::Avx512];
    /// Every backend of this architecture, slowest first, whether or not this CPU has it.
    #[cfg(target_arch = "aarch64")]
    pub const ALL: &'static [Self] = &[Self::Scalar, Self::Neon];
    /// Every backend of this architecture.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub const ALL: &'static [Self] = &[Self::Scalar];

    /// The fastest backend that this CPU has.
    #[cfg(feature = "std")]
    pub fn detect() -> Self {
        Self::ALL.iter().rev().copied().find(|b| b.is_available()).unwrap_or(Self::Scalar)
    }

    /// The backend called `name` (`scalar`, `sse`, `avx2`, `avx512`, `neon`). `None` when there is
    /// none of that name on this architecture or, with the feature `std`, when this CPU does not
    /// have it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|b| b.name() == name && b.is_available())
    }

    /// The name that [`Backend::from_name`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Sse => "sse",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
        }
    }

    /// Whether this CPU and this build have it.
    pub fn is_available(self) -> bool {
        matches!(self, Self::Scalar)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes to parse, with 64 readable bytes of anything after them.
#[derive(Clone, Copy)]
pub struct Padded<'a> {
    whole: &'a [u8],
    len: usize,
}

impl<'a> Padded<'a> {
    /// The first `len` bytes of `whole` are the data, the rest is padding (whatever it holds).
    ///
    /// # Panics
    /// When fewer than [`PAD`] bytes follow the data: that is the caller's error, never the peer's.
    #[inline]
    pub fn new(whole: &'a [u8], len: usize) -> Self {
        assert!(len <= whole.len() && whole.len() - len >= PAD, "64 bytes of padding");
        Self { whole, len }
    }

    /// Bytes of data.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no data.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The data without the padding.
    #[inline(always)]
    pub fn data(&self) -> &'a [u8] {
        &self.whole[..self.len]
    }

    /// The byte at `at`, which may lie up to 63 bytes behind the data.
    #[inline(always)]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.whole[at]
    }

    /// The eight bytes from `at` on as a little-endian word.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> u64 {
        assert!(at <= self.len);
        // SAFETY: `at + 8 <= len + PAD <= whole.len()` by the assertion here and the one in `new`.
        u64::from_le(unsafe { self.whole.as_ptr().add(at).cast::<u64>().read_unaligned() })
    }
}

/// A set of ASCII characters as a 16-byte table: bit `b >> 4` of entry `b & 15` says whether `b` is
/// in it. This is the form that a byte shuffle looks up 16 to 64 at a time; bytes from 0x80 on are
/// in no set.
#[derive(Clone, Copy)]
pub(crate) struct Set(pub(crate) [u8; 16]);

impl Set {
    /// The set of all `bytes`.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        let mut table = [0; 16];
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] < 0x80);
            table[(bytes[at] & 15) as usize] |= 1 << (bytes[at] >> 4);
            at += 1;
        }
        Self(table)
    }

    /// This set and every byte from `first` to `last`.
    pub(crate) const fn and_range(self, first: u8, last: u8) -> Self {
        assert!(first <= last && last < 0x80);
        let mut table = self.0;
        let mut byte = first;
        while byte <= last {
            table[(byte & 15) as usize] |= 1 << (byte >> 4);
            byte += 1;
        }
        Self(table)
    }

    /// This set without `byte`.
    pub(crate) const fn without(self, byte: u8) -> Self {
        assert!(byte < 0x80);
        let mut table = self.0;
        table[(byte & 15) as usize] &= !(1 << (byte >> 4));
        Self(table)
    }

    /// Whether `byte` is in the set.
    #[inline(always)]
    pub(crate) const fn has(&self, byte: u8) -> bool {
        byte < 0x80 && self.0[(byte & 15) as usize] >> (byte >> 4) & 1 != 0
    }
}

/// Letters and digits.
const ALPHANUMERIC: Set =
    Set([0; 16]).and_range(b'0', b'9').and_range(b'A', b'Z').and_range(b'a', b'z');

const fn alphanumeric_and(bytes: &[u8]) -> Set {
    let mut set = Set::of(bytes);
    let mut at = 0;
    while at < 16 {
        set.0[at] |= ALPHANUMERIC.0[at];
        at += 1;
    }
    set
}

/// `tchar`, the characters of a field name or method (RFC 9110 section 5.6.2).
pub(crate) const TOKEN: Set = alphanumeric_and(b"!#$%&'*+-.^_`|~");
/// Control characters that no line of a message may hold: all but HTAB, CR and LF (RFC 9110 section
/// 5.5).
pub(crate) const CONTROL: Set = Set::of(&[9, 10, 13]).not_control();
/// Visible ASCII: what a request target consists of here (RFC 9112 section 3.2 allows less; we let
/// `{`, `|` and the like through, as every server does, but no control, space or byte from 0x80
/// on).
pub(crate) const VISIBLE: Set = Set([0; 16]).and_range(0x21, 0x7e);
/// `reg-name` without percent-encoding (RFC 3986 section 3.2.2): the characters of an ordinary
/// host.
pub(crate) const HOST: Set = alphanumeric_and(b"-._~!$&'()*+,;=");

impl Set {
    /// The control characters that are not in this set.
    const fn not_control(self) -> Self {
        let all = Self([0; 16]).and_range(0, 0x1f).and_range(0x7f, 0x7f);
        let mut table = all.0;
        let mut at = 0;
        while at < 16 {
            table[at] &= !self.0[at];
            at += 1;
        }
        Self(table)
    }
}

/// The line structure of one block, bit n for its byte n.
#[derive(Clone, Copy)]
pub(crate) struct Lines<C> {
    /// Carriage returns.
    pub(crate) cr: u64,
    /// Line feeds.
    pub(crate) lf: u64,
    /// [`CONTROL`] characters, in the backend's own form: gathered with [`Block::gather`], asked
    /// once per message.
    pub(crate) control: C,
}

/// What an instruction set does with 64 bytes. Sealed: private to this crate, implemented in this
/// folder only.
pub(crate) trait Block: Copy {
    /// A vector's worth of "is a control character", cheap to gather over blocks.
    type Control: Copy;

    /// No control character.
    fn none(self) -> Self::Control;
    /// Both.
    fn gather(self, a: Self::Control, b: Self::Control) -> Self::Control;
    /// As one bit per byte.
    fn controls(self, c: Self::Control) -> u64;

    /// Line ends and control characters of the block at `at`.
    fn lines(self, input: Padded<'_>, at: usize) -> Lines<Self::Control>;
    /// The bytes of the block at `at` that are not in `set`.
    fn outside(self, input: Padded<'_>, at: usize, set: &'static Set) -> u64;
    /// The bytes of the block at `at` that equal `byte`.
    fn equal(self, input: Padded<'_>, at: usize, byte: u8) -> u64;
    /// [`Block::outside`] of [`TOKEN`], for the first 32 bytes only: names are short.
    fn not_token(self, input: Padded<'_>, at: usize) -> u32;
}

/// Work that is entered once per message with the block operations of the backend in use.
pub(crate) trait Work {
    /// What it gives.
    type Output;

    /// Has to be `#[inline(always)]`, as has everything it calls on its hot path: that is what
    /// makes the compiler build it with the backend's instructions.
    fn run<B: Block>(self, block: B) -> Self::Output;
}

/// Runs `work` on `backend`, or on the scalar one if this CPU does not have it.
#[inline]
pub(crate) fn dispatch<W: Work>(backend: Backend, work: W) -> W::Output {
    match backend {
        Backend::Scalar => work.run(scalar::Scalar),
        #[allow(unreachable_patterns)]
        _ => work.run(scalar::Scalar),
    }
}
