use core::fmt;

/// The units of a duration, greatest first, in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The microseconds of a duration: whole numbers with the units `d`, `h`, `m`, `s`, `ms` and `us`, greatest first, each at
/// most once, without spaces.
///
/// ```
/// use unskew_snapshot::parse_duration_us;
///
/// assert_eq!(parse_duration_us("3d9h"), Ok(81 * 3_600_000_000));
/// assert_eq!(parse_duration_us("250ms"), Ok(250_000));
/// assert!(parse_duration_us("30").is_err());
/// ```
///
/// # Errors
/// The text is not such a duration, or beyond `u64` microseconds.
pub fn parse_duration_us(text: &str) -> Result<u64, ParseDurationError> {
    parse(text).ok_or_else(|| ParseDurationError(text.to_owned()))
}

/// The duration in the form that [`parse_duration_us`] reads; `0s` for none.
pub fn format_duration_us(micros: u64) -> String {
    struct Duration(u64);
    impl fmt::Display for Duration {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_duration_us(self.0, f)
        }
    }
    Duration(micros).to_string()
}

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDurationError(String);

impl fmt::Display for ParseDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a duration: use whole numbers with d, h, m, s, ms, us, greatest unit first, as in 30d or 3d9h",
            self.0
        )
    }
}

impl std::error::Error for ParseDurationError {}

pub(crate) fn write_duration_us(micros: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if micros == 0 {
        return f.write_str("0s");
    }
    let mut rest = micros;
    for (name, unit) in UNITS {
        if rest >= unit {
            write!(f, "{}{name}", rest / unit)?;
            rest %= unit;
        }
    }
    Ok(())
}

fn parse(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        // The iterator goes on from the last unit: a second `h`, or a `d` after an `h`, is not found.
        let (_, unit) = units.find(|(name, _)| *name == &rest[..letters])?;
        rest = &rest[letters..];
        total = total.checked_add(count.checked_mul(*unit)?)?;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests;
