//! What a process did to the files of one download, as `strace` saw it, and what a disk may hold of
//! that when the power goes: everything that a completed sync covers, and any choice of the rest,
//! the last of it in pieces.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk_reader::Reader;
use super::strace::calls;

/// What a disk writes in one piece, or not at all.
const SECTOR: usize = 512;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Which {
    Data,
    Journal,
}

/// A name in the directory of the download.
pub(crate) type Name = String;

/// What a call asked of the disk.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write {
        file: Which,
        offset: usize,
        bytes: Vec<u8>,
    },
    /// At least this long.
    Reserve {
        file: Which,
        len: usize,
    },
    Truncate {
        file: Which,
        len: usize,
    },
    Create {
        name: Name,
        file: Which,
    },
    Remove {
        name: Name,
    },
    Rename {
        from: Name,
        to: Name,
    },
}

/// A sync covers what is done to one file, or to the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    File(Which),
    Names,
}

#[derive(Debug, Clone)]
pub(super) struct Done<T> {
    pub(super) what: T,
    pub(super) began: usize,
    /// None: the process was killed in it.
    pub(super) ended: Option<usize>,
}

/// All that was done, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskLog {
    pub(super) changes: Vec<Done<Change>>,
    pub(super) syncs: Vec<Done<Object>>,
    /// One more than the last moment.
    end: usize,
}

/// What a disk holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiskState {
    pub(crate) data: Vec<u8>,
    pub(crate) journal: Vec<u8>,
    pub(crate) names: BTreeMap<Name, Which>,
}

/// How much of a change reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// Only the first sectors.
    First(usize),
    /// All but the first sectors.
    AllBut(usize),
    /// Every other sector.
    EveryOther,
}

impl DiskLog {
    /// Reads logs of processes that ran one after the other, of a download to `out`.
    pub(crate) fn read(logs: &[String], out: &Path) -> DiskLog {
        let mut log = DiskLog::default();
        let reader = Reader::of(out);
        for text in logs {
            let from = log.end;
            for call in calls(text) {
                reader.add(&mut log, &call, from);
            }
            log.end = from + text.lines().count();
        }
        log
    }

    /// The same without any sync of the data.
    pub(crate) fn without_data_syncs(mut self) -> DiskLog {
        self.syncs.retain(|sync| sync.what != Object::File(Which::Data));
        self
    }

    /// Moments at which the power can go.
    pub(crate) fn moments(&self) -> std::ops::RangeInclusive<usize> {
        0..=self.end
    }

    /// The changes that had begun by this moment; and for each whether it is safe.
    fn begun(&self, moment: usize) -> impl Iterator<Item = (usize, bool)> {
        let begun =
            self.changes.iter().enumerate().filter(move |(_, change)| change.began < moment);
        begun.map(move |(number, change)| (number, self.is_safe(change, moment)))
    }

    fn is_safe(&self, change: &Done<Change>, moment: usize) -> bool {
        let object = change.what.object();
        let covers = |sync: &Done<Object>| {
            sync.what == object
                && change.ended.is_some_and(|ended| ended < sync.began)
                && sync.ended.is_some_and(|ended| ended < moment)
        };
        self.syncs.iter().any(covers)
    }

