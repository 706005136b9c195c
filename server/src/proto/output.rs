//! A connection's transport side: receiving, gathered output, and the order in which it closes.
//!
//! The module is pure: it requests operations and is told their results. At most one send is in
//! flight; output written meanwhile is gathered for the next. Closing always takes the same steps:
//! stop, cancel operations in flight, wait for them, close (rule 4 of ARCHITECTURE.md).

use std::time::Duration;

use ringway_codec::Time;
use ringway_codec::h2::frame;
use ringway_codec::scan::PAD;

use super::tls_io::{self, Splices, TlsIo};
use super::{Action, Context};
use crate::config::{Limits, least};
use crate::observe::trace::Way;
use crate::ring::send::Pinned;
use crate::ring::token::Id;
use crate::rt::pool::Overflow;

/// Bodies up to this size are copied after their head; larger ones are sent without a copy.
pub(crate) const COPY_MAX: usize = 16 * 1024;
/// How long a closing connection continues to read the peer's input, so that a reset does not
/// destroy the last answer (RFC 9112 section 9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The stage of closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Send the gathered output, then close.
    Flush,
    /// Send the gathered output, linger, then close: the peer may still be sending.
    FlushAndLinger,
    /// FIN is sent. Input is dropped until the peer closes or the time is over.
    Linger,
    /// Operations in flight are being cancelled.
    Now,
}

/// Output of one flush: gathered bytes, then a pinned body.
pub(crate) type Gathered = (Vec<u8>, Option<Pinned>);

/// The transport's state.
pub(crate) struct Output {
    pub(crate) id: Id,
    /// Gathered output.
    pub(crate) out: Vec<u8>,
    overflow: Option<Box<Overflow>>,
    /// Over TLS: bodies spliced into the gathered bytes.
    pub(crate) splices: Option<Box<Splices>>,
    closing: Closing,
    receiving: bool,
    sending: bool,
    cancelling: bool,
    /// The peer has closed its side.
    pub(crate) ended: bool,
    pub(crate) dirty: bool,
    /// When the current send began or last progressed, with the number of acknowledged bytes at
    /// that time; or when lingering began.
    since: Time,
    acknowledged: u32,
}

impl Output {
    pub(crate) fn new(id: Id) -> Self {
        Self {
            id,
            out: Vec::new(),
            overflow: None,
            splices: None,
            closing: Closing::No,
            receiving: false,
            sending: false,
            cancelling: false,
            ended: false,
            dirty: false,
            since: Time::ZERO,
            acknowledged: 0,
        }
    }

