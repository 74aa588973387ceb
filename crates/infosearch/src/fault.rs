//! Why holders gave no description.

use std::fmt;

use tnet_session::CallFailure;

/// Why one holder was of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It did not answer in time, or too slowly.
    Silent,
    /// What it sent is no description of the file.
    False,
    /// It says that it does not have one.
    NotFound,
    /// It has no place for another connection.
    Full,
    /// It closed the connection, or the connection broke.
    Closed,
    /// No connection could be made.
    Unreachable(CallFailure),
}

impl Fault {
    /// Each of them.
    #[cfg(test)]
    pub(super) const ALL: [Fault; 6] = [
        Fault::Silent,
        Fault::False,
        Fault::NotFound,
        Fault::Full,
        Fault::Closed,
        Fault::Unreachable(CallFailure::Refused),
    ];
}

/// Holders that were asked for a description without success, by what came of it.
///
/// Exhaustive: the peer and its users build it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UselessHolders {
    /// They did not answer in time, or too slowly.
    pub silent: usize,
    /// They sent something that is no description of the file.
    pub lying: usize,
    /// They said that they do not have it.
    pub without: usize,
    /// They took no more connections.
    pub full: usize,
    /// They closed the connection, or it broke.
    pub closed: usize,
    /// They could not be reached.
    pub unreachable: usize,
}

impl UselessHolders {
    /// How many were asked.
    pub fn asked(&self) -> usize {
        let UselessHolders { silent, lying, without, full, closed, unreachable } = self;
        silent + lying + without + full + closed + unreachable
    }

    /// What to do if they were all of one kind that passes.
    pub fn hint(&self) -> Option<&'static str> {
        (self.full > 0 && self.full == self.asked()).then_some("try again later")
    }
}

impl FromIterator<Fault> for UselessHolders {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> UselessHolders {
        let mut holders = UselessHolders::default();
        for fault in faults {
            *match fault {
                Fault::Silent => &mut holders.silent,
                Fault::False => &mut holders.lying,
                Fault::NotFound => &mut holders.without,
                Fault::Full => &mut holders.full,
                Fault::Closed => &mut holders.closed,
                Fault::Unreachable(_) => &mut holders.unreachable,
            } += 1;
        }
        holders
    }
}

/// "31 peers were asked: 12 did not answer in time, 19 sent a false description".
impl fmt::Display for UselessHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asked();
        write!(f, "{asked} {} asked", if asked == 1 { "peer was" } else { "peers were" })?;
        let counts = [
            (self.silent, "did not answer in time"),
            (self.lying, "sent a false description"),
            (self.without, "did not have it"),
            (self.full, "took no more connections"),
            (self.closed, "closed the connection"),
            (self.unreachable, "could not be reached"),
        ];
        for (at, (count, what)) in counts.iter().filter(|(count, _)| *count > 0).enumerate() {
            write!(f, "{} {count} {what}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_told() {
        let holders: UselessHolders =
            [Fault::Silent, Fault::False, Fault::Silent].into_iter().collect();
        let told = "3 peers were asked: 2 did not answer in time, 1 sent a false description";
        assert_eq!(holders.to_string(), told);
    }

    #[test]
    fn who_finds_only_full_peers_is_told_to_come_again() {
        let of = |faults: &[Fault]| faults.iter().copied().collect::<UselessHolders>();
        assert_eq!(of(&[Fault::Full, Fault::Full]).hint(), Some("try again later"));
        assert_eq!(of(&[Fault::Full, Fault::Silent]).hint(), None);
        assert_eq!(of(&[]).hint(), None);
    }
}
