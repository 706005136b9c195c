//! `listen` and `server_name`.

use super::super::directive::Directive;
use super::super::site::Import;

/// Where a server listens.
#[derive(Clone, Debug, Default)]
pub(super) struct Listens {
    pub(super) http: Vec<String>,
    pub(super) https: Vec<String>,
    pub(super) is_default: bool,
}

/// Options of `listen` that change no answer.
const TUNING: &[&str] = &["reuseport", "http2", "deferred", "default", "bind"];

impl Listens {
    pub(super) fn add(&mut self, directive: &Directive, import: &mut Import) {
        let options = &directive.args()[1.min(directive.words.len() - 1)..];
        let has = |wanted: &str| options.contains(&wanted);
        self.is_default |= has("default_server") || has("default");
        for option in options {
            let is_known = TUNING.contains(option)
                || matches!(*option, "ssl" | "quic" | "default_server")
                || option.starts_with("backlog=")
                || option.starts_with("ipv6only=");
            if !is_known {
                import.leave_out(directive, &format!("`{option}` has no counterpart"));
            }
        }
        let Some(address) = address(directive.first()) else {
            return import.leave_out(directive, "is no address that ringway can listen on");
        };
        let is_tls = has("ssl") || has("quic");
        let list = if is_tls { &mut self.https } else { &mut self.http };
        if !list.contains(&address) {
            list.push(address);
        }
    }
}

/// An address as ringway writes it. nginx's `80` and `[::]:80` are both `:80`, which is IPv4 and
/// IPv6.
fn address(text: &str) -> Option<String> {
    if text.starts_with("unix:/") {
        return Some(text.to_owned());
    }
    let any = |port: &str| {
        port.parse::<u16>().ok().filter(|port| *port > 0).map(|port| format!(":{port}"))
    };
    if let Some(port) = text.strip_prefix("[::]:").or_else(|| text.strip_prefix("*:")) {
        return any(port);
    }
    let text = match text {
        "[::]" | "*" => return Some(":80".to_owned()),
        text => text.replace("localhost", "127.0.0.1"),
    };
    if let Some(address) = any(&text) {
        return Some(address);
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        return Some(std::net::SocketAddr::new(ip, 80).to_string());
    }
    let address = text.parse::<std::net::SocketAddr>().ok()?;
    let is_any = address.ip() == std::net::Ipv4Addr::UNSPECIFIED;
    Some(if is_any { format!(":{}", address.port()) } else { address.to_string() })
}

/// The hosts of `server_name`; whether it names any host that is none (`_`).
pub(super) fn hosts(directive: &Directive, hosts: &mut Vec<String>, import: &mut Import) -> bool {
    let mut is_catch_all = false;
    for name in directive.args() {
        if matches!(name, "_" | "" | "\"\"") {
            is_catch_all = true;
        } else if let Some(bare) = name.strip_prefix('.') {
            hosts.extend([bare.to_lowercase(), format!("*.{}", bare.to_lowercase())]);
        } else if name.starts_with('~') || name.ends_with(".*") || name.contains('$') {
            import.leave_out(directive, &format!("`{name}` is no plain name, nor \"*.name\""));
        } else {
            hosts.push(name.to_lowercase());
        }
    }
    hosts.sort();
    hosts.dedup();
    is_catch_all
}
