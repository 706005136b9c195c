//! nginx's configuration, as far as ringway can say the same.

mod listen;
mod location;
mod rules;
mod server;
mod words;

pub(super) use location::fits;
pub(super) use rules::is_file;
pub(super) use words::GRAMMAR;

use super::directive::Directive;
use super::site::{Import, quote};
use server::Server;

/// Directives that ringway has no use for: it does what they ask for anyway, has nothing that they
/// would tune, or their absence changes no answer.
const NEEDLESS: &[&str] = &[
    "accept_mutex",
    "aio",
    "charset",
    "daemon",
    "default_type",
    "directio",
    "error_log",
    "etag",
    "events",
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "http2",
    "http3",
    "if_modified_since",
    "internal",
    "load_module",
    "log_format",
    "log_not_found",
    "max_ranges",
    "merge_slashes",
    "multi_accept",
    "open_file_cache",
    "open_file_cache_errors",
    "open_file_cache_min_uses",
    "open_file_cache_valid",
    "output_buffers",
    "pid",
    "quic_gso",
    "quic_retry",
    "reset_timedout_connection",
    "sendfile",
    "sendfile_max_chunk",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "ssl_buffer_size",
    "ssl_early_data",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "tcp_nodelay",
    "tcp_nopush",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "use",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
    "worker_connections",
    "worker_cpu_affinity",
    "worker_rlimit_nofile",
];

/// Directives that others often want, and what to say of them.
const KNOWN_LACKS: &[(&str, &str)] = &[
    ("alias", "a site has one root: link the directory into it, or give it a site of its own"),
    ("fastcgi_pass", "ringway speaks no FastCGI"),
    ("proxy_pass", "ringway is no proxy yet"),
    ("sub_filter", "ringway does not change files"),
    ("stub_status", "`metrics = \"127.0.0.1:9090\"` has figures, on a listener of its own"),
    ("user", "who runs ringway says its service manager"),
    ("uwsgi_pass", "ringway speaks no uwsgi"),
];

/// A configuration of ringway's from the directives of nginx's main context.
pub(super) fn convert(directives: &[Directive]) -> Import {
    let mut import = Import::default();
    let mut servers = Vec::new();
    for directive in directives {
        match directive.name() {
            "worker_processes" => workers(directive, &mut import),
            "http" => http(directive.inner(), &mut servers, &mut import),
            // A file of `sites-enabled`, by itself.
            "server" => servers.push(Server::read(directive, &Common::default(), &mut import)),
            _ => unknown(directive, &mut import),
        }
    }
    server::assemble(servers, &mut import);
    import
}

/// What servers inherit from the http context.
#[derive(Clone, Default)]
struct Common {
    directives: Vec<Directive>,
}

/// Directives of the http context that servers inherit as they stand.
const INHERITED: &[&str] = &[
    "add_header",
    "autoindex",
    "error_page",
    "expires",
    "gzip",
    "gzip_static",
    "index",
    "root",
    "ssl_certificate",
    "ssl_certificate_key",
    "allow",
    "deny",
    "auth_basic",
    "auth_basic_user_file",
    "limit_req",
    "try_files",
];

fn http(directives: &[Directive], servers: &mut Vec<Server>, import: &mut Import) {
    let mut common = Common::default();
    for directive in directives {
        match directive.name() {
            name if INHERITED.contains(&name) => common.directives.push(directive.clone()),
            "limit_req_zone" => zone(directive, import),
            _ => {}
        }
    }
    for directive in directives {
        match directive.name() {
            name if INHERITED.contains(&name) || name == "limit_req_zone" => {}
            "server" => servers.push(Server::read(directive, &common, import)),
            "types" => types(directive, import),
            _ => process(directive, import),
        }
    }
}

/// `limit_req_zone $binary_remote_addr zone=NAME:SIZE rate=NUMBERr/s`.
fn zone(directive: &Directive, import: &mut Import) {
    let args = directive.args();
    let find = |name: &str| args.iter().find_map(|each| each.strip_prefix(name));
    let by_address = matches!(directive.first(), "$binary_remote_addr" | "$remote_addr");
    let name = find("zone=").and_then(|zone| zone.split(':').next());
    let rate = find("rate=").and_then(|rate| {
        let (requests, seconds) = match (rate.strip_suffix("r/s"), rate.strip_suffix("r/m")) {
            (Some(requests), _) => (requests, 1),
            (_, Some(requests)) => (requests, 60),
            _ => return None,
        };
        Some((requests.parse().ok().filter(|count| *count > 0)?, seconds))
    });
    match (name, rate) {
        (Some(name), Some((requests, seconds))) if by_address => {
            import.zones.push((name.to_owned(), requests, seconds));
        }
        _ => {
            import.leave_out(directive, "requests are counted by address, in a second or a minute")
        }
    }
}

