//! The arena application: the endpoints on which a public benchmark measures every framework,
//! served through ringway's public library API alone.
//!
//! `arena --http ADDR [--https ADDR --cert PEM --key PEM] [--h2c ADDR] [--workers N] [--data DIR]
//! [--metrics ADDR] [--batch-wait US]`
//!
//! DIR holds `dataset.json` and `static/`; without it `/json` and `/static` are 404. Prints a line
//! `listening http ADDR` for each listener, as `ringway serve` does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::{HeaderValue, Method, StatusCode, header};
use ringway::config::Engine;
use ringway::tls::Tls;
use ringway::{OwnedRequest, Request, RequestBody, Response, Router, Server};
use ringway_bench::integer;
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(what) => {
            eprintln!("arena: {what}");
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arena: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    http: Vec<String>,
    https: Vec<String>,
    h2c: Vec<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    metrics: Option<String>,
    workers: Option<usize>,
    batch_wait_us: Option<u16>,
    data: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--http" => options.http.push(value),
                "--https" => options.https.push(value),
                "--h2c" => options.h2c.push(value),
                "--cert" => options.cert = Some(value.into()),
                "--key" => options.key = Some(value.into()),
                "--metrics" => options.metrics = Some(value),
                "--data" => options.data = Some(value.into()),
                "--workers" => {
                    let number = value.parse().map_err(|_| format!("--workers {value}?"))?;
                    options.workers = Some(number);
                }
                "--batch-wait" => {
                    let us = value.parse().map_err(|_| format!("--batch-wait {value}?"))?;
                    options.batch_wait_us = Some(us);
                }
                _ => return Err(format!("what is {flag}?")),
            }
        }
        Ok(options)
    }
}

fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::new(application(options.data.as_deref())?);
    for address in &options.http {
        server = server.http(address);
    }
    for address in &options.h2c {
        server = server.h2c(address);
    }
    for address in &options.https {
        let tls = match (&options.cert, &options.key) {
            (Some(cert), Some(key)) => Tls::pem(cert, key)?,
            (None, None) => Tls::self_signed()?,
            _ => return Err("--cert and --key go together".into()),
        };
        server = server.https(address, tls);
    }
    if let Some(address) = &options.metrics {
        server = server.metrics(address);
    }
    if let Some(workers) = options.workers {
        server = server.workers(workers);
    }
    let engine = Engine { batch_wait_us: options.batch_wait_us, ..Engine::default() };
    Ok(server.engine(engine).run()?)
}

fn application(data: Option<&Path>) -> Result<Router, Box<dyn std::error::Error>> {
    let mebibyte: &'static [u8] = pseudo_random(1 << 20).leak();
    let router = Router::new()
        .any("/baseline11", sum)
        .any("/baseline2", sum)
        .get("/pipeline", |_: &Request<'_>| plain("ok"))
        .any("/", |_: &Request<'_>| plain("OK"))
        .post("/", |request: &Request<'_>| plain(request.body().to_vec()))
        .any("/echo", echo)
        .any("/cookie", cookies)
        .get("/1m.bin", move |_: &Request<'_>| {
            Response::typed("application/octet-stream", mebibyte)
        })
        .get("/1g.bin", move |_: &Request<'_>| gibibyte(mebibyte))
        .stream(Method::POST, "/upload", upload);
    let Some(data) = data else { return Ok(router) };
    let dataset: &'static [Item] = read_dataset(&data.join("dataset.json"))?.leak();
    Ok(router
        .get("/json/{count}", move |request: &Request<'_>| json(request, dataset))
        .files("/static", data.join("static")))
}

fn plain(body: impl Into<ringway::Body>) -> Response {
    Response::typed("text/plain", body)
}

/// One piece, repeated up to 1 GiB, for long downloads.
fn gibibyte(piece: &'static [u8]) -> Response {
    let length = 1 << 30;
    Response::stream_of_length("application/octet-stream", length, async move |mut out| {
        for _ in 0..length / piece.len() as u64 {
            if out.write(piece).await.is_err() {
                return;
            }
        }
    })
}

/// The sum of the query's integers and of the body's.
fn sum(request: &Request<'_>) -> Response {
    let mut total: i64 = request.query_pairs().filter_map(|(_, value)| integer(value)).sum();
    if !request.body().is_empty() {
        total += integer(request.body().trim_ascii()).unwrap_or_default();
    }
    plain(total)
}

/// One line for each field received, in order.
fn echo(request: &Request<'_>) -> Response {
    let mut lines = Vec::with_capacity(512);
    for (name, value) in request.headers() {
        lines.extend_from_slice(name);
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value);
        lines.push(b'\n');
    }
    plain(lines)
}

/// One line for each cookie received.
fn cookies(request: &Request<'_>) -> Response {
    let mut lines = String::new();
    for (name, value) in request.headers() {
        if name.eq_ignore_ascii_case(b"cookie") {
            for pair in String::from_utf8_lossy(value).split(';') {
                let _ = writeln!(lines, "{}", pair.trim());
            }
        }
    }
    plain(lines)
}

/// The number of body bytes, counted as they stream.
async fn upload(_: OwnedRequest, mut body: RequestBody) -> Response {
    let mut count = 0_u64;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => count += chunk.len() as u64,
            Err(_) => return StatusCode::BAD_REQUEST.into(),
        }
    }
    plain(ringway::Body::display(count))
}

#[derive(Deserialize, Serialize)]
struct Item {
    id: u32,
    name: String,
    category: String,
    price: u64,
    quantity: u64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Deserialize, Serialize)]
