//! Lengths of time as people write them: `10s`, `500ms`, `1.5m`, `2h`; a bare number counts
//! seconds.

use std::time::Duration;

/// Longer than any user waits, and short enough to be added to any `Instant`.
const MAX_SECONDS: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseDurationError {
    #[error("write it like 10s, 500ms, 10m or 1h")]
    NotADuration,
    #[error("more than ten years")]
    TooLong,
}

/// Reads a length of time.
pub(crate) fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| ParseDurationError::NotADuration)?;
    let unit_seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(ParseDurationError::NotADuration),
    };
    let seconds = number * unit_seconds;
    if seconds > MAX_SECONDS {
        return Err(ParseDurationError::TooLong);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| ParseDurationError::NotADuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_as_it_is_written() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("10", 10_000),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        // Nothing; only a unit; an unknown one; wrong case; a sign; spaces; two numbers; words that
        // numbers parse.
        for text in
            ["", "s", "10d", "10S", "-1s", "10 s", "1m30s", "1.2.3s", ".", "inf", "nan", "1e9s"]
        {
            assert_eq!(parse(text), Err(ParseDurationError::NotADuration), "{text:?}");
        }
        assert_eq!(parse(&"9".repeat(400)), Err(ParseDurationError::TooLong));
        assert_eq!(parse("100000h"), Err(ParseDurationError::TooLong));
    }
}
