//! `return`, `rewrite`, `try_files`, `error_page`, `expires`, `add_header`: rules by path.

use super::super::directive::Directive;
use super::super::site::{Import, Site};
use super::seconds;

/// What follows a path that is the whole of what was asked for.
const WHOLE_URI: &[&str] = &["$request_uri", "$uri", "$uri$is_args$args"];

/// Whether `return` sends to the same with https.
pub(super) fn is_to_https(directive: &Directive) -> bool {
    let args = directive.args();
    let url = match args.as_slice() {
        [status, url] if redirect_status(status).is_some() => url,
        [url] => url,
        _ => return false,
    };
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let hosts = ["$host", "$server_name", "$http_host", "${host}"];
    hosts.iter().any(|host| rest.strip_prefix(host).is_some_and(|rest| WHOLE_URI.contains(&rest)))
}

fn redirect_status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| [301, 302, 303, 307, 308].contains(status))
}

/// `return STATUS [TEXT|URL]` or `return URL`, for the paths of a pattern.
pub(super) fn answer(directive: &Directive, path: &str, site: &mut Site, import: &mut Import) {
    let args = directive.args();
    let (status, target) = match args.as_slice() {
        [url] if url.contains("://") => ("302", Some(*url)),
        [status] => (*status, None),
        [status, target] => (*status, Some(*target)),
        _ => return import.leave_out(directive, "wants a status, a URL, or both"),
    };
    if let (Some(status), Some(target)) = (redirect_status(status), target) {
        return match to(target, path) {
            Some((from, to)) => site.redirect.push((from, to, status)),
            None => import.leave_out(directive, "only $request_uri and $uri at the end are known"),
        };
    }
    match status.parse::<u16>() {
        Ok(status) if can_answer(status) => {
            if target.is_some_and(|text| !text.is_empty()) {
                import.leave_out(directive, "the status is taken, the text is not");
            }
            site.answer.push((path.to_owned(), status));
        }
        _ => import.leave_out(directive, "is no status that a rule of ours can give"),
    }
}

/// Whether `answer` takes the status: those that need fields are refused.
fn can_answer(status: u16) -> bool {
    let needs_more = [206, 401, 405, 407, 416, 421, 426];
    (200..600).contains(&status) && !(300..400).contains(&status) && !needs_more.contains(&status)
}

/// The pattern and the target of a redirect of the paths of `path`.
fn to(target: &str, path: &str) -> Option<(String, String)> {
    let (base, is_whole) = match WHOLE_URI.iter().find_map(|uri| target.strip_suffix(uri)) {
        Some(base) => (base, true),
        None => (target, false),
    };
    if base.contains('$') || base.starts_with("//") {
        return None;
    }
    let is_url = base.starts_with("https://") || base.starts_with("http://");
    if !is_url && !base.starts_with('/') && !is_whole {
        return None;
    }
    if !is_whole {
        let needs_slash = is_url && base.matches('/').count() == 2;
        let slash = if needs_slash { "/" } else { "" };
        return Some((path.to_owned(), format!("{base}{slash}")));
    }
    // What the `*` stands for is the rest of the path.
    let from = if path == "*" { "/*".to_owned() } else { path.to_owned() };
    let (before, rest) = match from.split_once('*') {
        Some((before, "")) => (before.to_owned(), "$1"),
        Some(_) => return None,
        None => (from.clone(), ""),
    };
    is_url.then(|| (from, format!("{base}{before}{rest}")))
}

/// `rewrite REGEX REPLACEMENT [FLAG]`, where the expression is a path, or the beginning of one.
pub(super) fn rewrite(directive: &Directive, site: &mut Site, import: &mut Import) {
    let args = directive.args();
    let (regex, to, flag) = match args.as_slice() {
        [regex, to] => (*regex, *to, ""),
        [regex, to, flag] => (*regex, *to, *flag),
        _ => return import.leave_out(directive, "wants an expression and a replacement"),
    };
    let Some((from, has_group)) = pattern(regex) else {
        return import.leave_out(directive, "only a path or `^/beginning/(.*)$` is known");
    };
    let target = to.replace("$1", "\u{1}");
    let is_known = !target.contains(['$', '?']) && (has_group || !target.contains('\u{1}'));
    let is_url = to.starts_with("http://") || to.starts_with("https://");
    if !is_known || to.starts_with("//") || !(is_url || to.starts_with('/')) {
        return import.leave_out(directive, "the replacement may have $1 and nothing else");
    }
    // `^(.*)$` has the slash in its group.
    let to =
        if regex.starts_with("^(.*)") && is_url { to.replace("$1", "/$1") } else { to.to_owned() };
    match flag {
        "permanent" => site.redirect.push((from, to, 301)),
        "redirect" => site.redirect.push((from, to, 302)),
        _ if is_url => site.redirect.push((from, to, 302)),
        _ => site.rewrite.push((from, to)),
    }
}

