//! A row of the table: what is asked, and what has to come of it.

use super::client::{CANCELLED, CUT_OFF, MALFORMED, NOTHING, RESET, WHOLE};

/// The server that a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Bodies of up to 100,000 octets, else the defaults.
    Usual,
    /// Heads have to come within 0.3 s, bodies at 100,000 octets a second over 0.3 s.
    Hasty,
    /// One that is the row's own, which drains.
    Leaving,
}

/// What the client does, in order; then it waits for the end of the answer.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Head,
    HalfHead,
    Data(&'static [u8]),
    /// So many octets of content, in pieces of 10,000.
    Fill(usize),
    End,
    Trailers(&'static [(&'static str, &'static str)]),
    /// Wait for an interim response.
    Interim,
    /// Wait for the head of the answer.
    Answered,
    /// Wait for so many octets of the answer.
    Part(usize),
    /// Wait until the handler has seen this.
    Seen(&'static str),
    /// Let time pass, in milliseconds.
    Pause(u64),
    /// Read nothing until the handler's work is dropped.
    Stall,
    /// The client gives up.
    Cancel,
    /// The server is told to drain.
    Drain,
}

/// How a request says where its content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By its length.
    Length(usize),
    /// By its end: chunked in HTTP/1.1.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub target: String,
    pub authority: Option<&'static str>,
    pub fields: Vec<(&'static str, String)>,
    pub framing: Framing,
    /// To be sent in early data, where there is such.
    pub early: bool,
}

/// The body that has to come.
#[derive(Clone, Debug)]
pub enum Body {
    /// Exactly this.
    Text(String),
    /// As much of this as came before the answer was broken off.
    Part(&'static str),
    /// Something.
    Some,
}

#[derive(Clone, Debug)]
pub struct Expect {
    pub interim: Vec<&'static str>,
    pub status: u16,
    /// Field lines, `name: value`; `no name` where it must not be there.
    pub fields: Vec<&'static str>,
    pub body: Body,
    pub trailers: Vec<&'static str>,
    pub end: &'static str,
    /// Whether it may break off before its head has gone out.
    pub may_lack_head: bool,
    /// Whether HTTP/1.1 ends the connection; the others never do, but where the server leaves.
    pub closes: bool,
    /// What moves beside `requests` and `answered N`, each by one.
    pub counts: Vec<&'static str>,
    pub is_request: bool,
    pub is_answered: bool,
    /// Status and octets, where they are not those of the answer; the reason of an abort.
    pub log: Option<&'static str>,
    pub abort: &'static str,
    /// Whether method and target are known to the log.
    pub is_named: bool,
    pub seen: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub rfc: &'static str,
    pub on: On,
    pub ask: Ask,
    pub steps: Vec<Step>,
    pub expect: Expect,
}

/// A row: GET of a path, answered whole with 200, one request and one answer counted and logged.
pub fn row(name: &'static str, rfc: &'static str, path: &str) -> Row {
    Row {
        name,
        rfc,
        on: On::Usual,
        ask: Ask {
            method: "GET",
            target: path.to_owned(),
            authority: Some("localhost"),
            fields: Vec::new(),
            framing: Framing::None,
            early: false,
        },
        steps: vec![Step::Head],
        expect: Expect {
            interim: Vec::new(),
            status: 200,
            fields: Vec::new(),
            body: Body::Text(String::new()),
            trailers: Vec::new(),
            end: WHOLE,
            may_lack_head: false,
            closes: false,
            counts: Vec::new(),
            is_request: true,
            is_answered: true,
            log: None,
            abort: "",
            is_named: true,
            seen: Vec::new(),
        },
    }
}

/// What is asked.
impl Row {
    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    pub fn method(mut self, method: &'static str) -> Self {
        self.ask.method = method;
        self
    }

    pub fn authority(mut self, authority: Option<&'static str>) -> Self {
        self.ask.authority = authority;
        self
    }

    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.ask.fields.push((name, value.into()));
        self
    }

    pub fn early(mut self) -> Self {
        self.ask.early = true;
        self
    }

    /// POST with content that is framed so.
    pub fn post(mut self, framing: Framing, steps: &[Step]) -> Self {
        self.ask.method = "POST";
        self.ask.framing = framing;
        self.steps(steps)
    }

    pub fn steps(mut self, steps: &[Step]) -> Self {
        self.steps = steps.to_vec();
        self
    }
}

/// What has to come of it.
impl Row {
    pub fn status(mut self, status: u16) -> Self {
        self.expect.status = status;
        self
    }

    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.expect.body = Body::Text(text.into());
        self
    }

    pub fn body(mut self, body: Body) -> Self {
        self.expect.body = body;
        self
    }

    pub fn says(mut self, fields: &[&'static str]) -> Self {
        self.expect.fields.extend_from_slice(fields);
        self
    }

    pub fn interim(mut self, interim: &[&'static str]) -> Self {
        self.expect.interim.extend_from_slice(interim);
        self
    }

    pub fn trailers(mut self, trailers: &[&'static str]) -> Self {
        self.expect.trailers.extend_from_slice(trailers);
        self
    }

    /// HTTP/1.1 ends the connection with it.
    pub fn closes(mut self) -> Self {
        self.expect.closes = true;
        self
    }

    /// The server refuses it, with a status and a reason, and counts that.
    pub fn refused(self, status: u16, text: &str) -> Self {
        self.status(status).text(text).counts(&["refused"]).closes()
    }

    /// No handler is shown anything.
    pub fn unread(mut self) -> Self {
        self.expect.is_request = false;
        self
    }

    pub fn counts(mut self, counts: &[&'static str]) -> Self {
        self.expect.counts.extend_from_slice(counts);
        self
    }

    /// What the handler sees.
    pub fn seen(mut self, seen: &[&'static str]) -> Self {
        self.expect.seen.extend_from_slice(seen);
        self
    }

    /// Status and octets in the log.
    pub fn logged(mut self, log: &'static str) -> Self {
        self.expect.log = Some(log);
        self
    }

    /// Nobody knows what was asked.
    pub fn unnamed(mut self) -> Self {
        self.expect.is_named = false;
        self.unread()
    }

    /// The message breaks the rules of fields: nobody may make a request of it. HTTP/1.1 answers
    /// 400 (RFC 9112), which the others may do as well before they reset the stream (RFC 9113
    /// section 8.1.1, RFC 9114 section 4.1.2).
    pub fn malformed(self, why: &str) -> Self {
        self.refused(400, &format!("400 Bad Request: the peer sent {why}\n")).unread()
    }

    /// The answer breaks off: it is not passed off as whole, nor counted as answered.
    pub fn breaks(mut self, status: u16, part: &'static str) -> Self {
        self.expect.end = CUT_OFF;
        self.expect.is_answered = false;
        self.expect.abort = "the response broke off";
        self.status(status).body(Body::Part(part)).closes()
    }

    /// It breaks off at once: what has not been sent by then may be lost with it (RFC 9293 section
    /// 3.10.7, RFC 9000 section 3.1).
    pub fn at_once(mut self) -> Self {
        self.expect.may_lack_head = true;
        self
    }

    /// The client gives it up.
    pub fn cancelled(mut self, status: u16, log: &'static str) -> Self {
        self.expect.end = CANCELLED;
        self.expect.is_answered = false;
        self.expect.abort = "the stream was reset";
        self.status(status).closes().logged(log)
    }

    /// The client reads nothing, and is given up.
    pub fn stalls(mut self) -> Self {
        self.expect.end = RESET;
        self.expect.is_answered = false;
        self.expect.abort = "the client reads too slowly";
        let this = self.body(Body::Some).logged("200 some").seen(&["dropped"]);
        this.counts(&["slow reader"]).closes()
    }

    /// The server ends before it has answered.
    pub fn left(mut self) -> Self {
        self.expect.end = NOTHING;
        self.expect.is_answered = false;
        self.expect.abort = "the connection ended";
        self.status(0).closes().logged("499 0")
    }

    /// The request ends before it is complete.
    pub fn incomplete(mut self) -> Self {
        self.expect.end = MALFORMED;
        self.expect.is_answered = false;
        self.expect.abort = "the stream was reset";
        self.status(0).closes().logged("499 0").counts(&["refused"])
    }
}
