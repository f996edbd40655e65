//! What the fuzz targets share: reading all of a snapshot or of a state, and making the checksums of any bytes hold.

use unskew_snapshot::{EntityKey, KeyPart, Snapshot};

use crate::reseal::{HEADER_BYTES, reseal};

#[path = "../../host/snapshot/tests/shared/reseal.rs"]
mod reseal;
mod state;

pub use state::read_state;

/// Opens bytes, and reads everything in every way if they open.
pub fn open_and_read(bytes: Vec<u8>) {
    let Ok(snapshot) = Snapshot::from_bytes(bytes) else {
        return;
    };
    let mut keys = Vec::new();
    for (key, row) in snapshot.iter() {
        for value in row.values() {
            std::hint::black_box(format!("{value:?}"));
        }
        let found = snapshot.get(key).map(|found| found.index());
        assert_eq!(found, Some(row.index()), "a row is not found under its key");
        keys.push(key);
    }
    assert_eq!(keys.len(), snapshot.len());
    let mut found = Vec::new();
    snapshot.get_many(&keys, &mut found);
    assert!(found.iter().all(Option::is_some));
    for parts in [&[][..], &[KeyPart::I64(1)], &[KeyPart::I64(1), KeyPart::String("a")]] {
        if let Ok(key) = EntityKey::new(parts) {
            std::hint::black_box(snapshot.get(key.as_ref()).is_some());
        }
    }
}

/// Makes the start, the length and all checksums fit the bytes, so that what is behind those checks is reached.
pub fn fix(file: &mut [u8]) {
    if file.len() < HEADER_BYTES {
        return;
    }
    file[..8].copy_from_slice(b"\x89USK\r\n\x1a\n");
    file[8..12].copy_from_slice(&1_u32.to_le_bytes());
    file[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
    let file_bytes = file.len() as u64;
    file[16..24].copy_from_slice(&file_bytes.to_le_bytes());
    reseal(file);
}
