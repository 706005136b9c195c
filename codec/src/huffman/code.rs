//! The code itself. It is canonical (codes of one length are consecutive and ordered by symbol), so
//! the lengths alone define RFC 7541's appendix B. Everything else is computed from them at compile
//! time.

/// The symbol that must never be sent: 30 ones, whose prefixes serve as padding.
pub(super) const EOS: usize = 256;

/// Bits of the longest code.
pub(super) const LONGEST: usize = 30;

/// Bits of each symbol's code, by symbol.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
    6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23,
    23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22,
    22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26,
    27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
    25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The canonical order: symbols by (length, symbol), and for each length where its codes begin.
pub(super) struct Canonical {
    /// Symbols in code order; EOS, the last, as 0.
    pub(super) symbols: [u8; 257],
    /// Code of each symbol, right aligned.
    pub(super) codes: [u32; 257],
    /// First code of each length, left aligned to 32 bits. For a length without codes, the start of
    /// the next length.
    pub(super) first: [u32; LONGEST + 2],
    /// Rank in `symbols` of the first code of each length.
    pub(super) rank: [u16; LONGEST + 2],
}

pub(super) const CANONICAL: Canonical = canonical();

const fn canonical() -> Canonical {
    let mut c = Canonical {
        symbols: [0; 257],
        codes: [0; 257],
        first: [0; LONGEST + 2],
        rank: [0; LONGEST + 2],
    };
    let (mut length, mut code, mut rank) = (1, 0u32, 0);
    while length <= LONGEST {
        c.first[length] = code << (32 - length);
        c.rank[length] = rank as u16;
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] as usize == length {
                c.symbols[rank] = if symbol == EOS { 0 } else { symbol as u8 };
                c.codes[symbol] = code;
                code += 1;
                rank += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    // Every 32-bit pattern begins with a code, so the sum has wrapped around.
    assert!(rank == 257 && code == 1 << (LONGEST + 1));
    c.first[LONGEST + 1] = u32::MAX;
    c.rank[LONGEST + 1] = 257;
    c
}
