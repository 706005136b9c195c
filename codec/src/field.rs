//! Known field names, and the 16-byte field that all three protocols hand to the server.
//!
//! A [`Field`] is two ranges of a byte buffer, so HTTP/1.1 (borrowed from the wire), HTTP/2 and
//! HTTP/3 (decoded into one `Vec<u8>`) look the same to the server: `(bytes, &[Field])`. [`Known`]
//! is the name as a number, found while parsing, so the server does not compare strings. This is
//! not a header map: order and duplicates stay as the peer sent them. RFC 9110 section 5.1;
//! pseudo-header fields RFC 9113 section 8.3.

/// A field line: the offsets of its name and value in its byte buffer, and the name as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Field {
    /// Offset of the name.
    pub name_at: u32,
    /// Offset of the value, surrounding whitespace not included.
    pub value_at: u32,
    /// Bytes of the value.
    pub value_len: u32,
    /// Bytes of the name.
    pub name_len: u16,
    /// The name as a number; [`Known::Other`] if it is not a known one.
    pub known: Known,
    /// Bits from [`Field::NEVER_INDEXED`] on; 0 in HTTP/1.1.
    pub flags: u8,
}

const _: () = assert!(size_of::<Field>() == 16);

impl Field {
    /// Flag: received as, or to be sent as, a never-indexed literal (RFC 7541 section 6.2.3).
    pub const NEVER_INDEXED: u8 = 1;

    /// The name as received: HTTP/1.1 keeps the peer's upper and lower case.
    ///
    /// # Panics
    /// When `bytes` is not the buffer that the field goes with.
    #[inline]
    pub fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.name_at as usize..][..self.name_len as usize]
    }

    /// The value without surrounding whitespace.
    ///
    /// # Panics
    /// When `bytes` is not the buffer that the field goes with.
    #[inline]
    pub fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.value_at as usize..][..self.value_len as usize]
    }
}

macro_rules! names {
    ($($ident:ident = $text:literal,)*) => {
        /// A field name that our code or the HPACK or QPACK static table knows.
        ///
        /// The first seven are those that HTTP/1.1 framing depends on, so one comparison tests for
        /// them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Known {
            /// None of the others.
            #[default]
            Other = 0,
            $(#[doc = concat!("`", $text, "`")] $ident,)*
        }

        impl Known {
            /// Every known name, [`Known::Other`] not included.
            pub const ALL: &'static [Self] = &[$(Self::$ident),*];
        }

        const TEXTS: &[&str] = &["", $($text),*];
    };
}

