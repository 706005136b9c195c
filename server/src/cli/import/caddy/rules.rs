//! The directives of a site.

use super::super::directive::Directive;
use super::super::nginx::{fits, is_file};
use super::super::site::{Import, Site, has, table};
use super::set;
use std::collections::HashMap;

/// The paths that directives are for, and the matchers that stand for paths.
#[derive(Clone, Default)]
pub(super) struct Scope {
    /// Of a `handle` around; none is all.
    paths: Vec<String>,
    named: HashMap<String, Vec<String>>,
}

/// Directives that others often want, and what to say of them.
const KNOWN_LACKS: &[(&str, &str)] = &[
    ("reverse_proxy", "ringway is no proxy yet"),
    ("php_fastcgi", "ringway speaks no FastCGI"),
    ("templates", "ringway does not change files"),
];

impl Scope {
    /// Learns `@name path …`.
    pub(super) fn matchers(&mut self, directives: &[Directive]) {
        for directive in directives.iter().filter(|each| each.name().starts_with('@')) {
            let args = directive.args();
            let paths = match (args.as_slice(), directive.inner()) {
                (["path", paths @ ..], _) => paths.to_vec(),
                ([], [only]) if only.name() == "path" => only.args(),
                _ => Vec::new(),
            };
            let paths = paths.iter().map(|path| pattern(path)).collect();
            self.named.insert(directive.name().to_owned(), paths);
        }
    }

    /// The paths of a directive and its other arguments; `None` for a matcher that is none of
    /// paths.
    fn of<'a>(&self, directive: &'a Directive) -> Option<(Vec<String>, Vec<&'a str>)> {
        let mut args = directive.args();
        let whole = || match self.paths.is_empty() {
            true => vec!["*".to_owned()],
            false => self.paths.clone(),
        };
        let first = args.first().copied().unwrap_or_default();
        let takes_path =
            !matches!(directive.name(), "root" | "rewrite" | "redir") || args.len() > 1;
        let paths = if first == "*" {
            args.remove(0);
            whole()
        } else if first.starts_with('@') {
            args.remove(0);
            self.named.get(first).cloned().unwrap_or_default()
        } else if first.starts_with('/') && takes_path && directive.name() != "try_files" {
            args.remove(0);
            vec![pattern(first)]
        } else {
            whole()
        };
        let are_patterns = !paths.is_empty() && paths.iter().all(|path| fits(path));
        are_patterns.then_some((paths, args))
    }
}

fn pattern(path: &str) -> String {
    if path == "/*" { "*".to_owned() } else { path.to_owned() }
}

/// What comes first where several match: as in Caddy, the longer path.
pub(super) fn order(site: &mut Site) {
    let key = |path: &str| (path == "*", usize::MAX - path.len());
    site.cache.sort_by_key(|(path, _)| key(path));
    site.redirect.sort_by_key(|(path, ..)| key(path));
    site.rewrite.sort_by_key(|(path, _)| key(path));
    site.answer.sort_by_key(|(path, _)| key(path));
}

