use tokio::time::{Instant, advance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const POLICY: EvictionPolicy =
    EvictionPolicy { grace: SECOND, rate: 1000, patience: Duration::from_secs(4), floor_rate: 100 };

fn unproven(host: u8) -> Claimant {
    Claimant::new([10, 0, 0, host].into())
}

fn proven(host: u8) -> Claimant {
    let claimant = unproven(host);
    claimant.is_proven.store(true, Ordering::Relaxed);
    claimant
}

fn bytes(bytes: u64) -> MemoryRequest {
    MemoryRequest { bytes, len: bytes, cancelled: Arc::default() }
}

/// Index of the allocation that is evicted when `waiter` requests 1000 bytes, and how long the
/// request waits. The allocations receive nothing.
async fn evicted_for(
    budget: &Budget,
    held: Vec<Allocation>,
    waiter: Claimant,
) -> (Option<usize>, Duration) {
    let began = Instant::now();
    let (evicted_in, mut evicted) = tokio::sync::mpsc::unbounded_channel();
    for (number, allocation) in held.into_iter().enumerate() {
        let evicted_in = evicted_in.clone();
        tokio::spawn(async move {
            allocation.progress().evicted().await;
            let _ = evicted_in.send(number);
        });
    }
    let allocation = budget.allocate(&waiter, bytes(1000)).await;
    let took = began.elapsed();
    drop(allocation);
    (evicted.try_recv().ok(), took)
}

#[tokio::test(start_paused = true)]
async fn cancelled_allocations_are_evicted_first_then_unproven_ones_of_the_source_that_holds_most()
{
    let budget = Budget::new(5000, POLICY, Clock::new());
    let mut held = Vec::new();
    for claimant in [proven(1), unproven(2), unproven(3), unproven(3)] {
        held.push(budget.allocate(&claimant, bytes(1000)).await);
    }
    let cancelled = MemoryRequest { cancelled: Arc::new(true.into()), ..bytes(1000) };
    held.push(budget.allocate(&proven(4), cancelled).await);
    let (who, took) = evicted_for(&budget, held, unproven(9)).await;
    assert_eq!(who, Some(4));
    assert!(took >= POLICY.grace && took <= 2 * POLICY.grace, "{took:?}");

    let budget = Budget::new(4000, POLICY, Clock::new());
    let mut held = Vec::new();
    for claimant in [proven(1), unproven(2), unproven(3), unproven(3)] {
        held.push(budget.allocate(&claimant, bytes(1000)).await);
    }
    let (who, took) = evicted_for(&budget, held, unproven(9)).await;
    assert!(matches!(who, Some(2 | 3)) && took <= 2 * POLICY.grace, "{who:?}, {took:?}");
}

#[tokio::test(start_paused = true)]
async fn equal_and_proven_claimants_are_evicted_only_below_the_floor_rate() {
    for holder in [unproven(1), proven(1)] {
        let budget = Budget::new(1000, POLICY, Clock::new());
        let held = vec![budget.allocate(&holder, bytes(1000)).await];
        let (who, took) = evicted_for(&budget, held, unproven(2)).await;
        assert_eq!(who, Some(0));
        assert!(took >= POLICY.patience && took <= POLICY.patience + SECOND, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fast_or_filled_allocation_is_not_evicted() {
    let budget = Budget::new(2000, POLICY, Clock::new());
    let whole = budget.allocate(&unproven(1), bytes(1000)).await;
    whole.progress().set_received(1000);
    let request = MemoryRequest { len: 1_000_000, ..bytes(1000) };
    let fast = budget.allocate(&unproven(1), request).await;
    fast.progress().set_received(900_000);
    let waiter = proven(2);
    let mut waiter = std::pin::pin!(budget.allocate(&waiter, bytes(1000)));
    assert!(timeout(60 * SECOND, &mut waiter).await.is_err());
    assert!(!whole.progress().is_evicted() && !fast.progress().is_evicted());
    drop(whole);
    waiter.await;
}

#[tokio::test(start_paused = true)]
async fn proven_claimants_are_served_first_then_the_source_that_holds_least() {
    let budget = Budget::new(2000, POLICY, Clock::new());
    let (one, two) = (
        budget.allocate(&unproven(1), bytes(1000)).await,
        budget.allocate(&unproven(2), bytes(1000)).await,
    );
    one.progress().set_received(1000);
    two.progress().set_received(1000);
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for (name, claimant) in
        [unproven(1), unproven(1), unproven(3), proven(1)].into_iter().enumerate()
    {
        let (budget, served) = (budget.clone(), served.clone());
        tokio::spawn(async move {
            let _allocation = budget.allocate(&claimant, bytes(1000)).await;
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
async fn a_waiter_that_gives_up_is_granted_nothing() {
    let budget = Budget::new(1000, POLICY, Clock::new());
    let held = budget.allocate(&unproven(1), bytes(1000)).await;
    held.progress().set_received(1000);
    assert!(timeout(SECOND, budget.allocate(&unproven(2), bytes(1000))).await.is_err());
    drop(held);
    assert_eq!(budget.used(), 0);
    drop(budget.allocate(&unproven(3), bytes(5000)).await);
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_process_did_not_run_evicts_no_allocation() {
    let clock = Clock::new();
    clock.beat();
    let budget = Budget::new(1000, POLICY, clock.clone());
    let held = budget.allocate(&unproven(1), bytes(1000)).await;
    advance(70 * SECOND).await;
    // The first waiter after the stop: none waited while the process did not run.
    let waiter = proven(2);
    let mut waiter = std::pin::pin!(budget.allocate(&waiter, bytes(1000)));
    for _ in 0..3 {
        assert!(timeout(SECOND - EVICTION_INTERVAL, &mut waiter).await.is_err());
        clock.beat();
    }
    assert!(!held.progress().is_evicted());
    drop(held);
    waiter.await;
}
