//! `server`: what it says by itself, and what becomes of all of them together.

use super::super::directive::Directive;
use super::super::site::{Import, Site, has};
use super::listen::{self, Listens};
use super::{Common, location, rules};

/// A server block.
pub(super) struct Server {
    listens: Listens,
    hosts: Vec<String>,
    is_catch_all: bool,
    site: Site,
    kind: Kind,
    /// What comes without TLS is sent to https.
    sends: bool,
    directive: Directive,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It has something of its own.
    Site,
    /// It sends to the same with https.
    ToHttps,
    /// It answers all others with this status; 444 is none.
    Refusal(u16),
}

impl Server {
    pub(super) fn read(directive: &Directive, common: &Common, import: &mut Import) -> Self {
        let mut server = Self {
            listens: Listens::default(),
            hosts: Vec::new(),
            is_catch_all: false,
            site: Site { place: Some(directive.place.clone()), ..Site::default() },
            kind: Kind::Site,
            sends: false,
            directive: directive.clone(),
        };
        let own = directive.inner();
        let is_named = |name: &str| own.iter().any(|each| each.name() == name);
        for each in own {
            match each.name() {
                "listen" => server.listens.add(each, import),
                "server_name" => {
                    server.is_catch_all |= listen::hosts(each, &mut server.hosts, import);
                }
                _ => {}
            }
        }
        server.is_catch_all |= server.listens.is_default || !is_named("server_name");
        if server.listens.http.is_empty() && server.listens.https.is_empty() {
            server.listens.http.push(":80".to_owned());
        }
        server.kind = kind(own, server.listens.https.is_empty());
        if server.kind == Kind::Site {
            let inherited = common.directives.iter().filter(|each| !is_named(each.name()));
            let all = inherited.chain(own).filter(|each| !sends(each));
            let all: Vec<Directive> = all.cloned().collect();
            server.sends = own.iter().any(sends) && !server.listens.https.is_empty();
            server.content(&all, import);
        }
        server
    }

    /// What the server says of its files.
    fn content(&mut self, directives: &[Directive], import: &mut Import) {
        let site = &mut self.site;
        let mut cache = Vec::new();
        let root = directives.iter().rev().find(|each| each.name() == "root");
        let root = root.map(|each| each.first().to_owned());
        let locations = location::all(directives, import);
        let server = location::Location::of_server(directives);
        let outer = location::take_server(&server, site, import);
        let outer = outer.value(None);
        let mut whole = outer.clone();
        for each in &locations {
            let of = location::take(each, root.as_deref(), site, import);
            let value = of.value(outer.as_deref());
            if each.is_root() {
                whole = value;
            } else if !of.is_answered {
                cache.extend(each.paths.iter().map(|path| (path.clone(), value.clone())));
            }
        }
        let differs = cache.into_iter().filter(|(_, value)| *value != whole);
        site.cache.extend(differs.map(|(path, value)| (path, value.unwrap_or_default())));
        site.cache.extend(whole.clone().map(|value| ("*".to_owned(), value)));
        // For the whole site, behind those for some paths.
        let of_all = |path: &str| path == "*";
        site.answer.sort_by_key(|(path, _)| of_all(path));
        site.access.sort_by_key(|(path, ..)| of_all(path));
        site.auth.sort_by_key(|(path, ..)| of_all(path));
        if let (Some(cert), Some(key)) =
            (last(directives, "ssl_certificate"), last(directives, "ssl_certificate_key"))
        {
            site.certificate = Some((cert, key));
        }
    }
}

fn last(directives: &[Directive], name: &str) -> Option<String> {
    directives.iter().rev().find(|each| each.name() == name).map(|each| each.first().to_owned())
}

impl location::Location {
    /// The server's own directives, as a location for all paths.
    fn of_server(directives: &[Directive]) -> Self {
        let mut directive = directives.first().cloned().unwrap_or_else(no_directive);
        directive.block = Some(directives.to_vec());
        Self::whole(directive)
    }
}

/// A server without a single directive.
fn no_directive() -> Directive {
    let place = super::super::directive::Place { file: std::path::Path::new("").into(), line: 0 };
    Directive { words: Vec::new(), block: None, place }
}

/// Whether it is an `if` that sends hosts or cleartext to https, as certbot writes it.
fn sends(directive: &Directive) -> bool {
    let asks = ["($host", "($scheme"].iter().any(|asks| directive.first().starts_with(asks));
    directive.name() == "if"
        && asks
        && directive.inner().iter().any(|each| each.name() == "return" && rules::is_to_https(each))
}

/// What a server is there for.
fn kind(directives: &[Directive], is_cleartext: bool) -> Kind {
    let own = directives.iter().find(|each| each.name() == "return");
    let is_to_https = own.is_some_and(rules::is_to_https)
        || directives.iter().any(|each| match each.name() {
            "location" => {
                each.args() == ["/"]
                    && each
                        .inner()
                        .iter()
                        .any(|each| each.name() == "return" && rules::is_to_https(each))
            }
            _ => sends(each),
        });
    let rejects =
        directives.iter().any(|each| each.name() == "ssl_reject_handshake" && each.first() == "on");
    let refusal =
        own.filter(|each| each.words.len() == 2).and_then(|each| each.first().parse().ok());
    match refusal {
        _ if is_cleartext && is_to_https => Kind::ToHttps,
        _ if rejects => Kind::Refusal(444),
        Some(status @ (444 | 404 | 403 | 400 | 410 | 421)) => Kind::Refusal(status),
        _ => Kind::Site,
    }
}

