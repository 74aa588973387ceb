//! The ledger against a model that remembers every event and decides by looking back at all of
//! them.

use proptest::prelude::*;
use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

use super::*;

const CHUNKS: u32 = 6;

/// So many chunks, the first ones, an earlier process has told the journal of.
const RECORDED: u32 = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    BeginWrite,
    /// The oldest write under way ends, and was of this chunk.
    EndWrite(u32),
    BeginSync,
    EndSync {
        succeeds: bool,
    },
    Journal,
    /// The sum of a chunk on the disk was compared.
    Check {
        chunk: u32,
        is_right: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::BeginWrite),
        (0..CHUNKS).prop_map(Step::EndWrite),
        Just(Step::BeginSync),
        any::<bool>().prop_map(|succeeds| Step::EndSync { succeeds }),
        Just(Step::Journal),
        (0..CHUNKS, any::<bool>()).prop_map(|(chunk, is_right)| Step::Check { chunk, is_right }),
    ];
    prop::collection::vec(step, 0..80)
}

/// Everything that happened, with the moment it did.
#[derive(Default)]
struct History {
    /// Chunk; when its write began and ended.
    writes: Vec<(u32, usize, usize)>,
    /// When a sync began and ended.
    successes: Vec<(usize, usize)>,
    failures: Vec<usize>,
    /// When the journal was told of everything synced.
    journals: Vec<usize>,
    /// Chunks of an earlier process that were not compared yet.
    vouched: Vec<u32>,
    /// Chunks of an earlier process that were right.
    verified: Vec<u32>,
}

impl History {
    fn on_disk_since(&self, chunk: u32) -> Option<usize> {
        let synced =
            self.writes.iter().filter(|write| write.0 == chunk).filter_map(|&(_, began, ended)| {
                let success = self.successes.iter().find(|success| success.0 > ended)?;
                let failed_between =
                    self.failures.iter().any(|&failure| began < failure && failure < success.1);
                (!failed_between).then_some(success.1)
            });
        synced.min()
    }

    fn is_stored(&self, chunk: u32) -> bool {
        self.on_disk_since(chunk).is_some()
            || self.verified.contains(&chunk)
            || self.writes.iter().any(|&(written, began, _)| {
                written == chunk && !self.failures.iter().any(|&failure| began < failure)
            })
    }

    fn awaits_journal(&self, chunk: u32) -> bool {
        self.on_disk_since(chunk)
            .is_some_and(|since| !self.journals.iter().any(|&journal| since < journal))
    }
}

