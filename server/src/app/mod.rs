//! The application's side: handlers, routes, requests, responses, bodies. Independent of the
//! protocol.

pub(crate) mod answers;
pub(crate) mod body;
pub(crate) mod body_channel;
pub(crate) mod body_limit;
pub(crate) mod content;
pub(crate) mod content_coding;
pub(crate) mod cookies;
pub(crate) mod encoder;
pub(crate) mod error;
pub(crate) mod extensions;
pub(crate) mod extract;
pub(crate) mod fields;
pub(crate) mod form_data;
pub(crate) mod handler;
pub(crate) mod interop;
pub(crate) mod layer;
pub mod layers;
pub(crate) mod pairs;
pub(crate) mod preload;
pub(crate) mod problem;
pub(crate) mod request;
pub(crate) mod request_builder;
pub(crate) mod response;
pub(crate) mod router;
pub(crate) mod shared_fields;
pub(crate) mod sse;
#[cfg(feature = "tower")]
pub mod tower;
pub(crate) mod trace_context;
pub(crate) mod uri;
