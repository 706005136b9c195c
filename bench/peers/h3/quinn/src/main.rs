//! quinn and h3 as a peer: one current-thread runtime, mimalloc as in ringway's binary, rustls with
//! aws-lc-rs. quinn's defaults are CUBIC, GSO and GRO; datagrams begin at the size at which
//! ringway's do.
//!
//! Answers `/baseline2` (sum of the query's integers), `/static/10k.bin`, `/static/1m.bin` and
//! `/1g.bin` out of memory, and anything else with `OK`.
//!
//! `peer-quinn --https 127.0.0.1:PORT --cert PEM --key PEM --data DIR`

use bytes::Bytes;
use h3::server::RequestResolver;
use http::Response;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use std::error::Error;
use std::net::UdpSocket;
use std::sync::Arc;

#[path = "../../site.rs"]
mod site;

use site::{Options, Site};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Problem = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Problem> {
    let options = Options::read()?;
    let site: &'static Site = Box::leak(Box::new(Site::read(&options.data)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&options, site))
}

fn config(options: &Options) -> Result<quinn::ServerConfig, Problem> {
    let chain = CertificateDer::pem_file_iter(&options.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&options.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut tls = builder.with_no_client_auth().with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.max_early_data_size = u32::MAX;
    tls.session_storage = ServerSessionMemoryCache::new(1 << 16);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = quinn::TransportConfig::default();
    transport
        .initial_mtu(site::DATAGRAM as u16)
        .max_concurrent_bidi_streams((site::STREAMS as u32).into())
        .max_idle_timeout(Some(site::IDLE.try_into()?));
    config.transport_config(Arc::new(transport)).max_incoming(4096);
    Ok(config)
}

async fn serve(options: &Options, site: &'static Site) -> Result<(), Problem> {
    let socket = UdpSocket::bind(&options.address)?;
    site::enlarge(&socket);
    let runtime = Arc::new(quinn::TokioRuntime);
    let config = Some(config(options)?);
    let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), config, socket, runtime)?;
    println!("listening https {}", options.address);
    while let Some(incoming) = endpoint.accept().await {
        if let Ok(connecting) = incoming.accept() {
            tokio::spawn(async move {
                // A connection that fails is no news here.
                let _ = answer_all(connecting, site).await;
            });
        }
    }
    Ok(())
}

async fn answer_all(connecting: quinn::Connecting, site: &'static Site) -> Result<(), Problem> {
    // A server may always answer before the handshake is confirmed, and is then told of early data.
    let connection = match connecting.into_0rtt() {
        Ok((connection, _)) => connection,
        Err(connecting) => connecting.await?,
    };
    let connection = h3_quinn::Connection::new(connection);
    let mut connection = h3::server::builder().send_grease(false).build(connection).await?;
    while let Some(resolver) = connection.accept().await? {
        tokio::spawn(async move {
            let _ = answer(resolver, site).await;
        });
    }
    Ok(())
}

async fn answer(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    site: &'static Site,
) -> Result<(), Problem> {
    let (request, mut stream) = resolver.resolve_request().await?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let reply = site.answer(target.as_bytes());
    let head = Response::builder()
        .header(http::header::CONTENT_TYPE, reply.kind)
        .header(http::header::CONTENT_LENGTH, reply.length())
        .body(())?;
    stream.send_response(head).await?;
    for _ in 0..reply.times {
        stream.send_data(reply.body.clone()).await?;
    }
    stream.finish().await?;
    Ok(())
}
