use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Bytes and hashes are in files and decide which requests are logged, so they must not change.
#[test]
fn golden_bytes_and_hashes() {
    use KeyPart::{Bytes, I64, String};
    let cases: [(&[KeyPart<'_>], &[u8], u64); 9] = [
        (&[], b"", 0x2d06_8005_38d3_94c2),
        (&[I64(0)], b"\x01\0\0\0\0\0\0\0\0", 0x313c_2dd2_ec99_6e80),
        (&[I64(1)], b"\x01\x01\0\0\0\0\0\0\0", 0xa048_b5cb_8216_2577),
        (
            &[I64(-2)],
            b"\x01\xfe\xff\xff\xff\xff\xff\xff\xff",
            0x0723_823a_a333_9fbc,
        ),
        (&[String("")], b"\x02\0\0", 0x55d3_d18c_bbfa_bf17),
        (&[String("1")], b"\x02\x01\x001", 0x11b9_2b08_43b8_4c6c),
        (&[Bytes(b"1")], b"\x03\x01\x001", 0x9707_ba63_5874_a916),
        (
            &[String("u1"), I64(258)],
            b"\x02\x02\0u1\x01\x02\x01\0\0\0\0\0\0",
            0x6524_2d63_f774_11a3,
        ),
        (
            &[Bytes(&[0xff, 0]), String("é")],
            b"\x03\x02\0\xff\0\x02\x02\0\xc3\xa9",
            0x2a49_9061_f8de_bfcd,
        ),
    ];
    for (parts, bytes, hash) in cases {
        let key = EntityKey::new(parts).unwrap();
        assert_eq!(key.as_bytes(), bytes, "{parts:?}");
        assert_eq!(key.as_ref().hash(), hash, "{parts:?}: {:#x}", key.as_ref().hash());
    }
}

#[test]
fn a_key_longer_than_the_limit_is_refused_and_unchanged() {
    let text = "x".repeat(MAX_KEY_BYTES - PREFIX_BYTES);
    let mut key = EntityKey::new(&[KeyPart::String(&text)]).unwrap();
    assert_eq!(key.as_bytes().len(), MAX_KEY_BYTES);
    let before = key.clone();
    assert_eq!(
        key.push(KeyPart::Bytes(b"")),
        Err(KeyError::TooLong {
            key_bytes: MAX_KEY_BYTES + 3
        })
    );
    assert_eq!(key, before);
    assert_eq!(KeyRef::from_bytes(key.as_bytes()), Ok(key.as_ref()));

    let long = "x".repeat(70_000);
    assert_eq!(
        EntityKey::new(&[KeyPart::String(&long)]),
        Err(KeyError::TooLong { key_bytes: 70_003 })
    );
    assert_eq!(
        KeyRef::from_bytes(long.as_bytes()),
        Err(KeyError::TooLong { key_bytes: 70_000 })
    );
}

#[test]
fn bytes_that_are_not_keys() {
    let cases: [(&[u8], usize); 9] = [
        (b"\x00", 0),
        (b"\x04\0\0", 0),
        (b"\x01\0\0\0\0\0\0\0", 0),
        (b"\x02", 0),
        (b"\x02\x01", 0),
        (b"\x02\x01\0", 0),
        (b"\x02\x01\0\xff", 0),
        (b"\x03\x01\0\xff\x02", 4),
        (b"\x01\0\0\0\0\0\0\0\0\x01", 9),
    ];
    for (bytes, offset) in cases {
        assert_eq!(
            KeyRef::from_bytes(bytes),
            Err(KeyError::Malformed { offset }),
            "{bytes:?}"
        );
    }
}

#[test]
fn parts_must_be_of_the_types_asked_for() {
    let key = EntityKey::new(&[KeyPart::I64(1), KeyPart::String("a")]).unwrap();
    let cases = [
        (&[KeyType::I64, KeyType::String][..], None),
        (&[KeyType::I64], Some(KeyError::PartCount { expected: 1 })),
        (
            &[KeyType::I64; 3],
            Some(KeyError::PartType {
                part: 1,
                expected: KeyType::I64,
            }),
        ),
        (
            &[KeyType::I64, KeyType::String, KeyType::I64],
            Some(KeyError::PartCount { expected: 3 }),
        ),
        (
            &[KeyType::Bytes, KeyType::String],
            Some(KeyError::PartType {
                part: 0,
                expected: KeyType::Bytes,
            }),
        ),
    ];
    for (types, error) in cases {
        assert_eq!(key.parts(types).err(), error, "{types:?}");
        assert_eq!(key.as_ref().has_types(types), error.is_none());
    }
}

#[test]
fn keys_as_text() {
    use KeyPart::{Bytes, I64, String};
    let cases: [(&[KeyPart<'_>], &str); 5] = [
        (&[], "()"),
        (&[I64(-7)], "-7"),
        (&[String("a\"\n")], r#""a\"\n""#),
        (&[Bytes(&[0, 0xab])], "0x00ab"),
        (&[I64(7), String("de"), Bytes(b"")], r#"(7, "de", 0x)"#),
    ];
    for (parts, text) in cases {
        assert_eq!(EntityKey::new(parts).unwrap().to_string(), text);
    }
}

#[test]
fn key_types_as_text_and_tag() {
    for (key_type, text, tag) in [
        (KeyType::I64, "i64", 1),
        (KeyType::String, "string", 2),
        (KeyType::Bytes, "bytes", 3),
    ] {
        assert_eq!(key_type.to_string(), text);
        assert_eq!(text.parse(), Ok(key_type));
        assert_eq!(key_type.tag(), tag);
        assert_eq!(KeyType::from_tag(tag), Some(key_type));
    }
    assert_eq!(KeyType::from_tag(0), None);
    assert_eq!(
        "int".parse::<KeyType>().unwrap_err().to_string(),
        "`int` is not a key type: use i64, string or bytes"
    );
}

#[test]
fn a_map_of_keys_is_searched_with_a_borrowed_key() {
    let key = EntityKey::new(&[KeyPart::String("u1")]).unwrap();
    let map = HashMap::from([(key.clone(), 1)]);
    assert_eq!(map.get(key.as_ref().as_bytes()), Some(&1));
}

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    I64(i64),
    String(String),
    Bytes(Vec<u8>),
}

impl Owned {
    fn part(&self) -> KeyPart<'_> {
        match self {
            Self::I64(value) => KeyPart::I64(*value),
            Self::String(text) => KeyPart::String(text),
            Self::Bytes(bytes) => KeyPart::Bytes(bytes),
        }
    }
}

/// Parts from few bytes, so that equal and nearly equal keys are frequent.
fn parts() -> impl Strategy<Value = Vec<Owned>> {
    let part = prop_oneof![
        prop_oneof![0..3_i64, Just(0x0001_0102)].prop_map(Owned::I64),
        "[\u{0}\u{1}\u{2}\u{3}]{0,3}".prop_map(Owned::String),
        proptest::collection::vec(0..4_u8, 0..4).prop_map(Owned::Bytes),
    ];
    proptest::collection::vec(part, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn different_parts_give_different_bytes(a in parts(), b in parts()) {
        let encode = |parts: &[Owned]| {
            EntityKey::new(&parts.iter().map(Owned::part).collect::<Vec<_>>()).unwrap()
        };
        prop_assert_eq!(encode(&a) == encode(&b), a == b);
    }

    #[test]
    fn parts_are_read_back(parts in parts()) {
        let parts: Vec<_> = parts.iter().map(Owned::part).collect();
        let types: Vec<_> = parts.iter().map(KeyPart::key_type).collect();
        let key = EntityKey::new(&parts).unwrap();
        prop_assert_eq!(KeyRef::from_bytes(key.as_bytes()), Ok(key.as_ref()));
        prop_assert_eq!(key.parts(&types), Ok(parts));
    }

    #[test]
    fn any_bytes_are_a_key_of_these_bytes_or_an_error(bytes in proptest::collection::vec(0..5_u8, 0..24)) {
        if let Ok(key) = KeyRef::from_bytes(&bytes) {
            let types: Vec<_> = key.iter().map(|part| part.key_type()).collect();
            let again = EntityKey::new(&key.parts(&types).unwrap()).unwrap();
            prop_assert_eq!(again.as_bytes(), &bytes[..]);
        }
    }
}
