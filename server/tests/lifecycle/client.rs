//! What a row asks of a client, whatever protocol it speaks.

use std::time::Duration;

use super::row::Ask;

/// The protocols, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    H1,
    H2,
    H3,
}

impl Over {
    pub const ALL: [Self; 3] = [Self::H1, Self::H2, Self::H3];

    /// As metrics tell them apart.
    pub fn version(self) -> &'static str {
        match self {
            Self::H1 => "1.1",
            Self::H2 => "2",
            Self::H3 => "3",
        }
    }
}

/// An answer as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Interim responses: `103` and its Link fields.
    pub interim: Vec<String>,
    /// 0 until there is one.
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// How it ended; empty while it has not.
    pub end: &'static str,
}

/// It is complete.
pub const WHOLE: &str = "whole";
/// It was broken off: the connection ended within it (RFC 9112 section 8), or its stream was reset
/// with INTERNAL_ERROR or H3_INTERNAL_ERROR.
pub const CUT_OFF: &str = "cut off";
/// The stream was reset because the request was malformed (RFC 9113 section 8.1.1, RFC 9114 section
/// 4.1.2).
pub const MALFORMED: &str = "malformed";
/// The client gave it up.
pub const CANCELLED: &str = "cancelled";
/// The connection ended without an answer.
pub const NOTHING: &str = "nothing";
/// Nothing more came for [`PATIENCE`].
pub const SILENCE: &str = "silence";
/// How long a server may be silent: longer than anything that a row waits for.
pub const PATIENCE: Duration = Duration::from_secs(6);
/// The stream was reset with another code.
pub const RESET: &str = "reset";

impl Answer {
    pub fn is_over(&self) -> bool {
        !self.end.is_empty()
    }

    /// Takes a head in: an interim one, the answer's, or trailers.
    pub fn add_head(&mut self, head: &[(String, String)]) {
        match head.first() {
            Some((name, status)) if name == ":status" && status.starts_with('1') => {
                let links = head.iter().filter(|(name, _)| name == "link");
                let parts = links.map(|(_, value)| format!(" {value}"));
                self.interim.push(status.clone() + &parts.collect::<String>());
            }
            Some((name, status)) if name == ":status" => {
                self.status = status.parse().unwrap();
                self.fields = head[1..].to_vec();
            }
            _ => self.trailers = head.to_vec(),
        }
    }
}

/// A connection with one request on it.
pub trait Client {
    /// Sends the request's head; `end`: it has no content.
    fn head(&mut self, ask: &Ask, end: bool);

    /// Sends the first half of the head.
    fn half_head(&mut self, ask: &Ask);

    fn data(&mut self, bytes: &[u8]);

    /// Ends the request, behind trailers if there are any.
    fn end(&mut self, trailers: &[(&str, &str)]);

    /// Gives the request up.
    fn cancel(&mut self);

    /// What has come of the answer.
    fn answer(&self) -> Answer;

    /// Reads until something holds, or the answer is over.
    fn until(&mut self, holds: &mut dyn FnMut(&Answer) -> bool);

    /// Lets time pass, without reading.
    fn stall(&mut self, time: Duration);

    /// Lets time pass.
    fn pause(&mut self, time: Duration);

    /// Whether the connection serves another request, which says that it comes from `check`; where
    /// it is to end, waits for the end.
    fn stays(&mut self, is_to_end: bool) -> bool;
}
