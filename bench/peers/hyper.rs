//! hyper, as fast as its documentation says how: the peer that Rust servers are measured against.
//!
//! One current-thread runtime (one worker), pipelined replies gathered, mimalloc as in ringway's
//! binary. Answers `/baseline11`, `/baseline2` (sum of the query's integers and of the body) and
//! `/pipeline` as the arena application does, and anything else with `OK`.
//!
//! `peer-hyper --http 127.0.0.1:PORT`, or `--h2c` for HTTP/2 with prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut address: SocketAddr = "127.0.0.1:0".parse()?;
    let mut h2c = false;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        match (flag.as_str(), args.next()) {
            ("--http" | "--h2c", Some(value)) => {
                h2c = flag == "--h2c";
                address = value.parse()?;
            }
            _ => return Err(format!("what is {flag}?").into()),
        }
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(address, h2c))
}

async fn serve(address: SocketAddr, h2c: bool) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpSocket::new_v4()?;
    listener.set_reuseaddr(true)?;
    listener.bind(address)?;
    let listener = listener.listen(4096)?;
    println!("listening {} {}", if h2c { "h2c" } else { "http" }, listener.local_addr()?);
    let mut http = http1::Builder::new();
    http.pipeline_flush(true).timer(TokioTimer::new());
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2.timer(TokioTimer::new()).max_concurrent_streams(256);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        // A peer that goes away is no news here.
        if h2c {
            let connection = http2.serve_connection(stream, service_fn(answer));
            tokio::spawn(async move { drop(connection.await) });
        } else {
            let connection = http.serve_connection(stream, service_fn(answer));
            tokio::spawn(async move { drop(connection.await) });
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/baseline11" | "/baseline2" => sum(request).await,
        "/pipeline" => Bytes::from_static(b"ok"),
        _ => Bytes::from_static(b"OK"),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

async fn sum(request: Request<Incoming>) -> Bytes {
    let query = request.uri().query().unwrap_or_default();
    let value = |pair: &str| pair.split_once('=').and_then(|(_, v)| v.parse::<i64>().ok());
    let mut total: i64 = query.split('&').filter_map(value).sum();
    if request.method() == Method::POST
        && let Ok(body) = request.into_body().collect().await
    {
        let body = body.to_bytes();
        let number =
            std::str::from_utf8(&body).ok().and_then(|text| text.trim().parse::<i64>().ok());
        total += number.unwrap_or_default();
    }
    Bytes::from(total.to_string())
}
