//! Formats and parses figures for people. Only the whole is 100 %.

use std::path::Path;
use std::time::Duration;

/// Bytes with a unit: `512 B`, `1.5 KiB`, `64 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // Not 1024: 1023.96 would show as 1024.0 of the smaller unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let tenths = (value * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 {
        format!("{tenths:.0} {}", UNITS[unit])
    } else {
        format!("{tenths:.1} {}", UNITS[unit])
    }
}

/// Bytes a second over some time; nothing for no time at all.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    format!("{}/s", size(per_second(bytes, elapsed)))
}

/// Bytes a second, rounded down; zero for no time at all.
pub(crate) fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos();
    if nanos == 0 {
        return 0;
    }
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// A length of time: `340 ms`, `1.2 s`, `1 min`, `3 min 12 s`, `2 h 5 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The same without tenths, which would flicker: `41 s`, `3 min 12 s`.
pub(crate) fn whole_seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => duration(Duration::from_secs(seconds)),
    }
}

/// Whole percent, rounded down, so that 100 means all. All of nothing is all.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    match u128::from(whole) {
        0 => 100,
        whole => u64::try_from(u128::from(part) * 100 / whole).unwrap_or(100),
    }
}

/// Whole percent of the sum, which sum to 100: what rounding down leaves goes to those that lose
/// most by it. No time at all has no shares.
pub(crate) fn shares<const N: usize>(parts: [Duration; N]) -> [u64; N] {
    let whole: u128 = parts.iter().map(Duration::as_nanos).sum();
    if whole == 0 {
        return [0; N];
    }
    let scaled = parts.map(|part| part.as_nanos() * 100);
    let mut shares = scaled.map(|part| u64::try_from(part / whole).unwrap_or(100));
    let mut by_loss: Vec<usize> = (0..N).collect();
    by_loss.sort_by_key(|part| std::cmp::Reverse(scaled[*part] % whole));
    let left = usize::try_from(100 - shares.iter().sum::<u64>()).unwrap_or(0);
    for part in by_loss.into_iter().take(left) {
        shares[part] += 1;
    }
    shares
}

/// A number and what is counted: `1 peer`, `2 peers`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A number in groups of three digits where there are many: `9999`, `10 000`, `1 000 000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    if number < 10_000 {
        return digits;
    }
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// The time for so many bytes, in whole seconds, which do not flicker; none without bytes or rate.
pub(crate) fn time_left(bytes: u64, per_second: u64) -> Option<Duration> {
    (per_second > 0 && bytes > 0).then(|| Duration::from_secs(bytes.div_ceil(per_second)))
}

/// A path as scripts get it; what is not UTF-8 is replaced.
#[expect(clippy::disallowed_methods, reason = "JSON escapes it")]
pub(crate) fn json_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A path as people may see it.
pub(crate) fn shown_path(path: &Path) -> String {
    tnet_fileinfo::shown_path(path).to_string()
}

/// Parses a rate: bytes a second, or a number of `K`, `M` or `G` of them, perhaps
/// with `/s`. `none` and 0 are no limit.
pub(crate) fn parse_rate(text: &str) -> Result<u64, ParseRateError> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(0);
    }
    let size = text.strip_suffix("/s").unwrap_or(text);
    match parse_size(size).map_err(|_| ParseRateError::Malformed)? {
        rate @ 1..LEAST_RATE => Err(ParseRateError::TooLow(rate)),
        rate => Ok(rate),
    }
}

/// Below this a chunk would take too long.
const LEAST_RATE: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseRateError {
    #[error("write it like 500K, 10M, 1G or none; it is bytes a second")]
    Malformed,
    #[error("{0} bytes a second are too few; the least is 1K. Write it like 500K, 10M, 1G or none")]
    TooLow(u64),
}

/// Parses a size: bytes, or a number of `K`, `M` or `G`.
pub(crate) fn parse_size(text: &str) -> Result<u64, ParseSizeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(ParseSizeError),
    };
    let number: u64 = number.parse().map_err(|_| ParseSizeError)?;
    number.checked_mul(1 << shift).ok_or(ParseSizeError)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it like 64M, 1G or 65536")]
pub(crate) struct ParseSizeError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_people_write_it() {
        for (text, rate) in
            [("none", 0), ("0", 0), ("500K", 500 << 10), ("10MiB/s", 10 << 20), ("1g", 1 << 30)]
        {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        assert_eq!(parse_rate("12"), Err(ParseRateError::TooLow(12)));
        for text in ["", "fast", "-1", "/s", "10Mbit/s"] {
            assert_eq!(parse_rate(text), Err(ParseRateError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_size_shows_in_the_largest_unit_that_leaves_a_number_below_1024() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            // Rounds up to the next unit rather than to 1024 of this one.
            ((1 << 20) - 1, "1 MiB"),
            (1 << 20, "1 MiB"),
            (64 << 20, "64 MiB"),
            (5 * (1 << 30) + (1 << 28), "5.3 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn long_numbers_are_grouped() {
        for (number, shown) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10 000"),
            (100_000, "100 000"),
            (1_000_000, "1 000 000"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn a_rate_is_bytes_over_time() {
        assert_eq!(rate(3 << 20, Duration::from_millis(1500)), "2 MiB/s");
        assert_eq!(rate(10, Duration::ZERO), "0 B/s");
        assert_eq!(per_second(u64::MAX, Duration::from_nanos(1)), u64::MAX);
    }

    #[test]
    fn a_time_shows_in_two_units_at_most() {
        for (millis, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (59_999, "59.9 s"),
            (60_000, "1 min"),
            (61_000, "1 min 1 s"),
            (3_599_999, "59 min 59 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), shown);
        }
    }

    #[test]
    fn only_all_of_it_is_100_percent() {
        for (part, whole, shown) in [(0, 10, 0), (999, 1000, 99), (10, 10, 100), (0, 0, 100)] {
            assert_eq!(percent(part, whole), shown, "{part} of {whole}");
        }
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }

    #[test]
    fn shares_of_a_time_sum_to_100() {
        for (millis, shown) in [
            ([1, 1, 1, 0], [34, 33, 33, 0]),
            ([970, 20, 10, 0], [97, 2, 1, 0]),
            // A hundredth of a percent is nothing; three quarters of one are one.
            ([9_999, 0, 0, 1], [100, 0, 0, 0]),
            ([9_925, 0, 0, 75], [99, 0, 0, 1]),
            ([0, 0, 7, 0], [0, 0, 100, 0]),
            ([0, 0, 0, 0], [0, 0, 0, 0]),
        ] {
            assert_eq!(shares(millis.map(Duration::from_millis)), shown, "{millis:?}");
        }
        assert_eq!(shares([Duration::MAX; 4]), [25; 4]);
    }

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for (text, bytes) in
            [("0", 0), ("65536", 65536), ("64k", 65536), ("64M", 64 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        // Nothing; no number; a sign; a fraction; more than there are.
        for text in ["", "M", "-1", "1.5M", "99999999999G", "1T"] {
            assert_eq!(parse_size(text), Err(ParseSizeError), "{text:?}");
        }
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(shown_path(Path::new("a\u{1b}[2Jb")), "a\\u{1b}[2Jb");
        assert_eq!(shown_path(Path::new("ä b")), "ä b");
    }
}
