//! W3C Trace Context: which trace a request belongs to, as `traceparent` and `tracestate` say.

use std::fmt;

use crate::app::request::{OwnedRequest, Request};

/// The place of a request in a distributed trace (W3C Trace Context): what to send along with
/// requests that are made on its behalf.
///
/// ```
/// use ringway::Request;
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let request = Request::builder().header("traceparent", parent).build()?;
/// let context = request.trace_context().unwrap();
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), parent);
/// # Ok::<(), ringway::request::InvalidRequest>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Box<str>,
}

/// The trace is recorded.
const SAMPLED: u8 = 1;
/// The trace's ID is random (level 2 of the recommendation).
const RANDOM: u8 = 2;

/// Octets of `tracestate` that are passed on: as many as a vendor should (section 3.3.1.5).
const STATE_MAX: usize = 512;
/// Members of `tracestate` that there may be.
const MEMBERS_MAX: usize = 32;

impl TraceContext {
    /// The trace's ID.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The ID of the span that stands for the request: the server's own if it records one, else the
    /// client's.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The vendors' `tracestate`, to be passed on unchanged; empty if there is none.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// A trace that begins here, and is recorded. The IDs are random and not zero.
    pub(crate) fn begin(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self { trace_id, span_id, flags: SAMPLED | RANDOM, state: Box::default() }
    }

    /// The same trace, for a span below this one.
    pub(crate) fn below(&self, span_id: [u8; 8]) -> Self {
        Self { span_id, ..self.clone() }
    }

    /// The trace that a request continues; none where it says nothing, or nothing that is
    /// well-formed: a trace begins anew then (section 4.3).
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let mut parent = None;
        let mut states = Vec::new();
        for (name, value) in request.headers() {
            if name.eq_ignore_ascii_case(b"traceparent") {
                // Two of them contradict each other.
                if parent.replace(value).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case(b"tracestate") {
                states.push(value);
            }
        }
        let mut context = Self::parse(parent?)?;
        context.state = state(&states).unwrap_or_default();
        Some(context)
    }

    /// Section 3.2: `00-<trace id>-<parent id>-<flags>`. Later versions may have more behind that.
    fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (head, more) = value.split_at_checked(55)?;
        if [head[2], head[35], head[52]] != [b'-'; 3] {
            return None;
        }
        let [version] = hex(&head[..2])?;
        let is_whole = more.is_empty() || version > 0 && more[0] == b'-';
        if version == 0xff || !is_whole {
            return None;
        }
        let (trace_id, span_id) = (hex(&head[3..35])?, hex(&head[36..52])?);
        let [flags] = hex(&head[53..])?;
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        // Flags that nobody knows yet are not passed on (section 3.2.2.5).
        let flags = flags & (SAMPLED | RANDOM);
        is_valid.then(|| Self { trace_id, span_id, flags, state: Box::default() })
    }
}

/// Lower-case hexadecimal digits as bytes.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The lines of `tracestate` as one; none where they cannot be passed on.
fn state(lines: &[&[u8]]) -> Option<Box<str>> {
    let mut members = Vec::new();
    for line in lines {
        let line = str::from_utf8(line).ok()?;
        let parts = line.split(',').map(|member| member.trim_matches([' ', '\t']));
        members.extend(parts.filter(|member| !member.is_empty()));
    }
    let is_member = |member: &&str| {
        let well = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        member.split_once('=').is_some_and(|(key, value)| {
            !key.is_empty() && !value.is_empty() && well(member) && !value.contains('=')
        })
    };
    let text = members.join(",");
    let fits = members.len() <= MEMBERS_MAX && text.len() <= STATE_MAX;
    (fits && members.iter().all(is_member)).then(|| text.into())
}

/// As `traceparent` has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

impl Request<'_> {
    /// The request's place in a distributed trace: the span that the server records for it, if it
    /// exports traces and this one is sampled; else what a well-formed `traceparent` says.
    pub fn trace_context(&self) -> Option<TraceContext> {
        self.extensions().get().or_else(|| TraceContext::of(self))
    }
}

impl OwnedRequest {
    /// Same as [`Request::trace_context`].
    pub fn trace_context(&self) -> Option<TraceContext> {
        self.view().trace_context()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(fields: &[(&str, &str)]) -> Option<TraceContext> {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.build().unwrap().trace_context()
    }

    /// L30: what section 3.2 of the recommendation says of malformed values.
    #[test]
    fn l30_malformed_parents_are_ignored() {
        assert_eq!(of(&[("traceparent", GOOD)]).unwrap().to_string(), GOOD);
        let later = format!("cc{}-what-comes", &GOOD[2..]);
        assert_eq!(of(&[("Traceparent", &later)]).unwrap().to_string(), GOOD, "a later version");
        let unsampled = GOOD.replace("-01", "-fe");
        let context = of(&[("traceparent", &unsampled)]).unwrap();
        assert!(!context.is_sampled());
        assert_eq!(context.to_string(), GOOD.replace("-01", "-02"), "unknown flags are dropped");
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replace("00-", "ff-"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replace("0af7", "0ag7"),
            &format!("cc{}.", &GOOD[2..]),
        ] {
            assert_eq!(of(&[("traceparent", bad)]), None, "{bad}");
        }
        assert_eq!(of(&[("traceparent", GOOD), ("traceparent", GOOD)]), None, "two of them");
        assert_eq!(of(&[("tracestate", "a=1")]), None);
    }

    #[test]
    fn l30_the_state_is_passed_on_or_dropped_whole() {
        let state = |values: &[&str]| {
            let lines = values.iter().map(|value| ("tracestate", *value));
            let fields: Vec<_> = std::iter::once(("traceparent", GOOD)).chain(lines).collect();
            of(&fields).unwrap().state().to_owned()
        };
        assert_eq!(state(&["a=1, b@x=2,", "", "c=3"]), "a=1,b@x=2,c=3");
        let many = vec!["a=1"; 33].join(",");
        for bad in ["a", "=1", "a=", "a=b=c", &many, &format!("a={}", "x".repeat(512))] {
            assert_eq!(state(&[bad]), "", "{bad}");
        }
    }
}
