use super::*;
use crate::{EntityKey, MAX_KEY_BYTES};

#[test]
fn keys_are_those_that_are_made_one_by_one() {
    let keys = [
        vec![KeyPart::I64(-1)],
        vec![KeyPart::I64(7), KeyPart::String("de")],
        vec![KeyPart::Bytes(b"\0"), KeyPart::String(""), KeyPart::I64(i64::MAX)],
    ];
    let mut many = EntityKeys::default();
    for _ in 0..2 {
        many.clear();
        assert!(many.is_empty());
        for key in &keys {
            many.push(key.iter().copied()).unwrap();
            many.push_missing();
        }
        assert_eq!(many.len(), 2 * keys.len());
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(many.get(2 * index), EntityKey::new(key).unwrap().as_ref());
            assert_eq!(many.get(2 * index + 1).as_bytes(), b"");
        }
    }
}

#[test]
fn keys_of_integers_are_those_that_are_pushed() {
    let parts = |number: usize| [number as i64 - 2, i64::MIN + number as i64];
    let (mut pushed, mut extended) = (EntityKeys::default(), EntityKeys::default());
    pushed.push_missing();
    extended.push_missing();
    for number in 0..5 {
        pushed.push(parts(number).map(KeyPart::I64)).unwrap();
    }
    extended.extend_i64s(5, parts);
    extended.extend_i64s(0, parts);
    extended.extend_i64s(1, |_| [7]);
    pushed.push([KeyPart::I64(7)]).unwrap();
    assert_eq!(extended.len(), pushed.len());
    for number in 0..pushed.len() {
        assert_eq!(extended.get(number), pushed.get(number));
    }
}

#[test]
fn a_key_that_is_too_long_is_left_out_whole() {
    let long = vec![b'x'; MAX_KEY_BYTES - 11];
    let mut keys = EntityKeys::default();
    keys.push([KeyPart::I64(1)]).unwrap();
    let error = keys.push([KeyPart::I64(2), KeyPart::Bytes(&long)]).unwrap_err();
    assert_eq!(
        error,
        KeyError::TooLong {
            key_bytes: MAX_KEY_BYTES + 1
        }
    );
    keys.push([KeyPart::I64(2), KeyPart::Bytes(&long[1..])]).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys.get(0).to_string(), "1");
    assert_eq!(keys.get(1).as_bytes().len(), MAX_KEY_BYTES);
}