    /// True once no further request is accepted.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing != Closing::No
    }

    /// True once all operations in flight are being cancelled.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.closing == Closing::Now
    }

    /// True when no operation is in flight and the descriptor can be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.closing == Closing::Now && !self.receiving && !self.sending && !self.cancelling
    }

    /// True while the kernel holds bytes that the peer has not taken.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending
    }

    /// True when there is nothing to send, work on or end.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.sending && !self.dirty && !self.ended && !self.is_closing() && {
            self.queued() == 0 && self.kept() == 0
        }
    }

    /// True when there may be something to send, work on or end.
    #[inline]
    pub(crate) fn has_more_to_do(&self) -> bool {
        let holds = !self.out.is_empty() || self.overflow.is_some() || self.splices.is_some();
        holds || self.ended || self.is_closing()
    }

    /// Number of bytes gathered but not yet given to the kernel.
    pub(crate) fn queued(&self) -> usize {
        self.gathered() + self.pinned().map_or(0, Pinned::len)
    }

    /// Number of bytes gathered, without a pinned body.
    pub(crate) fn gathered(&self) -> usize {
        self.out.len() + self.splices.as_ref().map_or(0, |splices| splices.len())
    }

    fn pinned(&self) -> Option<&Pinned> {
        self.overflow.as_ref()?.pinned.as_ref()
    }

    /// Sends `body` after the gathered output, without a copy.
    pub(crate) fn pin(&mut self, body: Pinned, cx: &mut Context<'_>) {
        self.overflow(cx).pinned = Some(body);
    }

    fn take_pinned(&mut self) -> Option<Pinned> {
        self.overflow.as_mut()?.pinned.take()
    }

    fn overflow(&mut self, cx: &mut Context<'_>) -> &mut Overflow {
        self.overflow.get_or_insert_with(|| cx.pool.take_overflow())
    }

    /// Splices `body` in at the current end of the output. Only over TLS, where sealing copies it.
    pub(crate) fn lend(&mut self, body: Pinned) {
        self.splices.get_or_insert_default().push(self.out.len(), body);
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn rest(&mut self, cx: &mut Context<'_>) {
        self.tidy(cx);
        self.splices.take_if(|splices| splices.len() == 0);
    }

    #[inline]
    fn tidy(&mut self, cx: &mut Context<'_>) {
        if let Some(overflow) = self.overflow.take_if(|overflow| overflow.is_empty()) {
            cx.pool.give_overflow(overflow);
        }
    }

    /// True while a further response may be written.
    pub(crate) fn has_room(&self, cx: &Context<'_>) -> bool {
        self.pinned().is_none() && self.gathered() < cx.limits.output_bytes && !self.is_closing()
    }

    /// The output buffer. It is taken from the worker's pool, so that an idle connection has none.
    #[inline]
    pub(crate) fn buffer(&mut self, cx: &mut Context<'_>) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = cx.pool.take();
        }
        self.mark(cx);
        &mut self.out
    }

    /// Marks the connection to be flushed at the end of the turn.
    #[inline]
    pub(crate) fn mark(&mut self, cx: &mut Context<'_>) {
        if !self.dirty {
            self.dirty = true;
            cx.dirty.push(self.id);
        }
    }

    /// Keeps input for later.
    pub(crate) fn keep(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        if bytes.is_empty() {
            return;
        }
        let kept = self.kept();
        let spill = &mut self.overflow(cx).spill;
        if spill.capacity() == 0 {
            *spill = cx.pool.take();
        }
        spill.truncate(kept);
        spill.extend_from_slice(bytes);
        spill.extend_from_slice(&[0; PAD]);
    }

    /// Number of bytes of kept input.
    pub(crate) fn kept(&self) -> usize {
        self.overflow.as_ref().map_or(0, |overflow| overflow.spill.len().saturating_sub(PAD))
    }

    /// Takes the kept input, padded. [`Self::put_back`] returns the unused rest.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        self.overflow
            .as_mut()
            .map(|overflow| std::mem::take(&mut overflow.spill))
            .unwrap_or_default()
    }

    /// Returns kept input, of which the first `used` bytes are consumed.
    pub(crate) fn put_back(&mut self, mut spill: Vec<u8>, used: usize, cx: &mut Context<'_>) {
        debug_assert_eq!(self.kept(), 0);
        if used + PAD >= spill.len() {
            cx.pool.give(spill);
            return;
        }
        spill.drain(..used);
        self.overflow(cx).spill = spill;
    }

    /// A receive completed; `more` = the kernel continues a multishot receive.
    pub(crate) fn received(&mut self, more: bool) {
        self.receiving = more;
    }

    /// Starts or stops receiving, depending on the amount of kept input.
    #[inline(always)]
    pub(crate) fn steer_receiving(&mut self, cx: &mut Context<'_>) {
        let goes_on = self.receiving && !self.ended && self.closing == Closing::No;
        if !goes_on || self.kept() > 0 {
            self.change_receiving(cx);
        }
    }

    #[cold]
    fn change_receiving(&mut self, cx: &mut Context<'_>) {
        let full = self.kept() >= spill_max(cx.limits);
        let wanted = match self.closing {
            Closing::No => !self.ended && !full,
            Closing::FlushAndLinger | Closing::Linger => !self.ended,
            Closing::Flush | Closing::Now => false,
        };
        if wanted && !self.receiving && !self.cancelling {
            self.receiving = true;
            cx.actions.push((self.id, Action::Recv));
        } else if !wanted && self.receiving && !self.cancelling {
            self.cancelling = true;
            cx.actions.push((self.id, Action::Pause));
        }
    }

    /// A cancellation completed.
    pub(crate) fn cancelled(&mut self) {
        self.cancelling = false;
    }

    /// The kernel took the data of the send; `buffer` is returned.
    #[inline]
    pub(crate) fn sent(&mut self, buffer: Vec<u8>, cx: &mut Context<'_>) {
        self.sending = false;
        cx.pool.give_sent(buffer);
    }

    /// Returns the gathered output to send, sealed if TLS is used. If nothing is left, continues
    /// closing.
    #[inline(always)]
    pub(crate) fn flush(
        &mut self,
        tls: Option<&mut TlsIo>,
        cx: &mut Context<'_>,
    ) -> Option<Gathered> {
        self.dirty = false;
        if self.sending || self.closing == Closing::Now {
            return None;
        }
        let plain = tls.is_none() && cx.trace.is_none() && self.overflow.is_none();
        let gathered = if plain && !self.out.is_empty() {
            (std::mem::take(&mut self.out), None)
        } else {
            self.gather(tls, cx)?
        };
        self.sending = true;
        self.since = cx.now;
        Some(gathered)
    }

    /// The gathered output, or `None`.
    fn gather(&mut self, tls: Option<&mut TlsIo>, cx: &mut Context<'_>) -> Option<Gathered> {
        if cx.trace.is_some() {
            self.trace(cx);
        }
        let (head, body) = match tls {
            None => (std::mem::take(&mut self.out), self.take_pinned()),
            Some(tls) => (self.seal(tls, cx), None),
        };
        self.tidy(cx);
        if head.is_empty() && body.is_none() {
            self.nothing_to_send(head, cx);
            return None;
        }
        Some((head, body))
    }

    fn nothing_to_send(&mut self, unused: Vec<u8>, cx: &mut Context<'_>) {
        cx.pool.give(unused);
        if self.out.is_empty() {
            cx.pool.give(std::mem::take(&mut self.out));
        }
        self.close_flushed(cx);
    }

    /// The TLS records to send; empty if there is nothing to send or sealing is no longer possible.
    fn seal(&mut self, tls: &mut TlsIo, cx: &mut Context<'_>) -> Vec<u8> {
        let closing = matches!(self.closing, Closing::Flush | Closing::FlushAndLinger);
        if self.queued() == 0 && !tls.has_output() && !closing {
            return Vec::new();
        }
        let mut pinned = self.take_pinned();
        let splices = self.splices.as_deref_mut();
        let sealed = tls.seal(&mut self.out, splices, &mut pinned, closing, cx);
        let records = match sealed {
            Ok(records) => {
                if let Some(rest) = pinned {
                    self.pin(rest, cx);
                }
                records
            }
            // The key's limit is reached, or the peer has sent a fatal alert: the rest cannot be
            // sent.
            Err(_) => {
                self.drop_output(cx);
                self.closing = Closing::Flush;
                tls.end()
            }
        };
        if let Some(trace) = &cx.trace {
            trace.records(self.id, Way::Out, &records);
        }
        records
    }

    /// Traces outgoing HTTP/2, which has no pinned bodies.
    fn trace(&mut self, cx: &mut Context<'_>) {
        let Some(trace) = &mut cx.trace else { return };
        let splices = self.splices.as_deref();
        for part in tls_io::woven(&self.out, splices.map_or(&[], Splices::parts)) {
            trace.octets(self.id, Way::Out, part);
        }
    }

    /// Everything is sent: continues a close that waited for that.
    fn close_flushed(&mut self, cx: &mut Context<'_>) {
        match self.closing {
            Closing::FlushAndLinger if !self.ended => {
                self.closing = Closing::Linger;
                self.since = cx.now;
                cx.actions.push((self.id, Action::Finish));
                self.steer_receiving(cx);
            }
            Closing::Flush | Closing::FlushAndLinger => self.close_now(cx),
            Closing::Linger if self.ended => self.close_now(cx),
            Closing::No | Closing::Linger | Closing::Now => {}
        }
    }

    /// Accepts no further request, and closes once everything is sent. With `linger`, the peer
    /// first gets time to read the answer.
    pub(crate) fn close(&mut self, linger: bool, cx: &mut Context<'_>) {
        if self.closing == Closing::No {
            self.closing = if linger { Closing::FlushAndLinger } else { Closing::Flush };
            self.mark(cx);
        }
    }

    /// Drops everything and closes.
    pub(crate) fn close_now(&mut self, cx: &mut Context<'_>) {
        if self.closing == Closing::Now {
            return;
        }
        self.closing = Closing::Now;
        self.drop_output(cx);
        cx.pool.give(self.take_kept());
        self.overflow = None;
        if (self.receiving || self.sending) && !self.cancelling {
            self.cancelling = true;
            cx.actions.push((self.id, Action::Cancel));
        }
    }

    fn drop_output(&mut self, cx: &mut Context<'_>) {
        cx.pool.give(std::mem::take(&mut self.out));
        self.splices = None;
        drop(self.take_pinned());
    }

    /// Same as [`Self::close_now`], with a reset, which tells the peer that the answer is
    /// incomplete.
    pub(crate) fn reset(&mut self, cx: &mut Context<'_>) {
        if self.closing != Closing::Now {
            cx.actions.push((self.id, Action::Reset));
            self.close_now(cx);
        }
    }

    /// The deadline of the transport's current operation.
    pub(crate) fn deadline(&self, cx_grace: Duration) -> Option<Time> {
        match self.closing {
            Closing::Linger => Some(self.since + LINGER),
            Closing::Now => Some(Time::NEVER),
            _ if self.sending => Some(self.since + cx_grace),
            _ => None,
        }
    }

    /// The transport's deadline has passed. `acknowledged` counts the bytes that the peer has
    /// taken, modulo 2^32.
    pub(crate) fn expire(&mut self, acknowledged: u32, cx: &mut Context<'_>) {
        if self.closing == Closing::Linger {
            return self.close_now(cx);
        }
        if !self.sending {
            return;
        }
        let taken = u64::from(acknowledged.wrapping_sub(self.acknowledged));
        if taken < least(cx.limits.write_rate, cx.now.since(self.since)) {
            cx.tally.counters.slow_readers += 1;
            return self.reset(cx);
        }
        self.acknowledged = acknowledged;
        self.since = cx.now;
    }
}

/// Maximum number of kept input bytes: the configured limit, but at least one HTTP/2 frame of a
/// header block, which is parsed only when complete.
fn spill_max(limits: &Limits) -> usize {
    let head = limits.header_bytes.saturating_mul(2).max(frame::MIN_MAX_FRAME);
    let whole = frame::HEADER + head.min(limits.h2_frame_bytes) as usize;
    limits.spill_bytes.max(whole)
}