fn geometry() -> Geometry {
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    Geometry::new(u64::from(CHUNKS) * u64::from(MIN_CHUNK_SIZE), chunk_size).expect("few chunks")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_chunk_is_as_safe_as_its_history_says(steps in steps()) {
        let geometry = geometry();
        let mut recorded = ChunkSet::empty(&geometry);
        geometry.chunks().take(RECORDED as usize).for_each(|chunk| {
            recorded.insert(chunk);
        });
        let mut ledger = Ledger::new(geometry, recorded, ChunkSet::empty(&geometry));
        let mut history = History { vouched: (0..RECORDED).collect(), ..History::default() };
        let mut under_way = std::collections::VecDeque::new();
        let mut syncing = None;
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::BeginWrite => under_way.push_back((now, ledger.begin_write())),
                Step::EndWrite(index) => {
                    let Some((began, ticket)) = under_way.pop_front() else { continue };
                    let chunk = geometry.chunk(index).expect("a chunk of the file");
                    let settled = ledger.settle_write(ticket, chunk);
                    let failed_meanwhile = history.failures.iter().any(|&failure| began < failure);
                    prop_assert_eq!(settled == SettledWrite::WriteAgain, failed_meanwhile);
                    // A chunk that is stored already is as safe as it was.
                    if settled == SettledWrite::Stored && !history.is_stored(index) {
                        history.writes.push((index, began, now));
                    }
                }
                Step::BeginSync if syncing.is_none() => syncing = Some((now, ledger.begin_sync())),
                Step::BeginSync => {}
                Step::EndSync { succeeds } => {
                    let Some((began, ticket)) = syncing.take() else { continue };
                    if succeeds {
                        ledger.sync_succeeded(ticket);
                        history.successes.push((began, now));
                    } else {
                        let before: Vec<_> = (0..CHUNKS).filter(|&chunk| history.is_stored(chunk)).collect();
                        let lost = ledger.sync_failed(ticket);
                        history.failures.push(now);
                        let gone: Vec<u32> = before.into_iter().filter(|&chunk| !history.is_stored(chunk)).collect();
                        history.vouched.retain(|chunk| !gone.contains(chunk));
                        prop_assert_eq!(lost.iter().map(|chunk| chunk.get()).collect::<Vec<_>>(), gone);
                    }
                }
                Step::Check { chunk, is_right } => {
                    let was_stored = history.is_stored(chunk);
                    let is_answer = history.vouched.contains(&chunk);
                    history.vouched.retain(|vouched| *vouched != chunk);
                    if is_answer && is_right && !was_stored {
                        history.verified.push(chunk);
                    }
                    let is_stored = ledger.settle_check(geometry.chunk(chunk).expect("a chunk of the file"), is_right);
                    prop_assert_eq!(is_stored, history.is_stored(chunk));
                }
                Step::Journal => {
                    let synced = ledger.synced().clone();
                    ledger.journaled(&synced);
                    history.journals.push(now);
                }
            }
            for chunk in geometry.chunks() {
                prop_assert_eq!(ledger.stored().contains(chunk), history.is_stored(chunk.get()), "{}", chunk);
                prop_assert_eq!(ledger.vouched().contains(chunk), history.vouched.contains(&chunk.get()), "{}", chunk);
                let is_recorded = chunk.get() < RECORDED || !ledger.unrecorded().contains(chunk);
                prop_assert!(is_recorded || history.awaits_journal(chunk.get()), "{}", chunk);
                prop_assert!(!(chunk.get() < RECORDED && ledger.unrecorded().contains(chunk)), "a second record");
                prop_assert_eq!(ledger.synced().contains(chunk), history.awaits_journal(chunk.get()), "{}", chunk);
            }
        }
    }
}

#[test]
fn chunks_found_in_the_file_have_to_be_synced_and_journaled_ones_to_be_verified() {
    let geometry = geometry();
    let set = |index| {
        let mut set = ChunkSet::empty(&geometry);
        set.insert(geometry.chunk(index).expect("a chunk of the file"));
        set
    };
    let mut ledger = Ledger::new(geometry, set(1), set(2));
    assert_eq!((ledger.stored(), ledger.vouched()), (&set(2), &set(1)));

    let ticket = ledger.begin_sync();
    let lost = ledger.sync_failed(ticket);

    assert_eq!(lost, [geometry.chunk(2).expect("a chunk of the file")]);
    assert!(ledger.stored().is_empty());
    assert!(ledger.settle_check(geometry.chunk(1).expect("a chunk of the file"), true));
    assert_eq!(*ledger.stored(), set(1));
}

#[test]
fn a_sync_makes_no_chunk_safe_that_was_lost_and_written_again_while_it_ran() {
    let geometry = geometry();
    let nothing = ChunkSet::empty(&geometry);
    let mut ledger = Ledger::new(geometry, nothing.clone(), nothing);
    let chunk = geometry.chunk(1).expect("a chunk of the file");
    let write = |ledger: &mut Ledger| {
        let ticket = ledger.begin_write();
        assert_eq!(ledger.settle_write(ticket, chunk), SettledWrite::Stored);
    };
    write(&mut ledger);
    let sync = ledger.begin_sync();
    assert!(ledger.lose(chunk));
    write(&mut ledger);
    ledger.sync_succeeded(sync);
    assert!(ledger.synced().is_empty() && ledger.stored().contains(chunk));
    let sync = ledger.begin_sync();
    ledger.sync_succeeded(sync);
    assert!(ledger.synced().contains(chunk));
}
