//! hyper, as fast as its documentation says how: the peer that Rust servers are measured against.
//!
//! One current-thread runtime (one worker), pipelined replies gathered, mimalloc as in ringway's
//! binary. Answers `/baseline11`, `/baseline2` (sum of the query's integers and of the body) and
//! `/pipeline` as the arena application does, and anything else with `OK`.
//!
//! `peer-hyper --http 127.0.0.1:PORT`, or `--h2c` for HTTP/2 with prior knowledge, or `--https` for
//! HTTP/2 over rustls with `--cert PEM --key PEM`. `--data DIR`: `/static/10k.bin` out of memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ringway_bench::integer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut address: SocketAddr = "127.0.0.1:0".parse()?;
    let mut kind = String::from("http");
    let (mut cert, mut key) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        match (flag.as_str(), args.next()) {
            ("--http" | "--h2c" | "--https", Some(value)) => {
                kind = flag[2..].into();
                address = value.parse()?;
            }
            ("--cert", Some(value)) => cert = Some(value),
            ("--key", Some(value)) => key = Some(value),
            ("--data", Some(value)) => {
                let file = std::fs::read(std::path::Path::new(&value).join("static/10k.bin"))?;
                FILE.get_or_init(|| file.into());
            }
            _ => return Err(format!("what is {flag}?").into()),
        }
    }
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(acceptor(&cert, &key)?),
        _ => None,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(address, &kind, tls))
}

/// What `/static/10k.bin` answers.
static FILE: OnceLock<Bytes> = OnceLock::new();

fn acceptor(cert: &str, key: &str) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(
    address: SocketAddr,
    kind: &str,
    tls: Option<TlsAcceptor>,
) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpSocket::new_v4()?;
    listener.set_reuseaddr(true)?;
    listener.bind(address)?;
    let listener = listener.listen(4096)?;
    println!("listening {kind} {}", listener.local_addr()?);
    let mut http = http1::Builder::new();
    http.pipeline_flush(true).timer(TokioTimer::new());
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2.timer(TokioTimer::new()).max_concurrent_streams(256);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A peer that goes away is no news here.
        if let Some(tls) = tls.clone() {
            let http2 = http2.clone();
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let connection = http2.serve_connection(TokioIo::new(stream), service_fn(answer));
                drop(connection.await);
            });
            continue;
        }
        let stream = TokioIo::new(stream);
        if kind == "h2c" {
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
        "/static/10k.bin" => FILE.get().cloned().unwrap_or_default(),
        _ => Bytes::from_static(b"OK"),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

async fn sum(request: Request<Incoming>) -> Bytes {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let value = |pair: &[u8]| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        integer(&pair[at + 1..])
    };
    let mut total: i64 = query.split(|byte| *byte == b'&').filter_map(value).sum();
    if request.method() == Method::POST
        && let Ok(body) = request.into_body().collect().await
    {
        let body = body.to_bytes();
        total += integer(body.trim_ascii()).unwrap_or_default();
    }
    Bytes::from(total.to_string())
}
