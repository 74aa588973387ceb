//! The file of a scan cache is bounded by what is there, and is seldom rewritten.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::scan_cache::{MUCH_LATER, knows, remember};
use super::{CHUNK, Sample, scratch};
use crate::ScanCache;

/// How much longer than twice its useful bytes the file may be.
const SLACK: u64 = 4 * 1024;

/// Looks until each of the files of a test was looked at.
const LOOKS: usize = 3;

/// A cache and files that come and go.
struct Place {
    dir: TempDir,
    sample: Sample,
    cache: ScanCache,
    /// The numbers of the files that are there.
    there: Vec<u32>,
    /// Which file the cache was, and how often that was another.
    inode: Option<u64>,
    rewrites: u64,
    /// The sum of the lengths by which the cache grew.
    written: u64,
    len: u64,
}

impl Place {
    fn new() -> Place {
        let dir = scratch();
        let cache = ScanCache::at(dir.path().join("log"));
        let sample = Sample::of_size(CHUNK);
        let (there, inode) = (Vec::new(), None);
        Place { dir, sample, cache, there, inode, rewrites: 0, written: 0, len: 0 }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("file {number:06}"))
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn comes(&mut self, number: u32) {
        let path = self.path(number);
        fs::write(&path, &self.sample.content).expect("writable");
        remember(&self.cache, &path, &self.sample);
        self.there.retain(|there| *there != number);
        self.there.push(number);
        self.watch();
    }

    fn goes(&mut self, number: u32) {
        let _ = fs::remove_file(self.path(number));
        self.there.retain(|there| *there != number);
    }

    fn tidies_up(&mut self) {
        for _ in 0..LOOKS {
            self.cache.tidy_up();
        }
        self.watch();
    }

    /// The process ends, with what it has time for or without, and another begins.
    fn restarts(&mut self) {
        self.cache = ScanCache::at(self.dir.path().join("elsewhere"));
        self.cache = ScanCache::at(self.log());
        // It shares what is there.
        for number in &self.there {
            knows(&self.cache, &self.path(*number), &self.sample);
        }
        self.watch();
    }

    fn watch(&mut self) {
        let Ok(metadata) = fs::metadata(self.log()) else { return };
        let inode = self.inode.replace(metadata.ino());
        self.rewrites += u64::from(inode.is_some_and(|inode| inode != metadata.ino()));
        self.written += metadata.len().saturating_sub(self.len);
        self.len = metadata.len();
    }

