//! The decisions of a run, one line each, or only the hash of those lines: two runs with the same
//! hash made the same decisions at the same times.

use std::fmt;
use std::io::{self, Write};

use crate::units::{HostId, Nanos};

/// Where decisions go.
#[derive(Default)]
pub enum Trace {
    /// Nowhere.
    #[default]
    Off,
    /// Into a number (FNV-1a).
    Hash(u64),
    /// Into lines.
    Lines(Box<dyn Write>),
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Trace {
    /// A trace that keeps only the hash.
    pub fn hashed() -> Trace {
        Trace::Hash(FNV_OFFSET)
    }

    /// The hash of everything so far, if it is kept.
    pub fn hash(&self) -> Option<u64> {
        match self {
            Trace::Hash(hash) => Some(*hash),
            Trace::Off | Trace::Lines(_) => None,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        !matches!(self, Trace::Off)
    }

    pub(crate) fn record(&mut self, at: Nanos, host: HostId, what: &dyn fmt::Debug) {
        // The reader of a pipe may be gone.
        let _ = writeln!(self, "{:>16} {host:>5} {what:?}", at);
    }
}

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Trace::Off => {}
            Trace::Hash(hash) => {
                *hash = bytes
                    .iter()
                    .fold(*hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
            }
            Trace::Lines(lines) => lines.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Trace::Lines(lines) => lines.flush(),
            Trace::Off | Trace::Hash(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trace::Off => "Off",
            Trace::Hash(_) => "Hash",
            Trace::Lines(_) => "Lines",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_other_nanosecond_is_another_hash() {
        let hash_at = |at| {
            let mut trace = Trace::hashed();
            trace.record(at, 1, &"decision");
            trace.hash()
        };
        assert_eq!(hash_at(1), hash_at(1));
        assert_ne!(hash_at(1), hash_at(2));
    }
}
