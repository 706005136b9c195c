//! actix-web as a peer: one worker, mimalloc as in ringway's binary, no middleware. Answers
//! `/baseline11` and `/baseline2` (sum of the query's integers), and `/static/10k.bin` out of
//! memory.
//!
//! `peer-actix --http 127.0.0.1:PORT`, or `--h2c` for HTTP/2 with prior knowledge, or `--https` for
//! HTTP/2 over rustls with `--cert PEM --key PEM`; `--data DIR`.

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use ringway_bench::integer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut options = HashMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        options.insert(name, value);
    }
    let option = |name: &str| options.get(name).cloned();
    let data = option("--data").map(|dir| std::fs::read(Path::new(&dir).join("static/10k.bin")));
    let file = Data::new(Bytes::from(data.transpose()?.unwrap_or_default()));
    let app = move || {
        App::new()
            .app_data(Data::clone(&file))
            .route("/baseline11", web::get().to(sum))
            .route("/baseline2", web::get().to(sum))
            .route("/static/10k.bin", web::get().to(stored))
    };
    let server = HttpServer::new(app).workers(1).backlog(4096).max_connections(16_384);
    let server = server.keep_alive(Duration::from_secs(120)).disable_signals();
    let server = match (option("--http"), option("--h2c"), option("--https")) {
        (Some(address), ..) => server.bind(address)?,
        (_, Some(address), _) => server.bind_auto_h2c(address)?,
        (.., Some(address)) => {
            let pair = option("--cert").zip(option("--key"));
            let (cert, key) = pair.ok_or_else(|| io::Error::other("no --cert and --key"))?;
            let tls = tls(&cert, &key).map_err(io::Error::other)?;
            server.bind_rustls_0_23(address, tls)?
        }
        _ => return Err(io::Error::other("no address")),
    };
    actix_web::rt::System::new().block_on(server.run())
}

fn tls(cert: &str, key: &str) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(builder.with_single_cert(chain, key)?)
}

async fn sum(request: HttpRequest) -> HttpResponse {
    let values = request.query_string().split('&').filter_map(|pair| pair.split_once('='));
    let total: i64 = values.filter_map(|(_, value)| integer(value.as_bytes())).sum();
    HttpResponse::Ok().content_type("text/plain").body(total.to_string())
}

async fn stored(file: Data<Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/octet-stream").body(file.as_ref().clone())
}
