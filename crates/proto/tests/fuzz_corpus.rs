//! A replay of the corpus of the fuzzers, on stable Rust.

use std::fs;
use std::path::Path;

use tidings_testkit::fuzz;

fn check(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("fuzz/corpus has a folder for each target") {
        let path = entry.expect("the folder is read").path();
        eprintln!("{}", path.display());
        run(&fs::read(&path).expect("the file is read"));
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", folder.display());
}

#[test]
fn the_decode_corpus_passes() {
    check("decode", fuzz::decode);
}

#[test]
fn the_chunked_corpus_passes() {
    check("chunked", fuzz::chunked);
}

#[test]
fn the_round_trip_corpus_passes() {
    check("round_trip", fuzz::round_trip);
}
