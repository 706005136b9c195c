//! A file as it is sent: its coded forms, each with field lines that are made once.
//!
//! Built from metadata and content; how those were obtained is the loader's business. A form's
//! field lines are shared with every response, so that a file in memory is sent without making
//! anything.

use std::cell::{Cell, OnceCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ringway_codec::Time;
use ringway_codec::date::Date;

use super::cache_control::max_age;
use super::etag::ETag;
use super::meta::Meta;
use super::mime;
use super::settings::SiteSettings;
use crate::app::content_coding::{Coding, Codings};
use crate::app::response::FieldBlock;
use crate::app::shared_fields::SharedFields;

/// Metadata of the file and of its compressed siblings, by [`Coding`]; `None` where there is none.
/// Equal values mean that nothing has changed.
pub(crate) type Metas = [Option<Meta>; 4];

/// A file in all the forms in which it can be sent.
pub(crate) struct File {
    /// The forms, by [`Coding`]. Compressed ones may be added.
    forms: [OnceCell<Form>; 4],
    /// Which forms there are.
    pub(crate) codings: Cell<Codings>,
    /// Which further forms are to be made when somebody would take them.
    pub(crate) wanted: Cell<Codings>,
    /// What those are made with.
    recipe: Option<Box<Recipe>>,
    /// The metadata from which this was made.
    pub(crate) metas: Metas,
    /// When the content of all forms last changed, in seconds since 1970, if its time is reliable:
    /// see [`Meta::dated`].
    pub(crate) modified: Option<i64>,
    /// When the file last changed in any way, in seconds since 1970.
    pub(crate) changed: i64,
    /// The content type.
    pub(crate) content_type: &'static str,
    /// Cache lifetime in seconds, if `Expires` is to be sent.
    pub(crate) max_age: Option<u32>,
    /// The file changed so shortly before it was read that a later change might have the same time
    /// stamps: the next check must compare content.
    pub(crate) racy: bool,
    /// The name contains a percent sign: a request's path that is the same text, not decoded, means
    /// another file.
    pub(crate) escaped: bool,
    /// Until when it is answered without a check of the disk, by the worker's clock.
    pub(crate) fresh_until: Cell<Time>,
    /// From when on one request does that check for all.
    pub(crate) check_from: Cell<Time>,
    /// Whether a check of the disk is under way.
    pub(crate) looking: Cell<bool>,
}

/// One form of a file.
pub(crate) struct Form {
    /// Its entity tag.
    pub(crate) etag: ETag,
    /// An alternative tag, made of inode and times, that still counts.
    pub(crate) former: Option<ETag>,
    /// Its bytes.
    pub(crate) content: FileContent,
    /// The field lines of 200 and 206.
    pub(crate) fields: Rc<SharedFields>,
    /// The field lines of 304 (RFC 9110, 15.4.5).
    pub(crate) unchanged: Rc<SharedFields>,
}

/// Where a form's bytes are.
#[derive(Clone)]
pub(crate) enum FileContent {
    /// In memory.
    Memory(Rc<[u8]>),
    /// In this open file, of this size.
    Disk(Rc<OwnedFd>, u64),
}

impl FileContent {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, size) => *size,
        }
    }
}

impl File {
    /// Makes the file at `path` (below the root) from the contents that were found usable; `now`
    /// is in nanoseconds since 1970, taken before the first look at the disk.
    pub(crate) fn new(
        path: &[u8],
        metas: Metas,
        contents: [Option<FileContent>; 4],
        settings: &SiteSettings,
        now: i128,
    ) -> Self {
        let source = metas[Coding::Identity as usize].unwrap_or_default();
        let content_type = settings.type_of(path);
        let codings = Coding::ALL
            .into_iter()
            .filter(|coding| contents[*coding as usize].is_some())
            .fold(Codings::default(), Codings::with);
        let cache_control = settings.policy.value(path, content_type);
        let wanted = match &contents[Coding::Identity as usize] {
            Some(FileContent::Memory(bytes)) if !mime::is_gzipped(path) => {
                let wanted = settings.compressed(content_type, cache_control, bytes.len());
                Coding::ALL.into_iter().fold(wanted, |wanted, coding| match codings.has(coding) {
                    true => wanted.without(coding),
                    false => wanted,
                })
            }
            _ => Codings::default(),
        };
        // A file from the far future is not racy: its next change brings the time back.
        let recent = |time: i128| (now - CLOCK_GRAIN_NS..now + LOOK_NS).contains(&time);
        let is_recent = |meta: &Meta| recent(meta.modified_ns) || recent(meta.changed_ns);
        let racy = metas.iter().flatten().any(is_recent);
        let describe = Describe {
            path,
            racy,
            gzipped: mime::is_gzipped(path),
            settings,
            recipe: Recipe {
                content_type,
                cache_control: cache_control.map(Into::into),
                // A time in the future is replaced by the present (RFC 9110, 8.8.2.1).
                modified: match source.modified_ns > now {
                    true => Some(now.div_euclid(1_000_000_000) as i64),
                    false => source.dated(now),
                },
                varies: codings.or(wanted) != Codings::default().with(Coding::Identity),
                headers: settings.headers.clone(),
            },
        };
        let forms = [const { OnceCell::new() }; 4];
        for (coding, content) in Coding::ALL.into_iter().zip(contents) {
            let meta = metas[coding as usize].unwrap_or_default();
            if let Some(content) = content {
                let _ = forms[coding as usize].set(describe.form(coding, content, &meta));
            }
        }
        Self {
            forms,
            codings: Cell::new(codings),
            wanted: Cell::new(wanted),
            recipe: (!wanted.is_empty()).then(|| Box::new(describe.recipe)),
            metas,
            modified: source.dated(now),
            changed: source.changed(),
            content_type,
            max_age: cache_control.and_then(max_age).filter(|_| settings.expires),
            racy,
            escaped: path.contains(&b'%'),
            fresh_until: Cell::new(Time::ZERO),
            check_from: Cell::new(Time::ZERO),
            looking: Cell::new(false),
        }
    }

