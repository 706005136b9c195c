//! quiche and its HTTP/3 as a peer, in the style of quiche's own example `http3-server`: one
//! thread, one system call for each datagram, every connection looked at in each turn. mimalloc as
//! in ringway's binary, CUBIC; no Retry.
//!
//! Answers `/baseline2` (sum of the query's integers), `/static/10k.bin`, `/static/1m.bin` and
//! `/1g.bin` out of memory, and anything else with `OK`.
//!
//! `peer-quiche --https 127.0.0.1:PORT --cert PEM --key PEM --data DIR`

mod client;
#[path = "../../site.rs"]
mod site;

use client::Client;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use quiche::{Config, ConnectionId, Header, RecvInfo, Type};
use site::{Options, Site};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Problem = Box<dyn std::error::Error>;

fn main() -> Result<(), Problem> {
    let options = Options::read()?;
    let socket = UdpSocket::bind(&options.address)?;
    socket.set_nonblocking(true)?;
    site::enlarge(&socket);
    let mut server = Server {
        local: socket.local_addr()?,
        socket,
        config: config(&options)?,
        site: Site::read(&options.data)?,
        clients: HashMap::new(),
        ids: HashMap::new(),
        accepted: 0,
    };
    println!("listening https {}", options.address);
    let mut buffer = vec![0; 65_536];
    loop {
        server.wait()?;
        server.receive(&mut buffer)?;
        server.send(&mut buffer)?;
    }
}

fn config(options: &Options) -> Result<Config, Problem> {
    let mut config = Config::new(quiche::PROTOCOL_VERSION)?;
    config.load_cert_chain_from_pem_file(&options.cert)?;
    config.load_priv_key_from_pem_file(&options.key)?;
    config.set_application_protos(quiche::h3::APPLICATION_PROTOCOL)?;
    config.set_max_idle_timeout(site::IDLE.as_millis() as u64);
    config.set_max_recv_udp_payload_size(site::DATAGRAM);
    config.set_max_send_udp_payload_size(site::DATAGRAM);
    config.set_initial_max_data(10_000_000);
    config.set_initial_max_stream_data_bidi_remote(1_000_000);
    config.set_initial_max_stream_data_uni(1_000_000);
    config.set_initial_max_streams_bidi(site::STREAMS);
    config.set_initial_max_streams_uni(16);
    config.enable_early_data();
    Ok(config)
}

struct Server {
    socket: UdpSocket,
    local: SocketAddr,
    config: Config,
    site: Site,
    clients: HashMap<u64, Client>,
    /// Which client a connection ID leads to: one of ours, or its own first choice.
    ids: HashMap<ConnectionId<'static>, u64>,
    accepted: u64,
}

impl Server {
    /// Sleeps until something can be read or a timer is due.
    fn wait(&mut self) -> Result<(), Problem> {
        let timeout = self.clients.values().filter_map(|client| client.conn.timeout()).min();
        let timeout = match timeout.map(|timeout| timeout.as_micros().div_ceil(1000)) {
            Some(millis) => PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX)),
            None => PollTimeout::NONE,
        };
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout)? == 0 {
            self.clients.values_mut().for_each(|client| client.conn.on_timeout());
        }
        Ok(())
    }

    /// Works on every datagram that has come, and answers what can be.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Problem> {
        loop {
            let (len, from) = match self.socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let datagram = &mut buffer[..len];
            let Ok(header) = Header::from_slice(datagram, quiche::MAX_CONN_ID_LEN) else {
                continue;
            };
            let Some(number) = self.client(&header, from) else { continue };
            let Some(client) = self.clients.get_mut(&number) else { continue };
            // What fails here is told to the client as the connection ends.
            let _ = client.conn.recv(datagram, RecvInfo { from, to: self.local });
            client.serve(&self.site);
        }
    }

    /// The client that a packet is of, perhaps a new one.
    fn client(&mut self, header: &Header<'_>, from: SocketAddr) -> Option<u64> {
        if let Some(number) = self.ids.get(&header.dcid) {
            return Some(*number);
        }
        if header.ty != Type::Initial || !quiche::version_is_supported(header.version) {
            return None;
        }
        self.accepted += 1;
        let number = self.accepted;
        let mut scid = [0; quiche::MAX_CONN_ID_LEN];
        scid[..8].copy_from_slice(&number.to_be_bytes());
        let scid = ConnectionId::from_vec(scid.to_vec());
        let conn = quiche::accept(&scid, None, self.local, from, &mut self.config).ok()?;
        let ids = [scid, header.dcid.clone().into_owned()];
        self.ids.extend(ids.iter().cloned().map(|id| (id, number)));
        self.clients.insert(number, Client::new(conn, ids));
        Some(number)
    }

    /// Sends whatever connections have to send, and forgets those that are over.
    fn send(&mut self, buffer: &mut [u8]) -> Result<(), Problem> {
        for client in self.clients.values_mut() {
            while let Ok((len, info)) = client.conn.send(buffer) {
                match self.socket.send_to(&buffer[..len], info.to) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                    // Without room it is as good as lost on the way.
                    _ => {}
                }
            }
        }
        let ids = &mut self.ids;
        self.clients.retain(|_, client| {
            let is_over = client.conn.is_closed();
            if is_over {
                ids.retain(|id, _| !client.ids.contains(id));
            }
            !is_over
        });
        Ok(())
    }
}