/// What is the whole server's with us, wherever it stands.
fn process(directive: &Directive, import: &mut Import) {
    match directive.name() {
        "keepalive_timeout" => match seconds(directive.first()) {
            Some(time) if time > 0 => {
                set(directive, "limits.idle_timeout", &format!("{time}s"), import)
            }
            _ => import
                .leave_out(directive, "ringway closes idle connections by `limits.idle_timeout`"),
        },
        "client_max_body_size" => match bytes(directive.first()) {
            Some(size) => set(directive, "limits.body_bytes", &size, import),
            None => import.leave_out(directive, "is no size"),
        },
        "ssl_protocols" => protocols(directive, import),
        "access_log" => access_log(directive, import),
        _ => unknown(directive, import),
    }
}

fn set(directive: &Directive, key: &'static str, value: &str, import: &mut Import) {
    if !import.set(key, quote(value)) {
        import.leave_out(directive, &format!("`{key}` is one for all sites, and set already"));
    }
}

/// Names what is neither known nor needless.
fn unknown(directive: &Directive, import: &mut Import) {
    let name = directive.name();
    if NEEDLESS.contains(&name) {
        return;
    }
    let lack = KNOWN_LACKS.iter().find(|(lack, _)| *lack == name);
    let why = lack.map_or("not known here, or without a counterpart", |(_, why)| why);
    import.leave_out(directive, why);
}

fn workers(directive: &Directive, import: &mut Import) {
    match directive.first().parse::<u16>() {
        Ok(count @ 1..=1024) => {
            import.set("workers", count.to_string());
        }
        _ if directive.first() == "auto" => {}
        _ => import.leave_out(directive, "is no number of workers"),
    }
}

/// The types of files. Those of nginx's own `mime.types` are known.
fn types(directive: &Directive, import: &mut Import) {
    let is_own = directive.inner().iter().any(|row| row.place.file.ends_with("mime.types"));
    let is_its = directive.place.file.ends_with("mime.types");
    if !is_own && !is_its {
        import.leave_out(directive, "types are written into a [[site]], as `types`");
    }
}

fn protocols(directive: &Directive, import: &mut Import) {
    let versions = directive.args();
    if versions.iter().any(|version| !matches!(*version, "TLSv1.2" | "TLSv1.3")) {
        import.leave_out(directive, "TLS 1.2 is the oldest version that ringway speaks");
    }
    if versions == ["TLSv1.3"] {
        set(directive, "tls.min_version", "1.3", import);
    }
}

fn access_log(directive: &Directive, import: &mut Import) {
    let place = directive.first();
    if place == "off" {
        return;
    }
    let settings: Option<Vec<(&'static str, String)>> = match place.strip_prefix("syslog:") {
        Some(options) => options
            .split(',')
            .map(|option| match option.split_once('=')? {
                ("server", server) => syslog(server).map(|to| ("log.syslog", to)),
                ("facility", facility) => Some(("log.facility", facility.to_owned())),
                _ => None,
            })
            .collect(),
        None if place.contains('$') => None,
        None => Some(vec![("log.file", place.to_owned())]),
    };
    let Some(settings) = settings else {
        return import.leave_out(directive, "the access log goes to a file or to syslog");
    };
    let format = directive.args().get(1).copied().unwrap_or("combined");
    let is_usual = matches!(format, "combined" | "main") || format.contains('=');
    if !is_usual {
        import
            .leave_out(directive, "its format is written as \"combined\"; there is also \"json\"");
    }
    set(directive, "log.format", "combined", import);
    for (key, value) in settings {
        set(directive, key, &value, import);
    }
}

fn syslog(server: &str) -> Option<String> {
    if server.starts_with("unix:/") {
        return Some(server.to_owned());
    }
    let with_port = if server.parse::<std::net::IpAddr>().is_ok() {
        format!("{server}:514")
    } else {
        server.to_owned()
    };
    with_port.parse::<std::net::SocketAddr>().ok().map(|address| format!("udp:{address}"))
}

/// A time as nginx writes it, in seconds: `30`, `1h`, `7d 12h`.
fn seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..end].parse().ok()?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        let scale = match rest[end..unit_end].trim() {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            "M" => 30 * 86_400,
            "y" => 365 * 86_400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(scale)?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

/// A size as nginx writes it, as ringway does: `10m` is `10MiB`. 0, which is none there, is as much
/// as can be said.
fn bytes(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let unit = match &text[digits.len()..] {
        "" => "B",
        "k" | "K" => "KiB",
        "m" | "M" => "MiB",
        "g" | "G" => "GiB",
        _ => return None,
    };
    Some(if number == 0 { "1024GiB".to_owned() } else { format!("{number}{unit}") })
}
