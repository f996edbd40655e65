//! Bytes that no writer wrote.

use super::reseal::{reseal, reseal_header};
use super::*;

/// The start of a section of a file.
fn section_at(file: &[u8], section: Section) -> usize {
    let index = Section::STORED.iter().position(|s| *s == section).unwrap();
    u64_at(file, 64 + index * 24 + 8) as usize
}

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

#[test]
fn every_bit_flip_is_refused() {
    let file = small_file();
    for bit in 0..8 * file.len() {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = open(&flipped).unwrap_err();
        assert!(error.is_corrupt(), "bit {bit}: {error}");
    }
}

#[test]
fn every_prefix_and_every_extension_is_refused() {
    let file = small_file();
    for len in 0..file.len() {
        let error = open(&file[..len]).unwrap_err();
        assert!(error.is_corrupt(), "{len}: {error}");
    }
    for extra in [1, 7, 8, 64, 65_536] {
        let mut longer = file.clone();
        longer.resize(file.len() + extra, 0);
        assert!(open(&longer).unwrap_err().is_corrupt());
    }
}

/// Damage with checksums made to fit: what opens is read without a panic, and most does not open.
#[test]
fn resealed_damage_is_refused_or_harmless() {
    let file = small_file();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut opened = 0;
    for round in 0..60_000 {
        let mut damaged = file.clone();
        for _ in 0..=random.below(3) {
            // Every other round aims at the header and the metadata.
            let end = if round % 2 == 0 { 1_024 } else { damaged.len() };
            let at = random.below(end.min(damaged.len()));
            damaged[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => damaged[at].wrapping_add(1),
                _ => random.below(256) as u8,
            };
        }
        reseal(&mut damaged);
        if let Ok(snapshot) = open(&damaged) {
            opened += 1;
            assert!(read_all(&snapshot) > 0);
        }
    }
    // Values may be anything of their type, so some of it is a snapshot.
    assert!((1..30_000).contains(&opened), "{opened}");
}

#[test]
fn header_fields_out_of_range_are_refused_before_anything_is_allocated() {
    let file = small_file();
    let u64_fields: Vec<_> = [16, 24]
        .into_iter()
        .chain((0..6).flat_map(|index| [64 + index * 24 + 8, 64 + index * 24 + 16]))
        .collect();
    let u64_values = [0, 1, 7, 255, 1 << 16, u64::from(u32::MAX), 1 << 40, 1 << 62, u64::MAX];
    for field in u64_fields {
        for value in u64_values {
            let mut changed = file.clone();
            changed[field..field + 8].copy_from_slice(&value.to_le_bytes());
            // A heap of the size it has is no change.
            if changed != file {
                reseal_header(&mut changed);
                let error = open(&changed).unwrap_err();
                assert!(error.is_corrupt(), "{field} {value}: {error}");
            }
        }
    }
    for field in [32, 36, 40, 44, 48, 52, 56, 60, 216] {
        for value in [2, 31, 33, 64, 1 << 20, u32::MAX] {
            let mut changed = file.clone();
            changed[field..field + 4].copy_from_slice(&u32::to_le_bytes(value));
            reseal_header(&mut changed);
            assert!(open(&changed).unwrap_err().is_corrupt(), "{field} {value}");
        }
    }
}

