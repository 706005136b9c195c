//! Session tickets: across restarts, rotations and names; and the key log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls_pki_types::ServerName;

use super::files::Directory;
use super::*;
use crate::tls::{Change, Options, ROTATION};

fn with_key_file(dir: &Directory) -> Tls {
    Tls::new(Options { ticket_key: Some(dir.path("ticket.key")), ..Options::default() }).unwrap()
}

/// Whether a client that was served by `first` resumes at `second`, both under its old trust.
fn resumes(config: &Arc<ClientConfig>, acceptor: &mut Acceptor) -> bool {
    let mut pair = Pair::established(Arc::clone(config), "localhost", acceptor);
    assert_eq!(pair.up(b"data").unwrap(), b"data");
    pair.server.resumed()
}

#[test]
fn tickets_survive_a_restart_with_a_key_file() {
    let dir = Directory::new("restart");
    let first = with_key_file(&dir);
    let mode = fs::metadata(dir.path("ticket.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let config = Arc::new(client(&first, &["h2"]));
    assert!(!resumes(&config, &mut first.acceptor(BOTH).unwrap()));
    drop(first);
    let second = with_key_file(&dir);
    assert!(resumes(&config, &mut second.acceptor(BOTH).unwrap()));
    // Without it another process knows nothing of the ticket (and shows another certificate).
    let stranger = Tls::self_signed().unwrap();
    assert_ne!(stranger.tickets().keys("tcp"), second.tickets().keys("tcp"));
    assert_ne!(second.tickets().keys("quic"), second.tickets().keys("tcp"));
}

#[test]
fn a_key_file_that_is_none_is_refused() {
    let dir = Directory::new("bad-key-file");
    let path = dir.path("ticket.key");
    let magic = "ringway ticket key 1";
    let secret = "0123456789abcdef".repeat(4);
    let long = "x".repeat(64);
    for (text, part) in [
        (String::new(), "no ticket key file"),
        ("something else\n".into(), "no ticket key file"),
        (format!("{magic}\n"), "no epoch"),
        (format!("{magic}\nepoch x\nsecret {secret}\n"), "no epoch"),
        (format!("{magic}\nepoch 7\n"), "no secret"),
        (format!("{magic}\nepoch 7\nsecret {secret}0\n"), "no secret"),
        (format!("{magic}\nepoch 7\nsecret {long}\n"), "no secret"),
    ] {
        fs::write(&path, &text).unwrap();
        let options = Options { ticket_key: Some(path.clone()), ..Options::default() };
        let error = Tls::new(options).unwrap_err();
        assert_eq!(error.file(), Some(&*path));
        assert!(error.reason().contains(part), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "left as it was");
    }
    // An honest file of a year ago steps on to today.
    let hours = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / ROTATION;
    fs::write(&path, format!("{magic}\nepoch {}\nsecret {secret}\n", hours - 730)).unwrap();
    let [first, second] = [with_key_file(&dir), with_key_file(&dir)];
    assert_eq!(first.tickets().keys("tcp"), second.tickets().keys("tcp"));
    assert!(!fs::read_to_string(&path).unwrap().contains(&secret), "the old secret is gone");
}

#[test]
fn keys_rotate_and_the_previous_still_opens() {
    let dir = Directory::new("rotation");
    let tls = with_key_file(&dir);
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let config = Arc::new(client(&tls, &["h2"]));
    assert!(!resumes(&config, &mut acceptor));
    let now = SystemTime::now();
    assert!(tls.poll_changes(now).is_empty());
    let [current, _] = tls.tickets().keys("tcp").unwrap();
    let later = |epochs: u64| now + Duration::from_secs(epochs * ROTATION);
    assert!(matches!(tls.poll_changes(later(1))[..], [Change::TicketsRotated]));
    assert!(tls.poll_changes(later(1)).is_empty());
    assert_eq!(tls.tickets().keys("tcp").unwrap()[1], current);
    assert!(resumes(&config, &mut acceptor), "the previous key opens it, the new one seals");
    // A clock that goes back takes nothing back.
    assert!(tls.poll_changes(now).is_empty());
    assert!(matches!(tls.poll_changes(later(3))[..], [Change::TicketsRotated]));
    assert!(!resumes(&config, &mut acceptor), "two epochs are too long ago");
    // Another process with the file is in step.
    assert_eq!(with_key_file(&dir).tickets().keys("tcp"), tls.tickets().keys("tcp"));
}

#[test]
fn an_unwritable_key_file_is_told_but_keys_rotate() {
    let dir = Directory::new("unwritable");
    let tls = with_key_file(&dir);
    // A directory of that name stands in the way of the new file, even for root.
    fs::create_dir(dir.path("ticket.key.new")).unwrap();
    let [current, _] = tls.tickets().keys("tcp").unwrap();
    let later = SystemTime::now() + Duration::from_secs(ROTATION);
    let changes = tls.poll_changes(later);
    let [Change::TicketsUnsaved(error)] = &changes[..] else { panic!("{changes:?}") };
    assert!(error.reason().contains("cannot be written"));
    assert_eq!(tls.tickets().keys("tcp").unwrap()[1], current);
}

/// A client that offers its tickets to whatever host it talks to.
#[derive(Debug)]
struct Careless(ClientSessionMemoryCache);

fn always() -> ServerName<'static> {
    "always".try_into().unwrap()
}

impl ClientSessionStore for Careless {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(always(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&always())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(always(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&always())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&always());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(always(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&always())
    }
}

/// Row 80.
#[test]
fn a_ticket_does_not_resume_at_another_name() {
    let dir = Directory::new("other-name");
    let files = dir.pair("ab", &["a.example", "b.example"]);
    let tls = Tls::new(Options { certificates: vec![files], ..Options::default() }).unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for suite in [0, 3].map(|at| ALL_CIPHER_SUITES[at]) {
        let mut config = client_of(&tls, suite);
        config.resumption = Resumption::store(Arc::new(Careless(ClientSessionMemoryCache::new(8))));
        let config = Arc::new(config);
        let mut resumed = |name: &str| {
            let pair = Pair::established(Arc::clone(&config), name, &mut acceptor);
            pair.server.resumed()
        };
        assert!(!resumed("a.example"));
        assert!(resumed("a.example"));
        assert!(!resumed("b.example"));
        assert!(resumed("b.example"));
    }
}

#[test]
fn the_key_log_has_the_secrets_of_both_versions() {
    let dir = Directory::new("key-log");
    let path = dir.path("keys.log");
    let tls = Tls::new(Options { key_log: Some(path.clone()), ..Options::default() }).unwrap();
    assert!(tls.key_log().is_on());
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for suite in [0, 3].map(|at| ALL_CIPHER_SUITES[at]) {
        Pair::established(Arc::new(client_of(&tls, suite)), "localhost", &mut acceptor);
    }
    tls.key_log().line("CLIENT_RANDOM of QUIC");
    let text = fs::read_to_string(&path).unwrap();
    let labels: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "CLIENT_RANDOM",
    ] {
        assert!(labels.contains(&label), "{label} is missing in {labels:?}");
    }
    let line = text.lines().find(|line| line.starts_with("CLIENT_RANDOM")).unwrap();
    assert_eq!(line.split(' ').map(str::len).collect::<Vec<_>>(), [13, 64, 96]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = Options { key_log: Some(dir.path("no/such.log")), ..Options::default() };
    assert!(Tls::new(refused).unwrap_err().reason().contains("cannot log TLS secrets"));
}
