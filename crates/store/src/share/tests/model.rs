//! Random steps: applying all changes must yield the files that can be shared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::{JUST_NOW, LONG_AGO, NOW, put, scratch, watch};
use crate::FileFingerprint;
use crate::share::Change;

/// Paths of the property test: at the top, inside, and ones that are never shared.
const PATHS: [&str; 6] = ["a", "b", "in/a", "in/deep/a", ".hidden", "in/a.partial"];

#[derive(Debug, Clone)]
enum Step {
    /// Writes that many bytes; long ago or just now.
    Write(usize, usize, bool),
    Delete(usize),
    /// Moves one path over another.
    Rename(usize, usize),
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || 0..PATHS.len();
    let step = prop_oneof![
        3 => (path(), 0..3_usize, any::<bool>()).prop_map(|(path, len, old)| Step::Write(path, len, old)),
        1 => path().prop_map(Step::Delete),
        1 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => Just(Step::Poll),
    ];
    prop::collection::vec(step, 1..40)
}

/// The files that should be shared, found the simple way.
fn shareable(dir: &Path) -> BTreeMap<PathBuf, FileFingerprint> {
    PATHS[..4]
        .iter()
        .map(|name| dir.join(name))
        .filter_map(|path| {
            fs::metadata(&path).ok().map(|metadata| (path, FileFingerprint::of(&metadata)))
        })
        .collect()
}

/// Applies the changes to a listener's view of the directory.
fn apply(
    believed: &mut BTreeMap<PathBuf, FileFingerprint>,
    changes: Vec<Change>,
) -> Result<(), TestCaseError> {
    for change in changes {
        let consistent = match change {
            Change::Appeared { path, fingerprint } => believed.insert(path, fingerprint).is_none(),
            Change::Changed { path, fingerprint } => {
                believed.insert(path, fingerprint).is_some_and(|old| old != fingerprint)
            }
            Change::Deleted { path } | Change::Changing { path } => {
                believed.remove(&path).is_some()
            }
            Change::Unreadable { .. }
            | Change::HardLink { .. }
            | Change::TooDeep { .. }
            | Change::TooMany { .. } => false,
        };
        prop_assert!(consistent);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn applying_all_changes_yields_the_directory(steps in steps()) {
        let dir = scratch();
        fs::create_dir_all(dir.path().join("in/deep")).expect("writable");
        let mut watch = watch(dir.path());
        let mut believed = BTreeMap::new();
        let mut seen_before = BTreeMap::new();
        for (number, step) in (0..).zip(&steps) {
            // Each modification has its own time, as on a file system with fine clocks.
            let tick = Duration::from_nanos(number);
            match *step {
                Step::Write(path, len, old) => {
                    let base = if old { LONG_AGO } else { JUST_NOW };
                    put(dir.path().join(PATHS[path]), &vec![0; len], base + tick);
                }
                Step::Delete(path) => {
                    let _ = fs::remove_file(dir.path().join(PATHS[path]));
                }
                Step::Rename(from, to) => {
                    let _ = fs::rename(dir.path().join(PATHS[from]), dir.path().join(PATHS[to]));
                }
                Step::Poll => {
                    let there = shareable(dir.path());
                    let before = believed.clone();
                    apply(&mut believed, watch.poll(NOW).expect("readable"))?;
                    for (path, fingerprint) in &there {
                        let old = fingerprint.modified_ns < i64::try_from(JUST_NOW.as_nanos()).expect("this century");
                        let settled = old || seen_before.get(path) == Some(fingerprint);
                        let expected = (settled || before.get(path) == Some(fingerprint)).then_some(fingerprint);
                        prop_assert_eq!(believed.get(path), expected, "{:?}", path);
                    }
                    prop_assert!(believed.keys().all(|path| there.contains_key(path)));
                    seen_before = there;
                }
            }
        }
        for _ in 0..2 {
            apply(&mut believed, watch.poll(NOW).expect("readable"))?;
        }
        prop_assert_eq!(believed, shareable(dir.path()));
    }
}
