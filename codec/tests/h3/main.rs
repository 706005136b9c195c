//! The corpus of the HTTP/3 fuzz target, whole, cut short anywhere, and damaged.

#[path = "../chosen/mod.rs"]
mod chosen;
mod drive;

#[test]
fn the_corpus_replays() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/h3");
    let mut files = 0;
    for file in std::fs::read_dir(corpus).expect("the corpus is in the repository") {
        let octets = std::fs::read(file.expect("a file").path()).expect("readable");
        files += 1;
        assert!(drive::any_input(&octets), "the whole is well formed");
        for cut in 0..=octets.len() {
            drive::any_input(&octets[..cut]);
        }
        for at in 0..octets.len() {
            for bit in 0..8 {
                let mut damaged = octets.clone();
                damaged[at] ^= 1 << bit;
                drive::any_input(&damaged);
            }
        }
    }
    assert!(files >= 5);
}
