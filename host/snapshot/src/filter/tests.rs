use super::*;
use crate::{EntityKey, KeyPart};

fn hash(number: i64) -> u64 {
    EntityKey::new(&[KeyPart::I64(number)]).unwrap().as_ref().hash()
}

#[test]
fn every_key_that_was_added_passes_and_few_others_do() {
    for count in [0, 1, 7, 1_000, 20_000] {
        let mut filter = Filter::for_keys(count as u64);
        (0..count).for_each(|number| filter.add(hash(number)));
        assert!((0..count).all(|number| filter.may_have(hash(number))));
        let others = 20_000;
        let passed = (0..others).filter(|number| filter.may_have(hash(-1 - number))).count();
        assert!(passed < 600, "{passed} of {others} with {count} keys");
        assert!(filter.bytes() <= 8 + 8 * count as usize / 5);
    }
}
