//! The tokio runtime that services run in the context of, and its default.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime, RuntimeFlavor};

/// A runtime's context, which futures are polled and dropped in. What they spawn, and their timers
/// and I/O, register with that runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context(&'static Handle);

thread_local! {
    /// The context that this thread is in, and what keeps it there. A worker stays in the context
    /// of its services: entering costs two atomic operations on what all threads share. The guard
    /// is never dropped at the thread's end, when tokio's own thread-local may be gone.
    static ENTERED: RefCell<Option<(&'static Handle, ManuallyDrop<EnterGuard<'static>>)>> =
        const { RefCell::new(None) };
}

impl Context {
    /// The context of a runtime. Its handle lives as long as the process, as handlers do.
    pub(super) fn of(handle: Handle) -> Self {
        Self(Box::leak(Box::new(handle)))
    }

    /// The caller's runtime if that has threads of its own, else the default.
    pub(super) fn current_or_default() -> Self {
        match Handle::try_current() {
            Ok(handle) if handle.runtime_flavor() != RuntimeFlavor::CurrentThread => {
                Self::of(handle)
            }
            _ => Self(default_runtime().handle()),
        }
    }

    /// Puts the calling thread into the context.
    #[inline]
    pub(super) fn enter(self) {
        ENTERED.with_borrow_mut(|entered| {
            if !entered.as_ref().is_some_and(|(handle, _)| std::ptr::eq(*handle, self.0)) {
                self.replace(entered);
            }
        });
    }

    #[cold]
    fn replace(self, entered: &mut Option<(&'static Handle, ManuallyDrop<EnterGuard<'static>>)>) {
        // Guards go in the reverse order of their coming.
        if let Some((_, guard)) = entered.take() {
            drop(ManuallyDrop::into_inner(guard));
        }
        *entered = Some((self.0, ManuallyDrop::new(self.0.enter())));
    }

    /// Enters the context when dropped: what was declared before this is dropped in it.
    pub(super) fn enter_on_drop(self) -> EnterOnDrop {
        EnterOnDrop(self)
    }
}

pub(super) struct EnterOnDrop(Context);

impl Drop for EnterOnDrop {
    fn drop(&mut self) {
        self.0.enter();
    }
}

/// One thread beside the workers, for I/O, timers and what services spawn; started when it is first
/// needed.
fn default_runtime() -> &'static Runtime {
    static DEFAULT: OnceLock<Runtime> = OnceLock::new();
    DEFAULT.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ringway-tokio")
            .enable_all()
            .build();
        built.unwrap_or_else(|error| panic!("tokio's runtime cannot be started: {error}"))
    })
}