names! {
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    Expect = "expect",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Accept = "accept",
    AcceptCharset = "accept-charset",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    AccessControlAllowCredentials = "access-control-allow-credentials",
    AccessControlAllowHeaders = "access-control-allow-headers",
    AccessControlAllowMethods = "access-control-allow-methods",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlExposeHeaders = "access-control-expose-headers",
    AccessControlMaxAge = "access-control-max-age",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    Age = "age",
    Allow = "allow",
    AltSvc = "alt-svc",
    AltUsed = "alt-used",
    Authorization = "authorization",
    CacheControl = "cache-control",
    CdnCacheControl = "cdn-cache-control",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLocation = "content-location",
    ContentMd5 = "content-md5",
    ContentRange = "content-range",
    ContentSecurityPolicy = "content-security-policy",
    ContentSecurityPolicyReportOnly = "content-security-policy-report-only",
    ContentType = "content-type",
    Cookie = "cookie",
    CrossOriginOpenerPolicy = "cross-origin-opener-policy",
    CrossOriginResourcePolicy = "cross-origin-resource-policy",
    Date = "date",
    DeviceMemory = "device-memory",
    Digest = "digest",
    Dnt = "dnt",
    Downlink = "downlink",
    EarlyData = "early-data",
    Ect = "ect",
    Etag = "etag",
    ExpectCt = "expect-ct",
    Expires = "expires",
    Forwarded = "forwarded",
    From = "from",
    GrpcEncoding = "grpc-encoding",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    GrpcTimeout = "grpc-timeout",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    KeepAlive = "keep-alive",
    LastEventId = "last-event-id",
    LastModified = "last-modified",
    Link = "link",
    Location = "location",
    MaxForwards = "max-forwards",
    Nel = "nel",
    Origin = "origin",
    PermissionsPolicy = "permissions-policy",
    Pragma = "pragma",
    Prefer = "prefer",
    Priority = "priority",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    ProxyStatus = "proxy-status",
    Purpose = "purpose",
    Range = "range",
    Referer = "referer",
    ReferrerPolicy = "referrer-policy",
    Refresh = "refresh",
    ReportTo = "report-to",
    RetryAfter = "retry-after",
    Rtt = "rtt",
    SaveData = "save-data",
    SecChUa = "sec-ch-ua",
    SecChUaArch = "sec-ch-ua-arch",
    SecChUaMobile = "sec-ch-ua-mobile",
    SecChUaModel = "sec-ch-ua-model",
    SecChUaPlatform = "sec-ch-ua-platform",
    SecFetchDest = "sec-fetch-dest",
    SecFetchMode = "sec-fetch-mode",
    SecFetchSite = "sec-fetch-site",
    SecFetchUser = "sec-fetch-user",
    SecGpc = "sec-gpc",
    SecPurpose = "sec-purpose",
    SecWebsocketAccept = "sec-websocket-accept",
    SecWebsocketExtensions = "sec-websocket-extensions",
    SecWebsocketKey = "sec-websocket-key",
    SecWebsocketProtocol = "sec-websocket-protocol",
    SecWebsocketVersion = "sec-websocket-version",
    Server = "server",
    ServerTiming = "server-timing",
    SetCookie = "set-cookie",
    Sourcemap = "sourcemap",
    StrictTransportSecurity = "strict-transport-security",
    Te = "te",
    TimingAllowOrigin = "timing-allow-origin",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    UpgradeInsecureRequests = "upgrade-insecure-requests",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    Warning = "warning",
    WwwAuthenticate = "www-authenticate",
    XContentTypeOptions = "x-content-type-options",
    XCorrelationId = "x-correlation-id",
    XCsrfToken = "x-csrf-token",
    XDnsPrefetchControl = "x-dns-prefetch-control",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    XFrameOptions = "x-frame-options",
    XPoweredBy = "x-powered-by",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XRequestedWith = "x-requested-with",
    XRobotsTag = "x-robots-tag",
    XUaCompatible = "x-ua-compatible",
    XXssProtection = "x-xss-protection",
    PseudoAuthority = ":authority",
    PseudoMethod = ":method",
    PseudoPath = ":path",
    PseudoScheme = ":scheme",
    PseudoStatus = ":status",
    PseudoProtocol = ":protocol",
}

impl Known {
    /// The last of the names that HTTP/1.1 framing depends on.
    pub(crate) const LAST_FRAMING: Self = Self::Http2Settings;

    /// The known name that `name` is, ASCII case-insensitively.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        if name.len() < 2 || name.len() > LONGEST {
            return Self::Other;
        }
        let (head, tail) = ends(name);
        let candidate = candidate(head, tail, name.len());
        if candidate.name().as_bytes().eq_ignore_ascii_case(name) { candidate } else { Self::Other }
    }

    /// The name in lower case; empty for [`Known::Other`].
    #[inline]
    pub const fn name(self) -> &'static str {
        TEXTS[self as usize]
    }
}

/// The only known name that has these four first and last bytes; the caller must still compare the
/// whole name. For a name of two or three bytes they include the preceding line end and the
/// following colon, which are the same for every line that can match.
#[inline(always)]
pub(crate) fn candidate(head: u32, tail: u32, len: usize) -> Known {
    TABLE[hash(head, tail, len)]
}

/// The first bytes of a field line with this name (the name in lower case, a colon and one blank),
/// and a mask of which of the 32 bytes count. No line matches the entry of [`Known::Other`] or of a
/// name that is too long for 32 bytes.
#[inline(always)]
pub(crate) fn line_start(known: Known) -> (&'static [u8; 32], u32) {
    (&LINE_STARTS[known as usize], LINE_MASKS[known as usize])
}

/// The four first and last bytes of a name of two bytes or more, as they stand in a field line.
const fn ends(name: &[u8]) -> (u32, u32) {
    let len = name.len();
    if len >= 4 {
        let head = [name[0], name[1], name[2], name[3]];
        let tail = [name[len - 4], name[len - 3], name[len - 2], name[len - 1]];
        return (u32::from_le_bytes(head), u32::from_le_bytes(tail));
    }
    let (a, b) = (name[0], name[1]);
    let (head, tail) = if len == 3 {
        ([a, b, name[2], b':'], [b'\n', a, b, name[2]])
    } else {
        ([a, b, b':', b' '], [b'\r', b'\n', a, b])
    };
    (u32::from_le_bytes(head), u32::from_le_bytes(tail))
}

