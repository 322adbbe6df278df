//! Texts with a unit: `"2GiB"`, `"1.5s"`.

/// The units of memory, in bytes.
const MEMORY: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The units of time, in milliseconds.
const TIME: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Digits after the point that are read; more than a unit can tell apart.
const FRACTION_DIGITS_MAX: usize = 12;

/// Reads an amount of memory, in bytes. The error says what is wrong and what would be right.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    amount(text, MEMORY).map_err(|wrong| {
        format!(
            "{wrong}: write memory as a number and a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), \
             like \"2GiB\", or as a number of bytes without quotes"
        )
    })
}

/// Reads a length of time, in milliseconds. The error says what is wrong and what would be right.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    amount(text, TIME)
        .map_err(|wrong| format!("{wrong}: write a time as a number and a unit (ms, s, m, h), like \"30s\""))
}

/// Reads `text` as a decimal number and one of `units`.
fn amount(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    if number.is_empty() {
        return Err(format!("\"{text}\" does not begin with a number"));
    }
    if unit.is_empty() {
        return Err(format!("\"{text}\" has no unit"));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("\"{unit}\" is not a unit that is known here"));
    };
    scaled(number, *scale).ok_or_else(|| format!("\"{number}\" is not a number that fits"))
}

/// `number × scale`, exact as far as whole units go; `None` if it is no number or too large.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_add(u64::try_from(parts / power).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{bytes, milliseconds};

    #[test]
    fn memory_has_decimal_and_binary_units() {
        assert_eq!(bytes("2GiB"), Ok(2_147_483_648));
        assert_eq!(bytes("2 GB"), Ok(2_000_000_000));
        assert_eq!(bytes("1.5KiB"), Ok(1_536));
        assert_eq!(bytes(" 7B "), Ok(7));
        assert_eq!(bytes("0.1MB"), Ok(100_000));
        assert_eq!(bytes("3TiB"), Ok(3 << 40));
    }

    #[test]
    fn memory_that_cannot_be_read_says_why() {
        for (text, why) in [
            ("", "does not begin with a number"),
            ("GiB", "does not begin with a number"),
            ("-1GiB", "does not begin with a number"),
            ("1024", "has no unit"),
            ("2gib", "\"gib\" is not a unit"),
            ("1.2.3GB", "is not a number that fits"),
            (".GB", "is not a number that fits"),
            ("1.GB", "is not a number that fits"),
            ("99999999999TiB", "is not a number that fits"),
        ] {
            let message = bytes(text).expect_err(text);
            assert!(message.contains(why), "{text}: {message}");
            assert!(message.contains("like \"2GiB\""), "{text}: {message}");
        }
    }

    #[test]
    fn time_has_four_units() {
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert_eq!(milliseconds("30s"), Ok(30_000));
        assert_eq!(milliseconds("1.5m"), Ok(90_000));
        assert_eq!(milliseconds("2h"), Ok(7_200_000));
        assert!(milliseconds("2 days").expect_err("no such unit").contains("like \"30s\""));
    }
}
