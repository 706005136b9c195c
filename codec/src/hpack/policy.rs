//! Which fields an encoder inserts into its dynamic table, in HPACK and QPACK.

use crate::field::Known;

/// How to compress a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// By its name: secrets (authorization, proxy-authorization, cookie, set-cookie) as
    /// [`Indexing::Never`], stable values as [`Indexing::Insert`], others inserted when they occur
    /// a second time.
    Auto,
    /// Insert into the dynamic table; the next occurrence takes one octet.
    Insert,
    /// A literal without insertion; another hop may index it.
    Literal,
    /// A literal that no hop may ever index: a secret (section 7.1.3).
    Never,
}

/// The plan of [`Indexing::Auto`] by name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Insert a pair that was seen recently.
    SecondTime,
    Stable,
    Secret,
}

const SECRET: &[Known] =
    &[Known::Authorization, Known::ProxyAuthorization, Known::Cookie, Known::SetCookie];

const STABLE: &[Known] = &[
    // of responses
    Known::PseudoStatus,
    Known::Server,
    Known::Date,
    Known::ContentType,
    Known::ContentLength,
    Known::ContentEncoding,
    Known::CacheControl,
    Known::AltSvc,
    Known::Vary,
    Known::AcceptRanges,
    Known::StrictTransportSecurity,
    Known::AccessControlAllowOrigin,
    Known::XContentTypeOptions,
    Known::XFrameOptions,
    Known::ContentSecurityPolicy,
    // of requests
    Known::PseudoMethod,
    Known::PseudoScheme,
    Known::PseudoAuthority,
    Known::UserAgent,
    Known::Accept,
    Known::AcceptEncoding,
    Known::AcceptLanguage,
];

static POLICIES: [Policy; 256] = {
    let mut policies = [Policy::SecondTime; 256];
    let mut at = 0;
    while at < SECRET.len() {
        policies[SECRET[at] as usize] = Policy::Secret;
        at += 1;
    }
    at = 0;
    while at < STABLE.len() {
        policies[STABLE[at] as usize] = Policy::Stable;
        at += 1;
    }
    policies
};

/// The treatment of a pair that is in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// A literal marked never-indexed.
    Never,
    /// A literal.
    Literal,
    /// Insert it.
    Insert,
    /// Insert it if it was seen recently.
    InsertSecondTime,
}

/// What `indexing` means for a name.
#[inline]
pub(crate) fn plan(indexing: Indexing, known: Known) -> Plan {
    match (indexing, POLICIES[known as usize]) {
        (Indexing::Never, _) | (Indexing::Auto, Policy::Secret) => Plan::Never,
        (Indexing::Literal, _) => Plan::Literal,
        (Indexing::Insert, _) | (Indexing::Auto, Policy::Stable) => Plan::Insert,
        (Indexing::Auto, Policy::SecondTime) => Plan::InsertSecondTime,
    }
}