    /// Every fate that the changes can have at this moment, by number of the change: at most three
    /// in doubt lost, or all of them; and each write in doubt torn in several ways, with all others
    /// in doubt kept or lost.
    pub(crate) fn fates(&self, moment: usize) -> Vec<Vec<Fate>> {
        let safe: Vec<bool> = self.begun(moment).map(|(_, safe)| safe).collect();
        let doubtful: Vec<usize> = (0..safe.len()).filter(|number| !safe[*number]).collect();
        let all_but = |lost: &[usize]| -> Vec<Fate> {
            (0..safe.len())
                .map(|number| if lost.contains(&number) { Fate::Lost } else { Fate::Kept })
                .collect()
        };
        let mut fates = vec![all_but(&[])];
        for (at, first) in doubtful.iter().enumerate() {
            fates.push(all_but(&[*first]));
            for (more, second) in doubtful.iter().enumerate().skip(at + 1) {
                fates.push(all_but(&[*first, *second]));
                for third in &doubtful[more + 1..] {
                    fates.push(all_but(&[*first, *second, *third]));
                }
            }
        }
        fates.push(all_but(&doubtful));
        for torn in &doubtful {
            let Change::Write { bytes, offset, .. } = &self.changes[*torn].what else { continue };
            let sectors = pieces(*offset, bytes.len()).count();
            let ways = [
                Fate::First(1),
                Fate::First(sectors / 2),
                Fate::First(sectors - 1),
                Fate::AllBut(1),
                Fate::AllBut(sectors - 1),
                Fate::EveryOther,
            ];
            for way in ways.into_iter().filter(|_| sectors > 1) {
                for others_lost in [false, true] {
                    let mut fate = all_but(if others_lost { &doubtful } else { &[] });
                    fate[*torn] = way;
                    fates.push(fate);
                }
            }
        }
        fates
    }

    /// What the disk holds if the changes had these fates.
    pub(crate) fn state(&self, fates: &[Fate]) -> DiskState {
        let mut state = DiskState::default();
        for (change, fate) in self.changes.iter().zip(fates) {
            if *fate != Fate::Lost {
                change.what.apply(&mut state, *fate);
            }
        }
        state
    }

    /// The bytes of the journal that a completed sync covers at this moment, as they were written.
    pub(crate) fn safe_journal_writes(
        &self,
        moment: usize,
    ) -> impl Iterator<Item = (usize, &[u8])> {
        self.begun(moment).filter(|(_, safe)| *safe).filter_map(|(number, _)| {
            match &self.changes[number].what {
                Change::Write { file: Which::Journal, offset, bytes } => {
                    Some((*offset, bytes.as_slice()))
                }
                _ => None,
            }
        })
    }
}

impl Change {
    fn object(&self) -> Object {
        match self {
            Change::Write { file, .. }
            | Change::Reserve { file, .. }
            | Change::Truncate { file, .. } => Object::File(*file),
            Change::Create { .. } | Change::Remove { .. } | Change::Rename { .. } => Object::Names,
        }
    }

    fn apply(&self, state: &mut DiskState, fate: Fate) {
        match self {
            Change::Write { file, offset, bytes } => {
                let content = state.content(*file);
                for (number, piece) in pieces(*offset, bytes.len()).enumerate() {
                    if fate.keeps(number) {
                        let end = offset + piece.end;
                        lengthen(content, end);
                        content[offset + piece.start..end].copy_from_slice(&bytes[piece]);
                    }
                }
            }
            Change::Reserve { file, len } => lengthen(state.content(*file), *len),
            Change::Truncate { file, len } => {
                let content = state.content(*file);
                content.truncate(*len);
                lengthen(content, *len);
            }
            Change::Create { name, file } => {
                state.names.insert(name.clone(), *file);
            }
            Change::Remove { name } => {
                state.names.remove(name);
            }
            Change::Rename { from, to } => {
                // The file has the new name also if the making of the old one was lost.
                state.names.remove(from);
                state.names.insert(to.clone(), Which::Data);
            }
        }
    }
}

impl DiskState {
    fn content(&mut self, file: Which) -> &mut Vec<u8> {
        match file {
            Which::Data => &mut self.data,
            Which::Journal => &mut self.journal,
        }
    }
}

impl Fate {
    fn keeps(self, piece: usize) -> bool {
        match self {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::First(count) => piece < count,
            Fate::AllBut(count) => piece >= count,
            Fate::EveryOther => piece.is_multiple_of(2),
        }
    }
}

/// At least this long, with zeros. All at once: thousands of states are made, by code that is not
/// optimised.
fn lengthen(content: &mut Vec<u8>, len: usize) {
    if content.len() < len {
        let mut longer = vec![0; len];
        longer[..content.len()].copy_from_slice(content);
        *content = longer;
    }
}

/// The parts of a write that are each in one sector.
fn pieces(offset: usize, len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        at = len.min((offset + start) / SECTOR * SECTOR + SECTOR - offset);
        (start < len).then_some(start..at)
    })
}
