//! Blocks that python-hpack and pylsqpack wrote, recorded in `recorded/`: decoded exactly by every
//! backend, in whatever state of damage never with a panic, and the same after our own encoder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringway_codec::field::{Field, Known};
use ringway_codec::scan::Backend;
use ringway_codec::{hpack, qpack};
use serde_json::Value;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A block: the encoder stream before it (QPACK), its octets, what it says.
struct Block {
    instructions: Vec<u8>,
    octets: Vec<u8>,
    fields: Pairs,
}

/// The table's size and the blocks of each connection.
fn connections(recorded: &str) -> Vec<(u32, Vec<Block>)> {
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let hex = |value: &Value| -> Vec<u8> {
        let text = value.as_str().unwrap_or_default();
        let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(octet).collect()
    };
    // They were coded as Latin-1.
    let latin =
        |value: &Value| -> Vec<u8> { value.as_str().unwrap().chars().map(|c| c as u8).collect() };
    let block = |value: &Value| Block {
        instructions: hex(&value["instructions"]),
        octets: hex(&value["block"]),
        fields: value["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (latin(&f[0]), latin(&f[1])))
            .collect(),
    };
    let connection = |value: &Value| {
        let blocks = value["blocks"].as_array().unwrap().iter().map(block).collect();
        (value["table"].as_u64().unwrap() as u32, blocks)
    };
    recorded["connections"].as_array().unwrap().iter().map(connection).collect()
}

fn hpack_connections() -> Vec<(u32, Vec<Block>)> {
    connections(include_str!("recorded/hpack.json"))
}

fn qpack_connections() -> Vec<(u32, Vec<Block>)> {
    connections(include_str!("recorded/qpack.json"))
}

fn pairs(bytes: &[u8], fields: &[Field]) -> Pairs {
    fields.iter().map(|f| (f.name(bytes).to_vec(), f.value(bytes).to_vec())).collect()
}

const HPACK: hpack::FieldLimits = hpack::FieldLimits { list_bytes: 65_536, fields: 100 };
const QPACK: qpack::FieldLimits = qpack::FieldLimits { list_bytes: 65_536, fields: 100 };

fn unpack(decoder: &mut hpack::Decoder, octets: &[u8]) -> Option<Pairs> {
    let (mut bytes, mut fields) = (vec![], vec![]);
    decoder.decode(octets, &HPACK, &mut bytes, &mut fields).ok()?;
    Some(pairs(&bytes, &fields))
}

#[test]
fn what_python_hpack_wrote() {
    for backend in Backend::available() {
        for (_, blocks) in hpack_connections() {
            let mut decoder = hpack::Decoder::new(backend, 4096);
            let mut encoder = hpack::Encoder::new(backend, 4096);
            let mut again = hpack::Decoder::new(backend, 4096);
            for block in &blocks {
                let found = unpack(&mut decoder, &block.octets);
                assert_eq!(found.as_ref(), Some(&block.fields), "{backend}");
                let mut wire = vec![];
                let mut own = encoder.block(&mut wire);
                for (name, value) in &block.fields {
                    own.field(Known::of(name), name, value);
                }
                assert_eq!(unpack(&mut again, &wire).as_ref(), Some(&block.fields), "{backend}");
            }
        }
    }
}

/// Every truncation and every flipped bit of each block, in the state that those before it left.
#[test]
fn what_python_hpack_wrote_damaged() {
    for (_, blocks) in hpack_connections() {
        for at in 0..blocks.len() {
            for damaged in damages(&blocks[at].octets) {
                let mut decoder = hpack::Decoder::new(Backend::detect(), 4096);
                for before in &blocks[..at] {
                    unpack(&mut decoder, &before.octets).unwrap();
                }
                let _ = unpack(&mut decoder, &damaged);
                assert!(decoder.memory() <= 8192);
            }
        }
    }
}

fn damages(octets: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..octets.len()).map(|len| octets[..len].to_vec());
    let flipped = (0..octets.len() * 8).map(|bit| {
        let mut octets = octets.to_vec();
        octets[bit / 8] ^= 1 << (bit % 8);
        octets
    });
    cut.chain(flipped).collect()
}

fn read(decoder: &mut qpack::Decoder, stream: u64, octets: &[u8]) -> Option<Pairs> {
    let (mut bytes, mut fields) = (vec![], vec![]);
    decoder.decode(stream, octets, &QPACK, &mut bytes, &mut fields).ok()?;
    Some(pairs(&bytes, &fields))
}

#[test]
fn what_pylsqpack_wrote() {
    for backend in Backend::available() {
        for (table, blocks) in qpack_connections() {
            let mut decoder = qpack::Decoder::new(backend, table, 16);
            for (number, block) in blocks.iter().enumerate() {
                decoder.read_encoder_stream(&block.instructions).unwrap();
                let found = read(&mut decoder, number as u64 * 4, &block.octets);
                assert_eq!(found.as_ref(), Some(&block.fields), "{backend}");
            }
        }
    }
}

#[test]
fn what_pylsqpack_wrote_damaged() {
    for (table, blocks) in qpack_connections() {
        for at in 0..blocks.len() {
            let state = || {
                let mut decoder = qpack::Decoder::new(Backend::detect(), table, 16);
                for block in &blocks[..at] {
                    decoder.read_encoder_stream(&block.instructions).unwrap();
                }
                decoder
            };
            for damaged in damages(&blocks[at].octets) {
                let mut decoder = state();
                decoder.read_encoder_stream(&blocks[at].instructions).unwrap();
                let _ = read(&mut decoder, 4, &damaged);
            }
            for damaged in damages(&blocks[at].instructions) {
                let mut decoder = state();
                if decoder.read_encoder_stream(&damaged).is_ok() {
                    let _ = read(&mut decoder, 4, &blocks[at].octets);
                }
                assert!(decoder.memory() < table as usize * 5 / 4 + 8192);
            }
        }
    }
}
