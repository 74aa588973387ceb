//! Chunks and journal on a model disk that loses power. Whichever subset of the writes that no sync
//! covered reached the disk, sector by sector: the journal vouches for no wrong chunk, and for
//! every chunk that a sync promised.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::journal::{Format, Subject};
use crate::tests::{CHUNK, Sample};

/// What a disk writes in one piece, or not at all.
const SECTOR: usize = 512;
const CHUNKS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Data,
    Journal,
}

#[derive(Debug)]
enum Op {
    Write {
        file: Which,
        offset: usize,
        bytes: Vec<u8>,
    },
    Synced {
        file: Which,
    },
    /// The system may have dropped what it had not written by then.
    SyncFailed {
        file: Which,
    },
}

/// Two files that remember all that was done to them.
#[derive(Debug, Default)]
struct Disk {
    ops: Mutex<Vec<Op>>,
    /// Which of the coming syncs fail.
    failures: Mutex<VecDeque<bool>>,
}

#[derive(Debug)]
struct ModelFile {
    disk: Arc<Disk>,
    which: Which,
}

impl BlockFile for ModelFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let op = Op::Write {
            file: self.which,
            offset: usize::try_from(offset).expect("small"),
            bytes: bytes.to_vec(),
        };
        self.disk.ops.lock().expect("not poisoned").push(op);
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        let fails = self.disk.failures.lock().expect("not poisoned").pop_front().unwrap_or(false);
        let mut ops = self.disk.ops.lock().expect("not poisoned");
        if fails {
            ops.push(Op::SyncFailed { file: self.which });
            return Err(io::ErrorKind::Other.into());
        }
        ops.push(Op::Synced { file: self.which });
        Ok(())
    }
}

/// What a file holds if the power goes after these operations and `luck` decides about every sector
/// in doubt.
fn after_power_loss(
    ops: &[Op],
    file: Which,
    len: usize,
    luck: &mut dyn FnMut() -> bool,
) -> Vec<u8> {
    let mut content = vec![0; len];
    for (number, op) in ops.iter().enumerate() {
        let Op::Write { file: written, offset, bytes } = op else { continue };
        if *written != file {
            continue;
        }
        let fate = ops[number..].iter().find_map(|later| match later {
            Op::Synced { file: synced } if *synced == file => Some(true),
            Op::SyncFailed { file: failed } if *failed == file => Some(false),
            _ => None,
        });
        let mut at = *offset;
        let end = at + bytes.len();
        while at < end {
            let sector_end = end.min((at / SECTOR + 1) * SECTOR);
            if fate == Some(true) || luck() {
                content[at..sector_end].copy_from_slice(&bytes[at - offset..sector_end - offset]);
            }
            at = sector_end;
        }
    }
    content
}

#[derive(Debug, Clone)]
enum Step {
    Write(u32),
    /// Whether the sync of the data fails, and that of the journal.
    Sync(bool, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fails = || prop::bool::weighted(0.25);
    let step = prop_oneof![
        2 => (0..CHUNKS).prop_map(Step::Write),
        1 => (fails(), fails()).prop_map(|(data, journal)| Step::Sync(data, journal)),
    ];
    prop::collection::vec(step, 1..16)
}

struct Rig {
    sample: Sample,
    disk: Arc<Disk>,
    format: Format,
}

/// What was promised durable, and after how many operations.
type Promises = Vec<(usize, ChunkSet)>;

impl Rig {
    fn new() -> Self {
        let sample = Sample::of_size(u64::from(CHUNKS - 1) * CHUNK + 700);
        let format = Format::new(&Subject {
            hash: sample.info.hash(),
            geometry: *sample.info.geometry(),
            inode: 1,
            born_ns: 1,
        });
        Self { sample, disk: Arc::default(), format }
    }

    fn file(&self, which: Which) -> ModelFile {
        ModelFile { disk: Arc::clone(&self.disk), which }
    }

    fn writer(&self) -> ChunkWriter<ModelFile, ModelFile> {
        let geometry = *self.sample.info.geometry();
        let nothing = ChunkSet::empty(&geometry);
        let journal = Journal::begin(self.file(Which::Journal), self.format.clone())
            .expect("no failure is due");
        ChunkWriter::new(
            self.file(Which::Data),
            journal,
            geometry,
            Ledger::new(geometry, nothing.clone(), nothing),
        )
    }

    fn run(&self, steps: &[Step]) -> Promises {
        let writer = self.writer();
        let mut promises = Promises::new();
        for step in steps {
            match *step {
                Step::Write(index) => {
                    let chunk = self.sample.chunk(index);
                    writer
                        .write_chunk(chunk, self.sample.bytes(chunk))
                        .expect("writes do not fail here");
                }
                Step::Sync(data, journal) => {
                    *self.disk.failures.lock().expect("not poisoned") =
                        VecDeque::from([data, journal]);
                    if let Ok(durable) = writer.sync() {
                        promises.push((self.disk.ops.lock().expect("not poisoned").len(), durable));
                    }
                }
            }
        }
        promises
    }

