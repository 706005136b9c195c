//! Parser for HTTP/1.1 answers (RFC 9112 sections 4, 6 and 7), fed incrementally.
//!
//! The other end is our own server, so anything unparsable is a broken answer.

use std::collections::VecDeque;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// An answer being received.
pub(super) struct Answer {
    head_only: bool,
    buffer: Vec<u8>,
    stage: Stage,
    /// The fields of each 103.
    pub(super) hints: Vec<HeaderMap>,
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
    /// The body in pieces, as they were written if the framing shows that.
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) trailers: HeaderMap,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Length(u64),
    Chunk,
    Trailers,
    UntilEnd,
    Done,
    Broken,
}

impl Answer {
    pub(super) fn new(head_only: bool) -> Self {
        Self {
            head_only,
            buffer: Vec::new(),
            stage: Stage::Head,
            hints: Vec::new(),
            status: None,
            headers: HeaderMap::new(),
            pieces: VecDeque::new(),
            trailers: HeaderMap::new(),
        }
    }

    /// What an answer of any protocol is as bytes: its pieces are what was received.
    pub(super) fn unparsed() -> Self {
        Self { stage: Stage::UntilEnd, ..Self::new(false) }
    }

    /// True if nothing more is expected.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::Broken)
    }

    /// True if the answer ended before it was complete.
    pub(super) fn is_broken(&self) -> bool {
        self.stage == Stage::Broken
    }

    /// Number of body bytes not yet taken.
    pub(super) fn untaken(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Takes received bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while !self.is_over() && self.step() {}
    }

    /// Marks the end of the connection.
    pub(super) fn end(&mut self) {
        if !self.is_over() {
            self.stage = if self.stage == Stage::UntilEnd { Stage::Done } else { Stage::Broken };
        }
    }

    /// Parses the next part; false while it is incomplete.
    fn step(&mut self) -> bool {
        match self.stage {
            Stage::Head => self.head(),
            Stage::Length(left) => {
                let take = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if take > 0 {
                    self.pieces.push_back(self.buffer.drain(..take).collect());
                }
                let left = left - take as u64;
                self.stage = if left == 0 { Stage::Done } else { Stage::Length(left) };
                left == 0
            }
            Stage::Chunk => self.chunk(),
            Stage::Trailers => {
                let Some(line) = self.line() else { return false };
                match field(&line) {
                    Some((name, value)) => drop(self.trailers.append(name, value)),
                    None => self.stage = Stage::Done,
                }
                true
            }
            Stage::UntilEnd => {
                if !self.buffer.is_empty() {
                    self.pieces.push_back(std::mem::take(&mut self.buffer));
                }
                false
            }
            Stage::Done | Stage::Broken => false,
        }
    }

    fn head(&mut self) -> bool {
        let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let Some(status) = status.and_then(|status: u16| StatusCode::from_u16(status).ok()) else {
            self.stage = Stage::Broken;
            return false;
        };
        let headers: HeaderMap = lines.filter_map(field).collect();
        if status.is_informational() {
            if status == StatusCode::EARLY_HINTS {
                self.hints.push(headers);
            }
            return true;
        }
        self.stage = framing(status, self.head_only, &headers);
        (self.status, self.headers) = (Some(status), headers);
        true
    }

    /// Parses a chunk; its final CRLF is parsed with what follows.
    fn chunk(&mut self) -> bool {
        let start = if self.buffer.starts_with(b"\r\n") { 2 } else { 0 };
        let Some(end) = self.buffer[start..].windows(2).position(|two| two == b"\r\n") else {
            return false;
        };
        let (line, at) = (&self.buffer[start..start + end], start + end + 2);
        let size = std::str::from_utf8(line).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            self.stage = Stage::Broken;
            return false;
        };
        if size == 0 {
            self.buffer.drain(..at);
            self.stage = Stage::Trailers;
            return true;
        }
        let Some(piece) = self.buffer.get(at..at + size) else { return false };
        self.pieces.push_back(piece.to_vec());
        self.buffer.drain(..at + size);
        true
    }

    fn line(&mut self) -> Option<String> {
        let end = self.buffer.windows(2).position(|two| two == b"\r\n")?;
        let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

/// How the end of the body is indicated (RFC 9112 section 6.3).
fn framing(status: StatusCode, head_only: bool, headers: &HeaderMap) -> Stage {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if head_only || bodiless {
        return Stage::Done;
    }
    if headers.contains_key(http::header::TRANSFER_ENCODING) {
        return Stage::Chunk;
    }
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse().ok()) {
        Some(0) => Stage::Done,
        Some(length) => Stage::Length(length),
        None => Stage::UntilEnd,
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Answer {
        // As a whole and byte by byte.
        let mut whole = Answer::new(false);
        whole.receive(bytes);
        let mut parts = Answer::new(false);
        bytes.iter().for_each(|byte| parts.receive(&[*byte]));
        let all = |answer: &Answer| answer.pieces.iter().flatten().copied().collect::<Vec<u8>>();
        assert_eq!(all(&whole), all(&parts));
        assert_eq!(whole.is_over(), parts.is_over());
        whole
    }

    #[test]
    fn every_framing_is_read() {
        let answer = read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        assert!(answer.is_over() && !answer.is_broken());
        assert_eq!(answer.pieces, [b"hello"]);
        let answer = read(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
              transfer-encoding: chunked\r\n\r\n3\r\none\r\n4\r\ntwo \r\n0\r\nx-sum: 9\r\n\r\n",
        );
        assert!(answer.is_over() && !answer.is_broken());
        assert_eq!(answer.pieces, [b"one".to_vec(), b"two ".to_vec()]);
        assert_eq!(answer.hints[0]["link"], "</a>");
        assert_eq!(answer.trailers["x-sum"], "9");
        assert!(read(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n").is_over());
    }

    #[test]
    fn an_end_before_the_end_is_a_broken_answer() {
        let mut answer = read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel");
        assert!(!answer.is_over());
        answer.end();
        assert!(answer.is_broken());
        let mut answer = read(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhel");
        answer.end();
        assert!(answer.is_over() && !answer.is_broken());
    }
}
