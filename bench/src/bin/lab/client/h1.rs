//! HTTP/1.1 for the lab: requests in a row, answers with a Content-Length.

use super::{Ask, Got};
use crate::site::NAME;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

#[derive(Default)]
pub(crate) struct H1 {
    under_way: VecDeque<Got>,
    head: Vec<u8>,
    /// Content left of the first answer, once its head is read.
    left: Option<u64>,
    pub(crate) content: u64,
}

impl H1 {
    pub(crate) fn ask(&mut self, ask: &Ask, out: &mut Vec<u8>) {
        let before = out.len();
        out.extend_from_slice(format!("GET {} HTTP/1.1\r\nhost: {NAME}\r\n", ask.path).as_bytes());
        for (name, value) in &ask.fields {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.under_way.push_back(Got::new(ask.tag, out.len() - before));
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn receive(&mut self, mut bytes: &[u8], done: &mut Vec<Got>) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(got) = self.under_way.front_mut() else {
                return Err(io::Error::other("an answer to nothing"));
            };
            let Some(left) = self.left else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                if self.head.ends_with(b"\r\n\r\n") {
                    let (status, len) = read_head(&self.head)?;
                    (got.status, got.head_bytes) = (status, self.head.len());
                    got.arrived(0);
                    self.left = Some(len);
                    self.head.clear();
                    self.hand_out_if_whole(done);
                }
                continue;
            };
            let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            got.arrived(take);
            self.content += take as u64;
            self.left = Some(left - take as u64);
            bytes = &bytes[take..];
            self.hand_out_if_whole(done);
        }
        Ok(())
    }

    fn hand_out_if_whole(&mut self, done: &mut Vec<Got>) {
        if self.left == Some(0)
            && let Some(mut got) = self.under_way.pop_front()
        {
            got.last = Instant::now();
            done.push(got);
            self.left = None;
        }
    }
}

/// The status and the length of the content.
fn read_head(head: &[u8]) -> io::Result<(u16, u64)> {
    let text = String::from_utf8_lossy(head);
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    status.zip(length).ok_or_else(|| io::Error::other(format!("cannot read the head {text:?}")))
}
