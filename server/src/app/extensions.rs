//! Per-request data besides its bytes: values attached by layers, and the body while it streams.

use std::cell::Cell;
use std::fmt;

use crate::app::body::RequestBody;

/// Values attached to a request, at most one per type. Layers set them for the handlers inside.
///
/// Layers borrow the request as `&Request`, so values are inserted through `&` and returned as
/// clones. Wrap large or shared values in an [`Arc`](std::sync::Arc). Nothing is allocated until
/// the first insert.
///
/// ```
/// use ringway::Request;
///
/// #[derive(Clone)]
/// struct User(String);
///
/// fn layer(request: &Request) {
///     request.extensions().insert(User("ada".to_owned()));
/// }
///
/// let request = Request::builder().build()?;
/// layer(&request.view());
/// assert_eq!(request.extensions().get::<User>().unwrap().0, "ada");
/// # Ok::<(), ringway::request::InvalidRequest>(())
/// ```
#[derive(Default)]
pub struct Extensions(Cell<Option<Box<http::Extensions>>>);

impl Extensions {
    /// A clone of the value of a type.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        // The map is taken out while the application's `Clone` runs, which cannot reach this
        // request.
        let map = self.0.take()?;
        let value = map.get().cloned();
        self.0.set(Some(map));
        value
    }

    /// True if there is a value of a type.
    #[must_use]
    pub fn contains<T: Send + Sync + 'static>(&self) -> bool {
        let Some(map) = self.0.take() else { return false };
        let found = map.get::<T>().is_some();
        self.0.set(Some(map));
        found
    }

    /// Sets the value of a type; returns the value it replaces.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        let mut map = self.0.take().unwrap_or_default();
        let before = map.insert(value);
        self.0.set(Some(map));
        before
    }

    /// Removes and returns the value of a type.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let mut map = self.0.take()?;
        let value = map.remove();
        self.0.set(Some(map));
        value
    }

    /// Moves all values out.
    pub(crate) fn take(&self) -> Self {
        Self(Cell::new(self.0.take()))
    }

    /// Converts into the `http` crate's type.
    pub(crate) fn into_http(self) -> http::Extensions {
        self.0.into_inner().map(|map| *map).unwrap_or_default()
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = self.0.take();
        let shown =
            f.debug_tuple("Extensions").field(&map.as_ref().map_or(0, |map| map.len())).finish();
        self.0.set(map);
        shown
    }
}

/// Per-request data besides the bytes. The connection provides one for each request.
#[derive(Default)]
pub(crate) struct Attached {
    /// The streamed body, until the handler takes it.
    pub(crate) stream: Cell<Option<RequestBody>>,
    pub(crate) extensions: Extensions,
}

impl Attached {
    /// Moves everything out, for a request that outlives the call.
    pub(crate) fn take(&self) -> Self {
        Self { stream: Cell::new(self.stream.take()), extensions: self.extensions.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_value_of_each_type() {
        let extensions = Extensions::default();
        assert_eq!(extensions.get::<u8>(), None);
        assert!(!extensions.contains::<u8>());
        assert_eq!(extensions.insert(1_u8), None);
        assert_eq!(extensions.insert("text"), None);
        assert_eq!(extensions.insert(2_u8), Some(1));
        assert_eq!((extensions.get::<u8>(), extensions.get::<&str>()), (Some(2), Some("text")));
        let moved = extensions.take();
        assert!(!extensions.contains::<u8>() && moved.contains::<u8>());
        assert_eq!((moved.remove::<u8>(), moved.remove::<u8>()), (Some(2), None));
    }

    #[test]
    fn p2_what_is_not_used_takes_a_pointer() {
        assert_eq!(size_of::<Extensions>(), size_of::<usize>());
    }
}