    /// Bytes that a cache of what is there takes if it is new.
    fn fresh_len(&self) -> u64 {
        let path = self.dir.path().join("fresh");
        let _ = fs::remove_file(&path);
        let fresh = ScanCache::at(path.clone());
        for number in &self.there {
            remember(&fresh, &self.path(*number), &self.sample);
        }
        drop(fresh);
        fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    fn len(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }
}

#[test]
fn a_thousand_files_that_come_and_go_leave_nothing_but_the_slack() {
    let mut place = Place::new();
    for number in 0..1000 {
        place.comes(number);
        if number >= 10 {
            place.goes(number - 10);
        }
        place.cache.tidy_up();
        place.watch();
        let bound = 2 * place.fresh_len() + SLACK;
        assert!(place.len() <= bound, "{} bytes after {number}, of {bound}", place.len());
    }
    // Each is paid for by what was appended.
    let most = place.written / SLACK + 1;
    assert!(place.rewrites > 5 && place.rewrites <= most, "{} of {most}", place.rewrites);
}

#[test]
fn files_that_all_stay_are_written_anew_a_few_times_and_looked_at_for_nothing() {
    let mut place = Place::new();
    for number in 0..1000 {
        place.comes(number);
        place.cache.tidy_up();
    }
    // Each time it is twice as long and the slack: 2^n * 4 KiB are more than it has.
    let most = u64::from((place.len() / SLACK).ilog2()) + 1;
    assert!(place.rewrites <= most, "{} times instead of {most}", place.rewrites);
    let before = place.rewrites;
    (0..20).for_each(|_| place.tidies_up());
    assert_eq!(place.rewrites, before);
    assert!(place.there.iter().all(|n| knows(&place.cache, &place.path(*n), &place.sample)));
}

#[test]
fn what_is_deleted_at_last_is_forgotten_although_nothing_is_written_any_more() {
    let mut place = Place::new();
    (0..200).for_each(|number| place.comes(number));
    let full = place.len();
    (1..200).for_each(|number| place.goes(number));
    assert_eq!(place.len(), full, "nobody has looked");
    place.tidies_up();
    let bound = 2 * place.fresh_len() + SLACK;
    assert!(place.len() <= bound && bound < full, "{} bytes of {bound}", place.len());
    place.restarts();
    assert!(knows(&place.cache, &place.path(0), &place.sample), "the one that stayed");
}

#[test]
fn many_short_lives_leave_no_more_than_one() {
    let mut place = Place::new();
    place.comes(0);
    for life in 0..60 {
        (1..30).for_each(|n| place.comes(life * 100 + n));
        place.restarts();
        // While no process looks.
        (1..30).for_each(|n| place.goes(life * 100 + n));
    }
    let bound = 4 * SLACK;
    assert!(place.len() <= bound, "{} bytes for one file, of {bound}", place.len());
    assert!(knows(&place.cache, &place.path(0), &place.sample));
}

#[test]
fn a_cache_of_an_earlier_version_is_used_and_rewritten_once() {
    let mut place = Place::new();
    (0..100).for_each(|number| place.comes(number));
    place.restarts();
    // Without the records that say that it was rewritten, which that version did not write.
    let bytes = fs::read(place.log()).expect("there");
    let mark = [&36u32.to_le_bytes()[..], &[0; 36]].concat();
    let at = bytes.windows(mark.len()).position(|window| window == mark).expect("it is marked");
    fs::write(place.log(), [&bytes[..at], &bytes[at + mark.len() + 16..]].concat()).expect("ours");
    place.restarts();
    assert!(place.there.iter().all(|n| knows(&place.cache, &place.path(*n), &place.sample)));
    let before = place.rewrites;
    place.restarts();
    assert_eq!(place.rewrites, before);
}

#[test]
fn a_file_that_came_back_is_known_as_it_is_now() {
    let mut place = Place::new();
    // The second time it waits to be written.
    (0..2).for_each(|_| place.comes(0));
    place.goes(0);
    let before = place.rewrites;
    (1..100).for_each(|number| place.comes(number));
    assert!(place.rewrites > before, "it is not forgotten");
    place.comes(0);
    assert!(knows(&place.cache, &place.path(0), &place.sample));
    place.restarts();
    assert!(knows(&place.cache, &place.path(0), &place.sample), "after a restart");
}

/// What happens to files and to the process.
#[derive(Debug, Clone, Copy)]
enum Event {
    Comes(u32),
    Goes(u32),
    Changes(u32),
    Looks,
    Restarts,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let number = 0..40u32;
    let event = prop_oneof![
        8 => number.clone().prop_map(Event::Comes),
        6 => number.clone().prop_map(Event::Goes),
        2 => number.prop_map(Event::Changes),
        2 => Just(Event::Looks),
        1 => Just(Event::Restarts),
    ];
    prop::collection::vec(event, 0..300)
}

/// Another time of modification, which is remembered again.
fn change(place: &mut Place, path: &Path) {
    let Ok(file) = fs::File::options().write(true).open(path) else { return };
    file.set_modified(std::time::UNIX_EPOCH).expect("ours");
    let metadata = file.metadata().expect("open");
    place.cache.remember(path, &metadata, &place.sample.info, MUCH_LATER);
    place.watch();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_there_is_known_and_the_file_is_bounded_by_it(events in events()) {
        let mut place = Place::new();
        for event in events {
            match event {
                Event::Comes(number) => place.comes(number),
                Event::Goes(number) => place.goes(number),
                Event::Changes(number) => {
                    let path = place.path(number);
                    change(&mut place, &path);
                }
                Event::Looks => place.tidies_up(),
                Event::Restarts => {
                    place.tidies_up();
                    place.restarts();
                }
            }
        }
        place.tidies_up();
        for number in &place.there {
            prop_assert!(knows(&place.cache, &place.path(*number), &place.sample), "{number}");
        }
        // A file of no more than the slack is not looked at, so a process may begin with as much of
        // files that are gone, which it has never seen.
        let bound = 2 * (place.fresh_len() + SLACK) + SLACK;
        prop_assert!(place.len() <= bound, "{} bytes of {bound}", place.len());
        prop_assert!(place.rewrites <= place.written / SLACK + 1);
    }
}
