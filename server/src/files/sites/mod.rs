//! Many sites on the same sockets: which one a request is for, and what of its rules comes before
//! its files. In this order: host, cleartext, the checks of `policy`, answer, redirect, rewrite,
//! file or listing, fallback; then the page of an error and the site's fields.

mod additions;
mod auth;
mod policy;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use http::{HeaderValue, StatusCode};
use ringway_codec::authority;
use ringway_codec::h1::request::Method;

use super::conditional::RequestFields;
use super::services::Services;
use super::{Files, file_at};
use crate::app::content_coding::{Coding, Codings};
use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::config::{Address, Cleartext, Config, ContentCoding, Limits, SiteConfig, UnknownHost};
use additions::Additions;
use auth::Hashing;
use policy::{CHALLENGE, Policy};
use rules::{Rules, Verdict};

/// The sites of a configuration, found by the host that a request is for.
pub(crate) struct Sites {
    exact: HashMap<Box<str>, usize>,
    /// By the name after `*.`.
    wildcard: HashMap<Box<str>, usize>,
    /// The site for all other hosts.
    default: Option<usize>,
    /// What they get without one; none ends the request without an answer.
    unknown: Option<StatusCode>,
    https_port: HttpsPort,
    sites: Box<[Hosted]>,
}

/// The port that redirects to `https` lead to. Where the kernel chooses it, it is known only once
/// the server listens.
#[derive(Clone, Debug)]
pub(crate) struct HttpsPort(Arc<AtomicU16>);

impl HttpsPort {
    fn of(addresses: &[Address]) -> Self {
        let ports = addresses.iter().filter_map(|address| match address {
            Address::Ip(ip) => Some(ip.port()),
            Address::Any(port) => Some(*port),
            Address::Unix(_) | Address::Fd(_) => None,
        });
        let ports: Vec<u16> = ports.collect();
        let port = if ports.contains(&443) { Some(443) } else { ports.first().copied() };
        Self(Arc::new(AtomicU16::new(port.unwrap_or(443))))
    }