pub(super) fn index(directive: &Directive, site: &mut Site, import: &mut Import) {
    let first = directive.args().into_iter().find(|file| !file.ends_with(".php"));
    match first.filter(|file| rules::is_file(file)) {
        Some("index.html") => {}
        Some(file) => site.index = Some(file.to_owned()),
        None => return import.leave_out(directive, "no plain file among them"),
    }
    if directive.args().len() > 1 {
        import.leave_out(directive, &format!("only `{}` is taken", first.unwrap_or_default()));
    }
}

pub(super) fn coding(directive: &Directive, site: &mut Site, import: &mut Import) {
    match (directive.name(), directive.first()) {
        ("gzip", "on") if has("compress") => site.compress = vec!["gzip"],
        ("gzip", "on") => {
            import.leave_out(directive, "only files that are compressed already are sent so")
        }
        ("gzip_static", "off") => site.is_plain = true,
        _ => {}
    }
}

pub(super) fn body(directive: &Directive, site: &mut Site, import: &mut Import) {
    if !has("body_bytes") {
        return super::process(directive, import);
    }
    match super::bytes(directive.first()) {
        Some(size) => site.body = Some(size),
        None => import.leave_out(directive, "is no size"),
    }
}

/// `limit_req zone=NAME [burst=NUMBER]`: a burst there is on top of the rate.
pub(super) fn rate(directive: &Directive, path: &str, site: &mut Site, import: &mut Import) {
    let args = directive.args();
    let find = |name: &str| args.iter().find_map(|each| each.strip_prefix(name));
    let zone = find("zone=").and_then(|name| import.zones.iter().find(|(zone, ..)| zone == name));
    match zone.cloned() {
        Some((_, requests, seconds)) => site.rate.push((path.to_owned(), requests, seconds)),
        None => import.leave_out(directive, "its zone is not known"),
    }
    if find("burst=").is_some() {
        import.leave_out(directive, "the rate is taken, the burst is not");
    }
}

/// Makes sites of all servers.
pub(super) fn assemble(servers: Vec<Server>, import: &mut Import) {
    for server in &servers {
        for (list, all) in
            [(&server.listens.http, &mut import.http), (&server.listens.https, &mut import.https)]
        {
            let new: Vec<_> = list.iter().filter(|each| !all.contains(each)).cloned().collect();
            all.extend(new);
        }
    }
    let (mut sites, mut sent) = (Vec::new(), Sent::default());
    for server in servers {
        sites.extend(sort_out(server, &mut sent, import));
    }
    // Where a host has two, the one with TLS is its site.
    sites.sort_by_key(|server| server.listens.https.is_empty());
    let mut taken: Vec<String> = Vec::new();
    for server in sites {
        place(server, &sent, &mut taken, import);
    }
    sent.hosts.retain(|host| !taken.contains(host));
    if !sent.hosts.is_empty() {
        sent.hosts.dedup();
        // They have no site with TLS; over TLS they get nothing.
        import.sites.push(Site {
            hosts: sent.hosts,
            cleartext: Some("redirect"),
            answer: vec![("*".to_owned(), 404)],
            ..Site::default()
        });
    }
}

/// The hosts that are sent to https.
#[derive(Default)]
struct Sent {
    hosts: Vec<String>,
    /// Also those that no server names.
    all: bool,
}

/// The server if it has a site of its own.
fn sort_out(server: Server, sent: &mut Sent, import: &mut Import) -> Option<Server> {
    match server.kind {
        Kind::Site => return Some(server),
        Kind::ToHttps if import.https.is_empty() => {
            import.leave_out(&server.directive, "sends to https, where nothing listens");
        }
        Kind::ToHttps => {
            sent.all |= server.is_catch_all;
            sent.hosts.extend(server.hosts);
        }
        Kind::Refusal(status) if server.is_catch_all => {
            import.unknown_host = Some(match status {
                444 => "close",
                404 => "404",
                _ => "421",
            });
        }
        Kind::Refusal(444) => {
            import.leave_out(&server.directive, "hosts without a site get `unknown_host`");
        }
        Kind::Refusal(status) => {
            let answer = vec![("*".to_owned(), status)];
            return Some(Server { site: Site { answer, ..server.site.clone() }, ..server });
        }
    }
    None
}

/// Adds the site of a server, for the hosts that are not `taken`.
fn place(mut server: Server, sent: &Sent, taken: &mut Vec<String>, import: &mut Import) {
    let is_taken = |host: &String| taken.contains(host);
    let (doubles, mut hosts): (Vec<_>, Vec<_>) = server.hosts.into_iter().partition(is_taken);
    for host in doubles {
        let why = format!("{host} has a site already, whatever it listens on");
        import.leave_out(&server.directive, &why);
    }
    let is_sent = server.sends || sent.all || hosts.iter().any(|host| sent.hosts.contains(host));
    taken.extend(hosts.iter().cloned());
    if server.is_catch_all && !import.sites.iter().any(|site| site.hosts.is_empty()) {
        // It answers for all others, and so for its own.
        hosts.clear();
    } else if hosts.is_empty() {
        return import.leave_out(&server.directive, "no host is left for it");
    }
    let Listens { http, https, .. } = server.listens;
    server.site.cleartext = match (https.is_empty(), http.is_empty()) {
        (false, false) if !is_sent => Some("serve"),
        (false, _) => Some("redirect"),
        (true, _) if !import.https.is_empty() => Some("serve"),
        (true, _) => None,
    };
    server.site.hosts = hosts;
    server.site.listens = [http, https].concat();
    import.sites.push(server.site);
}
