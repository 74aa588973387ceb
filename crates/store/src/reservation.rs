//! Reserves the space of a download before it is needed, where that costs little.
//!
//! Where the file system reserves an extent at once, all is reserved before the download begins: a
//! reservation of any size is over in microseconds, and a quota or a disk that is too small is an
//! error before the first byte. A memory file system hands out page by page, 100 GB take half a
//! minute, so only the first bytes are reserved before the download begins and the rest while it
//! runs, in steps; and not even that while there is plenty of space, for a reservation blocks
//! writes to the file. Everywhere else nothing is reserved: it switches compression off, or writes
//! zeroes, or its cost is unknown. Whether there is space beside other downloads is decided by
//! [`Disks`](super::Disks).

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::sys::{self, Reservation, ReservationCost};

/// Bytes reserved at once before the download begins.
const FIRST: u64 = 4 * 1024 * 1024;

/// A step that is over sooner is followed by one twice as long.
const STEP_AT_LEAST: Duration = Duration::from_micros(500);

/// A pause between two steps, in which others get at the file and the processor, is so many times
/// as long as the step was, and at most so long.
const PAUSE: u32 = 12;
const PAUSE_AT_MOST: Duration = Duration::from_millis(50);

/// Gives the file its full length, and the space that is reserved before the download begins.
pub(super) fn begin(file: &File, size: u64) -> io::Result<()> {
    let at_once = match sys::reservation_cost(file) {
        ReservationCost::AtOnce => size,
        ReservationCost::InSteps => size.min(FIRST),
        ReservationCost::Never => 0,
    };
    // The system refuses to reserve zero bytes.
    if at_once > 0 {
        sys::reserve(file, 0, at_once)?;
    }
    if file.metadata()?.len() < size { file.set_len(size) } else { Ok(()) }
}

/// Reserves the space of a small file that grows to `len` bytes while it is written.
pub(super) fn ahead(file: &File, len: u64) -> io::Result<()> {
    match sys::reservation_cost(file) {
        ReservationCost::AtOnce | ReservationCost::InSteps => sys::reserve(file, 0, len).map(drop),
        ReservationCost::Never => Ok(()),
    }
}

/// Whether the rest is to be reserved while the download runs.
pub(super) fn is_in_steps(file: &File) -> bool {
    sys::reservation_cost(file) == ReservationCost::InSteps
}

/// Frees reserved blocks that hold no data.
pub(super) fn give_back(file: &File, size: u64) {
    let mut from = 0;
    while from < size {
        let Ok(data) = sys::next_data(file, from, size) else { return };
        let data = data.unwrap_or(size..size);
        sys::punch_hole(file, from..data.start);
        from = data.end;
    }
}

/// Whether there is space for twice as many bytes: the same again for other writers of the file
/// system.
pub(super) fn is_plenty(file: &File, bytes: u64) -> bool {
    sys::free_space(file).is_some_and(|free| free.bytes / 2 >= bytes)
}

/// Reserves the rest in steps. `step(from, len)` reserves `len` bytes at `from`, and returns `None`
/// when the rest is not needed any more.
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
    fn nothing_more_is_reserved_without_need() {
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
        begin(&file, 3 * FIRST).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 * FIRST);
    }
}
