//! `location`: which paths it is for, and the rules of those.

use super::super::directive::Directive;
use super::super::site::{Import, Site, has};
use super::rules;

/// A location with the patterns of its paths.
#[derive(Debug)]
pub(super) struct Location {
    /// Which of several is asked first, as nginx has it.
    rank: (u8, usize),
    pub(super) paths: Vec<String>,
    pub(super) directive: Directive,
}

impl Location {
    /// A location for all paths.
    pub(super) fn whole(directive: Directive) -> Self {
        Self { rank: (3, 0), paths: vec!["*".to_owned()], directive }
    }

    /// Whether it is for all that no other is for.
    pub(super) fn is_root(&self) -> bool {
        self.paths == ["*"]
    }
}

/// The locations among `directives`, inner ones too, in the order in which they are asked.
pub(super) fn all(directives: &[Directive], import: &mut Import) -> Vec<Location> {
    let mut found = Vec::new();
    gather(directives, &mut found, import);
    found.sort_by_key(|location| location.rank);
    found
}

fn gather(directives: &[Directive], found: &mut Vec<Location>, import: &mut Import) {
    for directive in directives.iter().filter(|each| each.name() == "location") {
        gather(directive.inner(), found, import);
        let args = directive.args();
        let (kind, path) = match args.as_slice() {
            [path] => ("", *path),
            [kind, path] => (*kind, *path),
            _ => ("", ""),
        };
        let at = found.len();
        let rank = match kind {
            "=" => (0, 0),
            "^~" => (1, usize::MAX - path.len()),
            "~" | "~*" => (2, at),
            _ => (3, usize::MAX - path.len()),
        };
        let paths = match kind {
            "=" => vec![path.to_owned()],
            "" | "^~" if path == "/" => vec!["*".to_owned()],
            "" | "^~" => vec![format!("{path}*")],
            _ if is_hidden(path) => continue,
            _ => rules_of_regex(path),
        };
        if paths.is_empty() || !paths.iter().all(|path| fits(path)) {
            import.leave_out(
                directive,
                "the paths are no pattern of ours, and what is inside is left out",
            );
            continue;
        }
        found.push(Location { rank, paths, directive: directive.clone() });
    }
}

/// Expressions for files that ringway never serves: `/\.`, `/\.ht`, `/\.(?!well-known)`.
fn is_hidden(regex: &str) -> bool {
    let bare = regex.trim_start_matches('^').trim_start_matches("(^|/)").trim_start_matches('/');
    bare.starts_with("\\.") && regex.contains('/') && !regex.contains("well-known/")
}

/// The patterns of an expression for extensions, `\.(?:css|js)$`, or for a path's beginning.
fn rules_of_regex(regex: &str) -> Vec<String> {
    let extensions = regex
        .strip_prefix("\\.")
        .and_then(|rest| rest.strip_suffix('$'))
        .map(|rest| rest.trim_start_matches("(?:").trim_matches(['(', ')']));
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if let Some(extensions) = extensions {
        let mut names = Vec::new();
        for name in extensions.split('|') {
            // The two that are usually written with an `?`.
            match name {
                "jpe?g" => names.extend(["jpg", "jpeg"]),
                "woff2?" => names.extend(["woff", "woff2"]),
                name => names.push(name),
            }
        }
        let is_all = names.iter().all(is_name);
        return if is_all {
            names.iter().map(|name| format!("/*.{name}")).collect()
        } else {
            Vec::new()
        };
    }
    rules::pattern(regex).map(|(path, _)| path).into_iter().collect()
}

/// Whether it is a pattern that ringway takes.
pub(crate) fn fits(path: &str) -> bool {
    let hidden = |part: &str| part.starts_with('.') && part != ".well-known";
    let is_plain = |c: char| !c.is_control() && !"?#\\%$".contains(c);
    (path == "*" || path.starts_with('/'))
        && path.matches('*').count() <= 1
        && !path.contains("//")
        && path.chars().all(is_plain)
        && !path.split('/').any(hidden)
}

