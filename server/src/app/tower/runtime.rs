//! The tokio runtime whose context services run in, and the default runtime.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime, RuntimeFlavor};

/// A runtime's context, in which futures are polled and dropped. Their spawned tasks, timers and
/// I/O register with that runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context(&'static Handle);

thread_local! {
    /// This thread's current context and its guard. A worker stays in the context of its services,
    /// because entering costs two atomic operations on shared memory. The guard is not dropped when
    /// the thread ends: tokio's thread-local may be gone by then.
    static ENTERED: RefCell<Option<(&'static Handle, ManuallyDrop<EnterGuard<'static>>)>> =
        const { RefCell::new(None) };
}

impl Context {
    /// The context of a runtime. The handle lives as long as the process, as handlers do.
    pub(super) fn of(handle: Handle) -> Self {
        Self(Box::leak(Box::new(handle)))
    }

    /// The current runtime if it is multi-threaded, otherwise the default.
    pub(super) fn current_or_default() -> Self {
        match Handle::try_current() {
            Ok(handle) if handle.runtime_flavor() != RuntimeFlavor::CurrentThread => {
                Self::of(handle)
            }
            _ => Self(default_runtime().handle()),
        }
    }

    /// Enters the context on this thread.
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
        // Guards must be dropped in reverse order.
        if let Some((_, guard)) = entered.take() {
            drop(ManuallyDrop::into_inner(guard));
        }
        *entered = Some((self.0, ManuallyDrop::new(self.0.enter())));
    }

    /// Enters the context when dropped, so that values declared earlier are dropped in it.
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

/// One thread beside the workers for I/O, timers and spawned tasks. Started on first use.
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
