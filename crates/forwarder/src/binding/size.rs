//! Sizes as people write them: `64M`, `1 GiB`, `unlimited`.

/// A number of bytes: digits, and perhaps K, M, G or KiB, MiB, GiB (all by 1024).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("'{text}' is no size: write a number of bytes, or one with K, M or G (such as 64M)");
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let shift = match unit.trim() {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// A limit: a size, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<u64>);

/// A size, or `unlimited`.
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    if text == "unlimited" { Ok(Limit(None)) } else { bytes(text).map(|bytes| Limit(Some(bytes))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_units() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(limit("unlimited"), Ok(Limit(None)));
        assert_eq!(limit("8k"), Ok(Limit(Some(8192))));
    }

    #[test]
    fn what_is_no_size_is_refused_and_quoted() {
        for text in ["", "M", "-1", "1T", "1.5G", "64MB!", "99999999999999999999", "20000000000G", "é"] {
            assert!(bytes(text).unwrap_err().contains(&format!("'{text}'")), "{text}");
        }
    }
}
