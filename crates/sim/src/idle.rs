//! Why wires are idle: counts of looks at links, over time and by reason. The time goes where the
//! looks pile up.

use serde::Serialize;

use crate::units::Nanos;
use crate::world::START;

/// Looks in the time of the fluid bound.
const LOOKS: u64 = 500;

/// Rows of a picture in the time of the fluid bound; runs that take longer have a last row for the
/// rest.
const ROWS: usize = 20;

/// What an uplink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uplink {
    /// It sends.
    Sending,
    /// A receiver's downlink, or the window of a connection, is full.
    HeldUp,
    /// Slots are kept for others that have not come yet.
    Kept,
    /// Slots are free, and somebody lacks what is here.
    Unasked,
    /// Nobody connected lacks what is here.
    Useless,
}

/// What a downlink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Downlink {
    /// It receives.
    Receiving,
    /// Chunks are asked for; nothing is on the last wire.
    Waiting,
    /// Chunks are missing, nothing is asked for, and some sources are busy.
    AllBusy,
    /// Chunks are missing, and nothing is asked for.
    NothingAsked,
    /// Nothing is missing any more.
    Done,
}

/// Looks by what was seen; each row in the order of the states above.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Row {
    /// Of the uplinks of seeds.
    pub seeds: [u64; 5],
    /// Of the uplinks of receivers.
    pub uplinks: [u64; 5],
    /// Of the downlinks of receivers.
    pub downlinks: [u64; 5],
}

/// All looks of a run.
#[derive(Debug, Clone)]
pub(crate) struct Idleness {
    bound: Nanos,
    rows: Vec<Row>,
}

impl Idleness {
    pub(crate) fn new(bound: Nanos) -> Idleness {
        Idleness { bound: bound.max(LOOKS), rows: vec![Row::default(); ROWS + 5] }
    }

    /// When to look next. Nothing that takes much longer than the bound is worth a picture.
    pub(crate) fn next_look(&self, now: Nanos) -> Option<Nanos> {
        (now < START + 4 * self.bound).then_some(now + self.bound / LOOKS)
    }

    fn row(&mut self, at: Nanos) -> &mut Row {
        let width = self.bound / ROWS as u64;
        let row = usize::try_from(at.saturating_sub(START) / width).unwrap_or(usize::MAX);
        let last = self.rows.len() - 1;
        &mut self.rows[row.min(last)]
    }

    pub(crate) fn note_seed(&mut self, at: Nanos, seen: Uplink) {
        self.row(at).seeds[seen as usize] += 1;
    }

    pub(crate) fn note_receiver(&mut self, at: Nanos, up: Uplink, down: Downlink) {
        let row = self.row(at);
        row.uplinks[up as usize] += 1;
        row.downlinks[down as usize] += 1;
    }

    /// The rows that have any looks in them.
    pub(crate) fn rows(&self) -> &[Row] {
        let is_empty = |row: &Row| row.seeds.iter().chain(&row.uplinks).all(|looks| *looks == 0);
        let end = self.rows.iter().rposition(|row| !is_empty(row)).map_or(0, |last| last + 1);
        &self.rows[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_sorted_by_time_and_late_ones_share_the_last_row() {
        let mut idleness = Idleness::new(20_000);
        idleness.note_seed(START, Uplink::Sending);
        idleness.note_seed(START + 999, Uplink::Kept);
        idleness.note_seed(START + 1000, Uplink::Useless);
        idleness.note_seed(START + 1_000_000, Uplink::Sending);
        assert_eq!(idleness.rows()[0].seeds, [1, 0, 1, 0, 0]);
        assert_eq!(idleness.rows()[1].seeds, [0, 0, 0, 0, 1]);
        assert_eq!(idleness.rows().len(), ROWS + 5);
    }
}
