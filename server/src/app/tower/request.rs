//! Converts a request into the `http` crate's, for a service.

use std::ops::Range;

use bytes::Bytes;
use ringway_codec::field::Known;

use super::incoming::{Feeder, IncomingBody};
use crate::app::interop::{absolute, header_map, path_and_query, range};
use crate::app::request::{Protocol, Request};

/// The request and its body's feeder. All text in the request shares one copy of the head.
pub(super) fn convert(request: &Request<'_>) -> (http::Request<IncomingBody>, Option<Feeder>) {
    let head = Bytes::copy_from_slice(request.bytes);
    let part = |range: Range<usize>| head.slice(range);
    let (body, feeder) = match request.take_body() {
        Some(body) => {
            let (body, feeder) = IncomingBody::new(body, length(request));
            (body, Some(feeder))
        }
        None => (IncomingBody::whole(request.body), None),
    };
    let mut converted = http::Request::new(body);
    *converted.method_mut() = request.method();
    *converted.version_mut() = request.protocol.version();
    let path = path_and_query(request.line, &part);
    *converted.uri_mut() = match request.protocol {
        Protocol::Http10 | Protocol::Http11 => path.into(),
        _ => absolute(path, request.line.authority.map(|at| part(range(at))), request.secure),
    };
    *converted.headers_mut() = header_map(request.fields, &part);
    *converted.extensions_mut() = request.extensions().take().into_http();
    (converted, feeder)
}

/// The content-length stated by the client.
fn length(request: &Request<'_>) -> Option<u64> {
    str::from_utf8(request.known(Known::ContentLength)?).ok()?.parse().ok()
}
