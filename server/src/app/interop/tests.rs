use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;
use crate::app::body_channel::BodyChannel;
use http::StatusCode;

/// Items of another library's body or stream, in order; `None` = not ready.
type Script = Rc<RefCell<VecDeque<Option<Result<Frame<Bytes>, &'static str>>>>>;

struct Scripted(Script, SizeHint);

impl HttpBody for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.0.borrow_mut().pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(frame) => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.1
    }
}

impl Stream for Scripted {
    type Item = Result<Bytes, &'static str>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let data = |frame: Frame<Bytes>| frame.into_data().unwrap();
        self.poll_frame(context).map(|next| next.map(|frame| frame.map(data)))
    }
}

fn hint(body: &impl HttpBody) -> SizeHint {
    body.size_hint()
}

fn data(text: &'static str) -> Option<Result<Frame<Bytes>, &'static str>> {
    Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
}

fn trailers() -> Option<Result<Frame<Bytes>, &'static str>> {
    let pair = (HeaderName::from_static("x-sum"), HeaderValue::from_static("9"));
    Some(Ok(Frame::trailers(HeaderMap::from_iter([pair]))))
}

fn scripted(
    frames: impl IntoIterator<Item = Option<Result<Frame<Bytes>, &'static str>>>,
    length: Option<u64>,
) -> Scripted {
    let hint = length.map_or_else(SizeHint::default, SizeHint::with_exact);
    Scripted(Rc::new(RefCell::new(frames.into_iter().collect())), hint)
}

/// Everything a body gives without waiting: text, trailers, and how it ends.
fn read<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> (String, String, &'static str) {
    let (mut text, mut after) = (String::new(), String::new());
    let mut context = Context::from_waker(Waker::noop());
    let end = loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => text += str::from_utf8(&bytes).unwrap(),
                Err(frame) => {
                    for (name, value) in &frame.into_trailers().unwrap_or_default() {
                        after += &format!("{name}: {}", value.to_str().unwrap());
                    }
                }
            },
            Poll::Ready(Some(Err(_))) => break "broken",
            Poll::Ready(None) => break "complete",
            Poll::Pending => break "waiting",
        }
    };
    (text, after, end)
}

fn owned(text: &str, after: &str, end: &'static str) -> (String, String, &'static str) {
    (text.to_owned(), after.to_owned(), end)
}

#[test]
fn p9_a_response_body_is_an_http_body() {
    assert_eq!(read(Body::Empty), owned("", "", "complete"));
    let ready = Body::from("ready");
    assert_eq!((ready.size_hint().exact(), ready.is_end_stream()), (Some(5), false));
    assert_eq!(read(ready), owned("ready", "", "complete"));
    let produced = Response::stream("text/plain", async |mut out| {
        let _ = out.write("one ").await;
        out.trailers([("x-sum", "9")]);
        let _ = out.write(vec![b'2'; 3]).await;
    });
    assert_eq!(read(produced.into_body()), owned("one 222", "x-sum: 9", "complete"));
    let broken = Response::stream("text/plain", async |mut out| {
        let _ = out.write("half").await;
        out.abort();
    });
    assert_eq!(read(broken.into_body()), owned("half", "", "broken"));
    let waits = Response::stream("text/plain", async |mut out| {
        let _ = out.write("half").await;
        std::future::pending::<()>().await;
    });
    assert_eq!(read(waits.into_body()), owned("half", "", "waiting"));
}

#[test]
fn p9_a_request_body_is_an_http_body_and_a_stream() {
    let channel = BodyChannel::default();
    let mut body = RequestBody::new(channel.clone());
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut body).poll_frame(&mut context).is_pending());
    channel.push(Body::from("some").pin());
    assert_eq!((hint(&body).lower(), hint(&body).exact()), (4, None));
    channel.add_trailer(b"x-sum", b"9");
    channel.finish(End::Complete);
    assert_eq!((hint(&body).lower(), hint(&body).exact()), (4, None));
    assert!(!body.is_end_stream());
    assert_eq!(read(body), owned("some", "x-sum: 9", "complete"));

    let mut stream = RequestBody::from(b"whole".to_vec());
    let next = Stream::poll_next(Pin::new(&mut stream), &mut context);
    let Poll::Ready(Some(Ok(chunk))) = next else { panic!("a chunk: {next:?}") };
    assert_eq!(&Bytes::from(chunk)[..], b"whole");
    assert!(stream.is_end_stream());
    assert!(matches!(Stream::poll_next(Pin::new(&mut stream), &mut context), Poll::Ready(None)));
}

#[test]
fn p9_a_body_of_another_library_is_sent_as_it_comes() {
    let at_once = Body::from_http_body(scripted([data("whole")], Some(5)));
    assert_eq!(at_once.as_bytes(), Some(&b"whole"[..]));
    assert_eq!(Body::from_http_body(scripted([], None)).as_bytes(), Some(&b""[..]));
    let two = Body::from_http_body(scripted([data("one "), data("two"), trailers()], None));
    assert_eq!(two.len(), None);
    assert_eq!(read(two), owned("one two", "x-sum: 9", "complete"));
    let later = Body::from_http_body(scripted([None, data("later")], Some(5)));
    assert_eq!(later.len(), Some(5));
    assert_eq!(read(later), owned("later", "", "complete"));
    let only_trailers = Body::from_http_body(scripted([trailers()], None));
    assert_eq!(read(only_trailers), owned("", "x-sum: 9", "complete"));
    for broken in [vec![Some(Err("broken"))], vec![data("a"), Some(Err("broken")), data("b")]] {
        assert_eq!(read(Body::from_http_body(scripted(broken, None))).2, "broken");
    }
}

#[test]
fn p9_a_stream_is_a_body() {
    let streamed = Body::from_stream(scripted([data("one "), data("two")], None));
    assert_eq!(streamed.len(), None);
    assert_eq!(read(streamed), owned("one two", "", "complete"));
    let sized = Body::from_stream_of_length(3, scripted([data("one")], None));
    assert_eq!((sized.len(), read(sized)), (Some(3), owned("one", "", "complete")));
    let broken = Body::from_stream(scripted([data("one"), Some(Err("no"))], None));
    assert_eq!(read(broken), owned("one", "", "broken"));
}

#[test]
fn p9_responses_go_both_ways() {
    let response = http::Response::builder()
        .status(201)
        .header("Content-Type", "text/x")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("connection", "close")
        .body(scripted([data("body")], Some(4)))
        .unwrap();
    let ours = Response::from(response);
    assert_eq!(ours.status_code(), StatusCode::CREATED);
    let fields: Vec<_> = ours.headers().collect();
    let want: [(&[u8], &[u8]); 3] = [(b"content-type", b"text/x"), (b"x-a", b"1"), (b"x-a", b"2")];
    assert_eq!(fields, want);
    let back = http::Response::from(ours);
    assert_eq!((back.status(), back.headers().len()), (StatusCode::CREATED, 3));
    assert_eq!(read(back.into_body()), owned("body", "", "complete"));
}

/// A router's answer to HEAD: a length without a body.
#[test]
fn p9_the_answer_to_head_keeps_its_length() {
    let of = |status: u16| {
        let response = http::Response::builder().status(status).header("content-length", "77");
        Response::from(response.body(scripted([], Some(0))).unwrap()).into_body().len()
    };
    assert_eq!((of(200), of(304)), (Some(77), Some(0)));
    let response = http::Response::builder().header("content-length", "9");
    let body = Response::from(response.body(scripted([None, data("123")], None)).unwrap());
    assert_eq!(body.as_body().len(), Some(9));
}
