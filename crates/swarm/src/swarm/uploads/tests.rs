//! The slots and the line against lists that are searched for each answer.

use proptest::prelude::*;
use tnet_fileinfo::{ChunkSize, Geometry, MIN_CHUNK_SIZE};

use super::*;

const PEERS: u64 = 3;

#[derive(Debug, Clone)]
enum Step {
    Start(PeerKey, FileKey, u32),
    End(PeerKey, FileKey, u32),
    Reserve(PeerKey, FileKey, u32),
    EndReservation(PeerKey),
    Wait(PeerKey, FileKey, u32),
    StopWaiting(PeerKey),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || (0..PEERS).prop_map(PeerKey);
    let at = || (peer(), (0_u32..2).prop_map(FileKey), 0_u32..3);
    prop_oneof![
        at().prop_map(|(peer, file, chunk)| Step::Start(peer, file, chunk)),
        at().prop_map(|(peer, file, chunk)| Step::End(peer, file, chunk)),
        at().prop_map(|(peer, file, chunk)| Step::Reserve(peer, file, chunk)),
        peer().prop_map(Step::EndReservation),
        at().prop_map(|(peer, file, chunk)| Step::Wait(peer, file, chunk)),
        peer().prop_map(Step::StopWaiting),
    ]
}

#[derive(Default)]
struct Model {
    active: Vec<(PeerKey, FileKey, ChunkIndex)>,
    reserved: Vec<(PeerKey, ChunkIndex)>,
    /// First in line first.
    waiting: Vec<(PeerKey, FileKey, ChunkIndex)>,
}

/// The last chunk is shorter.
fn geometry() -> Geometry {
    let size = 3 * u64::from(MIN_CHUNK_SIZE) - 1000;
    Geometry::new(size, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn slots_and_line_are_what_lists_of_them_say(steps in prop::collection::vec(step(), 1..200)) {
        let mut uploads = Uploads::new(SlotLimits::UPLOADS);
        let mut model = Model::default();
        for step in steps {
            take(&mut uploads, &mut model, step);
            compare(&uploads, &model);
        }
    }
}

fn take(uploads: &mut Uploads, model: &mut Model, step: Step) {
    let (chunk, len) =
        (|index| geometry().chunk(index).unwrap(), |chunk| geometry().chunk_len(chunk));
    match step {
        Step::Start(peer, file, index) => {
            let at = (peer, file, chunk(index));
            if !model.active.contains(&at) {
                uploads.start(Time::ZERO, peer, file, at.2, len(at.2));
                model.active.push(at);
            }
        }
        Step::End(peer, file, index) => {
            let ended = uploads.end(peer, file, chunk(index));
            let before = model.active.len();
            model.active.retain(|active| *active != (peer, file, chunk(index)));
            assert_eq!(ended.is_some(), model.active.len() < before);
        }
        Step::Reserve(peer, file, index) => {
            let chunk = chunk(index);
            if model.reserved.iter().all(|(other, _)| *other != peer) {
                let len = len(chunk);
                let kept = Reservation { file, chunk, len, suggested: false, is_heeded: false };
                uploads.reserve(peer, kept);
                model.reserved.push((peer, chunk));
                model.waiting.retain(|(other, ..)| *other != peer);
            }
        }
        Step::EndReservation(peer) => {
            let ended = uploads.end_reservation(peer);
            let before = model.reserved.len();
            model.reserved.retain(|(other, _)| *other != peer);
            assert_eq!(ended.is_some(), model.reserved.len() < before);
        }
        Step::Wait(peer, file, index) => {
            uploads.wait(peer, file, chunk(index));
            match model.waiting.iter_mut().find(|(other, ..)| *other == peer) {
                Some(waiting) => *waiting = (peer, file, chunk(index)),
                None => model.waiting.push((peer, file, chunk(index))),
            }
        }
        Step::StopWaiting(peer) => {
            uploads.stop_waiting(peer);
            model.waiting.retain(|(other, ..)| *other != peer);
        }
    }
}

fn compare(uploads: &Uploads, model: &Model) {
    let used = model.active.iter().map(|(.., chunk)| *chunk);
    let used = used.chain(model.reserved.iter().map(|(_, chunk)| *chunk));
    let lens: Vec<u64> = used.map(|chunk| geometry().chunk_len(chunk).into()).collect();
    assert_eq!(uploads.slots().used() as usize, lens.len());
    assert_eq!(uploads.slots().used_bytes(), lens.iter().sum::<u64>());
    for peer in (0..PEERS).map(PeerKey) {
        let active = model.active.iter().filter(|(other, ..)| *other == peer);
        assert_eq!(uploads.active_of(peer).count(), active.count());
        let kept = model.reserved.iter().any(|(other, _)| *other == peer);
        assert_eq!(uploads.reservation(peer).is_some(), kept);
    }
    let is_kept = |peer| model.reserved.iter().any(|(other, _)| *other == peer);
    let line = model.waiting.iter().filter(|(peer, ..)| !is_kept(*peer)).copied();
    assert!(uploads.in_line().eq(line));
    assert_eq!(uploads.waiting().len(), model.waiting.len());
}
