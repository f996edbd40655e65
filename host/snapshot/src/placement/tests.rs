use super::*;

/// Pseudo-random, the same at every run: splitmix64.
fn hashes(count: usize, seed: u64) -> Vec<u64> {
    let mut state = seed;
    let mut hashes: Vec<u64> = (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        })
        .collect();
    hashes.sort_unstable();
    hashes
}

/// Every key is in one of its slots or unplaced, and no slot holds two. Gives the share of keys at home.
fn check(index: Index, hashes: &[u64]) -> (Placer, f64) {
    let mut placer = Placer::default();
    placer.place(index, hashes);
    let mut times_placed = vec![0; hashes.len()];
    let mut at_home = 0;
    let mut masks = Vec::new();
    placer.masks(&mut masks);
    for (slot, key) in (0..).zip(placer.owner()) {
        if *key == FREE {
            continue;
        }
        times_placed[*key as usize] += 1;
        let slots = index.slots_in_group(hashes[*key as usize]);
        let number = slots.number_of(slot).unwrap();
        assert!(number == 0 || masks[slots.home as usize] & mask_bit(number) != 0);
        at_home += u32::from(number == 0);
    }
    for key in placer.unplaced() {
        times_placed[*key as usize] += 1;
    }
    assert!(times_placed.iter().all(|times| *times == 1));
    assert!(placer.unplaced().is_sorted());
    let share = f64::from(at_home) / hashes.len() as f64;
    (placer, share)
}

#[test]
fn a_group_of_the_usual_load_has_room_for_every_key_and_most_are_at_home() {
    for (rows, seed) in [(1, 1), (7, 2), (100, 3), (1_000, 4), (16_384, 5), (16_384, 6)] {
        let index = Index::for_rows(rows, 16_384).unwrap();
        let (placer, at_home) = check(index, &hashes(rows as usize, seed));
        assert!(placer.unplaced().is_empty(), "{rows} rows");
        assert!(at_home > 0.55, "{rows} rows: {at_home} at home");
    }
}

/// The number of a group's rows varies: five standard deviations more than the mean still fit.
#[test]
fn a_group_has_room_for_more_keys_than_the_mean() {
    let index = Index::for_rows(16_384, 16_384).unwrap();
    let (placer, _) = check(index, &hashes(16_384 + 5 * 128, 7));
    assert!(placer.unplaced().is_empty());
}

#[test]
fn keys_of_one_hash_take_six_slots_and_the_others_overflow() {
    let index = Index::for_rows(1_000, 16_384).unwrap();
    let (placer, _) = check(index, &[1 << 40; 1_000]);
    assert_eq!(placer.unplaced().len(), 1_000 - ALTERNATIVES);
}

#[test]
fn more_keys_than_slots_fill_every_slot_or_nearly() {
    let index = Index::for_rows(1_000, 16_384).unwrap();
    let (placer, _) = check(index, &hashes(3_000, 8));
    let free = placer.owner().iter().filter(|key| **key == FREE).count();
    assert!(free < 60, "{free} slots are free");
}

#[test]
fn the_same_keys_get_the_same_slots() {
    let index = Index::for_rows(5_000, 16_384).unwrap();
    let hashes = hashes(5_000, 9);
    let (first, _) = check(index, &hashes);
    // The memory of an earlier group must not show.
    let mut second = Placer::default();
    second.place(Index::for_rows(60, 16_384).unwrap(), &hashes[..60]);
    second.place(index, &hashes);
    assert_eq!(first.owner(), second.owner());
}