/// One change to a field that the checksums vouch for, and the check that finds it.
#[test]
fn each_check_behind_the_checksums_finds_its_flaw() {
    let file = small_file();
    let rows = section_at(&file, Section::Rows);
    let row_bytes = 96;
    let named = |name: &str| {
        let snapshot = open(&file).unwrap();
        let (_, row) = snapshot
            .iter()
            .find(|(key, _)| key.to_string().starts_with(name))
            .unwrap();
        rows + row.index().as_u32() as usize * row_bytes
    };
    let (values, nulls, long) = (named(r#"(1, "a")"#), named(r#"(2, "")"#), named("(4"));
    let keys = section_at(&file, Section::Keys);
    let heap = section_at(&file, Section::Heap);
    let flags = file[values + 23];
    let cases: [(usize, u8, &str); 20] = [
        (values + 6, 0x7f, "later than the watermark"),
        (values + 8, 9, "there is more behind the key"),
        (values + 18, 9, "the key is malformed"),
        (values + 17, 3, "the key is not of the schema's types"),
        (values + 22, 1, "there is more behind the key"),
        (values + 23, flags & 0x3f, "a slot without a row is not zero"),
        (
            values + 23,
            flags ^ 0x10,
            "the mask is not that of the keys of this home",
        ),
        (values + 23, flags ^ 0x20, "a key is removed, and the file is no delta"),
        (values + 23, flags ^ 0x40, "a key that is not long is said to be"),
        (long + 23, file[long + 23] ^ 0x40, "the key is malformed"),
        (long + 8, 5, "the key is out of place"),
        (values + 25, 1, "the padding is not zero"),
        (values + row_bytes - 1, 1, "the padding is not zero"),
        (nulls + 32, 1, "feature 0: a null is not zero"),
        (values + 56, 9, "feature 5: the value is out of place"),
        (values + 58, 1, "feature 5: the value is out of place"),
        (
            values + 72 + 3,
            0xff,
            "feature 3: the value is not in its canonical form",
        ),
        (values + 88, 2, "feature 1: the value is not in its canonical form"),
        (keys, 9, "the key is malformed"),
        (heap, 0xff, "the text is not UTF-8"),
    ];
    for (at, byte, flaw) in cases {
        let mut changed = file.clone();
        changed[at] = byte;
        assert_ne!(changed, file, "{at} {flaw}");
        if flaw.contains("feature 3") {
            changed[at - 1] = 0xff;
        }
        reseal(&mut changed);
        let error = open(&changed)
            .err()
            .map_or("opened".to_owned(), |error| error.to_string());
        assert!(error.contains(flaw), "{at} {byte}: {error}, not {flaw}");
    }
}

#[test]
fn another_version_is_unsupported_and_not_corrupt() {
    let mut file = small_file();
    file[8] = 9;
    assert!(open(&file).unwrap_err().is_corrupt());
    reseal_header(&mut file);
    let error = open(&file).unwrap_err();
    assert!(error.is_unsupported_version() && !error.is_corrupt());
    assert_eq!(
        error.to_string(),
        "the snapshot (in memory) has format version 9; this program reads version 1"
    );
}

#[test]
fn errors_say_what_and_where() {
    let mut file = small_file();
    let rows = section_at(&file, Section::Rows);
    let cut = file[..300].to_vec();
    let translated: Vec<u8> = {
        let text = file.windows(2).filter(|pair| *pair != b"\r\n");
        text.map(|pair| pair[0]).collect()
    };
    file[rows] ^= 1;
    let cases: [(&[u8], &str); 6] = [
        (b"", "(in memory) is empty, not a snapshot file"),
        (b"PAR1....", "(in memory) is not a snapshot file: it begins otherwise"),
        (
            b"\x89US",
            "the snapshot (in memory) is corrupt in its header at offset 3: the file ends in its header",
        ),
        (
            &translated,
            "the snapshot (in memory) is corrupt in its header at offset 0: the first bytes are changed, as by a transfer in text mode",
        ),
        (
            &cut,
            "the snapshot (in memory) is corrupt in its header at offset 16: the header is of a file of ",
        ),
        (
            &file,
            "the snapshot (in memory) is corrupt in its metadata at offset 256: the checksum of the block that begins here, number 0, does not match",
        ),
    ];
    for (bytes, message) in cases {
        let error = open(bytes).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

/// As when blocks and their checksums come from another build of the same size: only the header knows.
#[test]
fn blocks_with_checksums_that_the_header_does_not_vouch_for_are_refused() {
    let mut file = small_file();
    let header = file[..HEADER_BYTES].to_vec();
    let heap = section_at(&file, Section::Heap);
    file[heap] = b'T';
    reseal(&mut file);
    assert!(open(&file).is_ok());
    file[..HEADER_BYTES].copy_from_slice(&header);
    let error = open(&file).unwrap_err().to_string();
    assert!(error.contains("the checksum of the checksums"), "{error}");
}
