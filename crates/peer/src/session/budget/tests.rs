use tokio::time::{Instant, advance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HASTE: Haste =
    Haste { grace: SECOND, pace: 1000, patience: Duration::from_secs(4), least: 100 };

fn of(host: u8) -> Claimant {
    Claimant::new([10, 0, 0, host].into())
}

fn proven(host: u8) -> Claimant {
    let claimant = of(host);
    claimant.is_proven.store(true, Ordering::Relaxed);
    claimant
}

fn bytes(bytes: u64) -> Wanted {
    Wanted { bytes, len: bytes, cancelled: Arc::default() }
}

/// Who has to leave when `newcomer` wants 1000 bytes, and when he has them. Nothing comes of what
/// is held.
async fn gives_way(
    budget: &Budget,
    held: Vec<Share>,
    newcomer: Claimant,
) -> (Option<usize>, Duration) {
    let began = Instant::now();
    let (left, mut leaves) = tokio::sync::mpsc::unbounded_channel();
    for (number, share) in held.into_iter().enumerate() {
        let left = left.clone();
        tokio::spawn(async move {
            share.hold().has_to_leave().await;
            let _ = left.send(number);
        });
    }
    let share = budget.take(&newcomer, bytes(1000)).await;
    let took = began.elapsed();
    drop(share);
    (leaves.try_recv().ok(), took)
}

#[tokio::test(start_paused = true)]
async fn first_gives_way_what_was_taken_back_then_the_unproven_and_of_them_the_source_with_most() {
    let budget = Budget::new(5000, HASTE, Clock::new());
    let mut held = Vec::new();
    for claimant in [proven(1), of(2), of(3), of(3)] {
        held.push(budget.take(&claimant, bytes(1000)).await);
    }
    let taken_back = Wanted { cancelled: Arc::new(true.into()), ..bytes(1000) };
    held.push(budget.take(&proven(4), taken_back).await);
    let (who, took) = gives_way(&budget, held, of(9)).await;
    assert_eq!(who, Some(4));
    assert!(took >= HASTE.grace && took <= 2 * HASTE.grace, "{took:?}");

    let budget = Budget::new(4000, HASTE, Clock::new());
    let mut held = Vec::new();
    for claimant in [proven(1), of(2), of(3), of(3)] {
        held.push(budget.take(&claimant, bytes(1000)).await);
    }
    let (who, took) = gives_way(&budget, held, of(9)).await;
    assert!(matches!(who, Some(2 | 3)) && took <= 2 * HASTE.grace, "{who:?}, {took:?}");
}

#[tokio::test(start_paused = true)]
async fn equals_and_the_proven_give_way_only_if_hardly_anything_comes() {
    for holder in [of(1), proven(1)] {
        let budget = Budget::new(1000, HASTE, Clock::new());
        let held = vec![budget.take(&holder, bytes(1000)).await];
        let (who, took) = gives_way(&budget, held, of(2)).await;
        assert_eq!(who, Some(0));
        assert!(took >= HASTE.patience && took <= HASTE.patience + SECOND, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_fast_enough_or_has_sent_all_keeps_it() {
    let budget = Budget::new(2000, HASTE, Clock::new());
    let whole = budget.take(&of(1), bytes(1000)).await;
    whole.hold().received(1000);
    let wanted = Wanted { len: 1_000_000, ..bytes(1000) };
    let fast = budget.take(&of(1), wanted).await;
    fast.hold().received(900_000);
    let newcomer = proven(2);
    let mut newcomer = std::pin::pin!(budget.take(&newcomer, bytes(1000)));
    assert!(timeout(60 * SECOND, &mut newcomer).await.is_err());
    assert!(!whole.hold().is_leaving() && !fast.hold().is_leaving());
    drop(whole);
    newcomer.await;
}

#[tokio::test(start_paused = true)]
async fn the_proven_are_served_first_and_then_the_source_that_has_least() {
    let budget = Budget::new(2000, HASTE, Clock::new());
    let (one, two) =
        (budget.take(&of(1), bytes(1000)).await, budget.take(&of(2), bytes(1000)).await);
    one.hold().received(1000);
    two.hold().received(1000);
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for (name, claimant) in [of(1), of(1), of(3), proven(1)].into_iter().enumerate() {
        let (budget, served) = (budget.clone(), served.clone());
        tokio::spawn(async move {
            let _share = budget.take(&claimant, bytes(1000)).await;
            let _ = served.send(name);
        });
        tokio::task::yield_now().await;
    }
    drop(two);
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(order.recv().await);
    }
    assert_eq!(names, [3, 2, 0, 1].map(Some));
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_takes_nothing() {
    let budget = Budget::new(1000, HASTE, Clock::new());
    let held = budget.take(&of(1), bytes(1000)).await;
    held.hold().received(1000);
    assert!(timeout(SECOND, budget.take(&of(2), bytes(1000))).await.is_err());
    drop(held);
    assert_eq!(budget.used(), 0);
    drop(budget.take(&of(3), bytes(5000)).await);
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_way_for_what_could_not_come_while_we_did_not_run() {
    let clock = Clock::new();
    clock.beat();
    let budget = Budget::new(1000, HASTE, clock.clone());
    let held = budget.take(&of(1), bytes(1000)).await;
    advance(70 * SECOND).await;
    // Whoever comes first after the stop: nobody has waited while we did not run.
    let newcomer = proven(2);
    let mut newcomer = std::pin::pin!(budget.take(&newcomer, bytes(1000)));
    for _ in 0..3 {
        assert!(timeout(SECOND - LOOK, &mut newcomer).await.is_err());
        clock.beat();
    }
    assert!(!held.hold().is_leaving());
    drop(held);
    newcomer.await;
}
