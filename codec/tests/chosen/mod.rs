//! The backend that tests run on, where they do not compare all of them.

use ringway_codec::scan::Backend;

/// The one that `RINGWAY_SIMD` names; without it, the fastest there is.
pub(crate) fn backend() -> Backend {
    let Ok(name) = std::env::var("RINGWAY_SIMD") else { return Backend::detect() };
    Backend::from_name(&name).unwrap_or_else(|| panic!("RINGWAY_SIMD={name}: not on this CPU"))
}
