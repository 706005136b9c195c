//! Endpoints: the handlers of a path by method, and its answer to other methods.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use ringway_codec::h1::request::Method as Verb;

use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;

/// A place in the program's source.
pub(super) type Place = &'static Location<'static>;

/// Wraps a handler in a layer.
pub(super) type Wrap = Arc<dyn Fn(Box<dyn Handler>) -> Box<dyn Handler> + Send + Sync>;

/// A layer that wraps a handler.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) wrap: Wrap,
    pub(super) only: Only,
}

/// A property that a handler can have only once: its name, and where it was added.
#[derive(Clone, Copy)]
pub(super) struct Only {
    pub(super) what: Option<&'static str>,
    pub(super) place: Place,
}

/// A handler, wrapped in its layers.
pub(super) struct Entry {
    pub(super) handler: Box<dyn Handler>,
    /// Where the route was made.
    pub(super) place: Place,
    onlies: Vec<Only>,
}

/// The handlers of a path, by method.
pub(super) struct Endpoint {
    methods: Vec<(Verb, Method, Entry)>,
    any: Option<Entry>,
    /// Answers the methods that the path lacks.
    refusal: Box<dyn Handler>,
    /// The layers around that answer.
    around: Vec<Around>,
}

impl Default for Endpoint {
    fn default() -> Self {
        let refusal = Box::new(Refusal { allow: None });
        Self { methods: Vec::new(), any: None, refusal, around: Vec::new() }
    }
}

impl Entry {
    pub(super) fn new(handler: Box<dyn Handler>, place: Place) -> Self {
        Self { handler, place, onlies: Vec::new() }
    }

    /// Wraps the handler in a layer; `shown` is the route.
    #[track_caller]
    pub(super) fn wrap(&mut self, around: &Around, shown: impl fmt::Display) {
        let Only { what, place } = around.only;
        if let Some(what) = what {
            let other = self.onlies.iter().find(|only| only.what == Some(what));
            if let Some(other) = other {
                panic!("{shown} has two of {what}: from {} and from {place}", other.place);
            }
            self.onlies.push(around.only);
        }
        let handler = std::mem::replace(&mut self.handler, Box::new(Refusal { allow: None }));
        self.handler = (around.wrap)(handler);
    }
}

impl Endpoint {
    /// Adds a handler for a method; `None` means any method.
    #[track_caller]
    pub(super) fn add(&mut self, method: Option<Method>, entry: Entry, path: &str) {
        let there = match &method {
            Some(method) => self.methods.iter().find(|(_, other, _)| other == method),
            None => None,
        };
        let there = there.map(|(_, _, entry)| entry);
        let there = if method.is_none() { self.any.as_ref() } else { there };
        if let Some(there) = there {
            let name = method.as_ref().map_or("any method", Method::as_str);
            panic!(
                "{name} of {path} has two routes: from {} and from {}",
                there.place, entry.place
            );
        }
        match method {
            Some(method) => self.methods.push((verb(&method), method, entry)),
            None => self.any = Some(entry),
        }
        self.refuse(path);
    }

    /// Merges another endpoint of the same path. The answer to methods that neither has gets the
    /// layers of both.
    #[track_caller]
    pub(super) fn merge(&mut self, other: Self, path: &str) {
        for (_, method, entry) in other.methods {
            self.add(Some(method), entry, path);
        }
        if let Some(any) = other.any {
            self.add(None, any, path);
        }
        let known = |around: &Around, all: &[Around]| {
            all.iter().any(|other| Arc::ptr_eq(&other.wrap, &around.wrap))
        };
        for around in other.around {
            if !known(&around, &self.around) {
                self.around.push(around);
            }
        }
        self.refuse(path);
    }

    /// Wraps everything the path answers in a layer.
    #[track_caller]
    pub(super) fn layer(&mut self, around: &Around, path: &str) {
        self.wrap(around, path);
        self.around.push(around.clone());
        self.refuse(path);
    }

