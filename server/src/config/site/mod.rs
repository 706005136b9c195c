//! `[[site]]`: which hosts a site answers for, from which directory, and by which rules. What the
//! keys of the block are stands in [`SITE_KEYS`]; what their values may hold, in the modules below.

mod answer;
mod auth;
mod compress;
mod fields;
mod host;
mod network;
mod pattern;

pub use answer::{AnswerRule, CacheRule, ErrorPage, RedirectRule, RewriteRule};
pub use auth::{AuthRule, ClientCertificate, PasswordHash, RateRule};
pub use compress::{CompressConfig, ContentCoding};
pub use fields::{Preset, SiteFields};
pub use host::HostPattern;
pub use network::{AccessRule, Network};
pub use pattern::{LoggedPath, PathPattern, RootedPath, Target};

use super::block::{Block, CertificateConfig, ContentTypes, inline};
use super::value::{self, Typed, Written, Wrong, name_of, quote};
use std::path::PathBuf;

/// `[[site]]`: the files of a directory, for some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteConfig {
    /// The hosts it answers for; none makes it the default site.
    pub hosts: Vec<HostPattern>,
    /// The directory that is served.
    pub root: PathBuf,
    /// The certificate for its hosts, where those of `[tls]` do not cover them.
    pub certificate: Option<CertificateConfig>,
    /// What requests without TLS get.
    pub cleartext: Option<Cleartext>,
    /// The file that stands for its directory.
    pub index: Option<RootedPath>,
    /// Whether a directory without an index file is listed.
    pub browse: bool,
    /// Whether `Expires` says what `max-age` says.
    pub expires: bool,
    /// Whether the compressed files beside the plain ones are sent.
    pub precompressed: bool,
    /// What is compressed on the way.
    pub compress: Option<CompressConfig>,
    /// Content types by extension, before those that are built in.
    pub types: ContentTypes,
    /// Extensions that a path may leave out.
    pub extensions: Vec<Extension>,
    /// The file for paths that name none and have no extension.
    pub fallback: Option<RootedPath>,
    /// Who may ask, by address.
    pub access: Vec<AccessRule>,
    /// How often.
    pub rate: Vec<RateRule>,
    /// Who may ask, by certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// Who may ask, by name and password.
    pub auth: Vec<AuthRule>,
    /// The largest body that a request may have.
    pub body_bytes: Option<u64>,
    /// Files that are the bodies of errors.
    pub errors: Vec<ErrorPage>,
    /// Named sets of fields.
    pub preset: Vec<Preset>,
    /// Fields of every answer.
    pub headers: SiteFields,
    /// The `Cache-Control` of files.
    pub cache: Vec<CacheRule>,
    /// Paths that are elsewhere.
    pub redirect: Vec<RedirectRule>,
    /// Paths that are answered with the file of another.
    pub rewrite: Vec<RewriteRule>,
    /// Paths that are answered with a status.
    pub answer: Vec<AnswerRule>,
}

/// What a request without TLS gets from a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleartext {
    /// 308 to the same with `https` (RFC 9110 section 15.4.9).
    Redirect,
    /// The site.
    Serve,
    /// 421.
    Misdirected,
}

/// What a request for a host gets that no site answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownHost {
    /// 421 (RFC 9110 section 15.5.20).
    #[default]
    Misdirected,
    /// 404.
    NotFound,
    /// No answer: the connection is closed, or over HTTP/2 and HTTP/3 the stream.
    Close,
}

/// An extension without its dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension(pub String);

