//! Replays the committed fuzz corpora, each input also cut short at every length and with every bit
//! flipped.

#![allow(clippy::unwrap_used)]

mod corpus;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        check(&data);
        for cut in 0..data.len() {
            check(&data[..cut]);
        }
        let mut flipped = data.clone();
        // Long inputs in strides, so that an unoptimised build takes seconds.
        let bits = data.len() * 8;
        for bit in (0..bits).step_by(1 + bits / 1024) {
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        count += 1;
    }
    assert!(count >= 3, "{target} has a corpus");
}

#[test]
fn h1_request() {
    replay("h1_request", corpus::h1_request);
}

#[test]
fn h1_chunked() {
    replay("h1_chunked", corpus::h1_chunked);
}

#[test]
fn date() {
    replay("date", corpus::date);
}

#[test]
fn huffman() {
    replay("huffman", corpus::huffman);
}

#[test]
fn hpack() {
    replay("hpack", corpus::hpack);
}

#[test]
fn qpack() {
    replay("qpack", corpus::qpack);
}
