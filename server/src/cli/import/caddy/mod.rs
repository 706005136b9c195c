//! A Caddyfile, as far as ringway can say the same.

mod rules;
mod words;

pub(super) use words::GRAMMAR;

use super::directive::Directive;
use super::site::{Import, Site, has, quote};
use rules::Scope;
use std::collections::HashMap;

/// Snippets within snippets, and what all of them may become: imports multiply.
const SNIPPETS_MAX: usize = 8;
const DIRECTIVES_MAX: usize = 10_000;
const WORD_MAX: usize = 1024;

/// The beginning of a word that is too long.
fn shortened(word: &str) -> &str {
    let most = word.len().min(WORD_MAX);
    let len = (0..=most).rev().find(|at| word.is_char_boundary(*at)).unwrap_or(0);
    &word[..len]
}
const ARGS_MAX: usize = 16;

/// Global options that ask for what ringway does anyway.
const NEEDLESS: &[&str] = &["admin", "persist_config", "order", "grace_period", "servers", "debug"];

type Snippets<'a> = HashMap<&'a str, &'a [Directive]>;

/// A configuration of ringway's from the blocks of a Caddyfile.
pub(super) fn convert(directives: &[Directive]) -> Import {
    let mut import = Import::default();
    let bare;
    let directives = match bare_site(directives) {
        Some(site) => {
            bare = [site];
            &bare
        }
        None => directives,
    };
    let mut snippets = Snippets::new();
    let mut budget = DIRECTIVES_MAX;
    for directive in directives {
        match directive.name() {
            "" => global(directive, &mut import),
            name if name.starts_with('(') && name.ends_with(')') => {
                snippets.insert(&name[1..name.len() - 1], directive.inner());
            }
            _ => {
                let inner = expand(directive.inner(), &snippets, 0, &mut budget, &mut import);
                let block = Some(inner);
                site(&Directive { block, ..directive.clone() }, &mut import);
            }
        }
    }
    import
}

/// A file may be one site without braces: its first line names the addresses.
fn bare_site(directives: &[Directive]) -> Option<Directive> {
    let (first, rest) = directives.split_first()?;
    let is_address = |directive: &Directive| {
        let name = directive.name().trim_end_matches(',');
        name.contains(['.', ':']) || name == "localhost"
    };
    let is_bare = first.block.is_none() && is_address(first);
    is_bare.then(|| Directive { block: Some(rest.to_vec()), ..first.clone() })
}

fn global(directive: &Directive, import: &mut Import) {
    for option in directive.inner() {
        match option.name() {
            name if NEEDLESS.contains(&name) => {}
            "email" | "acme_ca" | "acme_dns" | "local_certs" | "auto_https" => {
                import.leave_out(option, "certificates come from files: `certificate` of a site");
            }
            _ => import.leave_out(option, "not known here, or without a counterpart"),
        }
    }
}

/// Puts the content of snippets where they are imported.
fn expand(
    directives: &[Directive],
    snippets: &Snippets<'_>,
    depth: usize,
    budget: &mut usize,
    import: &mut Import,
) -> Vec<Directive> {
    let mut out = Vec::new();
    for directive in directives {
        let Some(left) = budget.checked_sub(1) else {
            import.leave_out(directive, "snippets make too much of it");
            break;
        };
        *budget = left;
        let snippet = snippets.get(directive.first()).filter(|_| directive.name() == "import");
        match snippet {
            Some(snippet) if depth < SNIPPETS_MAX => {
                let args: Vec<&str> = directive.args().split_off(1);
                let filled: Vec<_> = snippet.iter().map(|each| fill(each, &args)).collect();
                out.extend(expand(&filled, snippets, depth + 1, budget, import));
            }
            Some(_) => import.leave_out(directive, "snippets import each other too deeply"),
            None => {
                let inner = directive.block.as_ref();
                let block = inner.map(|inner| expand(inner, snippets, depth, budget, import));
                out.push(Directive { block, ..directive.clone() });
            }
        }
    }
    out
}

