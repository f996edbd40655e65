use super::*;

/// The value of FIPS 180-2 for "abc".
const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_digest_is_its_text() {
    let digest = Digest::of(b"abc");
    assert_eq!(digest.to_string(), ABC);
    assert_eq!(format!("{digest:?}"), ABC);
    assert_eq!(ABC.parse(), Ok(digest));
    assert_eq!(format!("sha256:{}", digest.hex()), ABC);
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("\"{ABC}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "sha256:",
        &ABC[7..],
        &ABC[..ABC.len() - 1],
        &format!("{ABC}0"),
        &ABC.to_uppercase(),
        &ABC.replace("ba78", "BA78"),
        &ABC.replace("sha256", "sha512"),
        &ABC.replace("ba78", "+a78"),
        &ABC.replace("ba78", "ü8"),
        &format!(" {ABC}"),
    ] {
        let error = text.parse::<Digest>().expect_err(text);
        assert_eq!(
            error.to_string(),
            format!("`{text}` is not a digest: expected sha256: and 64 hexadecimal digits")
        );
    }
}

/// A reader that gives a byte at a time, with interruptions, and may fail at the end.
struct Slow<'a>(&'a [u8], bool, bool);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match self.0.split_first() {
            Some((byte, rest)) => {
                buffer[0] = *byte;
                self.0 = rest;
                Ok(1)
            }
            None if self.2 => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(0),
        }
    }
}

#[test]
fn a_reader_has_the_digest_of_its_bytes() {
    assert_eq!(Digest::of_reader(Slow(b"abc", false, false)).unwrap().to_string(), ABC);
    assert_eq!(Digest::of_reader(&[7; 200_000][..]).unwrap(), Digest::of(&[7; 200_000]));
    let error = Digest::of_reader(Slow(b"abc", false, true)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
