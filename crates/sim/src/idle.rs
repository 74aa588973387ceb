//! Why links are idle: counts of samples over time and by state. States with many samples are where
//! the time goes.

use serde::Serialize;

use crate::units::Nanos;
use crate::world::START;

/// Samples during the fluid bound.
const LOOKS: u64 = 500;

/// Rows during the fluid bound; the last row counts all later samples.
const ROWS: usize = 20;

/// State of an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UplinkState {
    /// It sends.
    Sending,
    /// A receiver's downlink or a connection's window is full.
    HeldUp,
    /// Slots are reserved for peers that have not asked yet.
    Kept,
    /// Slots are free, and a connected host lacks chunks of this one.
    Unasked,
    /// No connected host lacks a chunk of this one.
    Useless,
}

/// State of a downlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DownlinkState {
    /// It receives.
    Receiving,
    /// Chunks are requested; nothing arrives.
    Waiting,
    /// Chunks are missing, none is requested, and some sources are busy.
    AllBusy,
    /// Chunks are missing, and none is requested.
    NothingAsked,
    /// No chunk is missing.
    Done,
}

/// Samples by state, in the order of the enums above.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct IdleRow {
    /// Of the uplinks of seeds.
    pub seeds: [u64; 5],
    /// Of the uplinks of receivers.
    pub uplinks: [u64; 5],
    /// Of the downlinks of receivers.
    pub downlinks: [u64; 5],
}

/// All samples of a run.
#[derive(Debug, Clone)]
pub(crate) struct Idleness {
    bound: Nanos,
    rows: Vec<IdleRow>,
}

impl Idleness {
    pub(crate) fn new(bound: Nanos) -> Idleness {
        Idleness { bound: bound.max(LOOKS), rows: vec![IdleRow::default(); ROWS + 5] }
    }

    /// When to sample next; none much later than the bound.
    pub(crate) fn next_look(&self, now: Nanos) -> Option<Nanos> {
        (now < START + 4 * self.bound).then_some(now + self.bound / LOOKS)
    }

    fn row(&mut self, at: Nanos) -> &mut IdleRow {
        let width = self.bound / ROWS as u64;
        let row = usize::try_from(at.saturating_sub(START) / width).unwrap_or(usize::MAX);
        let last = self.rows.len() - 1;
        &mut self.rows[row.min(last)]
    }

    pub(crate) fn note_seed(&mut self, at: Nanos, seen: UplinkState) {
        self.row(at).seeds[seen as usize] += 1;
    }

    pub(crate) fn note_receiver(&mut self, at: Nanos, up: UplinkState, down: DownlinkState) {
        let row = self.row(at);
        row.uplinks[up as usize] += 1;
        row.downlinks[down as usize] += 1;
    }

    /// The rows that have samples.
    pub(crate) fn rows(&self) -> &[IdleRow] {
        let is_empty =
            |row: &IdleRow| row.seeds.iter().chain(&row.uplinks).all(|looks| *looks == 0);
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
        idleness.note_seed(START, UplinkState::Sending);
        idleness.note_seed(START + 999, UplinkState::Kept);
        idleness.note_seed(START + 1000, UplinkState::Useless);
        idleness.note_seed(START + 1_000_000, UplinkState::Sending);
        assert_eq!(idleness.rows()[0].seeds, [1, 0, 1, 0, 0]);
        assert_eq!(idleness.rows()[1].seeds, [0, 0, 0, 0, 1]);
        assert_eq!(idleness.rows().len(), ROWS + 5);
    }
}
