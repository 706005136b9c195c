//! tokio-quiche as a peer: one current-thread runtime, mimalloc as in ringway's binary, the socket
//! with every capability that it offers (GSO, GRO and more), CUBIC as ringway uses it.
//!
//! Answers `/baseline2` (sum of the query's integers), `/static/10k.bin`, `/static/1m.bin` and
//! `/1g.bin` out of memory, and anything else with `OK`.
//!
//! `peer-tokio-quiche --https 127.0.0.1:PORT --cert PEM --key PEM --data DIR`

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use std::net::UdpSocket;
use tokio_quiche::http3::driver::{IncomingH3Headers, OutboundFrame, ServerH3Event};
use tokio_quiche::http3::settings::Http3Settings;
use tokio_quiche::metrics::DefaultMetrics;
use tokio_quiche::quiche::h3::{Header, NameValue};
use tokio_quiche::settings::{CertificateKind, Hooks, QuicSettings, TlsCertificatePaths};
use tokio_quiche::{BoxError, ConnectionParams, InitialQuicConnection, ServerH3Driver, listen};

#[path = "../../site.rs"]
mod site;

use site::{Options, Site};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), BoxError> {
    let options = Options::read()?;
    let site: &'static Site = Box::leak(Box::new(Site::read(&options.data)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&options, site))
}

fn settings() -> QuicSettings {
    let mut settings = QuicSettings::default();
    settings.max_send_udp_payload_size = site::DATAGRAM;
    settings.max_recv_udp_payload_size = site::DATAGRAM;
    settings.initial_max_streams_bidi = site::STREAMS;
    settings.initial_max_streams_uni = 16;
    settings.max_idle_timeout = Some(site::IDLE);
    settings.disable_client_ip_validation = true;
    settings.enable_early_data = true;
    settings.enable_dgram = false;
    settings.listen_backlog = 4096;
    settings
}

async fn serve(options: &Options, site: &'static Site) -> Result<(), BoxError> {
    let socket = UdpSocket::bind(&options.address)?;
    site::enlarge(&socket);
    let pair = TlsCertificatePaths {
        cert: &options.cert,
        private_key: &options.key,
        kind: CertificateKind::X509,
    };
    let parameters = ConnectionParams::new_server(settings(), pair, Hooks::default());
    let mut listeners = listen([socket], parameters, DefaultMetrics)?;
    println!("listening https {}", options.address);
    while let Some(accepted) = listeners[0].next().await {
        // A connection that fails is no news here.
        if let Ok(connection) = accepted {
            answer_all(connection, site);
        }
    }
    Ok(())
}

fn answer_all(
    connection: InitialQuicConnection<tokio::net::UdpSocket, DefaultMetrics>,
    site: &'static Site,
) {
    let (driver, mut controller) = ServerH3Driver::new(Http3Settings::default());
    connection.start(driver);
    tokio::spawn(async move {
        while let Some(event) = controller.event_receiver_mut().recv().await {
            if let ServerH3Event::Headers { incoming_headers, .. } = event {
                answer(incoming_headers, site);
            }
        }
    });
}

/// Small answers go at once, without a task for each: the channel of a new stream has room.
fn answer(request: IncomingH3Headers, site: &'static Site) {
    let mut out = request.send;
    let path = request.headers.iter().find(|header| header.name() == b":path");
    let reply = site.answer(path.map_or(b"/", |header| header.value()));
    let length = reply.length().to_string();
    let head = vec![
        Header::new(b":status", b"200"),
        Header::new(b"content-type", reply.kind.as_bytes()),
        Header::new(b"content-length", length.as_bytes()),
    ];
    let Some(channel) = out.get_ref() else { return };
    let head_is_sent = channel.try_send(OutboundFrame::Headers(head, None)).is_ok();
    if reply.times == 1 {
        let _ = channel.try_send(OutboundFrame::Body(reply.body, true));
    } else if head_is_sent {
        tokio::spawn(async move {
            for _ in 0..reply.times {
                let Ok(()) = out.send(OutboundFrame::Body(reply.body.clone(), false)).await else {
                    return;
                };
            }
            let _ = out.send(OutboundFrame::Body(Bytes::new(), true)).await;
        });
    }
}
