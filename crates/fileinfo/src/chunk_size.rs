//! A chunk size is a power of two between [`MIN_CHUNK_SIZE`] and [`MAX_CHUNK_SIZE`]; no value of
//! the type is anything else.
//!
//! The power of two is what makes every chunk a complete subtree of the file's BLAKE3 tree.

use std::fmt;
use std::str::FromStr;

use crate::geometry::GeometryError;

/// Smallest chunk, in bytes. Below it, sums and requests cost more than the data they cover is
/// worth.
pub const MIN_CHUNK_SIZE: u32 = 16 * 1024;

/// Largest chunk, in bytes. A receiver holds a whole chunk before it may believe it, so this bounds
/// its memory.
pub const MAX_CHUNK_SIZE: u32 = 16 * 1024 * 1024;

/// The default aims at about this many chunks: a chunk is passed on only when it is whole, so what
/// few have spreads slowly in large ones. 16 receivers at 100 Mbit/s have 512 MiB in 1.07 times the
/// bound with 8192 chunks, 1.09 with 4096, 1.10 with 2048; one receiver without a limit is as fast
/// with 8192 as with 2048.
const DEFAULT_CHUNKS: u64 = 8192;

/// Smallest chunk the default picks for a file that is not small, in bytes.
const MIN_DEFAULT: u64 = 64 * 1024;

/// Files of at most so many bytes, and the chunks they get: they are all start, in which each chunk
/// passes four or more peers, one after the other, before all have something to give. 16 receivers
/// at 100 Mbit/s have 1 MiB in 1.7 times the bound with chunks of 16 KiB and in 3.2 with 64; 8 MiB
/// in 1.21 with 32 KiB and in 1.32 with 64. Beyond 32 MiB smaller ones gain nothing; chunks of 16
/// KiB cost more at 1 Gbit/s than they gain at 100 Mbit/s from 4 MiB on. Simulated:
/// docs/experiments/024.
const SMALL: [(u64, u64); 2] = [(2 << 20, 16 * 1024), (32 << 20, 32 * 1024)];

const _: () = assert!(MIN_CHUNK_SIZE.is_power_of_two() && MAX_CHUNK_SIZE.is_power_of_two());
const _: () = assert!(MIN_DEFAULT >= MIN_CHUNK_SIZE as u64 && MIN_DEFAULT.is_power_of_two());

/// Bytes in every chunk of a file but the last, which may be shorter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// Accepts a power of two from [`MIN_CHUNK_SIZE`] to [`MAX_CHUNK_SIZE`] bytes.
    ///
    /// # Errors
    /// [`GeometryError::ChunkSize`] for any other number.
    pub const fn new(bytes: u32) -> Result<Self, GeometryError> {
        if bytes.is_power_of_two() && MIN_CHUNK_SIZE <= bytes && bytes <= MAX_CHUNK_SIZE {
            Ok(Self(bytes))
        } else {
            Err(GeometryError::ChunkSize { bytes: bytes as u64 })
        }
    }

    /// The size in bytes.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The default for a file of `size` bytes: 16 KiB up to 2 MiB, 32 KiB up to 32 MiB, and then
    /// 4096 to 8192 chunks where the bounds (64 KiB to 16 MiB) allow.
    pub fn default_for(size: u64) -> Self {
        let wanted = (size / DEFAULT_CHUNKS).next_power_of_two();
        let small = SMALL.iter().find(|(at_most, _)| size <= *at_most);
        let least = small.map_or(MIN_DEFAULT, |(_, chunk)| *chunk);
        let clamped = wanted.clamp(least, u64::from(MAX_CHUNK_SIZE));
        Self(u32::try_from(clamped).expect("clamped to MAX_CHUNK_SIZE, which is a u32"))
    }
}

impl FromStr for ChunkSize {
    type Err = GeometryError;

