//! A TCP connection with or without TLS, and the protocol on it.

use super::{Ask, Got, Protocol, Setup, h1::H1, h2::H2};
use crate::site::NAME;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

enum Machine {
    H1(H1),
    H2(Box<H2>),
}

pub(crate) struct Tcp {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    machine: Machine,
    /// Bytes for the wire, or for TLS.
    out: Vec<u8>,
    is_connected: bool,
    ready_at: Option<Instant>,
}

impl Tcp {
    pub(crate) fn open(protocol: Protocol, setup: &Setup) -> io::Result<Self> {
        let address = if protocol == Protocol::Clear { setup.clear } else { setup.address };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let config = match protocol {
            Protocol::H2 => Some(&setup.tls.h2),
            Protocol::H1 => Some(&setup.tls.h1),
            _ => None,
        };
        let name = || ServerName::try_from(NAME).map_err(io::Error::other);
        let tls = match config {
            Some(config) => {
                Some(ClientConnection::new(Arc::clone(config), name()?).map_err(io::Error::other)?)
            }
            None => None,
        };
        let mut out = Vec::new();
        let machine = match protocol {
            Protocol::H2 => Machine::H2(Box::new(H2::open(&mut out))),
            _ => Machine::H1(H1::default()),
        };
        Ok(Self { tcp: socket.into(), tls, machine, out, is_connected: false, ready_at: None })
    }

    pub(crate) fn ask(&mut self, ask: &Ask) {
        match &mut self.machine {
            Machine::H1(h1) => h1.ask(ask, &mut self.out),
            Machine::H2(h2) => h2.ask(ask, &mut self.out),
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        match &self.machine {
            Machine::H1(h1) => h1.under_way(),
            Machine::H2(h2) => h2.under_way(),
        }
    }

    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.ready_at
    }

    pub(crate) fn content(&self) -> u64 {
        match &self.machine {
            Machine::H1(h1) => h1.content,
            Machine::H2(h2) => h2.content,
        }
    }

    pub(crate) fn wants_write(&self) -> bool {
        let tls = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        !self.is_connected || tls || (self.tls.is_none() && !self.out.is_empty())
    }

    pub(crate) fn turn(&mut self, done: &mut Vec<Got>) -> io::Result<()> {
        if !self.is_connected {
            if let Some(error) = self.tcp.take_error()? {
                return Err(error);
            }
            match self.tcp.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                other => other?,
            };
            self.is_connected = true;
        }
        self.read(done)?;
        let is_shaking = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        if self.ready_at.is_none() && !is_shaking {
            self.ready_at = Some(Instant::now());
        }
        self.write()
    }

    fn read(&mut self, done: &mut Vec<Got>) -> io::Result<()> {
        let mut chunk = [0; 65_536];
        loop {
            let came = match &mut self.tls {
                Some(tls) => tls.read_tls(&mut self.tcp),
                None => self.tcp.read(&mut chunk),
            };
            match came {
                Ok(0) if self.under_way() > 0 => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(()),
                Ok(len) if self.tls.is_none() => self.receive(&chunk[..len], done)?,
                Ok(_) => {
                    while let Some(len) = self.opened(&mut chunk)? {
                        self.receive(&chunk[..len], done)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Plaintext from the received records.
    fn opened(&mut self, chunk: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return Ok(None) };
        tls.process_new_packets().map_err(io::Error::other)?;
        match tls.reader().read(chunk) {
            Ok(0) => Ok(None),
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, bytes: &[u8], done: &mut Vec<Got>) -> io::Result<()> {
        match &mut self.machine {
            Machine::H1(h1) => h1.receive(bytes, done),
            Machine::H2(h2) => h2.receive(bytes, &mut self.out, done),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let sent = match &mut self.tls {
            Some(tls) => {
                // Requests join the handshake's last flight: rustls keeps them until then.
                if self.ready_at.is_some() && !self.out.is_empty() {
                    tls.set_buffer_limit(None);
                    tls.writer().write_all(&self.out)?;
                    self.out.clear();
                }
                let mut result = Ok(());
                while result.is_ok() && tls.wants_write() {
                    result = tls.write_tls(&mut self.tcp).map(drop);
                }
                result
            }
            None if self.out.is_empty() => Ok(()),
            None => self.tcp.write(&self.out).map(|len| drop(self.out.drain(..len))),
        };
        match sent {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
