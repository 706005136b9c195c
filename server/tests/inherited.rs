//! Sockets that a service manager opens and hands over: by number and by name, TCP, UDP and Unix
//! (row L17 of the feature list).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

use harness::client::Client;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, eventually, missing};
use socket2::SockRef;

/// `ringway serve` as a service manager starts it, with these descriptors at 3, 4, … and these
/// variables; `$$` is its own process.
fn activated(sockets: &[OwnedFd], variables: &str, options: &str) -> Command {
    let mut moves = String::new();
    for (at, socket) in sockets.iter().enumerate() {
        SockRef::from(socket).set_cloexec(false).unwrap();
        // By way of numbers that none of them has.
        let (from, high) = (socket.as_raw_fd(), 100 + at);
        moves += &format!("exec {high}<&{from} {from}<&-; ");
    }
    for at in 0..sockets.len() {
        moves += &format!("exec {}<&{high} {high}<&-; ", 3 + at, high = 100 + at);
    }
    let program = RINGWAY.unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{moves}{variables} exec {program} serve {options}")]);
    command
}

fn site() -> TempDir {
    TempDir::with(&[("index.html", b"home")])
}

/// A TCP socket, and a UDP socket of the same port.
fn pair() -> (SocketAddr, [OwnedFd; 2]) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(at) {
            return (at, [tcp.into(), udp.into()]);
        }
    }
}

fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

/// L17: one UDP socket serves all workers; new connections are spread over them.
#[test]
fn l17_tcp_and_udp_by_name_and_by_number_on_every_worker() {
    for (address, names) in [("fd:web", "web:web"), ("fd:3", "a:b"), ("fd:web", "web:quic")] {
        let site = site();
        let (at, sockets) = pair();
        let variables = format!("LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES={names}");
        let options = format!(
            "{} --https {address} --http 127.0.0.1:0 --workers 3 --metrics 127.0.0.1:0 --set \
             http3.steering=true",
            site.path().display()
        );
        let server = Process::start(&mut activated(&sockets, &variables, &options));
        server.wait_for("https,h3,http,metrics");
        assert_eq!((server.at("https"), server.at("h3")), (at, at));
        let mut clients: Vec<H3> = (0..24).map(|_| H3::connect(at)).collect();
        for _ in 0..3 {
            for client in &mut clients {
                assert_eq!(client.get("/").text(), "home", "{address}");
            }
        }
        let taken = server.metric("ringway_quic_forwarded_total{result=\"taken\"}");
        assert!(taken > 0, "{address}: other workers have connections");
        assert_eq!(server.metric("ringway_quic_forwarded_total{result=\"dropped\"}"), 0);
        assert_eq!(server.metric("ringway_connections_opened_total{proto=\"3\"}"), 24);
    }
}

/// L17: a socket unit with two addresses and one name; what queued before the start is answered.
#[test]
fn l17_a_name_stands_for_all_its_sockets_and_their_queues() {
    let (site, dir) = (site(), TempDir::new());
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let two = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = dir.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let at = [one.local_addr().unwrap(), two.local_addr().unwrap()];
    let mut early = at.map(Client::connect);
    for client in &mut early {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let sockets = [OwnedFd::from(one), two.into(), unix.into()];
    let variables = "LISTEN_FDS=3 LISTEN_PID=$$ LISTEN_FDNAMES=web:web:local";
    let options = format!("{} --http fd:web --http fd:local --workers 2", site.path().display());
    let server = Process::start(&mut activated(&sockets, variables, &options));
    eventually("all three are told", || server.output().matches("listening http").count() == 3);
    assert!(server.output().contains(&format!("listening http unix:{}", path.display())));
    for client in &mut early {
        assert_eq!(client.response("GET").text(), "home");
    }
    let fds = std::fs::read_dir(format!("/proc/{}/fdinfo", server.pid())).unwrap();
    for fd in fds.flatten().filter(|fd| matches!(fd.file_name().to_str(), Some("3" | "4" | "5"))) {
        let info = std::fs::read_to_string(fd.path()).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & 0o2_000_000, 0, "closed on exec: {info}");
    }
}

/// L17: what is wrong with a descriptor is said with what there is and what to write instead.
#[test]
fn l17_wrong_descriptors_are_explained() {
    let site = site();
    let dir = site.path().display().to_string();
    let (_, [tcp, udp]) = pair();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let connection = std::net::TcpStream::connect(
        SockRef::from(&tcp).local_addr().unwrap().as_socket().unwrap(),
    );
    let sockets = [udp, file, connection.unwrap().into(), tcp];
    let here = "LISTEN_FDS=4 LISTEN_PID=$$ LISTEN_FDNAMES=quic:file:inner:web";
    for (variables, address, said) in [
        (here, "fd:quic", "is a UDP socket: a stream is wanted (ListenStream=)"),
        (here, "fd:4", "is no socket but /dev/null"),
        (here, "fd:inner", "the socket unit has to say Accept=no"),
        (here, "fd:wbe", "no descriptor is named `wbe`; handed over: fd:3 `quic`, a UDP socket"),
        (here, "fd:77", "descriptor 77 is not open"),
        ("LISTEN_FDS=4 LISTEN_PID=1", "fd:web", "meant for process 1 (LISTEN_PID)"),
        ("LISTEN_FDS=4", "fd:web", "LISTEN_PID names no process"),
        ("", "fd:web", "LISTEN_FDS is not set"),
    ] {
        let options = format!("{dir} --http {address} --workers 1");
        let told = refused(activated(&sockets, variables, &options));
        assert!(told.contains(said), "{address} {variables}: {told}");
    }
}

/// L17: without a UDP socket of the port there is no HTTP/3, which is said, or refused.
#[test]
fn l17_without_a_udp_socket_http3_is_not_spoken() {
    let site = site();
    let (at, [tcp, _]) = pair();
    let sockets = [tcp];
    let said = format!("no UDP socket of port {} was handed over (ListenDatagram=", at.port());
    let dir = site.path().display();
    let variables = "LISTEN_FDS=1 LISTEN_PID=$$";
    let options = format!("{dir} --https fd:3 --http 127.0.0.1:0 --workers 1");
    let server = Process::start(&mut activated(&sockets, variables, &options));
    server.wait_for("https");
    assert!(server.output().contains(&said) && server.address("h3").is_none());
    let told = refused(activated(&sockets, variables, &format!("{options} --require-h3")));
    assert!(told.contains(&said), "{told}");
}

/// L17: systemd's own tool hands a socket over when the first client comes.
#[test]
fn l17_systemd_socket_activate() {
    let tool = "systemd-socket-activate";
    if Command::new(tool).arg("--version").output().is_err() {
        return missing(tool);
    }
    let site = site();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(tool);
    command.args(["-l", &at.to_string(), "--fdname=web", RINGWAY.unwrap(), "serve"]);
    command.arg(site.path()).args(["--http", "fd:web", "--workers", "1"]);
    let first = std::thread::spawn(move || {
        eventually("the tool listens", || std::net::TcpStream::connect(at).is_ok());
        Client::connect(at).get("/").text().to_owned()
    });
    let server = Process::start(&mut command);
    assert_eq!(server.http(), at);
    assert_eq!(first.join().unwrap(), "home");
}