    /// It matched the disk at `now`, which holds for `fresh_for`.
    pub(crate) fn checked(&self, now: Time, fresh_for: Duration) {
        self.fresh_until.set(now + fresh_for);
        self.check_from.set(now + fresh_for / 2);
        self.looking.set(false);
    }

    /// Whether it may be answered as it is; a check that is due is under way.
    #[inline]
    pub(crate) fn is_fresh(&self, now: Time) -> bool {
        now < self.check_from.get() || (self.looking.get() && now < self.fresh_until.get())
    }

    /// The form with that coding.
    pub(crate) fn form(&self, coding: Coding) -> Option<&Form> {
        self.forms[coding as usize].get()
    }

    /// The forms that there are.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &Form> {
        self.forms.iter().filter_map(OnceCell::get)
    }

    /// Adds a form that was made of the content; the bytes that it takes.
    pub(crate) fn add(&self, coding: Coding, bytes: Rc<[u8]>) -> usize {
        let (Some(recipe), false) = (&self.recipe, self.codings.get().has(coding)) else {
            return 0;
        };
        let tag = ETag::of_content(&bytes, coding);
        let form = recipe.form(coding.token(), FileContent::Memory(bytes), (tag, None));
        let form = self.forms[coding as usize].get_or_init(|| form);
        self.codings.set(self.codings.get().with(coding));
        form.bytes().unwrap_or(0)
    }

    /// Bytes that this keeps in memory; `None` when a form is on disk and holds a descriptor.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.forms().map(Form::bytes).sum()
    }
}

impl Form {
    /// Bytes that this keeps in memory; `None` when it is on disk.
    fn bytes(&self) -> Option<usize> {
        let FileContent::Memory(bytes) = &self.content else { return None };
        Some(bytes.len() + self.fields.lines().len() + self.unchanged.lines().len() + 512)
    }
}

/// The coarsest file clock of the supported kernels ticks 100 times a second.
const CLOCK_GRAIN_NS: i128 = 20_000_000;
/// Generous upper bound of the time that a check of the disk takes.
const LOOK_NS: i128 = 60_000_000_000;

/// What the forms of a file have in common.
struct Describe<'a> {
    path: &'a [u8],
    racy: bool,
    /// The file as it is has been compressed.
    gzipped: bool,
    settings: &'a SiteSettings,
    recipe: Recipe,
}

/// What the field lines of a file's forms have in common.
struct Recipe {
    content_type: &'static str,
    cache_control: Option<Box<str>>,
    modified: Option<i64>,
    varies: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Describe<'_> {
    /// The entity tag, and another that means the same.
    fn tags(&self, coding: Coding, content: &FileContent, meta: &Meta) -> (ETag, Option<ETag>) {
        let of_meta = ETag::of_meta(meta, coding);
        match content {
            FileContent::Memory(bytes) => {
                (ETag::of_content(bytes, coding), (!self.racy).then_some(of_meta))
            }
            FileContent::Disk(..) => match self.settings.fingerprint(self.path, coding, meta) {
                Some(hash) => (ETag::of_fingerprint(hash, coding), Some(of_meta)),
                None => (of_meta, None),
            },
        }
    }

    fn form(&self, coding: Coding, content: FileContent, meta: &Meta) -> Form {
        let tags = self.tags(coding, &content, meta);
        // A file that is compressed only by its name is sent as it is.
        let gzipped = self.gzipped
            && match &content {
                FileContent::Memory(bytes) => bytes.starts_with(&[0x1f, 0x8b]),
                FileContent::Disk(..) => true,
            };
        let inherent = gzipped.then_some(Coding::Gzip).and_then(Coding::token);
        self.recipe.form(coding.token().or(inherent), content, tags)
    }
}

impl Recipe {
    /// A form with this `Content-Encoding` and these tags.
    fn form(
        &self,
        encoding: Option<&str>,
        content: FileContent,
        (etag, former): (ETag, Option<ETag>),
    ) -> Form {
        let mut unchanged = FieldBlock::default();
        unchanged.push(b"etag", etag.as_bytes());
        if let Some(value) = &self.cache_control {
            unchanged.push(b"cache-control", value.as_bytes());
        }
        if self.varies {
            unchanged.push(b"vary", b"accept-encoding");
        }
        let mut fields = FieldBlock::default();
        fields.push(b"content-type", self.content_type.as_bytes());
        if let Some(token) = encoding {
            fields.push(b"content-encoding", token.as_bytes());
        }
        for (_, _, name, value) in unchanged.iter() {
            fields.push(name, value);
        }
        if let Some(modified) = self.modified {
            fields.push(b"last-modified", Date::new(modified).imf());
        }
        fields.push(b"accept-ranges", b"bytes");
        for (name, value) in &self.headers {
            fields.push(name.as_str().as_bytes(), value.as_bytes());
            unchanged.push(name.as_str().as_bytes(), value.as_bytes());
        }
        let fields = SharedFields::new(fields, content.len());
        let unchanged = SharedFields::new(unchanged, 0);
        Form { etag, former, content, fields, unchanged }
    }
}
