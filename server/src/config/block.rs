//! Values that are tables of their own: `[[hints]]`, `[[push]]`, `[[tls.certificates]]`. Which keys
//! such a table has, and what they may hold, stands here; where it is used stands in `settings`.

use super::suggest::nearest;
use super::value::{Entry, Shape, Typed, Written, Wrong, quote};
use http::HeaderValue;
use ringway_codec::path;
use std::path::PathBuf;

/// `[[tls.certificates]]`: one more certificate, served to the clients that ask for its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// An OCSP response to staple, DER.
    pub ocsp: Option<PathBuf>,
}

/// `[[hints]]`: Link fields sent ahead of a page (RFC 8297) and with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hints {
    /// The path that is asked for.
    pub path: UrlPath,
    /// Values of Link fields.
    pub links: Vec<LinkField>,
}

/// `[[push]]`: what is pushed along with a page over HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The path that is asked for.
    pub path: UrlPath,
    /// The paths that are pushed.
    pub push: Vec<UrlPath>,
}

/// The path of a URL from its `/` on, percent-encoded; kept in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPath(pub String);

/// The value of a Link field (RFC 8288).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkField(pub HeaderValue);

/// The value of Strict-Transport-Security (RFC 6797 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts(pub HeaderValue);

/// A written table whose keys are all known.
pub(super) struct Block<'a, 'b>(&'a [Entry<'b>]);

impl<'a, 'b> Block<'a, 'b> {
    pub(super) fn of(written: &'a Written<'b>, keys: &[&str]) -> Result<Self, Wrong> {
        let Shape::Block(entries) = &written.shape else {
            let keys = keys.join(", ");
            let found = written.shape.name();
            let message = format!("expected a block of a file with {keys}, found {found}");
            return Err(Wrong::new(message));
        };
        for Entry { name, at, .. } in entries {
            if !keys.contains(name) {
                let mut wrong = Wrong::new(format!("unknown key `{name}`"));
                wrong.hint = nearest(name, keys.iter().copied()).map(|near| format!("`{near}`"));
                return Err(Wrong { at: Some(*at), ..wrong });
            }
        }
        Ok(Self(entries))
    }

    pub(super) fn maybe<T: Typed>(&self, key: &str) -> Result<Option<T>, Wrong> {
        let Some(Entry { value, .. }) = self.0.iter().find(|entry| entry.name == key) else {
            return Ok(None);
        };
        T::parse(value).map(Some).map_err(|wrong| {
            let message = format!("`{key}`: {}", wrong.message);
            Wrong { at: wrong.at.or(Some(value.at)), message, ..wrong }
        })
    }

    /// Where the value of a key starts.
    pub(super) fn at(&self, key: &str) -> Option<usize> {
        self.0.iter().find(|entry| entry.name == key).map(|entry| entry.value.at)
    }

    pub(super) fn need<T: Typed>(&self, key: &str) -> Result<T, Wrong> {
        self.maybe(key)?.ok_or_else(|| Wrong::new(format!("`{key}` is missing")))
    }
}

/// `[files.types]`: the content type of each extension, as `cjs = "text/javascript"` in a file and
/// `cjs=text/javascript` elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentTypes(pub Vec<(String, HeaderValue)>);

impl ContentTypes {
    fn add(&mut self, extension: &str, value: &str) -> Result<(), Wrong> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte);
        if extension.is_empty() || extension.len() > 32 || !extension.bytes().all(is_of_name) {
            let wanted = "expected an extension like cjs, which stands behind a name's last dot";
            let wrong = Wrong::new(format!("{wanted}, found \"{extension}\""));
            let meant = extension.rsplit('.').next().filter(|last| !last.is_empty());
            return Err(match meant.filter(|_| extension.contains('.')) {
                Some(meant) => wrong.meant(format!("`{meant}`")),
                None => wrong,
            });
        }
        let extension = extension.to_ascii_lowercase();
        if self.0.iter().any(|(other, _)| *other == extension) {
            return Err(Wrong::new(format!("`{extension}` is there twice")));
        }
        match HeaderValue::from_str(value) {
            Ok(content_type) if is_media_type(value) => {
                self.0.push((extension, content_type));
                Ok(())
            }
            _ => Err(Wrong::new(format!(
                "expected a content type like \"text/javascript; charset=utf-8\", found \"{value}\""
            ))),
        }
    }
}

