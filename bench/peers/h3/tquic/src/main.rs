//! tquic and its HTTP/3 as a peer: one thread, mimalloc as in ringway's binary, CUBIC. tquic leaves
//! the socket to the application: here the packets of a batch that are alike go as one segmented
//! send, and coalesced ones are received, which its own server does not do.
//!
//! Answers `/baseline2` (sum of the query's integers), `/static/10k.bin`, `/static/1m.bin` and
//! `/1g.bin` out of memory, and anything else with `OK`.
//!
//! `peer-tquic --https 127.0.0.1:PORT --cert PEM --key PEM --data DIR`

mod connection;
#[path = "../../site.rs"]
mod site;
mod socket;

use connection::Handler;
use site::{Options, Site};
use socket::Socket;
use std::rc::Rc;
use std::time::Instant;
use tquic::{Config, CongestionControlAlgorithm, Endpoint, TlsConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Problem = Box<dyn std::error::Error>;

fn main() -> Result<(), Problem> {
    let options = Options::read()?;
    let site = Rc::new(Site::read(&options.data)?);
    let socket = Rc::new(Socket::bind(&options.address)?);
    let handler = Box::new(Handler::new(site));
    let config = Box::new(config(&options)?);
    let mut endpoint = Endpoint::new(config, true, handler, Rc::clone(&socket) as _);
    println!("listening https {}", options.address);
    let mut buffer = vec![0; socket::RECEIVE_MAX];
    loop {
        // A connection that fails is no news here.
        let _ = endpoint.process_connections();
        socket.wait(endpoint.timeout())?;
        socket.receive(&mut buffer, |datagram, info| {
            let _ = endpoint.recv(datagram, info);
        })?;
        endpoint.on_timeout(Instant::now());
    }
}

fn config(options: &Options) -> Result<Config, Problem> {
    let mut config = Config::new()?;
    config.set_recv_udp_payload_size(site::DATAGRAM as u16);
    config.set_send_udp_payload_size(site::DATAGRAM);
    config.enable_dplpmtud(false);
    config.set_max_idle_timeout(site::IDLE.as_millis() as u64);
    config.set_initial_max_streams_bidi(site::STREAMS);
    config.set_congestion_control_algorithm(CongestionControlAlgorithm::Cubic);
    config.enable_pacing(false);
    config.set_send_batch_size(64);
    config.set_max_concurrent_conns(16_384);
    let mut tls =
        TlsConfig::new_server_config(&options.cert, &options.key, vec![b"h3".to_vec()], true)?;
    tls.set_ticket_key(&[7; 48])?;
    config.set_tls_config(tls);
    Ok(config)
}
