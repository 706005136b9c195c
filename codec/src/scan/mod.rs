//! Block classifiers: 64 bytes in, one bit per byte out, on whatever instruction set the CPU has.
//!
//! The parsers are written once, as safe code over the sealed trait [`Block`], and [`dispatch`]
//! enters them once per message inside a function that carries the instruction set's
//! `#[target_feature]`, so that everything below is inlined into it. `scalar` is the reference; the
//! others are tested against it for every byte value at every position. All reads are of whole
//! blocks: [`Padded`] guarantees 64 readable bytes after the data. That guarantee, checked at
//! construction, is what this folder's unsafe code relies on.

#[cfg(all(target_arch = "x86_64", ringway_avx512))]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod padded;
mod scalar;
mod set;
mod slots;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use padded::{LINE_BLOCK, first_64, half, word};
pub use padded::{PAD, Padded};
pub(crate) use set::{CONTROL, HOST, PLAIN_HOST, Set, TOKEN, VISIBLE};
pub(crate) use slots::Slots;

use core::fmt;

/// An instruction set that the classifiers are written for.
///
/// Values other than [`Backend::Scalar`] come only from [`Backend::detect`], [`Backend::from_name`]
/// and [`Backend::available`], which return none that this CPU lacks. That makes them safe to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// No vector instructions; on every CPU.
    Scalar,
    /// SSSE3 and below.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Sse,
    /// AVX2 with BMI1, BMI2, LZCNT and POPCNT.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx2,
    /// AVX-512 F, BW, VL, VBMI and VBMI2, and everything in [`Backend::Avx2`].
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx512,
    /// Advanced SIMD.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    Neon,
}

impl Backend {
    #[cfg(target_arch = "x86_64")]
    const ALL: &'static [Self] = &[Self::Scalar, Self::Sse, Self::Avx2, Self::Avx512];
    #[cfg(target_arch = "aarch64")]
    const ALL: &'static [Self] = &[Self::Scalar, Self::Neon];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    const ALL: &'static [Self] = &[Self::Scalar];

    /// The backends that this CPU and this build support, slowest first. Without the feature `std`:
    /// those whose instructions the whole build may use.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.iter().copied().filter(|b| b.is_available())
    }

    /// The fastest available backend.
    pub fn detect() -> Self {
        Self::available().next_back().unwrap_or(Self::Scalar)
    }

    /// The available backend called `name`: `scalar`, `sse`, `avx2`, `avx512` or `neon`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().find(|b| b.name() == name)
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

    fn is_available(self) -> bool {
        /// All of the named features: detected on the CPU, or at compile time without `std`.
        #[cfg(target_arch = "x86_64")]
        macro_rules! have {
            ($($feature:tt)*) => {{
                #[cfg(feature = "std")]
                let all = $(std::arch::is_x86_feature_detected!($feature))&&*;
                #[cfg(not(feature = "std"))]
                let all = $(cfg!(target_feature = $feature))&&*;
                all
            }};
        }
        #[cfg(target_arch = "x86_64")]
        let avx2 = || have!("avx2" "bmi1" "bmi2" "lzcnt" "popcnt");
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Sse => have!("ssse3"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                cfg!(ringway_avx512)
                    && avx2()
                    && have!("avx512f" "avx512bw" "avx512vl" "avx512vbmi" "avx512vbmi2")
            }
            // Advanced SIMD is part of every aarch64 target that this crate builds for.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The backend for tests that do not compare all of them: the one named by `RINGWAY_SIMD`, or else
/// the fastest.
#[cfg(test)]
pub(crate) fn chosen() -> Backend {
    let Ok(name) = std::env::var("RINGWAY_SIMD") else { return Backend::detect() };
    Backend::from_name(&name).unwrap_or_else(|| panic!("RINGWAY_SIMD={name}: not on this CPU"))
}

/// Bytes of a block that cannot be part of an ordinary line, bit n for byte n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Line feeds.
    pub(crate) lf: u64,
    /// Controls, DEL and bytes from 0x80 on: in an ordinary head only the CRs and LFs.
    pub(crate) odd: u64,
}

/// Operations of an instruction set on 64 bytes. Sealed: private to this crate, implemented in this
/// folder only.
pub(crate) trait Block: Copy {
    /// 32 bytes in registers.
    type Name: Copy;

    /// Line feeds and odd bytes of the block.
    fn lines(self, block: &[u8; PAD]) -> Lines;
    /// The bytes of the block that are not in `set`.
    fn outside(self, block: &[u8; PAD], set: &'static Set) -> u64;
    /// The bytes of the block that equal `byte`.
    fn equal(self, block: &[u8; PAD], byte: u8) -> u64;

    /// Loads the first 32 bytes of a line, from a block that begins 4 bytes before the line.
    fn name(self, near: &[u8; PAD]) -> Self::Name;
    /// Its bytes that equal `byte`.
    fn octets(self, name: Self::Name, byte: u8) -> u32;
    /// Its bytes that are not in `set`.
    fn strange(self, name: Self::Name, set: &'static Set) -> u32;
    /// Its bytes that, when bit 5 is set in each, differ from `entry`.
    fn differing(self, name: Self::Name, entry: &[u8; 32]) -> u32;
}

/// Work that runs once per message with the block operations of the backend in use.
pub(crate) trait Work {
    /// The result.
    type Output;

    /// Must be `#[inline(always)]`, like everything it calls on its hot path, so that the compiler
    /// builds it with the backend's instructions.
    fn run<B: Block>(self, block: B) -> Self::Output;
}

/// Runs `work` on `backend`.
#[inline]
pub(crate) fn dispatch<W: Work>(backend: Backend, work: W) -> W::Output {
    match backend {
        Backend::Scalar => scalar::scalar(work),
        // SAFETY: `is_available` was asked before this value was handed out.
        #[cfg(target_arch = "x86_64")]
        Backend::Sse => unsafe { x86::sse(work) },
        // SAFETY: as for SSE.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => unsafe { x86::avx2(work) },
        // SAFETY: as for SSE.
        #[cfg(all(target_arch = "x86_64", ringway_avx512))]
        Backend::Avx512 => unsafe { avx512::avx512(work) },
        // Never available.
        #[cfg(all(target_arch = "x86_64", not(ringway_avx512)))]
        Backend::Avx512 => work.run(scalar::Scalar),
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => work.run(neon::Neon),
    }
}