/// The pattern that a regular expression is, and whether its `*` is `$1`.
pub(super) fn pattern(regex: &str) -> Option<(String, bool)> {
    let rest = regex.strip_prefix('^')?;
    let (rest, is_whole) = match rest.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if rest == "(.*)" {
        return Some(("/*".to_owned(), true));
    }
    let (mut out, mut groups, mut stars) = (String::new(), 0, 0);
    let mut rest = rest;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("(.*)") {
            (groups, stars, rest) = (groups + 1, stars + 1, after);
            out.push('*');
        } else if let Some(after) = rest.strip_prefix(".*") {
            (stars, rest) = (stars + 1, after);
            out.push('*');
        } else if let Some(after) = rest.strip_prefix("\\.") {
            rest = after;
            out.push('.');
        } else if c.is_alphanumeric() || "/-_~,%@".contains(c) {
            rest = &rest[c.len_utf8()..];
            out.push(c);
        } else {
            return None;
        }
    }
    if !is_whole && !out.ends_with('*') {
        stars += 1;
        out.push('*');
    }
    (stars <= 1 && out.starts_with('/')).then_some((out, groups == 1))
}

/// `try_files`: extensions, and the file for all else.
pub(super) fn try_files(directive: &Directive, site: &mut Site, import: &mut Import) {
    let args = directive.args();
    let Some((last, tries)) = args.split_last() else { return };
    for each in tries {
        match each.strip_prefix("$uri") {
            Some("" | "/" | "/index.html") => {}
            Some(extension) if extension.starts_with('.') && is_name(&extension[1..]) => {
                site.extensions.push(extension[1..].to_owned());
            }
            _ => import.leave_out(directive, &format!("`{each}` is not $uri, $uri/ or $uri.html")),
        }
    }
    match last.strip_prefix('=') {
        Some("404") => {}
        Some(_) => import.leave_out(directive, "what is not there is 404"),
        None if *last == "$uri" || *last == "$uri/" => {}
        None => match last.strip_prefix('/').filter(|file| is_file(file)) {
            Some(file) if site.fallback.as_deref().is_none_or(|there| there == file) => {
                site.fallback = Some(file.to_owned());
            }
            _ => import
                .leave_out(directive, &format!("`{last}` is no file for all that is not there")),
        },
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte))
}

/// Whether it is a plain path below the root, and none that another program would answer.
pub(crate) fn is_file(text: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !"$?#\\*".contains(c);
    let hidden = |part: &str| part.starts_with('.') || part.is_empty();
    !text.ends_with(".php") && text.chars().all(is_plain) && !text.split('/').any(hidden)
}

/// `error_page STATUS... FILE`.
pub(super) fn error_page(directive: &Directive, site: &mut Site, import: &mut Import) {
    let args = directive.args();
    let Some((page, statuses)) = args.split_last() else { return };
    let Some(file) = page.strip_prefix('/').filter(|file| is_file(file)) else {
        return import.leave_out(directive, "the page has to be a file below the root");
    };
    if statuses == ["500", "502", "503", "504"] {
        return put(&mut site.errors, "5xx", file);
    }
    for status in statuses {
        match status.parse::<u16>() {
            Ok(400..=599) => put(&mut site.errors, status, file),
            _ => import
                .leave_out(directive, &format!("`{status}`: the status stays that of the error")),
        }
    }
}

fn put(pairs: &mut Vec<(String, String)>, name: &str, value: &str) {
    pairs.retain(|(other, _)| other != name);
    pairs.push((name.to_owned(), value.to_owned()));
}

/// The Cache-Control that `expires` makes; nothing where it makes none.
pub(super) fn expires(directive: &Directive, import: &mut Import) -> Option<String> {
    match directive.first() {
        "off" => None,
        "max" => Some("max-age=315360000".to_owned()),
        "epoch" => Some("no-cache".to_owned()),
        time if time.starts_with('-') => Some("no-cache".to_owned()),
        time => {
            let age = seconds(&directive.args().join(" ")).map(|age| format!("max-age={age}"));
            if age.is_none() {
                import.leave_out(
                    directive,
                    &format!("`{}` is no time", super::super::directive::one_line(time)),
                );
            }
            age
        }
    }
}

/// Fields that ringway sends by itself, or by a key of their own.
const OURS: &[(&str, &str)] = &[
    ("alt-svc", ""),
    ("content-type", "`types` of the site"),
    ("etag", "made by ringway"),
    ("expires", "`expires` of the site"),
    ("last-modified", "made by ringway"),
    ("location", "`redirect` of the site"),
    ("vary", "made by ringway"),
];

/// `add_header NAME VALUE`, of a whole site; a Cache-Control is returned.
pub(super) fn add_header(
    directive: &Directive,
    site: &mut Site,
    is_whole: bool,
    import: &mut Import,
) -> Option<String> {
    let (name, value) = (directive.first().to_lowercase(), directive.args().get(1).copied()?);
    if value.contains('$') || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        import.leave_out(directive, "values of fields are fixed text");
        return None;
    }
    if name == "cache-control" {
        return Some(value.to_owned());
    }
    if name == "strict-transport-security" {
        super::set(directive, "tls.hsts", value, import);
        return None;
    }
    match OURS.iter().find(|(ours, _)| *ours == name) {
        Some((_, "")) => {}
        Some((_, why)) => import.leave_out(directive, why),
        _ if !is_whole => import.leave_out(directive, "fields are those of a whole site"),
        _ if name.is_empty() || !name.bytes().all(|b| is_name(&(b as char).to_string())) => {
            import.leave_out(directive, "is no name of a field");
        }
        _ if site.headers.iter().any(|(other, _)| *other == name) => {
            if !site.headers.contains(&(name, value.to_owned())) {
                import.leave_out(directive, "a site has each field once");
            }
        }
        _ => site.headers.push((name, value.to_owned())),
    }
    None
}
