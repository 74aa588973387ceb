//! Lower-case hexadecimal, as `b3sum` prints it; reading takes either case and nothing else.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two digits for each byte, most significant first.
#[expect(clippy::indexing_slicing, reason = "half a byte is below 16")]
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Fills `out` from exactly `2 * out.len()` digits; `None` for any other text.
pub(crate) fn decode_into(text: &str, out: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return None;
    }
    let (pairs, _) = digits.as_chunks();
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = (value(*high)? << 4) | value(*low)?;
    }
    Some(())
}

/// The 32 bytes of exactly 64 digits; `None` for any other text.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    decode_into(text, &mut out)?;
    Some(out)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_in_either_case(bytes in any::<[u8; 32]>()) {
            let text = encode(&bytes);
            prop_assert_eq!(decode_32(&text), Some(bytes));
            prop_assert_eq!(decode_32(&text.to_uppercase()), Some(bytes));
        }
    }

    #[test]
    fn every_byte_is_written_as_the_formatter_writes_it() {
        for byte in 0..=u8::MAX {
            assert_eq!(encode(&[byte]), format!("{byte:02x}"));
        }
    }

    #[test]
    fn only_hex_digits_count_as_digits() {
        // The neighbours of each range, a sign that `from_str_radix` would take, and a wide
        // character.
        for text in ["0/", ":0", "@0", "0G", "0`", "g0", "+1", " 1", "é"] {
            let mut out = [0; 1];
            assert_eq!(decode_into(text, &mut out), None, "{text:?}");
        }
    }
}