/// Whether all hosts are this machine, whose certificate is made by itself.
pub(super) fn is_local(hosts: &[String]) -> bool {
    !hosts.is_empty()
        && hosts.iter().all(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"))
}

/// Takes over what a site says.
pub(super) fn take(directives: &[Directive], scope: &Scope, site: &mut Site, import: &mut Import) {
    for directive in directives.iter().filter(|each| !each.name().starts_with('@')) {
        match directive.name() {
            "log" => log(directive, import),
            "tls" => tls(directive, site, import),
            "encode" => encode(directive, site, import),
            "handle_errors" => errors(directive, site, import),
            "request_body" => body(directive, site, import),
            "handle" | "route" => handle(directive, scope, site, import),
            "root" | "file_server" | "try_files" | "redir" | "rewrite" | "header" | "respond"
            | "basic_auth" | "basicauth" => match scope.of(directive) {
                Some((paths, args)) => rule(directive, &paths, &args, site, import),
                None => import.leave_out(directive, "its matcher is no path"),
            },
            name => {
                let lack = KNOWN_LACKS.iter().find(|(lack, _)| *lack == name);
                let why = lack.map_or("not known here, or without a counterpart", |(_, why)| why);
                import.leave_out(directive, why);
            }
        }
    }
}

fn handle(directive: &Directive, scope: &Scope, site: &mut Site, import: &mut Import) {
    let mut inner = scope.clone();
    inner.matchers(directive.inner());
    match scope.of(directive) {
        Some((paths, args)) if args.is_empty() => {
            inner.paths = if paths == ["*"] { Vec::new() } else { paths };
            take(directive.inner(), &inner, site, import);
        }
        _ => import.leave_out(directive, "its matcher is no path; what is inside is left out"),
    }
}

fn rule(
    directive: &Directive,
    paths: &[String],
    args: &[&str],
    site: &mut Site,
    import: &mut Import,
) {
    let is_whole = paths == ["*"];
    match (directive.name(), args) {
        ("root", [root]) if is_whole && site.root.is_none() && !root.contains('{') => {
            site.root = Some((*root).to_owned());
        }
        ("root", [root]) if site.root.as_deref() == Some(root) => {}
        ("root", _) => import.leave_out(directive, "a site has one root"),
        ("file_server", args) => file_server(directive, args, is_whole, site, import),
        ("try_files", args) if is_whole => try_files(directive, args, site, import),
        ("try_files", _) => import.leave_out(directive, "is one for a whole site"),
        ("redir", [to, code @ ..]) => redir(directive, paths, (to, code.first()), site, import),
        ("rewrite", [to]) => {
            let made: Option<Vec<_>> = paths.iter().map(|path| target(to, path)).collect();
            match made.filter(|_| to.starts_with('/')) {
                Some(made) => site.rewrite.extend(made),
                None => import.leave_out(directive, "only {uri} and {path} at the end are known"),
            }
        }
        ("header", []) => directive.inner().iter().for_each(|each| {
            let words: Vec<&str> = each.words.iter().map(String::as_str).collect();
            header(each, paths, &words, site, import);
        }),
        ("header", args) => header(directive, paths, args, site, import),
        ("basic_auth" | "basicauth", args) => basic_auth(directive, paths, args, site, import),
        ("respond", args) => respond(directive, paths, args, site, import),
        _ => import.leave_out(directive, "is not understood"),
    }
}

fn file_server(
    directive: &Directive,
    args: &[&str],
    is_whole: bool,
    site: &mut Site,
    import: &mut Import,
) {
    match args {
        [] => {}
        ["browse"] if is_whole => site.browse = true,
        _ => import.leave_out(directive, "listings are one for a whole site"),
    }
    for option in directive.inner() {
        match (option.name(), option.args().as_slice()) {
            ("browse", []) if is_whole => site.browse = true,
            ("index", [file, ..]) if is_whole && is_file(file) => {
                site.index = Some((*file).to_owned()).filter(|file| file != "index.html");
            }
            ("root", [root]) if site.root.is_none() && is_whole => {
                site.root = Some((*root).to_owned())
            }
            // As ringway does anyway.
            ("precompressed", _) => {}
            ("hide", files) if files.iter().all(|file| file.starts_with('.')) => {}
            _ => import.leave_out(option, "not known here, or without a counterpart"),
        }
    }
}

fn try_files(directive: &Directive, args: &[&str], site: &mut Site, import: &mut Import) {
    for each in args {
        match each.strip_prefix("{path}") {
            Some("" | "/" | "/index.html") => {}
            Some(extension)
                if extension.starts_with('.')
                    && extension.len() > 1
                    && !extension.contains(['/', '{']) =>
            {
                site.extensions.push(extension[1..].to_owned());
            }
            Some(_) => import.leave_out(directive, &format!("`{each}` is not known")),
            None if *each == "=404" => {}
            None => match each.strip_prefix('/').filter(|file| is_file(file)) {
                Some(file) => site.fallback = Some(file.to_owned()),
                None => import.leave_out(directive, &format!("`{each}` is no file")),
            },
        }
    }
}

/// The pattern and the target of what sends the paths of `path` to `to`.
fn target(to: &str, path: &str) -> Option<(String, String)> {
    let base =
        ["{uri}", "{path}", "{http.request.uri}"].iter().find_map(|uri| to.strip_suffix(uri));
    if base.unwrap_or(to).contains(['{', '$', '\\']) || to.starts_with("//") || to.is_empty() {
        return None;
    }
    let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    let Some(base) = base else {
        let slash = if is_url(to) && to.matches('/').count() == 2 { "/" } else { "" };
        return Some((path.to_owned(), format!("{to}{slash}")));
    };
    if !is_url(base) && !base.starts_with('/') {
        return None;
    }
    let from = if path == "*" { "/*" } else { path };
    match from.split_once('*') {
        Some((before, "")) => Some((from.to_owned(), format!("{base}{before}$1"))),
        Some(_) => None,
        None => Some((from.to_owned(), format!("{base}{from}"))),
    }
}

fn redir(
    directive: &Directive,
    paths: &[String],
    (to, code): (&str, Option<&&str>),
    site: &mut Site,
    import: &mut Import,
) {
    let status = match code.copied() {
        None | Some("temporary") => Some(302),
        Some("permanent") => Some(301),
        Some(code) => code.parse().ok().filter(|code| [301, 302, 303, 307, 308].contains(code)),
    };
    let made: Option<Vec<_>> = paths.iter().map(|path| target(to, path)).collect();
    match (made, status) {
        (Some(made), Some(status)) => {
            site.redirect.extend(made.into_iter().map(|(from, to)| (from, to, status)));
        }
        _ => {
            import.leave_out(directive, "only {uri} and {path} at the end, and a redirect's status")
        }
    }
}

fn respond(
    directive: &Directive,
    paths: &[String],
    args: &[&str],
    site: &mut Site,
    import: &mut Import,
) {
    let (text, status) = match args {
        [status] if status.parse::<u16>().is_ok() => (None, *status),
        [text] => (Some(*text), "200"),
        [text, status] => (Some(*text), *status),
        _ => return import.leave_out(directive, "wants a status, a text, or both"),
    };
    let needs_more = [206, 401, 405, 407, 416, 421, 426];
    let status = status.parse::<u16>().ok().filter(|status| {
        (200..600).contains(status) && !(300..400).contains(status) && !needs_more.contains(status)
    });
    let Some(status) = status else {
        return import.leave_out(directive, "is no status that a rule of ours can give");
    };
    if text.is_some_and(|text| !text.is_empty()) {
        import.leave_out(directive, "the status is taken, the text is not");
    }
    site.answer.extend(paths.iter().map(|path| (path.clone(), status)));
}

/// `basic_auth [bcrypt [REALM]] { NAME HASH }`: its hashes are bcrypt's, as ours are.
fn basic_auth(
    directive: &Directive,
    paths: &[String],
    args: &[&str],
    site: &mut Site,
    import: &mut Import,
) {
    let realm = match args {
        [] | ["bcrypt"] => "restricted",
        ["bcrypt", realm] => realm,
        _ => return import.leave_out(directive, "hashes are those of bcrypt"),
    };
    let mut users = Vec::new();
    for user in directive.inner() {
        match user.words.as_slice() {
            [name, hash] => users.push((name.clone(), hash.clone())),
            _ => import.leave_out(user, "wants a name and a hash"),
        }
    }
    let who = format!("users = {}", table(&users));
    let rules = paths.iter().map(|path| (path.clone(), realm.to_owned(), who.clone()));
    site.auth.extend(rules.filter(|_| !users.is_empty()));
}

fn header(
    directive: &Directive,
    paths: &[String],
    args: &[&str],
    site: &mut Site,
    import: &mut Import,
) {
    let [name, value] = args else {
        return import.leave_out(directive, "fields are set, not taken away or changed");
    };
    let name = name.trim_start_matches(['+', '?', '>']).to_lowercase();
    let is_text = !value.contains(['{', '}']) && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match name.as_str() {
        _ if !is_text || !is_name => import.leave_out(directive, "values of fields are fixed text"),
        "cache-control" => {
            site.cache.extend(paths.iter().map(|path| (path.clone(), (*value).to_owned())));
        }
        "strict-transport-security" => set(directive, "tls.hsts", value, import),
        _ if paths != ["*"] => import.leave_out(directive, "fields are those of a whole site"),
        _ if site.headers.iter().any(|(other, _)| *other == name) => {
            import.leave_out(directive, "a site has each field once");
        }
        "alt-svc" => {}
        "content-type" | "etag" | "expires" | "last-modified" | "location" | "server" | "vary" => {
            import.leave_out(directive, "ringway makes this field itself");
        }
        _ => site.headers.push((name, (*value).to_owned())),
    }
}

fn tls(directive: &Directive, site: &mut Site, import: &mut Import) {
    match directive.args().as_slice() {
        [cert, key] => site.certificate = Some(((*cert).to_owned(), (*key).to_owned())),
        ["internal"] if directive.inner().is_empty() => {}
        _ => import.leave_out(directive, "certificates come from files: `tls CERT KEY`"),
    }
}

fn encode(directive: &Directive, site: &mut Site, import: &mut Import) {
    if !has("compress") {
        let why = "only files that are compressed already are sent so: `ringway precompress DIR`";
        return import.leave_out(directive, why);
    }
    let mut named: Vec<String> = directive.args().iter().map(|each| (*each).to_owned()).collect();
    named.extend(directive.inner().iter().map(|each| each.name().to_owned()));
    if named.is_empty() {
        named.extend(["zstd".to_owned(), "gzip".to_owned()]);
    }
    for coding in named {
        match coding.as_str() {
            "gzip" => site.compress.push("gzip"),
            "zstd" => site.compress.push("zstd"),
            "br" => site.compress.push("br"),
            "minimum_length" | "match" => {}
            _ => import.leave_out(directive, "codings are br, zstd and gzip"),
        }
    }
}

/// `handle_errors [STATUS...] { rewrite * /page.html … }`.
fn errors(directive: &Directive, site: &mut Site, import: &mut Import) {
    let page = directive.inner().iter().find(|each| each.name() == "rewrite");
    let page = page.and_then(|each| each.words.last()?.strip_prefix('/'));
    let is_known = directive
        .inner()
        .iter()
        .all(|each| matches!(each.name(), "rewrite" | "file_server" | "root"));
    let statuses = match directive.args().as_slice() {
        [] => vec!["4xx", "5xx"],
        statuses => statuses.to_vec(),
    };
    let is_status = |text: &&str| {
        matches!(*text, "4xx" | "5xx") || text.parse::<u16>().is_ok_and(|s| (400..600).contains(&s))
    };
    match page.filter(|page| is_known && is_file(page) && !page.contains('{')) {
        Some(page) if statuses.iter().all(is_status) => {
            for status in statuses {
                site.errors.retain(|(other, _)| other != status);
                site.errors.push((status.to_owned(), page.to_owned()));
            }
        }
        _ => import.leave_out(directive, "an error has one file: `errors` of the site"),
    }
}

fn body(directive: &Directive, site: &mut Site, import: &mut Import) {
    for option in directive.inner() {
        let size = option.first().trim_end_matches('B');
        let (digits, unit) =
            size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
        let unit = match unit {
            "" => "B".to_owned(),
            "K" | "k" => "kB".to_owned(),
            "M" | "G" | "Ki" | "Mi" | "Gi" => format!("{unit}B"),
            _ => String::new(),
        };
        match (option.name(), digits.parse::<u64>()) {
            ("max_size", Ok(_)) if !unit.is_empty() && has("body_bytes") => {
                site.body = Some(format!("{digits}{unit}"));
            }
            ("max_size", Ok(_)) if !unit.is_empty() => {
                set(option, "limits.body_bytes", &format!("{digits}{unit}"), import);
            }
            _ => import.leave_out(option, "not known here, or without a counterpart"),
        }
    }
}

fn log(directive: &Directive, import: &mut Import) {
    let mut format = "json";
    for option in directive.inner() {
        match (option.name(), option.args().as_slice()) {
            ("output", ["file", file]) => set(option, "log.file", file, import),
            ("output", ["stdout"]) => {}
            ("output", ["stderr"]) => import.leave_out(option, "the log goes to standard output"),
            ("format", ["json", ..]) => {}
            ("format", ["console", ..]) => format = "combined",
            ("level", ["INFO"]) => {}
            _ => import.leave_out(option, "not known here, or without a counterpart"),
        }
        for inner in option.inner().iter().filter(|_| option.name() == "output") {
            import.leave_out(inner, "logs are rotated by others; USR1 opens the file again");
        }
    }
    set(directive, "log.format", format, import);
}
