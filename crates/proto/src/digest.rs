//! A [`ReportDigest`] depends only on the set of entries in it: not on their order, and not on how
//! it got there.

use crate::coordinator::{Availability, ReportDigest, ReportEntry};

impl ReportDigest {
    /// Puts `entry` in, or takes it out if it is in. An entry with [`Availability::None`] is never
    /// in, so toggling it changes nothing.
    ///
    /// To change an entry, toggle the old value out and the new one in.
    pub fn toggle(&mut self, entry: &ReportEntry) {
        let availability: u8 = match entry.availability {
            Availability::None => return,
            Availability::Partial => 1,
            Availability::Full => 2,
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&entry.hash).update(&entry.size.to_le_bytes()).update(&[availability]);
        for (byte, mask) in self.0.iter_mut().zip(hasher.finalize().as_bytes()) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = ReportEntry> {
        let availability = prop_oneof![
            Just(Availability::None),
            Just(Availability::Partial),
            Just(Availability::Full)
        ];
        // Few distinct files, so that the same one comes up more than once.
        (0..4u8, 0..3u64, availability).prop_map(|(hash, size, availability)| ReportEntry {
            hash: [hash; 32],
            size,
            availability,
        })
    }

    fn digest_of<'a>(entries: impl IntoIterator<Item = &'a ReportEntry>) -> ReportDigest {
        let mut digest = ReportDigest::default();
        entries.into_iter().for_each(|entry| digest.toggle(entry));
        digest
    }

    #[test]
    fn one_entry_is_the_first_half_of_the_hash_of_its_41_bytes() {
        let entry =
            ReportEntry { hash: [7; 32], size: 0x0102_0304, availability: Availability::Full };
        let mut input = vec![7; 32];
        input.extend([4, 3, 2, 1, 0, 0, 0, 0, 2]);
        assert_eq!(digest_of([&entry]).0, blake3::hash(&input).as_bytes()[..16]);
    }

    #[test]
    fn nothing_shared_is_all_zero() {
        let gone = ReportEntry { hash: [1; 32], size: 5, availability: Availability::None };
        assert_eq!(digest_of([&gone]), ReportDigest([0; 16]));
    }

    proptest! {
        #[test]
        fn order_does_not_matter(entries in proptest::collection::vec(entry(), 0..12), rotation in 0..12usize) {
            let mut turned = entries.clone();
            turned.rotate_left(rotation.min(entries.len()));
            prop_assert_eq!(digest_of(&entries), digest_of(&turned));
        }

        #[test]
        fn a_second_toggle_takes_an_entry_out(
            entries in proptest::collection::vec(entry(), 0..12), extra in entry(),
        ) {
            let twice = entries.iter().chain([&extra, &extra]);
            prop_assert_eq!(digest_of(twice), digest_of(&entries));
        }

        #[test]
        fn two_different_entries_never_cancel_out(a in entry(), b in entry()) {
            let shared = |e: &ReportEntry| e.availability != Availability::None;
            prop_assume!(a != b && (shared(&a) || shared(&b)));
            prop_assert_ne!(digest_of([&a, &b]), ReportDigest::default());
        }
    }
}
