use super::*;
use crate::fixture::component;
use crate::section::{HEADER_BYTES, push_section};

/// A component whose module has a section of this name.
fn with_section(name: &str, content: &[u8]) -> Vec<u8> {
    let (component, mut is_first) = (component("aggregate-transform"), true);
    let mut with = component[..HEADER_BYTES].to_vec();
    for section in Section::all(&component).map(Result::unwrap) {
        if section.id == MODULE_SECTION && std::mem::take(&mut is_first) {
            let mut module = section.content.to_vec();
            push_section(&mut module, CUSTOM_SECTION, &[&custom_section(name), content].concat());
            push_section(&mut with, MODULE_SECTION, &module);
        } else {
            with.extend_from_slice(section.whole);
        }
    }
    with
}

#[test]
fn a_component_says_how_large_states_can_be() {
    let of = |tiles: u64, bytes: u64| {
        let words = [tiles, bytes, 1 << 24].map(u64::to_le_bytes).concat();
        let component = with_section(STATE_SECTION, &words);
        crate::check_component(&component).unwrap();
        let bound = StateBound::of(&component).unwrap();
        assert_eq!(bound.limit_bytes, 1 << 24);
        (bound.tiles, bound.bytes, bound.most_bytes())
    };
    assert_eq!(of(14, 500), (Some(14), Some(500), 500));
    assert_eq!(of(14, 1 << 30), (Some(14), Some(1 << 30), 1 << 24));
    assert_eq!(of(14, u64::MAX), (Some(14), None, 1 << 24));
    assert_eq!(of(u64::MAX, u64::MAX), (None, None, 1 << 24));
}

#[test]
fn a_component_that_says_nothing_of_states_is_taken_as_before() {
    for component in [
        component("aggregate-transform"),
        component("row-transform"),
        with_section("unskew:states", &[0; 24]),
        with_section(STATE_SECTION, &[0; 23]),
        with_section(STATE_SECTION, &[0; 25]),
        with_section(STATE_SECTION, &[0; 32]),
        Vec::new(),
        b"\0asm\x0d\0\x01\0\x01".to_vec(),
    ] {
        assert_eq!(StateBound::of(&component), None);
    }
}
