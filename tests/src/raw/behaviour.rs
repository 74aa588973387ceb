//! What a raw peer does that an honest one would not.

use std::num::NonZeroU32;

/// How a raw peer answers requests for chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Honest,
    /// Flips one bit in this share of the chunks; always in the same chunks.
    FlipsBit {
        /// 0 to 100.
        percent: u32,
    },
    /// Refuses every request, though it says that it holds the chunks.
    Refuses,
    /// Takes requests and never answers one.
    NeverSends,
    /// Sends the right bytes at this rate.
    Drips {
        /// Of each connection.
        bytes_per_second: NonZeroU32,
    },
    /// Sends all but the last byte of each chunk, and then nothing more.
    WithholdsLastByte,
    /// Sends one byte more than the chunk has.
    SendsTooMuch,
    /// Sends a chunk as soon as it is met, unasked.
    SendsUnasked,
    /// Answers a request with another chunk than the one asked for.
    SendsAnother,
    /// Announces a chunk past the end of the file.
    AnnouncesBeyondTheEnd,
    /// Announces its holdings in a bitmap with bits past the last chunk. Needs a file whose number
    /// of chunks is not a multiple of eight.
    SetsSpareBits,
}

impl Behaviour {
    /// Whether this chunk goes out with a wrong bit.
    pub(super) fn flips(self, chunk: u32) -> bool {
        match self {
            // Any fixed scatter will do; Knuth's multiplier spreads neighbours.
            Behaviour::FlipsBit { percent } => {
                (chunk.wrapping_mul(2_654_435_761) >> 16) % 100 < percent
            }
            _ => false,
        }
    }
}

/// How a raw peer answers requests for the description of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Description {
    /// With the truth.
    #[default]
    True,
    /// With sums of another file of the same size under the hash asked for.
    Forged,
    /// That it has none.
    Denied,
}

/// How many more chunks a raw peer gives away before it answers that it is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    Unlimited,
    Left(u64),
}

impl Supply {
    /// Whether one more may go.
    pub(super) fn take(&mut self) -> bool {
        match self {
            Supply::Unlimited => true,
            Supply::Left(0) => false,
            Supply::Left(left) => {
                *left -= 1;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_flipped_chunks_is_about_what_was_asked_for() {
        for percent in [0, 10, 50, 100] {
            let flipped =
                (0..10_000).filter(|chunk| Behaviour::FlipsBit { percent }.flips(*chunk)).count();
            let expected = 100 * percent as usize;
            assert!(flipped.abs_diff(expected) <= 300, "{flipped} of 10000 at {percent} %");
        }
    }

    #[test]
    fn a_supply_gives_what_it_has_and_no_more() {
        let mut supply = Supply::Left(2);
        assert_eq!([supply.take(), supply.take(), supply.take()], [true, true, false]);
        assert!(Supply::Unlimited.take());
    }
}