/// The keys of `[[site]]`, and what they mean.
pub const SITE_KEYS: &[(&str, &str)] = &[
    ("hosts", "names that it answers for, also \"*.example.com\" (one label); none: all others"),
    ("root", "the directory that is served"),
    ("certificate", "{ cert, key, ocsp } for its hosts; else the one of [tls] that covers them"),
    (
        "cleartext",
        "what http:// gets: \"redirect\" (308), \"serve\" or \"421\"; \"redirect\" unless set, where \
         https is listened for and a certificate covers all of its hosts, else \"serve\"",
    ),
    ("index", "the file that stands for its directory; \"index.html\" unless set"),
    ("browse", "list directories that have no index file"),
    ("expires", "say in Expires what max-age says"),
    (
        "compress",
        "{ codings = [\"br\", \"zstd\", \"gzip\"], min = \"1KiB\" }: compress text on the way, once; the first \
         client gets it as it is; not unless set",
    ),
    ("precompressed", "send the .br, .zst and .gz files beside the plain ones; true unless set"),
    ("types", "{ extension = \"type/subtype\" }: content types of files"),
    ("extensions", "extensions that a path may leave out: [\"html\"] answers /a with a.html"),
    ("fallback", "the file for what is not there, unless the last part of the path has a dot"),
    (
        "access",
        "[{ path, allow }] and [{ path, deny }]: lists of addresses such as \"10.0.0.0/8\", or \"all\"; \
         the first rule that matches, 403 where it denies",
    ),
    (
        "rate",
        "[{ path, requests, per, field }]: so many requests in that time from an address (IPv6: a \
         /64), or with the same value of a field; more are 429",
    ),
    (
        "auth",
        "[{ path, realm, users, file }]: names and passwords, { name = \"hash\" } or a file of lines \
         name:hash; `ringway hash-password` makes hashes; the first rule that matches",
    ),
    (
        "client_certificate",
        "{ ca, paths }: clients have to show a certificate of one of these authorities, PEM, or the \
         handshake fails; with `paths` only requests for them have to, and get 403",
    ),
    ("body_bytes", "bytes of a request's body; more is 413"),
    ("errors", "{ \"404\" = \"404.html\", \"5xx\" = \"sorry.html\" }: bodies; the status stays"),
    ("preset", "named sets of fields: \"secure\", \"cors\", \"isolated\""),
    ("headers", "{ name = \"value\" }: fields of every answer; \"\" takes a preset's away"),
    ("cache", "[{ path, value }]: the Cache-Control of files; the first that matches"),
    ("redirect", "[{ from, to, status }]: 301, 302, 303, 307 or 308 (unless set)"),
    ("rewrite", "[{ from, to }]: the file at another path answers; once"),
    ("answer", "[{ path, status }]: a status instead of a file"),
];

const CLEARTEXT: &[(&str, Cleartext)] = &[
    ("redirect", Cleartext::Redirect),
    ("serve", Cleartext::Serve),
    ("421", Cleartext::Misdirected),
];
const UNKNOWN_HOST: &[(&str, UnknownHost)] = &[
    ("421", UnknownHost::Misdirected),
    ("404", UnknownHost::NotFound),
    ("close", UnknownHost::Close),
];

impl SiteConfig {
    /// What a person calls it: its first host.
    pub fn name(&self) -> &str {
        self.hosts.first().map_or("all other hosts", |host| &host.0)
    }

    /// How many rules it has, and the key that has most of them.
    pub(super) fn rules(&self) -> (&'static str, usize) {
        let counts = [
            ("answer", self.answer.len()),
            ("redirect", self.redirect.len()),
            ("rewrite", self.rewrite.len()),
            ("cache", self.cache.len()),
            ("access", self.access.len()),
            ("rate", self.rate.len()),
            ("auth", self.auth.len()),
            ("errors", self.errors.len()),
            ("headers", self.headers.0.len()),
        ];
        let most = counts.iter().max_by_key(|(_, count)| *count);
        (most.map_or("", |(key, _)| *key), counts.iter().map(|(_, count)| count).sum())
    }
}