    /// Bytes (`65536`), or a number of `K`/`KiB` or `M`/`MiB` in either case (`64K`, `1MiB`).
    fn from_str(text: &str) -> Result<Self, GeometryError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_bytes: u64 = match unit.to_ascii_lowercase().as_str() {
            "" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            _ => return Err(GeometryError::NotASize),
        };
        let number: u64 = number.parse().map_err(|_| GeometryError::NotASize)?;
        let bytes = number.saturating_mul(unit_bytes);
        u32::try_from(bytes).map_err(|_| GeometryError::ChunkSize { bytes }).and_then(Self::new)
    }
}

impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            bytes if bytes >= 1 << 20 => (bytes >> 20, "MiB"),
            bytes => (bytes >> 10, "KiB"),
        };
        write!(f, "{number} {unit}")
    }
}

impl fmt::Debug for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_within_the_bounds_are_chunk_sizes() {
        for shift in 0..32 {
            let bytes = 1_u32 << shift;
            let allowed = (14..=24).contains(&shift);
            assert_eq!(ChunkSize::new(bytes).is_ok(), allowed, "2^{shift}");
            if bytes > 2 {
                assert!(ChunkSize::new(bytes - 1).is_err(), "2^{shift} - 1");
                assert!(ChunkSize::new(bytes + 1).is_err(), "2^{shift} + 1");
            }
        }
        assert!(ChunkSize::new(0).is_err());
        assert!(ChunkSize::new(u32::MAX).is_err());
    }

    #[test]
    fn the_default_follows_the_file_between_its_bounds() {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let table = [
            (0, 16 * KIB),                 // nothing
            (2 * MIB, 16 * KIB),           // the largest with the smallest chunks
            (2 * MIB + 1, 32 * KIB),       // one byte more
            (32 * MIB, 32 * KIB),          // the largest small file
            (32 * MIB + 1, 64 * KIB),      // one byte more
            (512 * MIB, 64 * KIB),         // exactly 8192 of the smallest
            (512 * MIB + 8191, 64 * KIB),  // the division rounds down
            (512 * MIB + 8192, 128 * KIB), // the first file that asks for more
            (4 * GIB, 512 * KIB),          // in the middle
            (128 * GIB, 16 * MIB),         // exactly 8192 of the largest
            (129 * GIB, 16 * MIB),         // clamped
            (u64::MAX, 16 * MIB),          // no overflow; the geometry refuses it
        ];
        for (size, expected) in table {
            assert_eq!(u64::from(ChunkSize::default_for(size).get()), expected, "{size}");
        }
    }

    #[test]
    fn a_size_is_read_with_or_without_a_binary_unit() {
        let table = [
            ("16384", 1 << 14),
            ("64K", 1 << 16),
            ("64k", 1 << 16),
            ("256KiB", 1 << 18),
            ("1M", 1 << 20),
            ("16MiB", 1 << 24),
            ("1024k", 1 << 20),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse().map(ChunkSize::get), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn text_that_is_no_size_and_sizes_out_of_range_are_told_apart() {
        // 64KB is refused because half its readers take it for 64000.
        for text in [
            "",
            "K",
            "64KB",
            "64 K",
            "-1",
            "+1",
            "1.5M",
            "64Kx",
            "1G",
            "é",
            "99999999999999999999999",
        ] {
            assert_eq!(text.parse::<ChunkSize>(), Err(GeometryError::NotASize), "{text:?}");
        }
        let table = [
            ("0", 0),
            ("8K", 8 << 10),
            ("65537", 65537),
            ("32M", 32 << 20),
            ("18446744073709551615M", u64::MAX),
        ];
        for (text, bytes) in table {
            assert_eq!(
                text.parse::<ChunkSize>(),
                Err(GeometryError::ChunkSize { bytes }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_size_prints_in_its_largest_whole_unit() {
        for (text, printed) in
            [("16K", "16 KiB"), ("512K", "512 KiB"), ("1M", "1 MiB"), ("16M", "16 MiB")]
        {
            assert_eq!(
                text.parse::<ChunkSize>().map(|size| size.to_string()).as_deref(),
                Ok(printed)
            );
        }
    }
}
