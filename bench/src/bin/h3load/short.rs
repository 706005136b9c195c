//! Short connections: each ends with its first answer and is replaced by another.

use crate::Load;
use crate::client::Client;
use std::io;
use std::time::Instant;

/// BoringSSL's `ssl_early_data_accepted`.
const ACCEPTED: u32 = 2;

/// How connections were established.
#[derive(Clone, Copy, Default)]
pub(crate) struct Handshakes {
    pub(crate) full: u64,
    pub(crate) resumed: u64,
    /// Resumed with early data that the server accepted.
    pub(crate) early: u64,
    pub(crate) failed: u64,
}

impl Handshakes {
    /// Counts an ending connection.
    pub(crate) fn note(&mut self, client: &Client) {
        let quic = client.conn.transport();
        *match (quic.is_established(), quic.is_resumed()) {
            (false, _) => &mut self.failed,
            (_, false) => &mut self.full,
            (_, true) if quic.early_data_reason() == ACCEPTED => &mut self.early,
            (_, true) => &mut self.resumed,
        } += 1;
    }

    /// The requested feature that never happened, if any.
    pub(crate) fn missing(&self, resume: bool, early: bool) -> Option<String> {
        let Self { full, resumed, early: taken, failed } = self;
        let what = match (resume, early) {
            (_, true) if *taken == 0 => "no early data was accepted",
            (true, _) if resumed + taken == 0 => "no session was given, or none was resumed",
            _ => return None,
        };
        Some(format!("{what}: {full} full handshakes, {resumed} resumed, {failed} failed"))
    }
}

impl Load<'_> {
    /// Closes answered connections and opens others in their place. If sessions are resumed, a
    /// connection stays open until it has received one.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for at in 0..self.clients.len() {
            let client = &mut self.clients[at];
            let session = client.conn.transport().session();
            let is_over = client.is_done() && (session.is_some() || !self.args.resume);
            if !is_over && !client.conn.is_closed() {
                continue;
            }
            if self.args.resume {
                self.sessions.extend(session.map(<[u8]>::to_vec));
            }
            self.handshakes.note(client);
            // The answer to early data can arrive before our Finished is sent, and a closing
            // connection sends none: the server would wait for it.
            client.flush(&mut self.out, now)?;
            client.conn.close(0x100, b"");
            client.flush(&mut self.out, now)?;
            let session = self.sessions.pop();
            let target = &self.args.targets[0];
            let mut next = Client::connect(target, &mut self.config, session.as_deref())?;
            // The first flight: with it, early data may follow.
            next.flush(&mut self.out, now)?;
            self.clients[at] = next;
        }
        Ok(())
    }
}