/// Takes over what a location says, but for its Cache-Control, which is returned.
pub(super) fn take(
    location: &Location,
    root: Option<&str>,
    site: &mut Site,
    import: &mut Import,
) -> Cache {
    let mut cache = Cache::default();
    let is_root = location.is_root();
    for directive in location.directive.inner() {
        let is_known = location.paths.iter().all(|path| guard(directive, path, site, import));
        if is_known {
            continue;
        }
        let paths = location.paths.iter();
        match directive.name() {
            "location" => {}
            "expires" => {
                site.expires = true;
                cache.expires = Some(rules::expires(directive, import));
            }
            "add_header" => {
                let value = rules::add_header(directive, site, is_root, import);
                cache.added.extend(value);
            }
            "return" => {
                cache.is_answered = true;
                paths.for_each(|path| rules::answer(directive, path, site, import));
            }
            "rewrite" => rules::rewrite(directive, site, import),
            "access_log" if directive.first() == "off" => except(location, import),
            "try_files" if is_root => rules::try_files(directive, site, import),
            "try_files"
                if directive
                    .args()
                    .iter()
                    .all(|each| matches!(*each, "$uri" | "$uri/" | "=404")) => {}
            "error_page" if is_root => rules::error_page(directive, site, import),
            "root" if is_root && site.root.is_none() => {
                site.root = Some(directive.first().to_owned())
            }
            "root" if root == Some(directive.first()) => {}
            "root" => import.leave_out(directive, "a site has one root"),
            "autoindex" if is_root => site.browse = directive.first() == "on",
            "index" if is_root => super::server::index(directive, site, import),
            "gzip_static" | "brotli_static" | "gzip" if is_root => {
                super::server::coding(directive, site, import);
            }
            "client_max_body_size" if is_root => super::server::body(directive, site, import),
            "autoindex" | "index" | "error_page" | "client_max_body_size" => {
                import.leave_out(directive, "is one for a whole site");
            }
            _ => super::unknown(directive, import),
        }
    }
    cache
}

/// As [`take`], of a server's own directives.
pub(super) fn take_server(server: &Location, site: &mut Site, import: &mut Import) -> Cache {
    let is_its = |name: &str| {
        matches!(
            name,
            "listen" | "server_name" | "location" | "ssl_certificate" | "ssl_certificate_key"
        )
    };
    let (mut inner, mut process) = (Vec::new(), Vec::new());
    for directive in server.directive.inner() {
        match directive.name() {
            name if is_its(name) => {}
            "keepalive_timeout" | "ssl_protocols" => process.push(directive.clone()),
            "access_log" if directive.first() != "off" => process.push(directive.clone()),
            "access_log" => {}
            _ => inner.push(directive.clone()),
        }
    }
    process.iter().for_each(|directive| super::process(directive, import));
    let directive = Directive { block: Some(inner), ..server.directive.clone() };
    take(&Location::whole(directive), None, site, import)
}

/// What makes the Cache-Control of a location.
#[derive(Default)]
pub(super) struct Cache {
    /// Of `expires`; inside, what it makes.
    expires: Option<Option<String>>,
    added: Vec<String>,
    /// No file is sent there.
    pub(super) is_answered: bool,
}

impl Cache {
    /// The value, of which nginx would make several lines; `outer` where it says nothing.
    pub(super) fn value(&self, outer: Option<&str>) -> Option<String> {
        if self.expires.is_none() && self.added.is_empty() {
            return outer.map(str::to_owned);
        }
        let expires = self.expires.iter().flatten().cloned();
        let mut parts: Vec<String> = Vec::new();
        for part in expires.chain(self.added.iter().cloned()) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// What is not logged.
fn except(location: &Location, import: &mut Import) {
    let mut all: Vec<String> =
        match import.settings.iter().position(|(key, _)| *key == "log.except") {
            Some(at) => {
                let there = import.settings.remove(at).1;
                there.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect()
            }
            None => Vec::new(),
        };
    all.extend(location.paths.iter().map(|path| super::quote(path)));
    import.settings.push(("log.except", format!("[{}]", all.join(", "))));
}

/// Who may ask for a path, and how often. False if the directive is another one.
pub(super) fn guard(
    directive: &Directive,
    path: &str,
    site: &mut Site,
    import: &mut Import,
) -> bool {
    let lacks = |key: &str, import: &mut Import| {
        if !has(key) {
            import.leave_out(directive, "a site has no such rules yet");
        }
        !has(key)
    };
    match directive.name() {
        name @ ("allow" | "deny") => {
            if !lacks("access", import) {
                let address = directive.first().to_owned();
                site.access.push((path.to_owned(), name == "allow", address));
            }
        }
        "auth_basic" if directive.first() == "off" => {
            import.leave_out(directive, "a path cannot be taken out of what asks for a password");
        }
        "auth_basic" => {
            if !lacks("auth", import) {
                site.auth.push((path.to_owned(), directive.first().to_owned(), String::new()));
            }
        }
        "auth_basic_user_file" => {
            if !lacks("auth", import) {
                let file = format!("file = {}", super::quote(directive.first()));
                match site.auth.iter_mut().rev().find(|(of, ..)| of == path) {
                    Some((.., who)) => *who = file,
                    None => site.auth.push((path.to_owned(), "restricted".into(), file)),
                }
            }
        }
        "limit_req" => {
            if !lacks("rate", import) {
                super::server::rate(directive, path, site, import);
            }
        }
        _ => return false,
    }
    true
}