    /// Takes `port` if none is known yet.
    pub(crate) fn learn(&self, port: u16) {
        let _ = self.0.compare_exchange(0, port, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A site, ready to answer.
struct Hosted {
    cleartext: Cleartext,
    /// None where everyone may ask for everything.
    policy: Option<Arc<Policy>>,
    served: Arc<Served>,
    /// None where nothing is added to what the files are.
    additions: Option<Arc<Additions>>,
}

/// What a client gets that may ask.
struct Served {
    files: Files,
    /// None where every path names its file.
    rules: Option<Rules>,
}

impl Sites {
    /// The sites of `config`; `covers` says whether some certificate covers a host. Their file
    /// services are added to `services`; those that are as they were in `former` stay the same.
    pub(crate) fn compile(
        config: &Config,
        covers: impl Fn(&str) -> bool,
        services: &mut Services,
        former: Option<&Services>,
    ) -> Self {
        let (mut exact, mut wildcard, mut default) = (HashMap::new(), HashMap::new(), None);
        for (at, site) in config.site.iter().enumerate() {
            for host in &site.hosts {
                match host.wildcard() {
                    Some(name) => wildcard.insert(Box::from(name), at),
                    None => exact.insert(Box::from(&*host.0), at),
                };
            }
            if site.hosts.is_empty() {
                default = Some(at);
            }
        }
        let hashing = Hashing::new();
        let hosted = config.site.iter().map(|site| {
            let files = services.add(files(site, &config.limits), former);
            Hosted::new(site, files, config, &covers, &hashing)
        });
        Self {
            exact,
            wildcard,
            default,
            unknown: match config.unknown_host.unwrap_or_default() {
                UnknownHost::Misdirected => Some(StatusCode::MISDIRECTED_REQUEST),
                UnknownHost::NotFound => Some(StatusCode::NOT_FOUND),
                UnknownHost::Close => None,
            },
            https_port: HttpsPort::of(&config.https),
            sites: hosted.collect(),
        }
    }

    /// The port of redirects to `https`.
    pub(crate) fn https_port(&self) -> HttpsPort {
        self.https_port.clone()
    }

    /// The site for a host: the exact name, the name with any first label, the default site.
    fn find(&self, host: Option<&str>) -> Option<&Hosted> {
        let of_host = |host: &str| {
            let above = || host.split_once('.').and_then(|(_, above)| self.wildcard.get(above));
            self.exact.get(host).or_else(|| if self.wildcard.is_empty() { None } else { above() })
        };
        let at = host.and_then(of_host).copied().or(self.default);
        at.and_then(|at| self.sites.get(at))
    }

    /// 308 to the same over TLS; 421 where the request does not say of which host.
    fn to_https(&self, request: &Request<'_>) -> Response {
        let Some(authority) = request.authority() else {
            return StatusCode::MISDIRECTED_REQUEST.into();
        };
        // The host as it stands in a URL: an IPv6 address keeps its brackets.
        let end = authority.rfind(']').unwrap_or(0);
        let host = authority[end..].find(':').map_or(authority, |at| &authority[..end + at]);
        let path = match request.path() {
            "*" => "/",
            path => path,
        };
        let mut to = format!("https://{host}");
        match self.https_port.0.load(Ordering::Relaxed) {
            0 | 443 => {}
            port => to.push_str(&format!(":{port}")),
        }
        let mut to = to.into_bytes();
        rules::escape(path.as_bytes(), b"/", &mut to);
        rules::push_query(request, &mut to);
        super::site::redirect(&to)
    }
}

impl Hosted {
    fn new(
        site: &SiteConfig,
        files: Files,
        config: &Config,
        covers: impl Fn(&str) -> bool,
        hashing: &Arc<Hashing>,
    ) -> Self {
        let is_covered = || match site.hosts.as_slice() {
            [] => site.certificate.is_some(),
            hosts => hosts.iter().all(|host| covers(&host.0)),
        };
        let usual = match !config.https.is_empty() && is_covered() {
            true => Cleartext::Redirect,
            false => Cleartext::Serve,
        };
        let fields = site.headers.with(&site.preset);
        Self {
            cleartext: site.cleartext.unwrap_or(usual),
            policy: Policy::new(site, config.limits.rate_keys, hashing).map(Arc::new),
            served: Arc::new(Served { files, rules: Rules::new(site) }),
            additions: Additions::new(fields, &site.errors).map(Arc::new),
        }
    }

    fn call(&self, sites: &Sites, request: &Request<'_>) -> Reply {
        if !request.is_secure() {
            match self.cleartext {
                // Who asks for a certificate has none yet (RFC 8555 section 8.3).
                Cleartext::Redirect if !request.path().starts_with(CHALLENGE) => {
                    return Reply::Ready(sites.to_https(request));
                }
                Cleartext::Misdirected => {
                    return Reply::Ready(StatusCode::MISDIRECTED_REQUEST.into());
                }
                Cleartext::Redirect | Cleartext::Serve => {}
            }
        }
        match &self.policy {
            Some(policy) => policy.judge(&self.served, request),
            None => self.served.call(request),
        }
    }
}

impl Handler for Served {
    fn call(&self, request: &Request<'_>) -> Reply {
        let Some(rules) = &self.rules else { return self.files.call(request) };
        match rules.judge(request) {
            Verdict::File => self.files.call(request),
            Verdict::Rewritten(path) => self.rewritten(request, path),
            Verdict::Answer(response) => Reply::Ready(response),
        }
    }
}

impl Served {
    /// Answers with the file at `path`, below the root and decoded.
    fn rewritten(&self, request: &Request<'_>, path: Vec<u8>) -> Reply {
        if !matches!(request.line.method, Method::Get | Method::Head) {
            return self.files.call(request);
        }
        let site = match self.files.site() {
            Ok(site) => site,
            Err(status) => return Reply::Ready(status.into()),
        };
        let bytes = request.bytes;
        let lines = request.fields.iter().map(|field| (field.known, field.value(bytes)));
        let asked = RequestFields::gather(lines);
        let held = site.held(&path);
        file_at(site, path, held, asked, request)
    }
}

/// The file service of a site.
fn files(site: &SiteConfig, limits: &Limits) -> Files {
    let mut files = Files::new(site.root.clone())
        .browse(site.browse)
        .expires(site.expires)
        .precompressed(site.precompressed)
        .extensions(site.extensions.iter().map(|each| each.0.clone()));
    if let Some(compress) = &site.compress {
        let codings = compress.codings.iter().map(|coding| match coding {
            ContentCoding::Brotli => Coding::Brotli,
            ContentCoding::Zstd => Coding::Zstd,
            ContentCoding::Gzip => Coding::Gzip,
        });
        let codings = codings.fold(Codings::default(), Codings::with);
        files = files.compressing(Some((codings, compress.min..=limits.compress_bytes)));
    }
    for (name, value) in site.headers.with(&site.preset) {
        files = files.header(name, value);
    }
    if let Some(index) = &site.index {
        files = files.index(index.0.clone());
    }
    if let Some(file) = &site.fallback {
        files = files.fallback_for_pages(&file.0);
    }
    for (extension, value) in &site.types.0 {
        files = files.content_type(extension, value.clone());
    }
    for rule in &site.cache {
        files = files.cache_control(rule.path.glob(), HeaderValue::clone(&rule.value));
    }
    files
}

impl Handler for Sites {
    fn call(&self, request: &Request<'_>) -> Reply {
        let Some(site) = self.find(request.authority().map(authority::host)) else {
            return match self.unknown {
                Some(status) => Reply::Ready(status.into()),
                None => {
                    request.hang_up();
                    Reply::Later(Box::pin(std::future::pending()))
                }
            };
        };
        let reply = site.call(self, request);
        match &site.additions {
            None => reply,
            Some(additions) => additions.add_to(&site.served.files, reply),
        }
    }

    fn start(&self) {
        self.sites.iter().for_each(|site| site.served.files.start());
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        // No body means anything here: the answer does not wait for one.
        BodyMode::Stream
    }
}
