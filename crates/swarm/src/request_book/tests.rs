//! The book against a list of requests that is searched for each answer.

use std::time::Duration;

use proptest::prelude::*;
use tnet_fileinfo::{ChunkSize, Geometry, MIN_CHUNK_SIZE};

use super::*;

const FILES: u32 = 3;
const PEERS: u64 = 4;
const CHUNKS: u32 = 6;

#[derive(Debug, Clone)]
enum Step {
    Open(PeerKey, FileKey, u32),
    Settle(PeerKey, FileKey, u32),
    Withdraw(PeerKey, FileKey, u32),
    Abandon(PeerKey, FileKey),
    Trust(PeerKey, Trust),
    Leave(PeerKey),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || ((0..PEERS).prop_map(PeerKey), (0..FILES).prop_map(FileKey), 0..CHUNKS);
    let trust =
        prop::sample::select(vec![Trust::Proven, Trust::Unproven, Trust::Late, Trust::Stalled]);
    prop_oneof![
        8 => at().prop_map(|(peer, file, chunk)| Step::Open(peer, file, chunk)),
        4 => at().prop_map(|(peer, file, chunk)| Step::Settle(peer, file, chunk)),
        2 => at().prop_map(|(peer, file, chunk)| Step::Withdraw(peer, file, chunk)),
        1 => at().prop_map(|(peer, file, _)| Step::Abandon(peer, file)),
        2 => ((0..PEERS).prop_map(PeerKey), trust).prop_map(|(peer, trust)| Step::Trust(peer, trust)),
        1 => (0..PEERS).prop_map(|peer| Step::Leave(PeerKey(peer))),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open,
    Withdrawn,
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Request {
    peer: PeerKey,
    file: FileKey,
    chunk: ChunkIndex,
    since: Time,
    state: State,
}

#[derive(Default)]
struct Model {
    /// Oldest first.
    requests: Vec<Request>,
    trust: BTreeMap<PeerKey, Trust>,
}

impl Model {
    fn find(&self, peer: PeerKey, file: FileKey, chunk: ChunkIndex, state: State) -> Option<usize> {
        let is_meant = |known: &Request| {
            (known.peer, known.file, known.chunk, known.state) == (peer, file, chunk, state)
        };
        self.requests.iter().position(is_meant)
    }

    fn settle(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> Settled {
        let states = [State::Open, State::Withdrawn, State::Abandoned];
        let found = states.into_iter().find_map(|state| self.find(peer, file, chunk, state));
        match found.map(|at| self.requests.remove(at).state) {
            Some(State::Open) => {
                Settled::Expected { others: self.in_flight(|known| known.peer == peer).chunks }
            }
            Some(State::Withdrawn) => Settled::Withdrawn(Withdrawal::Surplus),
            Some(State::Abandoned) => Settled::Withdrawn(Withdrawal::Stalled),
            None => Settled::Unrequested,
        }
    }

    fn trust(&self, peer: PeerKey) -> Trust {
        self.trust.get(&peer).copied().unwrap_or(Trust::Unproven)
    }

    fn in_flight(&self, is_meant: impl Fn(&Request) -> bool) -> InFlight {
        let mut sum = InFlight::default();
        let open = self.requests.iter().filter(|known| known.state == State::Open);
        open.filter(|known| is_meant(known)).for_each(|known| sum.add(len(known.chunk)));
        sum
    }
}

fn geometry() -> Geometry {
    let size = u64::from(CHUNKS) * u64::from(MIN_CHUNK_SIZE) - 1000;
    Geometry::new(size, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap()
}

fn len(chunk: ChunkIndex) -> u32 {
    geometry().chunk_len(chunk)
}

/// Each file is another content.
fn content(file: FileKey) -> Content {
    Content { hash: [u8::try_from(file.0).unwrap(); 32], size: 1, chunk_size: 1 }
}

proptest! {
    #[test]
    fn the_book_says_what_a_list_of_all_requests_says(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut book = RequestBook::new(SlotLimits::DOWNLOADS);
        let mut model = Model::default();
        for (step, number) in steps.into_iter().zip(0..) {
            let now = Time::ZERO + Duration::from_millis(number);
            take(&mut book, &mut model, now, step);
            compare(&book, &model);
        }
    }
}

fn take(book: &mut RequestBook, model: &mut Model, now: Time, step: Step) {
    let chunk = |index| geometry().chunk(index).unwrap();
    match step {
        Step::Open(peer, file, index) => {
            let (chunk, trust) = (chunk(index), model.trust(peer));
            if !book.of_link(peer, file).awaits(chunk) {
                let open = book.open(now, (peer, trust), file, chunk, len(chunk));
                let state = State::Open;
                model.requests.push(Request { peer, file, chunk, since: now, state });
                assert_eq!(open, model.in_flight(|known| known.peer == peer).chunks);
            }
        }
        Step::Settle(peer, file, index) => {
            let settled = book.settle(peer, file, content(file), chunk(index));
            assert_eq!(settled, model.settle(peer, file, chunk(index)));
        }
        Step::Withdraw(peer, file, index) => {
            let others = book.withdraw(peer, file, chunk(index), Withdrawal::Surplus);
            let found = model.find(peer, file, chunk(index), State::Open);
            assert_eq!(others.is_some(), found.is_some());
            if let Some(at) = found {
                model.requests[at].state = State::Withdrawn;
                assert_eq!(others, Some(model.in_flight(|known| known.peer == peer).chunks));
            }
        }
        Step::Abandon(peer, file) => abandon(book, model, peer, file),
        Step::Trust(peer, trust) => {
            book.set_trust(peer, trust);
            model.trust.insert(peer, trust);
        }
        Step::Leave(peer) => {
            (0..FILES).for_each(|file| abandon(book, model, peer, FileKey(file)));
            book.forget_peer(peer);
            model.requests.retain(|known| known.peer != peer);
            model.trust.remove(&peer);
        }
    }
}

fn abandon(book: &mut RequestBook, model: &mut Model, peer: PeerKey, file: FileKey) {
    let mut open = book.abandon(peer, file, content(file));
    let of_link = |known: &&mut Request| (known.peer, known.file) == (peer, file);
    let mut expected = Vec::new();
    for known in model.requests.iter_mut().filter(of_link) {
        if known.state == State::Open {
            expected.push(known.chunk);
        }
        known.state = State::Abandoned;
    }
    open.sort();
    expected.sort();
    assert_eq!(open, expected);
}

fn compare(book: &RequestBook, model: &Model) {
    let all = model.in_flight(|_| true);
    assert_eq!((book.slots().used(), book.slots().used_bytes()), (all.chunks, all.bytes));
    let trusted =
        |is_meant: fn(Trust) -> bool| model.in_flight(|known| is_meant(model.trust(known.peer)));
    assert_eq!(book.unproven(), trusted(|trust| trust != Trust::Proven));
    assert_eq!(book.late(), trusted(|trust| trust == Trust::Late));
    let of = |state: State| model.requests.iter().filter(move |known| known.state == state);
    for peer in (0..PEERS).map(PeerKey) {
        assert_eq!(book.open_at(peer), model.in_flight(|known| known.peer == peer));
        let has_withdrawn = of(State::Withdrawn).any(|known| known.peer == peer);
        assert_eq!(book.has_withdrawn_at(peer), has_withdrawn);
    }
    for file in (0..FILES).map(FileKey) {
        let of_file = book.of_file(file);
        for chunk in geometry().chunks() {
            let asked = of(State::Open).filter(|known| (known.file, known.chunk) == (file, chunk));
            let asked = asked.map(|known| (known.peer, known.since)).collect::<Vec<_>>();
            let in_book = of_file.of_chunk(chunk).iter().map(|asked| (asked.peer, asked.since));
            assert_eq!(in_book.collect::<Vec<_>>(), asked, "chunk {chunk} of {file:?}");
            for peer in (0..PEERS).map(PeerKey) {
                let states = [State::Open, State::Withdrawn];
                let mut found = states.iter().map(|state| model.find(peer, file, chunk, *state));
                let awaits = found.any(|at| at.is_some());
                assert_eq!(book.of_link(peer, file).awaits(chunk), awaits);
            }
        }
        let once = of_file.asked_once().map(|(chunk, _)| chunk);
        let is_once = |chunk: &ChunkIndex| of_file.of_chunk(*chunk).len() == 1;
        assert!(once.eq(geometry().chunks().filter(is_once)));
        assert_eq!(of_file.has_open(), of(State::Open).any(|known| known.file == file));
        for peer in (0..PEERS).map(PeerKey) {
            let waits = |known: &&Request| (known.peer, known.file) == (peer, file);
            let unanswered = of(State::Open).chain(of(State::Withdrawn)).filter(waits).count();
            assert_eq!(book.of_link(peer, file).unanswered(), unanswered);
        }
    }
}
