//! Sets of ASCII characters as tables for a byte shuffle.
//!
//! The sets of HTTP's grammar (RFC 9110 section 5.6.2, RFC 3986) are constants, computed at compile
//! time from the characters that the RFCs list.

/// A set of ASCII characters as a 16-byte table: bit `b >> 4` of entry `b & 15` is set if `b` is in
/// it. A byte shuffle looks up 16 to 64 bytes at a time in this form. Bytes from 0x80 on are in no
/// set.
#[derive(Clone, Copy)]
pub(crate) struct Set(pub(crate) [u8; 16]);

impl Set {
    /// The set of all `bytes`.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        let mut table = [0; 16];
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] < 0x80);
            table[(bytes[at] & 15) as usize] |= 1 << (bytes[at] >> 4);
            at += 1;
        }
        Self(table)
    }

    /// This set and every byte from `first` to `last`.
    pub(crate) const fn and_range(self, first: u8, last: u8) -> Self {
        assert!(first <= last && last < 0x80);
        let mut table = self.0;
        let mut byte = first;
        while byte <= last {
            table[(byte & 15) as usize] |= 1 << (byte >> 4);
            byte += 1;
        }
        Self(table)
    }

    /// This set without `A` to `Z`.
    const fn in_lower_case(self) -> Self {
        let mut set = self;
        let mut byte = b'A';
        while byte <= b'Z' {
            set = set.without(byte);
            byte += 1;
        }
        set
    }

    /// This set without `byte`.
    pub(crate) const fn without(self, byte: u8) -> Self {
        assert!(byte < 0x80);
        let mut table = self.0;
        table[(byte & 15) as usize] &= !(1 << (byte >> 4));
        Self(table)
    }

    /// Whether `byte` is in the set.
    #[inline(always)]
    pub(crate) const fn has(&self, byte: u8) -> bool {
        byte < 0x80 && self.0[(byte & 15) as usize] >> (byte >> 4) & 1 != 0
    }
}

/// Letters and digits.
const ALPHANUMERIC: Set =
    Set([0; 16]).and_range(b'0', b'9').and_range(b'A', b'Z').and_range(b'a', b'z');

const fn alphanumeric_and(bytes: &[u8]) -> Set {
    let mut set = Set::of(bytes);
    let mut at = 0;
    while at < 16 {
        set.0[at] |= ALPHANUMERIC.0[at];
        at += 1;
    }
    set
}

/// `tchar`, the characters of a field name or method (RFC 9110 section 5.6.2).
pub(crate) static TOKEN: Set = alphanumeric_and(b"!#$%&'*+-.^_`|~");
/// Control characters that no line of a message may contain: all but HTAB, CR and LF (RFC 9110
/// section 5.5).
pub(crate) static CONTROL: Set = Set::of(&[9, 10, 13]).not_control();
/// Visible ASCII: the characters of a request target (RFC 9112 section 3.2 allows less; we accept
/// `{`, `|` and the like, as other servers do, but no control character, space or byte from 0x80
/// on).
pub(crate) const VISIBLE: Set = Set([0; 16]).and_range(0x21, 0x7e);
/// `reg-name` without percent-encoding (RFC 3986 section 3.2.2): the characters of an ordinary
/// host.
pub(crate) static HOST: Set = HOST_SET;
const HOST_SET: Set = alphanumeric_and(b"-._~!$&'()*+,;=");
/// The same in lower case.
pub(crate) static PLAIN_HOST: Set = HOST_SET.in_lower_case();

impl Set {
    /// The control characters that are not in this set.
    const fn not_control(self) -> Self {
        let all = Self([0; 16]).and_range(0, 0x1f).and_range(0x7f, 0x7f);
        let mut table = all.0;
        let mut at = 0;
        while at < 16 {
            table[at] &= !self.0[at];
            at += 1;
        }
        Self(table)
    }
}
