//! Fields that a site adds to its answers: named sets, and its own.

use super::super::value::{self, Entry, Shape, Typed, Written, Wrong, name_of, quote};
use http::{HeaderName, HeaderValue};

/// A named set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// What a site wants that is no one else's frame and gets no one else's types.
    Secure,
    /// What lets scripts of all origins read the answers (the Fetch standard's CORS protocol).
    Cors,
    /// What shuts a page off from other origins, so that it may share memory with its workers.
    Isolated,
}

const PRESETS: &[(&str, Preset)] =
    &[("secure", Preset::Secure), ("cors", Preset::Cors), ("isolated", Preset::Isolated)];

impl Preset {
    /// The fields of the set.
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Secure => &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "SAMEORIGIN"),
                ("referrer-policy", "strict-origin-when-cross-origin"),
            ],
            Self::Cors => &[
                ("access-control-allow-origin", "*"),
                ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
                ("access-control-allow-headers", "*"),
            ],
            Self::Isolated => &[
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-embedder-policy", "require-corp"),
                ("cross-origin-resource-policy", "same-origin"),
            ],
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        name_of(PRESETS, self)
    }

    /// All sets.
    pub fn all() -> impl Iterator<Item = Self> {
        PRESETS.iter().map(|(_, preset)| *preset)
    }
}

impl Typed for Preset {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        value::word(written, PRESETS)
    }

    fn show(&self) -> String {
        quote(self.name())
    }
}

/// `headers`: fields by name; an empty value takes the field of a preset away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFields(pub Vec<(HeaderName, HeaderValue)>);

impl SiteFields {
    /// The fields of the presets and these, each name once: what stands here goes over a preset.
    pub fn with(&self, presets: &[Preset]) -> Vec<(HeaderName, HeaderValue)> {
        let mut all: Vec<(HeaderName, HeaderValue)> = Vec::new();
        let sets = presets.iter().flat_map(|preset| preset.fields());
        let sets = sets
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        for (name, value) in sets.chain(self.0.iter().cloned()) {
            all.retain(|(other, _)| *other != name);
            all.push((name, value));
        }
        all.retain(|(_, value)| !value.is_empty());
        all
    }
}

/// Fields that the server makes itself, and the key that sets them instead.
const OURS: &[(&str, &str)] = &[
    ("accept-ranges", ""),
    ("allow", ""),
    ("alt-svc", "`http3.alt_svc`"),
    ("cache-control", "the site's `cache`"),
    ("connection", ""),
    ("content-encoding", ""),
    ("content-length", ""),
    ("content-range", ""),
    ("content-type", "the site's `types`"),
    ("date", ""),
    ("etag", ""),
    ("expires", "the site's `expires`"),
    ("keep-alive", ""),
    ("last-modified", ""),
    ("location", "the site's `redirect`"),
    ("proxy-connection", ""),
    ("strict-transport-security", "`tls.hsts`"),
    ("te", ""),
    ("trailer", ""),
    ("transfer-encoding", ""),
    ("upgrade", ""),
    ("vary", ""),
];

impl Typed for SiteFields {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let Shape::Block(entries) = &written.shape else {
            let found = written.shape.name();
            let message =
                format!("expected a block like {{ x-robots-tag = \"all\" }}, found {found}");
            return Err(Wrong::new(message));
        };
        let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for Entry { name, at, value } in entries {
            let at_name = |wrong: Wrong| Wrong { at: Some(*at), ..wrong };
            let field = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| at_name(Wrong::new(format!("\"{name}\" is no name of a field"))))?;
            if let Some((_, key)) = OURS.iter().find(|(ours, _)| *ours == field.as_str()) {
                let wrong = at_name(Wrong::new(format!("`{field}` is made by the server itself")));
                return Err(if key.is_empty() { wrong } else { wrong.meant(*key) });
            }
            if fields.iter().any(|(other, _)| *other == field) {
                return Err(at_name(Wrong::new(format!("`{field}` is there twice"))));
            }
            let at_value = |wrong: Wrong| Wrong { at: Some(value.at), ..wrong };
            let text = value.text("the value of a field").map_err(at_value)?;
            let content = HeaderValue::from_str(text).map_err(|_| {
                at_value(Wrong::new(format!("{} is no value of a field", quote(text))))
            })?;
            fields.push((field, content));
        }
        Ok(Self(fields))
    }

    fn show(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let pairs = self.0.iter().map(|(name, value)| {
            format!("{name} = {}", quote(&String::from_utf8_lossy(value.as_bytes())))
        });
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }
}
