//! A classic BPF program for a group of UDP sockets (SO_ATTACH_REUSEPORT_CBPF), which gives each
//! datagram to the worker named in its connection ID, so a client that has moved needs no
//! forwarding. The sockets must be in the order of the workers. Datagrams that it cannot read are
//! left to the kernel's hash, and the endpoint forwards misdirected ones. The program is not
//! attached here.

use crate::cid::LEN;

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a jump's test holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const LOAD_X_MEMORY: u16 = 0x61;
const STORE_MEMORY: u16 = 0x02;
const AND: u16 = 0x54;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const XOR_X: u16 = 0xac;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const RETURN_A: u16 = 0x16;

/// No socket has this number, so the kernel falls back to its hash.
const HASH: u32 = u32::MAX;

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// The program for `workers` sockets (at most 256: a connection ID has one byte for them), with the
/// [`steering`](crate::Endpoint::steering) key of their endpoints. It sees the datagram's payload.
pub fn program(key: u32, workers: u16) -> [Instruction; 24] {
    let workers = u32::from(workers);
    [
        plain(LOAD_BYTE, 0),
        jump(JUMP_ANY_BIT, 0x80, 8, 0),
        // A short header: the connection ID follows its first byte.
        plain(LOAD_WORD, 2),
        plain(MULTIPLY, key),
        plain(SHIFT_RIGHT, 24),
        plain(STORE_MEMORY, 0),
        plain(LOAD_BYTE, 1),
        plain(LOAD_X_MEMORY, 0),
        plain(XOR_X, 0),
        jump(JUMP_AT_LEAST, workers, 12, 13),
        // A long header: a Handshake packet's destination is ours. Those of Initial and 0-RTT
        // packets may be the client's.
        plain(AND, 0x30),
        jump(JUMP_EQUAL, 0x20, 0, 10),
        plain(LOAD_BYTE, 5),
        jump(JUMP_EQUAL, LEN as u32, 0, 8),
        plain(LOAD_WORD, 7),
        plain(MULTIPLY, key),
        plain(SHIFT_RIGHT, 24),
        plain(STORE_MEMORY, 0),
        plain(LOAD_BYTE, 6),
        plain(LOAD_X_MEMORY, 0),
        plain(XOR_X, 0),
        jump(JUMP_AT_LEAST, workers, 0, 1),
        plain(RETURN, HASH),
        plain(RETURN_A, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keys;
    use crate::cid::{Cids, Origin};

    /// The kernel's interpreter; `None` if a jump leaves the program.
    fn run(program: &[Instruction], packet: &[u8]) -> Option<u32> {
        let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; 16], 0usize);
        loop {
            let Instruction { code, jt, jf, k } = *program.get(at)?;
            at += 1;
            let from = k as usize;
            let mut go = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match code {
                LOAD_BYTE => match packet.get(from) {
                    Some(byte) => a = u32::from(*byte),
                    None => return Some(0),
                },
                LOAD_WORD => match packet.get(from..from + 4) {
                    Some(bytes) => a = u32::from_be_bytes(bytes.try_into().unwrap()),
                    None => return Some(0),
                },
                LOAD_X_MEMORY => x = memory[from],
                STORE_MEMORY => memory[from] = a,
                AND => a &= k,
                MULTIPLY => a = a.wrapping_mul(k),
                SHIFT_RIGHT => a >>= k,
                XOR_X => a ^= x,
                JUMP_EQUAL => go(a == k),
                JUMP_AT_LEAST => go(a >= k),
                JUMP_ANY_BIT => go(a & k != 0),
                RETURN => return Some(k),
                RETURN_A => return Some(a),
                _ => unreachable!("an instruction that the program does not use"),
            }
        }
    }

    #[test]
    fn every_packet_of_ours_goes_to_its_worker() {
        let mut cids = Cids::new(&Keys::derive(&[3; 32]));
        for workers in [1, 64, 256] {
            let program = program(cids.steering(), workers);
            for worker in 0..=(workers - 1) as u8 {
                let cid = cids.mint(Origin { worker, generation: 5 });
                let short = [&[0x40][..], &cid, &[9; 30]].concat();
                assert_eq!(run(&program, &short), Some(u32::from(worker)));
                let handshake = [&[0xe0, 0, 0, 0, 1, LEN as u8][..], &cid, &[9; 30]].concat();
                assert_eq!(run(&program, &handshake), Some(u32::from(worker)));
            }
        }
    }

    #[test]
    fn foreign_packets_are_hashed() {
        let mut cids = Cids::new(&Keys::derive(&[3; 32]));
        let program = program(cids.steering(), 4);
        let cid = cids.mint(Origin { worker: 9, generation: 5 });
        assert_eq!(run(&program, &[&[0x40][..], &cid].concat()), Some(HASH));
        for first in [0xc0, 0xd0, 0xf0] {
            let long = [&[first, 0, 0, 0, 1, LEN as u8][..], &cid].concat();
            assert_eq!(run(&program, &long), Some(HASH));
        }
        let short_cid = [&[0xe0, 0, 0, 0, 1, 8][..], &cid].concat();
        assert_eq!(run(&program, &short_cid), Some(HASH));
        for len in 0..40 {
            assert!(run(&program, &[0x40; 40][..len]).is_some());
            assert!(run(&program, &[0xe0; 40][..len]).is_some());
        }
    }
}