/// A snippet's directive with the arguments of its import.
fn fill(directive: &Directive, args: &[&str]) -> Directive {
    let cut = |word: &mut String| word.truncate(shortened(word).len());
    let fill_word = |word: &String| {
        let mut word = word.clone();
        for (at, arg) in args.iter().enumerate().take(ARGS_MAX) {
            // Arguments may hold what stands for others, and so grow.
            cut(&mut word);
            let arg = shortened(arg);
            word = word.replace(&format!("{{args[{at}]}}"), arg);
            word = word.replace(&format!("{{args.{at}}}"), arg);
        }
        word
    };
    Directive {
        words: directive.words.iter().map(fill_word).collect(),
        block: directive
            .block
            .as_ref()
            .map(|inner| inner.iter().map(|each| fill(each, args)).collect()),
        place: directive.place.clone(),
    }
}

fn site(directive: &Directive, import: &mut Import) {
    let mut site = Site { place: Some(directive.place.clone()), ..Site::default() };
    let (mut is_tls, mut is_cleartext, mut is_other) = (false, false, false);
    for address in directive.words.iter().flat_map(|word| word.split(',')).filter(|a| !a.is_empty())
    {
        let Some(Address { tls, host, port }) = Address::of(address) else {
            import.leave_out(
                directive,
                &format!("{} is no address of a site here", super::directive::one_line(address)),
            );
            continue;
        };
        let list = if tls { &mut import.https } else { &mut import.http };
        let listen = format!(":{port}");
        if !list.contains(&listen) {
            list.push(listen.clone());
        }
        if !site.listens.contains(&listen) {
            site.listens.push(listen);
        }
        (is_tls, is_cleartext) = (is_tls | tls, is_cleartext | !tls);
        match host {
            Some(host) if !site.hosts.contains(&host) => site.hosts.push(host),
            Some(_) => {}
            None => is_other = true,
        }
    }
    if !is_tls && !is_cleartext {
        return;
    }
    // Caddy sends http to https by itself.
    if is_tls && !import.http.contains(&":80".to_owned()) {
        import.http.push(":80".to_owned());
    }
    if is_other {
        site.hosts.clear();
    }
    let mut scope = Scope::default();
    scope.matchers(directive.inner());
    rules::take(directive.inner(), &scope, &mut site, import);
    rules::order(&mut site);
    site.cleartext = Some(if is_tls && !is_cleartext { "redirect" } else { "serve" });
    if is_tls && site.certificate.is_none() && !has("acme") && !rules::is_local(&site.hosts) {
        let why = "Caddy gets its certificate by itself: name one in `certificate`, or in [tls]";
        import.leave_out(directive, why);
    }
    let is_double = |other: &Site| {
        other.hosts.is_empty() == site.hosts.is_empty()
            && (site.hosts.is_empty() || other.hosts.iter().any(|host| site.hosts.contains(host)))
    };
    if import.sites.iter().any(is_double) {
        return import.leave_out(directive, "its hosts have a site already");
    }
    import.sites.push(site);
}

/// An address of a site.
struct Address {
    tls: bool,
    /// None for all.
    host: Option<String>,
    port: u16,
}

impl Address {
    fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse::<u16>().ok()?)),
            _ => (rest, None),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.*[]:_".contains(&byte);
        if !host.bytes().all(is_host) {
            return None;
        }
        // A port alone is cleartext unless it is 443.
        let tls = match (scheme, port) {
            (Some(scheme), _) => scheme == "https",
            (None, Some(443)) => true,
            (None, Some(80)) => false,
            (None, _) => !host.is_empty(),
        };
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let host =
            Some(host.trim_matches(['[', ']']).to_lowercase()).filter(|host| !host.is_empty());
        Some(Self { tls, host, port })
    }
}

/// Sets a key of the whole server.
fn set(directive: &Directive, key: &'static str, value: &str, import: &mut Import) {
    if !import.set(key, quote(value)) {
        import.leave_out(directive, &format!("`{key}` is one for all sites, and set already"));
    }
}
