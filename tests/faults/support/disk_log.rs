//! What a process did to the files of one download, as `strace` saw it, and what a disk may hold of that when the power
//! goes: everything that a completed sync covers, and any choice of the rest, the last of it in pieces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::strace::{Call, calls};

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
enum Change {
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
enum Object {
    File(Which),
    Names,
}

#[derive(Debug, Clone)]
struct Done<T> {
    what: T,
    began: usize,
    /// None: the process was killed in it.
    ended: Option<usize>,
}

/// All that was done, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskLog {
    changes: Vec<Done<Change>>,
    syncs: Vec<Done<Object>>,
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
        let mut reader = Reader { out: out.to_owned() };
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
        let begun = self.changes.iter().enumerate().filter(move |(_, change)| change.began < moment);
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

    /// Every fate that the changes can have at this moment, by number of the change: at most three in doubt lost, or all
    /// of them; and each write in doubt torn in several ways, with all others in doubt kept or lost.
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
    pub(crate) fn safe_journal_writes(&self, moment: usize) -> impl Iterator<Item = (usize, &[u8])> {
        self.begun(moment).filter(|(_, safe)| *safe).filter_map(|(number, _)| {
            match &self.changes[number].what {
                Change::Write { file: Which::Journal, offset, bytes } => Some((*offset, bytes.as_slice())),
                _ => None,
            }
        })
    }
}

impl Change {
    fn object(&self) -> Object {
        match self {
            Change::Write { file, .. } | Change::Reserve { file, .. } | Change::Truncate { file, .. } => {
                Object::File(*file)
            }
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

/// At least this long, with zeros. All at once: thousands of states are made, by code that is not optimised.
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

/// Makes sense of calls.
struct Reader {
    out: PathBuf,
}

impl Reader {
    fn add(&mut self, log: &mut DiskLog, call: &Call, from: usize) {
        if call.returned.is_some_and(|returned| returned < 0) {
            return;
        }
        let (began, ended) = (from + call.began, call.ended.map(|ended| from + ended));
        let arguments = split(&call.arguments);
        let argument = |number: usize| arguments.get(number).map_or("", String::as_str);
        let number = |at: usize| argument(at).parse::<usize>().unwrap_or_else(|_| panic!("{call:?}"));
        let file = || self.file(argument(0)).unwrap_or_else(|| panic!("which file is that? {call:?}"));
        let name = |at: usize| String::from_utf8(unquoted(argument(at))).expect("the names are text");
        let change = match call.name.as_str() {
            "openat" if argument(2).contains("O_CREAT") => {
                let name = name(1);
                let file = if name.ends_with(".journal") { Which::Journal } else { Which::Data };
                Change::Create { name, file }
            }
            "openat" | "flock" | "clone" | "clone3" => return,
            "pwrite64" => {
                Change::Write { file: file(), offset: number(3), bytes: written(call, unquoted(argument(1))) }
            }
            "fallocate" => Change::Reserve { file: file(), len: number(2) + number(3) },
            "ftruncate" => Change::Truncate { file: file(), len: number(1) },
            "unlinkat" => Change::Remove { name: name(1) },
            "renameat" | "renameat2" => Change::Rename { from: name(1), to: name(3) },
            "fsync" | "fdatasync" => {
                let what = self.file(argument(0)).map_or(Object::Names, Object::File);
                log.syncs.push(Done { what, began, ended });
                return;
            }
            other => panic!("{other} changes the disk in a way that is not modelled: {call:?}"),
        };
        log.changes.push(Done { what: change, began, ended });
    }

    /// The file behind a descriptor that was shown with its path.
    fn file(&self, descriptor: &str) -> Option<Which> {
        let path = descriptor.split_once('<')?.1.strip_suffix('>')?;
        let path = String::from_utf8(unescaped(path)).ok()?;
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        let out = self.out.to_string_lossy();
        match path.strip_prefix(&*out)? {
            "" | ".partial" => Some(Which::Data),
            ".partial.journal" => Some(Which::Journal),
            _ => None,
        }
    }
}

/// Only what the system took of it.
fn written(call: &Call, mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(count) = call.returned.and_then(|count| usize::try_from(count).ok()) {
        bytes.truncate(count);
    }
    bytes
}

/// Arguments at commas that are in no string and no path.
fn split(arguments: &str) -> Vec<String> {
    let (mut quoted, mut parts, mut part) = (false, Vec::new(), String::new());
    for c in arguments.chars() {
        match c {
            ',' if !quoted => parts.push(std::mem::take(&mut part).trim().to_owned()),
            _ => {
                quoted ^= c == '"';
                part.push(c);
            }
        }
    }
    parts.push(part.trim().to_owned());
    parts
}

fn unquoted(argument: &str) -> Vec<u8> {
    unescaped(argument.trim_matches('"'))
}

/// Bytes that may be written as `\x2f`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let (hex, more) = after.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).expect("two digits follow"));
        rest = more;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
