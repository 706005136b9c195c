//! HTTP/3 on `ringway-quic` with a plain socket and poll(2): the cost of the transport without the
//! server around it, as `donothing` for TCP. `/` is 13 bytes; `/N` is N bytes that are not copied
//! before quiche. Usage: `h3plain [ADDR]`; prints `listening h3 ADDR`.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use ringway_codec::field::Known;
use ringway_codec::h3;
use ringway_codec::scan::Backend;
use ringway_quic::boring::asn1::Asn1Time;
use ringway_quic::boring::ec::{EcGroup, EcKey};
use ringway_quic::boring::error::ErrorStack;
use ringway_quic::boring::hash::MessageDigest;
use ringway_quic::boring::nid::Nid;
use ringway_quic::boring::pkey::PKey;
use ringway_quic::boring::ssl::{AlpnError, SslContextBuilder, SslMethod, select_next_proto};
use ringway_quic::boring::x509::{X509, X509NameBuilder};
use ringway_quic::cid::Origin;
use ringway_quic::http::{Body, Event, Http, Pulled, Request, Shared};
use ringway_quic::{Buf, Endpoint, Id, Keys, Policy, Received, Settings, Transmit, gso};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages taken from the socket before the turn goes on.
const BURST: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:4433".into());
    let udp = UdpSocket::bind(&address)?;
    udp.set_nonblocking(true)?;
    let local = udp.local_addr()?;
    let _ = setsockopt(&udp, sockopt::UdpGroSegment, &true);
    let _ = setsockopt(&udp, sockopt::RcvBuf, &(8 << 20));
    let _ = setsockopt(&udp, sockopt::SndBuf, &(8 << 20));
    println!("listening h3 {local}");
    let policy = Policy::new(Origin { worker: 0, generation: 0 });
    let settings = Settings { streams: 1000, ..Settings::default() };
    let now = Instant::now();
    let mut plain = Plain {
        endpoint: Endpoint::new(policy, settings.config(tls()?)?, &Keys::derive(&[1; 32]), now),
        shared: Shared::new(h3::Config::new(Backend::detect())),
        bodies: HashMap::new(),
        out: vec![0; gso::BYTES_MAX],
        touched: Vec::new(),
        udp,
        local,
    };
    let mut buffer = vec![0; 65_536];
    loop {
        plain.sleep()?;
        let now = Instant::now();
        for _ in 0..BURST {
            if !plain.receive(&mut buffer, now)? {
                break;
            }
        }
        plain.endpoint.expire(now);
        let mut touched = std::mem::take(&mut plain.touched);
        touched.drain(..).for_each(|id| plain.serve(id));
        plain.touched = touched;
        while let Some((_, transmit)) = plain.endpoint.transmit(&mut plain.out, now) {
            plain.send(&transmit)?;
        }
        while plain.endpoint.next_ended().is_some() {}
    }
}

struct Plain {
    endpoint: Endpoint<Http>,
    shared: Shared,
    bodies: HashMap<usize, Rc<[u8]>>,
    out: Vec<u8>,
    touched: Vec<Id>,
    udp: UdpSocket,
    local: SocketAddr,
}

impl Plain {
    fn sleep(&self) -> io::Result<()> {
        let timeout = match self.endpoint.deadline() {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let up = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
                PollTimeout::from(up)
            }
        };
        match poll(&mut [PollFd::new(self.udp.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// One message; `false` when there is none.
    fn receive(&mut self, buffer: &mut [u8], now: Instant) -> io::Result<bool> {
        let mut control = cmsg_space!(i32);
        let (len, segment, from) = {
            let mut data = [IoSliceMut::new(buffer)];
            let fd = self.udp.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT;
            let message =
                match recvmsg::<SockaddrStorage>(fd, &mut data, Some(&mut control[..]), flags) {
                    Ok(message) => message,
                    Err(Errno::EAGAIN | Errno::ECONNREFUSED) => return Ok(false),
                    Err(error) => return Err(error.into()),
                };
            let mut segment = message.bytes.max(1);
            for control in message.cmsgs()? {
                if let ControlMessageOwned::UdpGroSegments(size) = control {
                    segment = usize::try_from(size).unwrap_or(segment).max(1);
                }
            }
            let Some(from) = message.address.as_ref().and_then(address) else { return Ok(true) };
            (message.bytes, segment, from)
        };
        for datagram in buffer[..len].chunks_mut(segment) {
            match self.endpoint.receive(datagram, from, self.local, now, &mut self.out) {
                Received::Connection(id) | Received::Accepted(id) => {
                    if self.touched.last() != Some(&id) {
                        self.touched.push(id);
                    }
                }
                Received::Reply(transmit) => self.send(&transmit)?,
                Received::Forward(_) | Received::Dropped(_) => {}
            }
        }
        Ok(true)
    }

    fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let to = SockaddrStorage::from(transmit.to);
        let data = [IoSlice::new(&self.out[..transmit.len])];
        let size = transmit.segment_size.unwrap_or(0);
        let one = [ControlMessage::UdpGsoSegments(&size)];
        let control = if transmit.segment_size.is_some() { &one[..] } else { &[] };
        match sendmsg(self.udp.as_raw_fd(), &data, control, MsgFlags::empty(), Some(&to)) {
            // A full socket drops the batch as a full router would; QUIC retransmits it.
            Ok(_) | Err(Errno::EAGAIN | Errno::ECONNREFUSED | Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn serve(&mut self, id: Id) {
        let Some((conn, http)) = self.endpoint.get(id) else { return };
        loop {
            match http.receive(conn, &mut self.shared) {
                Ok(Event::More) | Err(_) => break,
                Ok(Event::Request(Request { key, head, .. })) => {
                    let path = head.path.of(&self.shared.h3.bytes);
                    let len = std::str::from_utf8(&path[1..]).ok().and_then(|n| n.parse().ok());
                    let (body, len) = match len {
                        None => (Body::Whole(b"Hello, World!"), 13),
                        Some(len) => {
                            let body = self.bodies.entry(len);
                            let body = body.or_insert_with(|| vec![b'x'; len].into());
                            (Body::Shared(Buf::from(Rc::clone(body))), len)
                        }
                    };
                    http.respond(key, 200, body, conn, &mut self.shared, |head| {
                        head.field(Known::Server, b"", b"ringway");
                        head.field(Known::Date, b"", b"Sun, 22 Nov 2026 00:00:00 GMT");
                        head.field(Known::ContentType, b"", b"text/plain");
                        head.content_length(len as u64);
                    });
                }
                Ok(Event::Data { key, at }) => http.consume(key, at.len(), &self.shared),
                Ok(_) => {}
            }
        }
        let _ = http.output(usize::MAX, conn, |_, _, _| Pulled::End);
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    debug_assert!(storage.len() > 0);
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// A context with a self-signed certificate for `localhost`.
fn tls() -> Result<SslContextBuilder, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut made = X509::builder()?;
    made.set_version(2)?;
    made.set_subject_name(&name)?;
    made.set_issuer_name(&name)?;
    made.set_pubkey(&key)?;
    made.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    made.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
    made.sign(&key, MessageDigest::sha256())?;
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.set_certificate(&made.build())?;
    tls.set_private_key(&key)?;
    tls.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x02h3", offered).ok_or(AlpnError::NOACK)
    });
    Ok(tls)
}