    /// Same as [`Self::layer`], for the answer to methods that the path lacks.
    #[track_caller]
    pub(super) fn wrap(&mut self, around: &Around, path: &str) {
        for (_, method, entry) in &mut self.methods {
            entry.wrap(around, format_args!("{method} {path}"));
        }
        if let Some(any) = &mut self.any {
            any.wrap(around, path);
        }
    }

    /// Tells the handlers that the path's router was nested below `prefix`.
    pub(super) fn nested(&mut self, prefix: &str) {
        let methods = self.methods.iter_mut().map(|(_, _, entry)| entry);
        methods.chain(&mut self.any).for_each(|entry| entry.handler.nested(prefix));
    }

    /// Builds the answer to methods that the path lacks.
    #[track_caller]
    fn refuse(&mut self, path: &str) {
        let mut names: Vec<&str> =
            self.methods.iter().map(|(_, method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        if !names.contains(&"OPTIONS") {
            names.push("OPTIONS");
        }
        let allow = HeaderValue::try_from(names.join(", ")).ok();
        let place = Location::caller();
        let mut entry = Entry::new(Box::new(Refusal { allow }), place);
        for around in &self.around {
            entry.wrap(around, format_args!("OPTIONS {path}"));
        }
        self.refusal = entry.handler;
    }

    /// Where the path's first route was made.
    pub(super) fn place(&self) -> Option<Place> {
        let methods = self.methods.iter().map(|(_, _, entry)| entry);
        methods.chain(&self.any).map(|entry| entry.place).next()
    }

    pub(super) fn handlers(&self) -> impl Iterator<Item = &dyn Handler> {
        let methods = self.methods.iter().map(|(_, _, entry)| entry);
        methods.chain(&self.any).map(|entry| &*entry.handler)
    }

    #[inline(always)]
    pub(super) fn handler(&self, request: &Request<'_>) -> &dyn Handler {
        let asked = request.line.method;
        let found = self.methods.iter().find(|(verb, ..)| *verb == asked);
        match found {
            Some((_, _, entry)) if asked != Verb::Other => &*entry.handler,
            _ => self.other_handler(request),
        }
    }

    /// The handler of a method that has no route of its own, or is unknown to the codec.
    fn other_handler(&self, request: &Request<'_>) -> &dyn Handler {
        let of = |wanted: &Method| {
            let found = self.methods.iter().find(|(_, method, _)| method == wanted);
            found.map(|(_, _, entry)| entry)
        };
        let named = match request.line.method {
            _ if self.methods.is_empty() => None,
            Verb::Head => of(&Method::GET),
            Verb::Other => of(&request.method()),
            _ => None,
        };
        named.or(self.any.as_ref()).map_or(&*self.refusal, |entry| &*entry.handler)
    }
}

/// Answers methods that a path lacks, and OPTIONS (RFC 9110 sections 9.3.7, 15.5.6).
struct Refusal {
    allow: Option<HeaderValue>,
}

impl Handler for Refusal {
    fn call(&self, request: &Request<'_>) -> Reply {
        let response: Response = match request.line.method {
            Verb::Other => return Reply::Ready(StatusCode::NOT_IMPLEMENTED.into()),
            Verb::Options => StatusCode::NO_CONTENT.into(),
            _ => StatusCode::METHOD_NOT_ALLOWED.into(),
        };
        Reply::Ready(match &self.allow {
            Some(allow) => response.header(header::ALLOW, allow.clone()),
            None => response,
        })
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        // Streamed, so that the answer does not wait for an unwanted body.
        BodyMode::Stream
    }
}

/// The codec's verb for a method.
fn verb(method: &Method) -> Verb {
    match *method {
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        Method::OPTIONS => Verb::Options,
        Method::CONNECT => Verb::Connect,
        Method::TRACE => Verb::Trace,
        _ => Verb::Other,
    }
}
