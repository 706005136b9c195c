//! The rules of a site by path. They see the decoded path that names the file, so that no other
//! spelling slips past them; what they make of it is encoded anew, or checked as a request's is.

use std::borrow::Cow;

use http::StatusCode;
use ringway_codec::path::push_escaped;

pub(super) use super::super::path::escape;
use super::super::path::{self, BadPath};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::config::{AnswerRule, RedirectRule, RewriteRule, SiteConfig, Target};

/// The rules of one site.
pub(super) struct Rules {
    answers: Vec<AnswerRule>,
    redirects: Vec<RedirectRule>,
    rewrites: Vec<RewriteRule>,
}

/// What the rules make of a request.
pub(super) enum Verdict {
    /// Its path names the file.
    File,
    /// This path below the root, decoded, names the file.
    Rewritten(Vec<u8>),
    /// No file answers.
    Answer(Response),
}

impl Rules {
    /// None where there are none.
    pub(super) fn new(site: &SiteConfig) -> Option<Self> {
        let this = Self {
            answers: site.answer.clone(),
            redirects: site.redirect.clone(),
            rewrites: site.rewrite.clone(),
        };
        let is_empty =
            this.answers.is_empty() && this.redirects.is_empty() && this.rewrites.is_empty();
        (!is_empty).then_some(this)
    }

    pub(super) fn judge(&self, request: &Request<'_>) -> Verdict {
        let raw = request.path().as_bytes();
        if !raw.starts_with(b"/") {
            return Verdict::File;
        }
        let path = match decoded(raw) {
            Ok(path) => path,
            // The file service refuses it as well.
            Err(_) => return Verdict::File,
        };
        for rule in &self.answers {
            if rule.path.capture(&path).is_some() {
                return Verdict::Answer(rule.status.into());
            }
        }
        for rule in &self.redirects {
            if let Some(captured) = rule.from.capture(&path) {
                return Verdict::Answer(redirect(rule, captured, request));
            }
        }
        for rule in &self.rewrites {
            if let Some(captured) = rule.from.capture(&path) {
                return match rewrite(&rule.to, captured) {
                    Ok(path) => Verdict::Rewritten(path),
                    Err(status) => Verdict::Answer(status.into()),
                };
            }
        }
        Verdict::File
    }
}

/// A request's path as it names its file, from its `/` on.
pub(super) fn decoded(raw: &[u8]) -> Result<Cow<'_, [u8]>, BadPath> {
    let doubtful = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.'] | [_, b'%' | b'\\']);
    if !raw.windows(2).any(doubtful) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut path = vec![b'/'];
    path::relative(&raw[1..], &mut path)?;
    Ok(Cow::Owned(path))
}

fn redirect(rule: &RedirectRule, captured: &[u8], request: &Request<'_>) -> Response {
    let mut to = Vec::new();
    for (at, part) in rule.to.parts().enumerate() {
        if at > 0 {
            escape_path(captured, &mut to);
        }
        escape(part.as_bytes(), b"/?#[]", &mut to);
    }
    // A browser would take it for another host.
    if to.starts_with(b"//") {
        return StatusCode::BAD_REQUEST.into();
    }
    if !to.contains(&b'?') && !to.contains(&b'#') {
        push_query(request, &mut to);
    }
    let mut response = Response::from(rule.status);
    response.fields.push(b"location", &to);
    response
}

/// The path below the root that a rule makes: one that a request could have named.
fn rewrite(to: &Target, captured: &[u8]) -> Result<Vec<u8>, StatusCode> {
    let mut whole = Vec::new();
    for (at, part) in to.parts().enumerate() {
        if at > 0 {
            whole.extend_from_slice(captured);
        }
        whole.extend_from_slice(part.as_bytes());
    }
    let whole = ringway_codec::path::merged(&whole).unwrap_or(whole);
    let below = whole.strip_prefix(b"/").unwrap_or(&whole);
    match path::segments(below) {
        Ok(()) => Ok(below.to_vec()),
        Err(BadPath::Malformed) => Err(StatusCode::BAD_REQUEST),
        Err(BadPath::NotServed) => Err(StatusCode::NOT_FOUND),
    }
}

/// Adds the query that came.
pub(super) fn push_query(request: &Request<'_>, out: &mut Vec<u8>) {
    if let Some(query) = request.query_string() {
        out.push(b'?');
        escape(query.as_bytes(), b"/?", out);
    }
}

/// Encodes a decoded path: a percent sign is data here.
fn escape_path(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        match byte {
            b'%' => push_escaped(byte, out),
            _ => escape(&[byte], b"/", out),
        }
    }
}
