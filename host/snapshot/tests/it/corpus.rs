//! The seeds of the fuzz targets, and what they found, on every run of the tests.

use std::fs;
use std::path::Path;

use crate::hostile::open_and_read;
use crate::reseal::reseal;
use crate::rows::{delta, file};

#[test]
fn the_fuzz_corpus_is_refused_or_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let mut read = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        open_and_read(bytes.clone());
        let mut fixed = bytes;
        reseal(&mut fixed);
        open_and_read(fixed);
        read += 1;
    }
    assert!(read >= 5, "{read} files in {}", corpus.display());
}

/// The seeds are files of the writer; UPDATE_EXPECT=1 writes them anew.
#[test]
fn the_seeds_of_the_fuzz_targets_are_whole_files() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (name, whole) in [
        ("empty", file(0, 0)),
        ("one", file(1, 4)),
        ("few", file(4, 10)),
        ("long-keys", file(48, 3)),
        ("delta", delta(6)),
    ] {
        let path = seeds.join(name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, whole).unwrap();
        }
        assert!(open_and_read(fs::read(path).unwrap()), "{name}");
    }
}
