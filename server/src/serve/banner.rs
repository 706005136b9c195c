//! The banner for a person at a terminal: URLs and protocols. Programs read the `listening …` lines
//! instead.

use super::listener::Bound;
use crate::config::Config;
use crate::config::Scheme;
use std::fmt::Write;

/// The banner: the directory, and a URL and the protocols of each listener.
pub(crate) fn text(config: &Config, listeners: &[(Scheme, Bound)], workers: usize) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!("ringway {version} serves {}\n", served(config));
    for (scheme, bound) in listeners {
        let _ = writeln!(out, "  {:<32} {}", url(*scheme, bound), spoken(*scheme, config));
    }
    let workers = if workers == 1 { "1 worker".into() } else { format!("{workers} workers") };
    let _ = writeln!(out, "  {workers}; Ctrl-C stops");
    out
}

/// What is served: the directory, or how many sites.
fn served(config: &Config) -> String {
    let root = match config.site.as_slice() {
        [] => &config.files.root,
        [site] => &site.root,
        sites => return format!("{} sites", sites.len()),
    };
    std::path::absolute(root).unwrap_or_else(|_| root.clone()).display().to_string()
}

/// A URL for a browser on this machine.
fn url(scheme: Scheme, bound: &Bound) -> String {
    let secure = matches!(scheme, Scheme::Https | Scheme::H3);
    let (name, usual) = if secure { ("https", 443) } else { ("http", 80) };
    match bound {
        Bound::Unix(path) => format!("unix:{}", path.display()),
        Bound::Ip(address) => {
            let host = match address.ip() {
                ip if ip.is_unspecified() => "localhost".to_owned(),
                std::net::IpAddr::V6(ip) => format!("[{ip}]"),
                ip => ip.to_string(),
            };
            match address.port() {
                port if port == usual => format!("{name}://{host}/"),
                port => format!("{name}://{host}:{port}/"),
            }
        }
    }
}

fn spoken(scheme: Scheme, config: &Config) -> &'static str {
    match scheme {
        Scheme::Http => "HTTP/1.1, HTTP/2 with prior knowledge",
        Scheme::H2c => "HTTP/2 with prior knowledge",
        Scheme::Https if is_self_signed(config) => {
            "HTTP/2, HTTP/1.1 (self-signed: a browser will ask)"
        }
        Scheme::Https => "HTTP/2, HTTP/1.1",
        Scheme::H3 => "HTTP/3",
        Scheme::Health => "health: /livez, /readyz",
        Scheme::Metrics => "metrics: a page, /metrics, /stats.json",
    }
}

fn is_self_signed(config: &Config) -> bool {
    config.tls.cert.is_none() && config.site.iter().all(|site| site.certificate.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_a_url_that_a_browser_takes() {
        let ip = |text: &str| Bound::Ip(text.parse().unwrap());
        for (scheme, bound, wanted) in [
            (Scheme::Http, ip("127.0.0.1:8080"), "http://127.0.0.1:8080/"),
            (Scheme::Http, ip("[::]:80"), "http://localhost/"),
            (Scheme::Https, ip("[::1]:443"), "https://[::1]/"),
            (Scheme::H2c, ip("0.0.0.0:81"), "http://localhost:81/"),
            (Scheme::Http, Bound::Unix("/run/r".into()), "unix:/run/r"),
        ] {
            assert_eq!(url(scheme, &bound), wanted);
        }
        let listeners =
            [(Scheme::Http, ip("127.0.0.1:8080")), (Scheme::Https, ip("127.0.0.1:8443"))];
        let text = text(&Config::default(), &listeners, 2);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("self-signed") && text.contains("2 workers"), "{text}");
    }
}
