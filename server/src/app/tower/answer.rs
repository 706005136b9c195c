//! Calls a service and converts its response.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Buf;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, SERVER};
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame};
use tower_service::Service;

use super::incoming::{Feeder, IncomingBody};
use super::runtime::Context;
use crate::app::body::{BodyWriter, Producer};
use crate::app::interop::write_frame;
use crate::app::response::{self, Response, is_bodiless};

/// Calls a service once it is ready. An error of the service is answered with 500.
pub(super) async fn answer<S, B>(
    mut service: S,
    request: http::Request<IncomingBody>,
    mut feeder: Option<Feeder>,
    context: Context,
) -> Response
where
    S: Service<http::Request<IncomingBody>, Response = http::Response<B>>,
    B: Body + 'static,
{
    let head_only = request.method() == Method::HEAD;
    let answered = {
        let call = pin!(async move {
            poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        });
        let _dropped_inside = context.enter_on_drop();
        fed(&mut feeder, context, call).await
    };
    match answered {
        Ok(response) => respond(response, head_only, feeder, context).await,
        Err::<_, S::Error>(_) => StatusCode::INTERNAL_SERVER_ERROR.into(),
    }
}

/// Polls a future in the runtime's context, and feeds the request's body meanwhile.
async fn fed<F: Future>(
    feeder: &mut Option<Feeder>,
    runtime: Context,
    mut future: Pin<&mut F>,
) -> F::Output {
    poll_fn(|context| {
        runtime.enter();
        feeder.iter().for_each(Feeder::is_polled);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            if !feeder.as_mut().is_some_and(|feeder| feeder.feed(context)) {
                return Poll::Pending;
            }
        }
    })
    .await
}

async fn respond<B: Body + 'static>(
    response: http::Response<B>,
    head_only: bool,
    feeder: Option<Feeder>,
    context: Context,
) -> Response {
    let (parts, body) = response.into_parts();
    if parts.status.is_informational() {
        let why = "501 Not Implemented: this server switches no protocols for services\n";
        return Response::text(why).status(StatusCode::NOT_IMPLEMENTED);
    }
    let length = announced(&parts.headers).or_else(|| body.size_hint().exact());
    let mut response = head(&parts);
    if is_bodiless(parts.status) {
        return response;
    }
    if head_only {
        // The stream is never polled; it only carries the length.
        response.body = response::Body::Stream(Producer::new(async |_| {}, length));
        return response;
    }
    let mut body = Box::pin(body);
    let (ahead, ended) = there_already(&mut body, context).await;
    if let [Some(Err(_)), _] = ahead {
        return StatusCode::INTERNAL_SERVER_ERROR.into();
    }
    // What nobody reads any more is let go of before the head is sent: to a client that waits for
    // 100 (Continue) that is a refusal.
    let feeder = feeder.filter(|feeder| !feeder.is_done());
    let mut rest = Rest { ahead, body, feeder, context };
    response.body = rest.whole(ended).unwrap_or_else(|| {
        let produce = async move |out| rest.produce(out).await;
        response::Body::Stream(Producer::new(produce, length))
    });
    response
}

/// A frame of a body, an error, or the end.
type Next<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// The frames ready together with the head, at most two, and whether they are the whole body.
async fn there_already<B: Body>(body: &mut Pin<Box<B>>, runtime: Context) -> ([Next<B>; 2], bool) {
    let mut ahead = [None, None];
    for place in &mut ahead {
        if body.is_end_stream() {
            return (ahead, true);
        }
        runtime.enter();
        match poll_fn(|context| Poll::Ready(body.as_mut().poll_frame(context))).await {
            Poll::Ready(None) => return (ahead, true),
            Poll::Ready(Some(Err(error))) => {
                *place = Some(Err(error));
                break;
            }
            Poll::Ready(frame) => *place = frame,
            Poll::Pending => break,
        }
    }
    (ahead, false)
}

/// The content-length of a response.
fn announced(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Common content types; they are stored as a static type, without a field of their own.
const TYPES: [&str; 6] = [
    "application/json",
    "text/plain; charset=utf-8",
    "text/html; charset=utf-8",
    "application/octet-stream",
    "text/event-stream",
    "text/plain",
];

/// A response with the fields of another head, except those that the server sets.
fn head(parts: &Parts) -> Response {
    let mut response = Response::new(parts.status);
    for (name, value) in &parts.headers {
        if *name == CONTENT_TYPE {
            let known = TYPES.iter().find(|known| known.as_bytes() == value.as_bytes());
            if let (Some(known), None) = (known, response.content_type) {
                response.content_type = Some(known);
                continue;
            }
        }
        if ![CONTENT_LENGTH, DATE, SERVER].contains(name) {
            response.add_header(name, value);
        }
    }
    response
}

/// The rest of a response's body, after the head.
struct Rest<B: Body> {
    ahead: [Next<B>; 2],
    body: Pin<Box<B>>,
    feeder: Option<Feeder>,
    context: Context,
}

impl<B: Body> Rest<B> {
    /// The body, if it is complete in one piece and the request's body is no longer read.
    fn whole(&mut self, ended: bool) -> Option<response::Body> {
        if !ended || self.feeder.is_some() {
            return None;
        }
        match &mut self.ahead {
            [None, _] => Some(response::Body::Empty),
            [Some(Ok(frame)), None] => {
                let data = frame.data_mut()?;
                Some(data.copy_to_bytes(data.remaining()).into())
            }
            _ => None,
        }
    }

    /// Writes the rest of the body as it comes. The response ends once the request's body has been
    /// read or dropped by its owner.
    async fn produce(self, mut out: BodyWriter) {
        let Self { ahead, mut body, mut feeder, context } = self;
        let _dropped_inside = context.enter_on_drop();
        let mut ahead = ahead.into_iter().flatten();
        loop {
            let next = match ahead.next() {
                Some(next) => Some(next),
                None if body.is_end_stream() => None,
                None => {
                    let next = pin!(poll_fn(|context| body.as_mut().poll_frame(context)));
                    fed(&mut feeder, context, next).await
                }
            };
            let frame = match next {
                None => break,
                Some(Err(_)) => return out.abort(),
                Some(Ok(frame)) => frame,
            };
            let written = pin!(write_frame(frame, &mut out));
            if fed(&mut feeder, context, written).await.is_err() {
                return;
            }
        }
        drop(body);
        poll_fn(|context| match &mut feeder {
            Some(feeder) => feeder.poll_done(context),
            None => Poll::Ready(()),
        })
        .await;
    }
}