struct Rating {
    score: u32,
    count: u32,
}

/// An item by reference, with its total. The fields are repeated because `serde(flatten)` would go
/// through a map.
#[derive(Serialize)]
struct Priced<'a> {
    id: u32,
    name: &'a str,
    category: &'a str,
    price: u64,
    quantity: u64,
    active: bool,
    tags: &'a [String],
    rating: &'a Rating,
    total: u64,
}

#[derive(Serialize)]
struct Answer<'a> {
    items: Vec<Priced<'a>>,
    count: usize,
}

fn read_dataset(path: &Path) -> Result<Vec<Item>, Box<dyn std::error::Error>> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The first `count` items with their totals, serialised anew for each request.
fn json(request: &Request<'_>, dataset: &[Item]) -> Response {
    let count = request.param("count").and_then(|count| count.parse::<usize>().ok());
    let Some(count) = count.filter(|count| (1..=dataset.len()).contains(count)) else {
        return StatusCode::NOT_FOUND.into();
    };
    let query = request.query_string().unwrap_or_default();
    let m = query.split('&').find_map(|pair| pair.strip_prefix("m="));
    let m = m.and_then(|m| m.parse::<u64>().ok()).unwrap_or(1);
    let items = dataset[..count].iter().map(|item| priced(item, m)).collect();
    match serde_json::to_vec(&Answer { items, count }) {
        Ok(body) => compressed(request, body),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into(),
    }
}

fn priced(item: &Item, m: u64) -> Priced<'_> {
    let Item { id, name, category, price, quantity, active, tags, rating } = item;
    let total = price * quantity * m;
    let (id, price, quantity, active) = (*id, *price, *quantity, *active);
    Priced { id, name, category, price, quantity, active, tags, rating, total }
}

/// JSON, compressed if the client accepts gzip (the cheaper of the two to make per request).
fn compressed(request: &Request<'_>, body: Vec<u8>) -> Response {
    let accepted = request.header("accept-encoding").unwrap_or_default();
    if !accepts(accepted, "gzip") {
        return Response::json_bytes(body);
    }
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(body.len() / 2),
        flate2::Compression::fast(),
    );
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(packed) => Response::json_bytes(packed)
            .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
            .header(header::VARY, HeaderValue::from_static("accept-encoding")),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into(),
    }
}

/// Whether a list of codings contains this one with a weight above zero (RFC 9110, section 12.5.3).
fn accepts(list: &[u8], coding: &str) -> bool {
    let list = std::str::from_utf8(list).unwrap_or_default();
    list.split(',').any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(coding) && weight.unwrap_or(1.0) > 0.0
    })
}

/// Fixed bytes that do not compress.
fn pseudo_random(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_read() {
        assert!(accepts(b"gzip, br", "gzip") && accepts(b"br;q=1, GZIP;q=0.5", "gzip"));
        assert!(!accepts(b"", "gzip") && !accepts(b"gzip;q=0, br", "gzip"));
    }

    #[test]
    fn items_keep_their_fields_and_get_a_total() {
        let text = r#"{"id":1,"name":"n","category":"c","price":3,"quantity":5,"active":true,
            "tags":["t"],"rating":{"score":1,"count":2}}"#;
        let item: Item = serde_json::from_str(text).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(text).unwrap();
        expected["total"] = 30.into();
        assert_eq!(serde_json::to_value(priced(&item, 2)).unwrap(), expected);
    }
}
