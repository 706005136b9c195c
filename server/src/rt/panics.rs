//! Panics of the application, which end what panicked and nothing else. The panic hook has told of
//! one on standard error by the time that it is caught.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Panics that were caught in this process. Only ever added to and read: no order is needed.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// How many panics were caught in this process.
pub(crate) fn count() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// What `work` gives, or nothing where it panics.
#[inline]
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    // Spares the way through `catch_unwind` and its copy of the answer where nothing unwinds.
    if cfg!(panic = "abort") {
        return Some(work());
    }
    // What was half changed belongs to the application, or is dropped with the request.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => Some(value),
        Err(_) => {
            CAUGHT.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// What `work` gives, or what it said when it panicked.
pub(crate) fn caught_with_message<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| message(&*payload))
}

#[cold]
fn message(payload: &(dyn Any + Send)) -> String {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_its_message_kept() {
        let before = count();
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught_with_message(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        let n = 7;
        assert_eq!(caught_with_message(|| panic!("of {n}")), Err::<(), _>("of 7".to_owned()));
        assert!(count() >= before + 2);
    }
}