    /// Cuts the power after every operation, with several lucks; answers the first broken rule.
    fn broken_rule(&self, promises: &Promises, mut luck: impl FnMut() -> u64) -> Option<String> {
        let ops = self.disk.ops.lock().expect("not poisoned");
        let journal_len = usize::try_from(self.format.max_len()).expect("small") + RECORD_SLACK;
        for cut in 0..=ops.len() {
            for round in 0..6 {
                // All in doubt is lost; all arrived; then any mixture.
                let mut decide = || match round {
                    0 => false,
                    1 => true,
                    _ => luck().is_multiple_of(2),
                };
                let data = after_power_loss(
                    &ops[..cut],
                    Which::Data,
                    self.sample.content.len(),
                    &mut decide,
                );
                let journal =
                    after_power_loss(&ops[..cut], Which::Journal, journal_len, &mut decide);
                let vouched = self
                    .format
                    .parse(&journal)
                    .map_or(ChunkSet::empty(self.sample.info.geometry()), |parsed| parsed.chunks);
                for chunk in vouched.iter() {
                    let range = self.sample.info.geometry().range(chunk);
                    let range = usize::try_from(range.start).expect("small")
                        ..usize::try_from(range.end).expect("small");
                    if data[range] != *self.sample.bytes(chunk) {
                        return Some(format!(
                            "after {cut} operations the journal vouches for wrong {chunk:?}"
                        ));
                    }
                }
                let promised = promises.iter().filter(|promise| promise.0 <= cut);
                if let Some(chunk) = promised
                    .flat_map(|promise| promise.1.iter())
                    .find(|&chunk| !vouched.contains(chunk))
                {
                    return Some(format!(
                        "after {cut} operations the promised {chunk:?} is not in the journal"
                    ));
                }
            }
        }
        None
    }
}

/// Room for what a failed append may leave behind the last record.
const RECORD_SLACK: usize = SECTOR;

/// A small generator of luck that a seed repeats.
fn luck_of(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_power_cut_makes_the_journal_wrong_or_empty(steps in steps(), seed in any::<u64>()) {
        let rig = Rig::new();
        let promises = rig.run(&steps);
        prop_assert_eq!(rig.broken_rule(&promises, luck_of(seed)), None);
    }
}

#[test]
fn a_journal_told_before_the_data_is_safe_would_be_caught() {
    let rig = Rig::new();
    let chunk = rig.sample.chunk(0);
    let mut set = ChunkSet::empty(rig.sample.info.geometry());
    set.insert(chunk);
    let mut journal =
        Journal::begin(rig.file(Which::Journal), rig.format.clone()).expect("no failure is due");
    rig.file(Which::Data).write_at(rig.sample.bytes(chunk), 0).expect("writes do not fail here");
    journal.append(&set).expect("no failure is due");

    let broken = rig.broken_rule(&Promises::new(), luck_of(1));

    assert!(broken.is_some_and(|rule| rule.contains("vouches for wrong")));
}

#[test]
fn a_chunk_that_a_failed_sync_dropped_is_durable_only_after_it_was_written_again() {
    let rig = Rig::new();
    let writer = rig.writer();
    let chunk = rig.sample.chunk(3);
    writer.write_chunk(chunk, rig.sample.bytes(chunk)).expect("writes do not fail here");
    *rig.disk.failures.lock().expect("not poisoned") = VecDeque::from([true]);

    assert_eq!(writer.sync().expect_err("due").lost(), [chunk]);
    assert!(writer.sync().expect("no failure is due").is_empty());
    assert!(!writer.is_stored(chunk));

    writer.write_chunk(chunk, rig.sample.bytes(chunk)).expect("writes do not fail here");
    assert!(writer.sync().expect("no failure is due").contains(chunk));
}

#[test]
fn a_failed_journal_loses_no_chunk_and_is_written_with_the_next_sync() {
    let rig = Rig::new();
    let writer = rig.writer();
    let chunk = rig.sample.chunk(2);
    writer.write_chunk(chunk, rig.sample.bytes(chunk)).expect("writes do not fail here");
    *rig.disk.failures.lock().expect("not poisoned") = VecDeque::from([false, true]);

    let error = writer.sync().expect_err("due");

    assert!(matches!(error, SyncError::Journal { .. }));
    assert!(error.lost().is_empty());
    assert!(writer.is_stored(chunk));
    assert!(writer.sync().expect("no failure is due").contains(chunk));
}