/// One multiplication over eight bytes folded to lower case and the length. The odd constant was
/// drawn at random until no two names collided; `TABLE` checks that at compile time.
#[inline(always)]
const fn hash(head: u32, tail: u32, len: usize) -> usize {
    let ends = (head as u64 | (tail as u64) << 32) | 0x2020_2020_2020_2020;
    ((ends ^ len as u64).wrapping_mul(MULTIPLIER) >> (64 - TABLE_BITS)) as usize
}

const MULTIPLIER: u64 = 0x8a3b_2b50_dcc8_7d61;

/// 1024 single bytes for 139 names: a request touches a dozen of its cache lines.
static TABLE: [Known; 1 << TABLE_BITS] = {
    let mut table = [Known::Other; 1 << TABLE_BITS];
    let mut at = 0;
    while at < Known::ALL.len() {
        let name = Known::ALL[at].name().as_bytes();
        assert!(name.len() >= 2 && name.len() <= LONGEST);
        let (head, tail) = ends(name);
        let place = hash(head, tail, name.len());
        assert!(matches!(table[place], Known::Other), "two known names have the same hash");
        table[place] = Known::ALL[at];
        at += 1;
    }
    table
};

static LINE_MASKS: [u32; Known::ALL.len() + 1] = {
    let mut masks = [u32::MAX; Known::ALL.len() + 1];
    let mut at = 0;
    while at < Known::ALL.len() {
        let len = Known::ALL[at].name().len();
        if len <= 30 {
            masks[at + 1] = u32::MAX >> (30 - len);
        }
        at += 1;
    }
    masks
};

static LINE_STARTS: [[u8; 32]; Known::ALL.len() + 1] = {
    let mut starts = [[0; 32]; Known::ALL.len() + 1];
    let mut at = 0;
    while at < Known::ALL.len() {
        let name = Known::ALL[at].name().as_bytes();
        let mut n = 0;
        while n < name.len() && name.len() <= 30 {
            starts[at + 1][n] = name[n];
            n += 1;
        }
        if n != 0 {
            starts[at + 1][n] = b':';
            starts[at + 1][n + 1] = b' ';
        }
        at += 1;
    }
    starts
};

const TABLE_BITS: u32 = 10;
/// Bytes of the longest known name.
const LONGEST: usize = 35;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_name_is_found_in_any_case() {
        assert_eq!(Known::ALL.len(), TEXTS.len() - 1);
        assert_eq!(Known::ALL.iter().map(|k| k.name().len()).max(), Some(LONGEST));
        for &known in Known::ALL {
            let lower = known.name().as_bytes();
            assert!(!lower.is_empty() && lower.to_ascii_lowercase() == lower);
            assert_eq!(Known::of(lower), known);
            assert_eq!(Known::of(&lower.to_ascii_uppercase()), known);
            let mixed: Vec<u8> = lower
                .iter()
                .enumerate()
                .map(|(i, b)| if i % 2 == 0 { b.to_ascii_uppercase() } else { *b })
                .collect();
            assert_eq!(Known::of(&mixed), known);
        }
    }

    #[test]
    fn near_misses_are_other() {
        for &known in Known::ALL {
            let name = known.name().as_bytes();
            for at in 0..name.len() {
                for bit in 0..8 {
                    let mut near = name.to_vec();
                    near[at] ^= 1 << bit;
                    let expected = Known::ALL
                        .iter()
                        .find(|k| k.name().as_bytes().eq_ignore_ascii_case(&near))
                        .copied()
                        .unwrap_or_default();
                    assert_eq!(Known::of(&near), expected);
                }
            }
            assert_eq!(Known::of(&[name, b"x"].concat()), Known::Other);
            if !matches!(known, Known::SecPurpose) {
                assert_eq!(Known::of(&name[..name.len() - 1]).name().len() % name.len(), 0);
            }
        }
        assert_eq!(Known::of(b""), Known::Other);
        assert_eq!(Known::of(&[b'a'; 300]), Known::Other);
    }
}
