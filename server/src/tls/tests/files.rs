//! Certificates from files: what is refused and why, which is chosen, and how they are replaced.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, cipher_suite};

use super::*;
use crate::tls::{CertificateFiles, Change, Options};

/// A directory of its own, removed in the end.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A pair `NAME.pem` and `NAME.key` for these host names.
    pub(super) fn pair(&self, name: &str, hosts: &[&str]) -> CertificateFiles {
        self.pair_of(name, hosts, KeyPair::generate().unwrap())
    }

    pub(super) fn pair_of(&self, name: &str, hosts: &[&str], key: KeyPair) -> CertificateFiles {
        let (certificate, key) = make(hosts, key, 2090);
        let chain = self.write(&format!("{name}.pem"), &certificate);
        CertificateFiles::new(chain, self.write(&format!("{name}.key"), &key))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// PEM of a certificate that expires with `until`, and of its key.
fn make(hosts: &[&str], key: KeyPair, until: i32) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.not_before = date_time_ymd(2019, 12, 31);
    params.not_after = date_time_ymd(until, 12, 31);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

pub(super) fn options(certificates: &[&CertificateFiles]) -> Options {
    let certificates = certificates.iter().map(|&files| files.clone()).collect();
    Options { certificates, ..Options::default() }
}

/// The names of the certificate that a client gets which asks for `name`.
fn served(tls: &Tls, name: &str) -> Vec<String> {
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut config = client(tls, &["h2"]);
    config.dangerous().set_certificate_verifier(Arc::new(Anyone::default()));
    let pair = Pair::established(Arc::new(config), name, &mut acceptor);
    let got = &pair.client.peer_certificates().unwrap()[0];
    let all = tls.certificates();
    all.iter().find(|own| own.chain()[0] == *got).unwrap().names().to_vec()
}

/// Trusts every certificate: the tests look at which it was, and at what was stapled to it.
#[derive(Debug, Default)]
struct Anyone(Mutex<Vec<u8>>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        staple: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = staple.to_vec();
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let dir = Directory::new("wrong");
    let good = dir.pair("good", &["localhost"]);
    let other = dir.pair("other", &["localhost"]);
    let refused = |chain: &PathBuf, key: &PathBuf| {
        let error = Tls::pem(chain, key).unwrap_err();
        let file = error.file().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        (file, error.reason().to_owned())
    };
    let says = |(file, reason): (String, String), expected_file: &str, part: &str| {
        assert_eq!(file, expected_file);
        assert!(reason.contains(part), "{reason:?} does not say {part:?}");
    };
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let missing = dir.path("missing.pem");
    says(refused(&missing, &good.key), "missing.pem", "cannot be read: No such file");
    says(refused(&good.chain, &missing), "missing.pem", "cannot be read: No such file");
    says(refused(&dir.write("empty.pem", ""), &good.key), "empty.pem", "holds no certificate");
    says(refused(&dir.write("key.pem", &pem), &good.key), "key.pem", "holds no certificate");
    says(refused(&good.chain, &good.chain), "good.pem", "holds no private key");
    says(refused(&good.chain, &other.key), "other.key", "does not belong to the certificate");
    let whole = fs::read_to_string(&good.chain).unwrap();
    let half = dir.write("half.pem", &whole[..whole.len() / 2]);
    says(refused(&half, &good.key), "half.pem", "is not valid PEM");
    let broken = dir.write("broken.pem", &whole.replace("\nMII", "\nMIA"));
    says(refused(&broken, &good.key), "broken.pem", "certificate 1 is malformed");
    let nothing =
        dir.write("nothing.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    says(refused(&good.chain, &nothing), "nothing.key", "unusable private key");
    let locked = pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let locked = dir.write("locked.key", &locked);
    says(refused(&good.chain, &locked), "locked.key", "is encrypted");
    // The second of two spoils the whole.
    let bad = CertificateFiles::new(&good.chain, &other.key);
    assert!(Tls::new(options(&[&good, &bad])).is_err());
    let text = Tls::pem(&good.chain, &other.key).unwrap_err().to_string();
    assert!(text.ends_with("other.key: the private key does not belong to the certificate"));
}

/// Row E8.
#[test]
fn a_staple_is_served_and_one_that_cannot_be_read_refused() {
    let dir = Directory::new("staple");
    let mut files = dir.pair("a", &["localhost"]);
    files.ocsp = Some(dir.path("a.ocsp"));
    let error = Tls::new(options(&[&files])).unwrap_err();
    assert_eq!(error.file(), files.ocsp.as_deref());
    // It is served as it stands, in both versions.
    dir.write("a.ocsp", "a response");
    let tls = Tls::new(options(&[&files])).unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for suite in [0, 3].map(|at| ALL_CIPHER_SUITES[at]) {
        let verifier = Arc::new(Anyone::default());
        let mut config = client_of(&tls, suite);
        config.dangerous().set_certificate_verifier(Arc::clone(&verifier) as _);
        Pair::established(Arc::new(config), "localhost", &mut acceptor);
        assert_eq!(*verifier.0.lock().unwrap(), b"a response");
    }
}

/// Rows C33 and 57.
#[test]
fn certificates_are_chosen_by_name() {
    let dir = Directory::new("names");
    let first = dir.pair("first", &["first.example"]);
    let wild = dir.pair("wild", &["*.wild.example"]);
    let exact = dir.pair("exact", &["a.wild.example", "192.0.2.7"]);
    let tls = Tls::new(options(&[&first, &wild, &exact])).unwrap();
    assert_eq!(served(&tls, "first.example"), ["first.example"]);
    assert_eq!(served(&tls, "FIRST.example"), ["first.example"]);
    assert_eq!(served(&tls, "b.wild.example"), ["*.wild.example"]);
    assert_eq!(served(&tls, "a.wild.example"), ["a.wild.example"]);
    for other in ["wild.example", "x.b.wild.example", "elsewhere.example", "192.0.2.7"] {
        assert_eq!(served(&tls, other), ["first.example"]);
    }
    // A connection answers for the names of its certificate only.
    let acceptor = tls.acceptor(BOTH).unwrap();
    assert!(acceptor.covers(Some("b.wild.example"), "c.wild.example"));
    assert!(!acceptor.covers(Some("b.wild.example"), "wild.example"));
    assert!(!acceptor.covers(Some("b.wild.example"), "first.example"));
    assert!(acceptor.covers(Some("a.wild.example"), "192.0.2.7"));
    assert!(!acceptor.covers(Some("a.wild.example"), "192.0.2.8"));
    assert!(acceptor.covers(None, "first.example"));
    let local = Tls::self_signed().unwrap().acceptor(BOTH).unwrap();
    assert!(local.covers(None, "127.0.0.1") && local.covers(None, "[::1]"));
}

#[test]
fn an_rsa_certificate_beside_an_ecdsa_one() {
    let dir = Directory::new("twins");
    let ecdsa = dir.pair("ecdsa", &["localhost"]);
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let (chain, key) = make(&["localhost"], key.unwrap(), 2090);
    let rsa = CertificateFiles::new(dir.write("rsa.pem", &chain), dir.write("rsa.key", &key));
    let tls = Tls::new(options(&[&ecdsa, &rsa])).unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for &suite in ALL_CIPHER_SUITES {
        let name = format!("{:?}", suite.suite());
        let config = Arc::new(client_of(&tls, suite));
        let mut pair = Pair::established(config, "localhost", &mut acceptor);
        let got = &pair.client.peer_certificates().unwrap()[0];
        let which = tls.certificates().iter().position(|own| own.chain()[0] == *got);
        assert_eq!(which, Some(usize::from(name.contains("RSA"))), "{name}");
        let data = pattern(20_000);
        assert_eq!(pair.up(&data).unwrap(), data);
        assert_eq!(pair.down(&data), data);
    }
}

#[test]
fn fingerprints_of_the_self_signed_certificate() {
    let tls = Tls::self_signed().unwrap();
    assert!(tls.is_self_signed());
    let certificate = &tls.certificates()[0];
    assert_eq!(certificate.names(), ["localhost"]);
    assert_eq!(certificate.addresses().len(), 2);
    assert_eq!(certificate.fingerprint().len(), 32 * 3 - 1);
    assert_eq!(certificate.spki_pin().len(), 44);
    assert!(certificate.spki_pin().ends_with('='));
    // Nothing to watch, nothing to reload.
    assert!(tls.poll_changes(SystemTime::now()).is_empty());
    assert_eq!(tls.reload(), Ok(1));
    // RFC 8448 and NIST hold for the hash; this holds for our base64.
    for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v")] {
        assert_eq!(crate::tls::certs::base64(bytes), text);
    }
}

/// Row 83.
#[test]
fn a_changed_pair_is_swapped_whole_or_not_at_all() {
    let dir = Directory::new("reload");
    let files = dir.pair("a", &["one.example"]);
    let tls = Tls::new(options(&[&files])).unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let config = Arc::new(client(&tls, &["h2"]));
    let mut old = Pair::established(Arc::clone(&config), "one.example", &mut acceptor);
    let now = SystemTime::now();
    assert!(tls.poll_changes(now).is_empty());

    // Half a pair: the chain is new, the key is not yet.
    let next = dir.pair("b", &["one.example", "two.example"]);
    fs::copy(&next.chain, &files.chain).unwrap();
    assert!(tls.poll_changes(now).is_empty(), "not settled yet");
    let changes = tls.poll_changes(now);
    let [Change::Kept(error)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(error.file(), Some(&*files.key));
    assert!(tls.poll_changes(now).is_empty(), "said once");
    assert_eq!(served(&tls, "one.example"), ["one.example"]);
    assert!(tls.reload().is_err());
    assert_eq!(tls.generation(), 1);

    // The other half, by rename.
    fs::rename(&next.key, &files.key).unwrap();
    assert!(tls.poll_changes(now).is_empty());
    let changes = tls.poll_changes(now);
    assert!(matches!(changes[..], [Change::Reloaded(2)]), "{changes:?}");
    assert!(tls.poll_changes(now).is_empty());
    assert_eq!(served(&tls, "one.example"), ["one.example", "two.example"]);

    // Connections go on, tickets still resume, acceptors serve the new certificate.
    assert_eq!(old.up(b"still here").unwrap(), b"still here");
    let again = Pair::established(config, "one.example", &mut acceptor);
    assert!(again.server.resumed());
    assert!(acceptor.covers(Some("one.example"), "two.example"));

    // A missing file is no reason to stop serving.
    fs::remove_file(&files.key).unwrap();
    assert!(tls.poll_changes(now).is_empty());
    assert!(matches!(tls.poll_changes(now)[..], [Change::Kept(_)]));
    assert_eq!(served(&tls, "one.example"), ["one.example", "two.example"]);
}

#[test]
fn a_swapped_directory_link_is_noticed() {
    let dir = Directory::new("link");
    for name in ["v1", "v2"] {
        fs::create_dir(dir.path(name)).unwrap();
        dir.pair(&format!("{name}/tls"), &[&format!("{name}.example")]);
    }
    let link = dir.path("current");
    std::os::unix::fs::symlink("v1", &link).unwrap();
    let tls = Tls::pem(link.join("tls.pem"), link.join("tls.key")).unwrap();
    std::os::unix::fs::symlink("v2", dir.path("new")).unwrap();
    fs::rename(dir.path("new"), &link).unwrap();
    let now = SystemTime::now();
    assert!(tls.poll_changes(now).is_empty());
    assert!(matches!(tls.poll_changes(now)[..], [Change::Reloaded(2)]));
    assert_eq!(served(&tls, "any.example"), ["v2.example"]);
}

#[test]
fn other_files_may_take_over() {
    let dir = Directory::new("replace");
    let tls = Tls::self_signed().unwrap();
    let one = dir.pair("one", &["one.example"]);
    assert_eq!(tls.replace(vec![one.clone()], Vec::new()), Ok(2));
    assert!(!tls.is_self_signed());
    assert_eq!(served(&tls, "one.example"), ["one.example"]);
    let missing = CertificateFiles::new(dir.path("no.pem"), dir.path("no.key"));
    assert_eq!(
        tls.replace(vec![missing.clone()], Vec::new()).unwrap_err().file(),
        Some(&*missing.chain)
    );
    // The former files are still the ones watched.
    dir.pair("one", &["one.example", "more.example"]);
    assert!(tls.poll_changes(SystemTime::now()).is_empty());
    assert!(matches!(tls.poll_changes(SystemTime::now())[..], [Change::Reloaded(3)]));
    assert_eq!(tls.replace(vec![one], Vec::new()), Ok(4), "the same again is a reload");
    assert_eq!(tls.replace(Vec::new(), Vec::new()), Ok(5));
    assert!(tls.is_self_signed());
    assert_eq!(served(&tls, "localhost"), ["localhost"]);
}

/// F6: a certificate that has expired, or an issuer, is served and told, once until it is loaded
/// again.
#[test]
fn f6_an_expired_certificate_is_told_and_served() {
    let dir = Directory::new("expired");
    let good = dir.pair("good", &["localhost"]);
    let whole = fs::read_to_string(&good.chain).unwrap();
    let (expired, key) = make(&["localhost"], KeyPair::generate().unwrap(), 2020);
    let alone =
        CertificateFiles::new(dir.write("expired.pem", &expired), dir.write("expired.key", &key));
    let chain =
        CertificateFiles::new(dir.write("chain.pem", &(whole + &expired)), good.key.clone());
    for (files, says) in [
        (&alone, "expired.pem: certificate 1 expired on 2020-12-31: clients refuse it"),
        (&chain, "chain.pem: certificate 2 expired on 2020-12-31: "),
    ] {
        let tls = Tls::new(options(&[files])).unwrap();
        let now = SystemTime::now();
        let told = tls.new_flaws(now);
        assert!(told.len() == 1 && told[0].contains(says), "{told:?}");
        assert!(tls.new_flaws(now).is_empty(), "it was told");
        assert_eq!(tls.out_of_date(now), 1);
        assert_eq!(served(&tls, "localhost"), ["localhost"]);
        tls.reload().unwrap();
        assert_eq!(tls.new_flaws(now), told);
    }
}

/// F6: before it begins (a clock that was not set at boot) and after it ends.
#[test]
fn f6_dates_are_told_when_they_come() {
    let dir = Directory::new("expiry");
    let files = dir.pair("a", &["localhost"]);
    let tls = Tls::new(options(&[&files])).unwrap();
    let now = SystemTime::now();
    assert!(tls.poll_changes(now).is_empty() && tls.out_of_date(now) == 0);
    let [Change::Flawed(flaw)] = &tls.poll_changes(SystemTime::UNIX_EPOCH)[..] else { panic!() };
    assert!(flaw.contains("a.pem: certificate 1 is not valid before 2019-12-31"), "{flaw}");
    assert!(tls.poll_changes(now).is_empty());
    let century = now + Duration::from_secs(100 * 365 * 86_400);
    let changes = tls.poll_changes(century);
    let told =
        |change: &Change| matches!(change, Change::Flawed(flaw) if flaw.contains("2090-12-31"));
    assert!(changes.iter().any(told), "{changes:?}");
    assert!(!tls.poll_changes(century).iter().any(told));
    // A replacement that has expired is taken, and told.
    dir.pair("a", &["localhost", "new.example"]);
    tls.poll_changes(century);
    let changes = tls.poll_changes(century);
    let [Change::Reloaded(2), flaw] = &changes[..] else { panic!("{changes:?}") };
    assert!(told(flaw));
}

/// F7: a certificate without subjectAltName, of version 3 and of version 1 (`openssl x509 -req`).
#[test]
fn f7_a_certificate_that_names_no_host_covers_all() {
    let dir = Directory::new("nameless");
    let files = dir.pair("a", &[]);
    let tls = Tls::new(options(&[&files])).unwrap();
    let told = tls.new_flaws(SystemTime::now());
    assert!(told.len() == 1 && told[0].contains("no subjectAltName"), "{told:?}");
    let acceptor = tls.acceptor(BOTH).unwrap();
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert!(acceptor.covers(Some("localhost"), host) && acceptor.covers(None, host));
        assert!(tls.names(None, false).covers(host));
    }
    assert_eq!(tls.out_of_date(SystemTime::now()), 0);
    // Beside one that names its hosts, each speaks for itself.
    let named = dir.pair("b", &["b.example"]);
    let acceptor = Tls::new(options(&[&files, &named])).unwrap().acceptor(BOTH).unwrap();
    assert!(acceptor.covers(Some("else.example"), "any.example"));
    assert!(!acceptor.covers(Some("b.example"), "any.example"));
    let any = Options { serve_misdirected: true, ..options(&[&named]) };
    let tls = Tls::new(any).unwrap();
    assert!(tls.acceptor(BOTH).unwrap().covers(Some("b.example"), "any.example"));
    tls.reload().unwrap();
    assert!(tls.names(Some("b.example"), false).covers("any.example"), "a reload keeps that");
    assert!(tls.new_flaws(SystemTime::now()).is_empty());
}

/// F8: a server name with the dot of a fully qualified name, which RFC 6066 section 3 has without.
#[test]
fn f8_a_server_name_may_end_in_a_dot() {
    let dir = Directory::new("dotted");
    let (first, second) = (dir.pair("a", &["a.example"]), dir.pair("b", &["*.b.example"]));
    let tls = Tls::new(options(&[&first, &second])).unwrap();
    let acceptor = tls.acceptor(BOTH).unwrap();
    assert!(acceptor.covers(Some("x.b.example."), "y.b.example"));
    assert!(!acceptor.covers(Some("x.b.example."), "a.example"));
}

/// F19: byte-order marks, at the beginning and where files were joined.
#[test]
fn f19_byte_order_marks_are_taken() {
    let dir = Directory::new("marked");
    let good = dir.pair("good", &["localhost"]);
    let (certificate, key) =
        (fs::read_to_string(&good.chain).unwrap(), fs::read_to_string(&good.key).unwrap());
    let issuer = make(&["issuer.example"], KeyPair::generate().unwrap(), 2090).0;
    let chain = dir.write("chain.pem", &format!("\u{feff}{certificate}\u{feff}{issuer}"));
    let files = CertificateFiles::new(chain, dir.write("marked.key", &format!("\u{feff}{key}")));
    let client_ca = Some(dir.write("ca.pem", &format!("\u{feff}{issuer}\u{feff}{certificate}")));
    assert!(Tls::new(Options { client_ca, ..options(&[&files]) }).is_ok());
    let tls = Tls::new(options(&[&files])).unwrap();
    assert_eq!(tls.certificates()[0].chain().len(), 2, "none is lost");
    assert_eq!(served(&tls, "localhost"), ["localhost"]);
    tls.reload().unwrap();
}

#[test]
fn only_tls13_when_told() {
    let tls = Tls::new(Options { only_tls13: true, ..Options::default() }).unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let old = client_of(&tls, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    let mut pair = Pair::new(Arc::new(old), "localhost", &mut acceptor);
    assert_eq!(pair.settle().unwrap_err().alert(), Some(70)); // protocol_version
}
