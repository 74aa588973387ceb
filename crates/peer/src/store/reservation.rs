//! Space for a download, asked for before it is needed.
//!
//! Where the file system reserves an extent at once, a reservation of any size is over in microseconds. Where it hands
//! out page by page, a memory file system for one, 100 GB take half a minute, so only the first bytes are reserved
//! before the download begins and the rest while it runs, in steps; and not even that while a memory file system has
//! plenty, for nobody can write to the file meanwhile. Whether all of it fits now is asked first: a disk that is too
//! small is an error before the first byte.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::sys::{self, Reservation};

/// Bytes reserved at once before the download begins.
const FIRST: u64 = 4 * 1024 * 1024;

/// A step that is over sooner is followed by one twice as long.
const STEP_AT_LEAST: Duration = Duration::from_micros(500);

/// A pause between two steps, in which others get at the file and the processor, is so many times as long as the step
/// was, and at most so long.
const PAUSE: u32 = 12;
const PAUSE_AT_MOST: Duration = Duration::from_millis(50);

/// Gives the file its full length and the space for its first bytes; for all of them if it is short, or if the disk
/// seems to be too small and has to say so. `allocated` is what it has already. All in bytes.
pub(super) fn begin(file: &File, size: u64, allocated: u64) -> io::Result<()> {
    let needed = size.saturating_sub(allocated);
    let is_tight = sys::available_bytes(file).is_some_and(|bytes| bytes < needed);
    let at_once = if is_tight { size } else { size.min(FIRST) };
    if at_once == 0 {
        return Ok(()); // which the system refuses to reserve
    }
    if let Reservation::Unsupported = sys::reserve(file, 0, at_once)?
        && is_tight
    {
        return Err(io::ErrorKind::StorageFull.into());
    }
    if file.metadata()?.len() < size { file.set_len(size) } else { Ok(()) }
}

/// Whether there is room for so many bytes, and as many again for whoever else is filling the file system.
pub(super) fn is_plenty(file: &File, bytes: u64) -> bool {
    sys::available_bytes(file).is_some_and(|available| available / 2 >= bytes)
}

/// Reserves the rest. `step` reserves so many bytes at such a place, and answers `None` when nobody needs the rest any
/// more.
pub(super) fn go_on(
    size: u64,
    mut step: impl FnMut(u64, u64) -> io::Result<Option<Reservation>>,
) -> io::Result<()> {
    let (mut from, mut len) = (FIRST, FIRST);
    while from < size {
        let began = Instant::now();
        match step(from, len.min(size - from))? {
            Some(Reservation::Reserved) => {}
            Some(Reservation::Unsupported) | None => return Ok(()),
        }
        let took = began.elapsed();
        from += len;
        if took < STEP_AT_LEAST {
            len = len.saturating_mul(2);
        }
        std::thread::sleep((took * PAUSE).min(PAUSE_AT_MOST));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_steps_cover_the_rest_without_a_gap_and_grow() {
        let size = 100 * FIRST + 5;
        let mut steps = Vec::new();
        go_on(size, |from, len| {
            steps.push((from, len));
            Ok(Some(Reservation::Reserved))
        })
        .unwrap();
        let mut end = FIRST;
        for (from, len) in &steps {
            assert_eq!(*from, end);
            end += len;
        }
        assert_eq!(end, size);
        assert!(steps.len() < 50, "{} steps that take no time", steps.len());
    }

    #[test]
    fn nothing_more_is_reserved_when_nobody_needs_it() {
        let mut steps = 0;
        go_on(100 * FIRST, |_, _| {
            steps += 1;
            Ok((steps < 2).then_some(Reservation::Reserved))
        })
        .unwrap();
        assert_eq!(steps, 2);
    }

    #[test]
    fn a_step_that_fails_ends_it() {
        let failed = go_on(100 * FIRST, |_, _| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_has_its_length_and_its_first_bytes_from_the_start() {
        let file = tempfile::tempfile().unwrap();
        begin(&file, 3 * FIRST, 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 * FIRST);
    }
}