impl Typed for SiteConfig {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let keys: Vec<&str> = SITE_KEYS.iter().map(|(key, _)| *key).collect();
        let block = Block::of(written, &keys)?;
        Ok(Self {
            hosts: block.maybe("hosts")?.unwrap_or_default(),
            root: block.need("root")?,
            certificate: block.maybe("certificate")?,
            cleartext: block.maybe("cleartext")?,
            index: block.maybe("index")?,
            browse: block.maybe("browse")?.unwrap_or(false),
            expires: block.maybe("expires")?.unwrap_or(false),
            precompressed: block.maybe("precompressed")?.unwrap_or(true),
            compress: block.maybe("compress")?,
            types: block.maybe("types")?.unwrap_or_default(),
            extensions: block.maybe("extensions")?.unwrap_or_default(),
            fallback: block.maybe("fallback")?,
            access: block.maybe("access")?.unwrap_or_default(),
            rate: block.maybe("rate")?.unwrap_or_default(),
            client_certificate: block.maybe("client_certificate")?,
            auth: block.maybe("auth")?.unwrap_or_default(),
            body_bytes: block.maybe("body_bytes")?.map(|auth::Bytes(bytes)| bytes),
            errors: block
                .maybe("errors")?
                .map(|pages: answer::ErrorPages| pages.0)
                .unwrap_or_default(),
            preset: block.maybe("preset")?.unwrap_or_default(),
            headers: block.maybe("headers")?.unwrap_or_default(),
            cache: block.maybe("cache")?.unwrap_or_default(),
            redirect: block.maybe("redirect")?.unwrap_or_default(),
            rewrite: block.maybe("rewrite")?.unwrap_or_default(),
            answer: block.maybe("answer")?.unwrap_or_default(),
        })
    }

    fn show(&self) -> String {
        inline(&[
            ("hosts", list(&self.hosts)),
            ("root", self.root.show()),
            ("certificate", self.certificate.show()),
            ("cleartext", self.cleartext.show()),
            ("index", self.index.show()),
            ("browse", unless(self.browse, false)),
            ("expires", unless(self.expires, false)),
            ("precompressed", unless(self.precompressed, true)),
            ("compress", self.compress.show()),
            ("types", self.types.show()),
            ("extensions", list(&self.extensions)),
            ("fallback", self.fallback.show()),
            ("access", list(&self.access)),
            ("rate", list(&self.rate)),
            ("client_certificate", self.client_certificate.show()),
            ("auth", list(&self.auth)),
            ("body_bytes", self.body_bytes.map(auth::Bytes).show()),
            ("errors", answer::show_pages(&self.errors)),
            ("preset", list(&self.preset)),
            ("headers", self.headers.show()),
            ("cache", list(&self.cache)),
            ("redirect", list(&self.redirect)),
            ("rewrite", list(&self.rewrite)),
            ("answer", list(&self.answer)),
        ])
    }
}

/// A list as a file has it, nothing for an empty one.
fn list<T: Typed>(items: &[T]) -> String {
    let shown: Vec<_> = items.iter().map(T::show).collect();
    if shown.is_empty() { String::new() } else { format!("[{}]", shown.join(", ")) }
}

fn unless(value: bool, usual: bool) -> String {
    if value == usual { String::new() } else { value.show() }
}

impl Typed for Cleartext {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        value::word(written, CLEARTEXT)
    }

    fn show(&self) -> String {
        quote(name_of(CLEARTEXT, *self))
    }
}

impl Typed for UnknownHost {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        value::word(written, UNKNOWN_HOST)
    }

    fn show(&self) -> String {
        quote(name_of(UNKNOWN_HOST, *self))
    }

    fn choices() -> Vec<&'static str> {
        UNKNOWN_HOST.iter().map(|(name, _)| *name).collect()
    }
}

impl Typed for Extension {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("an extension like \"html\"")?;
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte);
        let bare = text.trim_start_matches('.');
        if !bare.is_empty() && bare == text && text.bytes().all(is_of_name) {
            return Ok(Self(text.to_owned()));
        }
        let wrong = Wrong::new(format!("expected an extension like \"html\", found \"{text}\""));
        let is_near = !bare.is_empty() && bare.bytes().all(is_of_name);
        Err(if is_near { wrong.meant(quote(bare)) } else { wrong })
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}
