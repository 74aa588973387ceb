//! The journal beside a `.partial`, written by the real writer, then damaged in any way: it vouches
//! for exactly the records before the damage, and never for a chunk without a record. Records
//! appended later count.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::{ChunkSet, ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};
use tnet_store::fuzzing::JournalOf;

fuzz_target!(|data: &[u8]| {
    let _ = tell(&mut Unstructured::new(data));
});

fn tell(u: &mut Unstructured<'_>) -> Result<()> {
    let chunks = u32::from(u.arbitrary::<u8>()?);
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    let size = u64::from(chunks) * u64::from(MIN_CHUNK_SIZE);
    let geometry = Geometry::new(size, chunk_size).expect("few chunks");
    let (inode, born_ns) = (u.arbitrary::<u8>()?.into(), u.arbitrary::<u8>()?.into());
    let of =
        |hash, inode| JournalOf::new(FileHash::from_bytes([hash; 32]), geometry, inode, born_ns);
    let ours = of(7, inode);

    let sets = sets(u, &geometry)?;
    let written = ours.begin(&sets);
    check_whole(&ours, &geometry, &written, &sets);
    for other in [of(8, inode), of(7, inode + 1)] {
        assert_eq!(other.parse(&written), None, "it is of another file or another .partial");
    }

    let mut damaged = written.clone();
    for _ in 0..u.arbitrary::<u8>()? % 4 {
        damage(u, &mut damaged)?;
    }
    let intact = written.iter().zip(&damaged).take_while(|(before, after)| before == after).count();
    let Some(vouched) = ours.parse(&damaged) else {
        assert!(intact < JournalOf::HEADER_LEN, "the header is whole");
        return Ok(());
    };
    let records = (intact - JournalOf::HEADER_LEN) / JournalOf::RECORD_LEN;
    assert_eq!(vouched.records as usize, records);
    let beginning = ours.parse(&damaged[..JournalOf::HEADER_LEN + records * JournalOf::RECORD_LEN]);
    assert_eq!(beginning.as_ref(), Some(&vouched), "what follows counts for nothing");
    let everything = union(&geometry, &sets);
    assert_eq!(vouched.chunks.difference_count(&everything), 0, "chunks that nobody wrote down");

    let more = [some(u, &geometry)?];
    let resumed = ours.resume(damaged, vouched.records, &more);
    let again = ours.parse(&resumed).expect("the header is whole");
    let mut expected = vouched.chunks;
    expected.union_with(&more[0]);
    // What stood behind the new records may be records of before, in their own place: they are
    // true.
    assert_eq!(expected.difference_count(&again.chunks), 0, "what was known and what was added");
    expected.union_with(&everything);
    assert_eq!(again.chunks.difference_count(&expected), 0, "chunks that nobody wrote down");
    Ok(())
}

fn check_whole(ours: &JournalOf, geometry: &Geometry, written: &[u8], sets: &[ChunkSet]) {
    let vouched = ours.parse(written).expect("our own header");
    assert_eq!(vouched.chunks, union(geometry, sets));
    let len = JournalOf::HEADER_LEN + vouched.records as usize * JournalOf::RECORD_LEN;
    assert_eq!(written.len(), len, "every record counts");
}

fn damage(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    // The numbers are small, so that they mostly meet a record.
    let at = usize::from(u.arbitrary::<u16>()?) % (bytes.len() + 1);
    let record = |number: usize| JournalOf::HEADER_LEN + number * JournalOf::RECORD_LEN;
    match u.arbitrary::<u8>()? % 6 {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] ^= 1 << (u.arbitrary::<u8>()? % 8),
        2 => {
            let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
            bytes.extend_from_slice(u.bytes(len)?);
        }
        3 => {
            let torn = (at + usize::from(u.arbitrary::<u8>()?)).min(bytes.len());
            bytes[at..torn].fill(0);
        }
        4 => {
            let (from, to) =
                (record(u.arbitrary::<u8>()?.into()), record(u.arbitrary::<u8>()?.into()));
            if from.max(to) + JournalOf::RECORD_LEN <= bytes.len() {
                bytes.copy_within(from..from + JournalOf::RECORD_LEN, to);
            }
        }
        _ if at < bytes.len() => {
            bytes.remove(at);
        }
        _ => {}
    }
    Ok(())
}

fn sets(u: &mut Unstructured<'_>, geometry: &Geometry) -> Result<Vec<ChunkSet>> {
    (0..u.arbitrary::<u8>()? % 6).map(|_| some(u, geometry)).collect()
}

/// Some runs of chunks.
fn some(u: &mut Unstructured<'_>, geometry: &Geometry) -> Result<ChunkSet> {
    let mut set = ChunkSet::empty(geometry);
    for _ in 0..u.arbitrary::<u8>()? % 6 {
        let (first, count): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
        for index in u32::from(first)..u32::from(first) + u32::from(count % 16) {
            geometry.chunk(index).into_iter().for_each(|chunk| {
                set.insert(chunk);
            });
        }
    }
    Ok(set)
}

fn union(geometry: &Geometry, sets: &[ChunkSet]) -> ChunkSet {
    let mut union = ChunkSet::empty(geometry);
    sets.iter().for_each(|set| {
        union.union_with(set);
    });
    union
}