/// `type "/" subtype *( OWS ";" OWS parameter )` (RFC 9110 section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let is = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(is)
    };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().and_then(|essence| essence.split_once('/'));
    essence.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && parts.all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let is_text = |text: &str| !text.contains(['"', '\\']);
                is_token(name) && (is_token(value) || quoted.is_some_and(is_text))
            })
        })
}

impl Typed for ContentTypes {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "a block of content types by extension";
        let mut types = Self::default();
        let mut pair = |text: &str| match text.split_once('=') {
            Some((extension, value)) => types.add(extension.trim(), value.trim()),
            None => Err(Wrong::new(format!("expected cjs=text/javascript, found \"{text}\""))),
        };
        match &written.shape {
            Shape::Block(entries) => {
                for Entry { name, at, value } in entries {
                    let add = value.text("a content type").and_then(|text| types.add(name, text));
                    add.map_err(|wrong| Wrong { at: Some(*at), ..wrong })?;
                }
            }
            Shape::List(items) => {
                items.iter().try_for_each(|item| item.text(wanted).and_then(&mut pair))?;
            }
            _ => written.text(wanted)?.split(',').try_for_each(pair)?,
        }
        Ok(types)
    }

    fn show(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let pairs = self.0.iter().map(|(extension, value)| {
            let value = quote(&String::from_utf8_lossy(value.as_bytes()));
            format!("{} = {value}", quote(extension))
        });
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }
}

/// A table in one line, without what is not set.
pub(super) fn inline(entries: &[(&str, String)]) -> String {
    let set = entries.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = set.map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

impl Typed for CertificateConfig {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["cert", "key", "ocsp"])?;
        let (cert, key) = (block.need("cert")?, block.need("key")?);
        Ok(Self { cert, key, ocsp: block.maybe("ocsp")? })
    }

    fn show(&self) -> String {
        let Self { cert, key, ocsp } = self;
        inline(&[("cert", cert.show()), ("key", key.show()), ("ocsp", ocsp.show())])
    }
}

impl Typed for Hints {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "links"])?;
        Ok(Self { path: block.need("path")?, links: block.need("links")? })
    }

    fn show(&self) -> String {
        inline(&[("path", self.path.show()), ("links", self.links.show())])
    }
}

impl Typed for Push {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "push"])?;
        Ok(Self { path: block.need("path")?, push: block.need("push")? })
    }

    fn show(&self) -> String {
        inline(&[("path", self.path.show()), ("push", self.push.show())])
    }
}

impl Typed for UrlPath {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("a path")?;
        let is_path = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
        let mut made = Vec::new();
        if text.starts_with('/') && !text.starts_with("//") && text.bytes().all(is_path) {
            // In the form in which requests are compared with it.
            path::canonical(text.as_bytes(), &mut made).map_err(|e| Wrong::new(e.to_string()))?;
            return Ok(Self(String::from_utf8_lossy(&made).into_owned()));
        }
        let wrong = Wrong::new(format!("expected a path like \"/index.html\", found \"{text}\""));
        Err(match text.starts_with('/') {
            true => wrong,
            false => wrong.meant(quote(&format!("/{text}"))),
        })
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

/// A field's value that `is` of the right form.
fn field(
    written: &Written<'_>,
    wanted: &str,
    is: impl Fn(&str) -> bool,
) -> Result<HeaderValue, Wrong> {
    let text = written.text(wanted)?;
    match HeaderValue::from_str(text) {
        Ok(value) if is(text) => Ok(value),
        _ => Err(Wrong::new(format!("expected {wanted}, found \"{text}\""))),
    }
}

impl Typed for LinkField {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "a link like \"</style.css>; rel=preload; as=style\"";
        field(written, wanted, |text| text.starts_with('<') && text.contains(">;")).map(Self)
    }

    fn show(&self) -> String {
        quote(&String::from_utf8_lossy(self.0.as_bytes()))
    }
}

impl Typed for Hsts {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "a policy like \"max-age=31536000; includeSubDomains\"";
        let is_policy = |text: &str| {
            let first = text.split(';').next().unwrap_or_default().trim();
            let age = first.strip_prefix("max-age=").map(str::parse::<u32>);
            matches!(age, Some(Ok(_)))
        };
        field(written, wanted, is_policy).map(Self)
    }

    fn show(&self) -> String {
        quote(&String::from_utf8_lossy(self.0.as_bytes()))
    }
}
