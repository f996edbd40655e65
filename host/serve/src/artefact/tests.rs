use super::*;

#[test]
fn code_comes_back_and_nothing_else_does() {
    let component = Digest::of(b"component");
    for code in [&b""[..], b"native code"] {
        let bytes = encode_artefact(&component, Cpu::Baseline, code);
        assert_eq!(decode_artefact(&component, &bytes), Ok(code));
        assert_eq!(
            decode_artefact(&Digest::of(b"other"), &bytes),
            Err(ArtefactError::Component)
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let expected = match at {
                8..40 => ArtefactError::Settings,
                40..72 => ArtefactError::Component,
                _ => ArtefactError::Damaged,
            };
            assert_eq!(decode_artefact(&component, &changed), Err(expected), "byte {at}");
            assert_eq!(
                decode_artefact(&component, &bytes[..at]),
                Err(ArtefactError::Damaged),
                "{at} bytes"
            );
        }
        let longer = [&bytes[..], b"\0"].concat();
        assert_eq!(decode_artefact(&component, &longer), Err(ArtefactError::Damaged));
    }
}

#[test]
fn code_for_another_processor_is_refused_by_its_level() {
    let component = Digest::of(b"component");
    for cpu in Cpu::ALL {
        let expected = match cpu.is_supported() {
            true => Ok(&b"code"[..]),
            false => Err(ArtefactError::Cpu(cpu)),
        };
        assert_eq!(
            decode_artefact(&component, &encode_artefact(&component, cpu, b"code")),
            expected
        );
    }
    assert_eq!(
        ArtefactError::Cpu(Cpu::V3).to_string(),
        "the compiled module is for a processor of level v3, which this machine's is not"
    );
}
