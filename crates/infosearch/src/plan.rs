//! Which peer to ask for a description next. Without IO: told the time, the holders of the file and
//! the outcome of each question, it answers which one to ask and which question to give up.
//!
//! A few holders are asked side by side. Each is waited for alone for [`HEDGE_AFTER`], or
//! [`ANSWERS_WITHIN`] if it has begun to answer by then, unless its answer is a long one that waits
//! behind others. It is still listened to after that, and others are asked as well, more of them
//! the longer the search takes, so that dozens of silent ones cost less than a tenth of a second.
//! Of the holders those of the source that was asked least come first: a crowd behind one address
//! is not asked before one from elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tnet_session::CallFailure;
use tnet_sources::SourceCounts;

use super::asking::Begun;
use super::fault::Fault;

/// Holders asked at once at the beginning.
const FIRST_WIDTH: usize = 4;

/// So often there are twice as many, each time nothing has come of it for [`HEDGE_AFTER`].
const MAX_DOUBLINGS: u128 = 2;

/// A holder that has not begun to answer by then is not waited for alone. In a LAN that is many
/// round trips; where it is not, more are asked than need be, but not more than the download calls
/// anyway.
pub(super) const HEDGE_AFTER: Duration = Duration::from_millis(25);

/// The same for one that has begun: on a slow line further answers would only come beside its own.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Questions open at once, those included that take long.
pub(super) const AT_ONCE: usize = 32;

/// A question that is open longer makes room for another one when there are so many.
const MAKES_ROOM_AFTER: Duration = Duration::from_secs(2);

/// Holders that are remembered.
const MOST_HOLDERS: usize = 4096;

/// First pause before a holder is asked again that had no place, and one that failed otherwise;
/// doubled each time.
const FULL_AGAIN: Duration = Duration::from_millis(500);
const FAILED_AGAIN: Duration = Duration::from_secs(2);

/// Longest such pause.
const AGAIN_AT_MOST: Duration = Duration::from_secs(16);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask this holder.
    Ask(SocketAddr),
    /// Give up this question, which is too slow.
    GiveUp(SocketAddr),
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    holders: BTreeMap<SocketAddr, Holder>,
    /// How often each source was asked.
    asked: SourceCounts,
    /// When the first question was asked.
    began: Option<Duration>,
    /// Holders that were ever named.
    named: u64,
}

#[derive(Debug)]
struct Holder {
    /// Its place among all that were named.
    number: u64,
    state: State,
    failures: u32,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// May be asked from this moment on.
    Waiting {
        from: Duration,
    },
    Asked(Question),
    /// It lied, and is not asked again.
    Useless,
}

/// A question that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    since: Duration,
    begun: Option<Begun>,
}

impl Question {
    /// From when on others are asked beside it.
    fn hedged_from(self) -> Duration {
        let within = match self.begun {
            // One that waits behind others is no reason to wait.
            None | Some(Begun::Queued) => HEDGE_AFTER,
            Some(Begun::Short | Begun::Long) => ANSWERS_WITHIN,
        };
        self.since + within
    }

    fn is_long(self) -> bool {
        self.begun == Some(Begun::Long)
    }
}

impl Plan {
    /// These hold the file, in the order in which they are best asked.
    pub(super) fn learn(&mut self, now: Duration, holders: impl IntoIterator<Item = SocketAddr>) {
        for address in holders {
            if self.holders.len() >= MOST_HOLDERS {
                return;
            }
            let number = self.named;
            self.holders.entry(address).or_insert_with(|| {
                self.named += 1;
                Holder { number, state: State::Waiting { from: now }, failures: 0, fault: None }
            });
        }
    }

    /// The next thing to do, until there is none.
    pub(super) fn next(&mut self, now: Duration) -> Option<Step> {
        let open = self.open().count();
        let fresh = || self.open().filter(|(_, question)| now < question.hedged_from());
        // Many more claim a long description than have one: a short one must not wait for them.
        let is_answered = fresh().any(|(_, question)| question.begun == Some(Begun::Short));
        let width = if is_answered { FIRST_WIDTH } else { self.width(now) };
        if fresh().count() >= width {
            return None;
        }
        let next = self.candidate(now)?;
        if open >= AT_ONCE {
            let is_slow = |question: &Question| {
                !question.is_long() && now >= question.since + MAKES_ROOM_AFTER
            };
            let slow = self.open().filter(|(_, question)| is_slow(question));
            let (slowest, _) = slow.min_by_key(|(_, question)| question.since)?;
            self.ended(now, slowest, Fault::Silent);
            return Some(Step::GiveUp(slowest));
        }
        self.began.get_or_insert(now);
        self.asked.add(next.ip(), 1);
        let holder = self.holders.get_mut(&next).expect("a candidate is a holder");
        holder.state = State::Asked(Question { since: now, begun: None });
        Some(Step::Ask(next))
    }

    /// The holder has begun to send a description. A long one is not given up for being slow,
    /// unless it is too slow.
    pub(super) fn begun(&mut self, address: SocketAddr, begun: Begun) {
        if let Some(State::Asked(question)) =
            self.holders.get_mut(&address).map(|holder| &mut holder.state)
        {
            question.begun = Some(begun);
        }
    }

    /// A question came to nothing.
    pub(super) fn ended(&mut self, now: Duration, address: SocketAddr, fault: Fault) {
        let Some(holder) = self.holders.get_mut(&address) else { return };
        holder.fault = Some(fault);
        let first = match fault {
            Fault::False => {
                holder.state = State::Useless;
                return;
            }
            Fault::Full => FULL_AGAIN,
            _ => FAILED_AGAIN,
        };
        let pause = first.saturating_mul(1 << holder.failures.min(8)).min(AGAIN_AT_MOST);
        holder.failures += 1;
        holder.state = State::Waiting { from: now + pause };
    }

    /// We could not even ask.
    pub(super) fn not_asked(&mut self, now: Duration, address: SocketAddr) {
        if let Some(holder) = self.holders.get_mut(&address) {
            holder.state = State::Waiting { from: now + FAILED_AGAIN };
        }
    }

    /// What came of the last call to each holder, if none was reached at any time and none is left
    /// that was not called.
    pub(super) fn unreached(&self) -> Option<BTreeMap<SocketAddr, CallFailure>> {
        let failure = |holder: &Holder| match holder.fault {
            Some(Fault::Unreachable(failure)) => Some(failure),
            _ => None,
        };
        self.holders.iter().map(|(address, holder)| Some((*address, failure(holder)?))).collect()
    }

    /// Whether all known holders were asked: the coordinator may know more.
    pub(super) fn needs_holders(&self) -> bool {
        !self
            .holders
            .values()
            .any(|holder| matches!(holder.state, State::Waiting { .. }) && holder.failures == 0)
    }

    /// When to look again, whatever happens.
    pub(super) fn next_wake(&self, now: Duration) -> Option<Duration> {
        let hedges = self.open().map(|(_, question)| question.hedged_from());
        let room = self.open().map(|(_, question)| question.since + MAKES_ROOM_AFTER);
        let again = self.holders.values().filter_map(|holder| match holder.state {
            State::Waiting { from } => Some(from),
            _ => None,
        });
        hedges.chain(room).chain(again).filter(|due| *due > now).min()
    }

    /// Holders that were asked, and why each was of no use so far.
    pub(super) fn faults(&self) -> impl Iterator<Item = Fault> + '_ {
        self.holders.values().filter_map(|holder| match holder.state {
            State::Asked(_) => Some(holder.fault.unwrap_or(Fault::Silent)),
            State::Waiting { .. } | State::Useless => holder.fault,
        })
    }

    fn open(&self) -> impl Iterator<Item = (SocketAddr, Question)> + '_ {
        self.holders.iter().filter_map(|(address, holder)| match holder.state {
            State::Asked(question) => Some((*address, question)),
            _ => None,
        })
    }

    fn width(&self, now: Duration) -> usize {
        let took = now.saturating_sub(self.began.unwrap_or(now));
        let doublings = took.as_millis() / HEDGE_AFTER.as_millis();
        FIRST_WIDTH << doublings.min(MAX_DOUBLINGS)
    }

    /// Who was asked least often; among them of the source that was asked least, and who was named
    /// first.
    fn candidate(&self, now: Duration) -> Option<SocketAddr> {
        let waiting = self
            .holders
            .iter()
            .filter(|(_, holder)| matches!(holder.state, State::Waiting { from } if from <= now));
        let rank = |(address, holder): &(&SocketAddr, &Holder)| {
            (holder.failures, self.asked.rank(address.ip()), holder.number)
        };
        waiting.min_by_key(rank).map(|(address, _)| *address)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn holder(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], port))
    }

    fn ask_all(plan: &mut Plan, now: Duration) -> Vec<SocketAddr> {
        let mut asked = Vec::new();
        while let Some(step) = plan.next(now) {
            if let Step::Ask(address) = step {
                asked.push(address);
            }
        }
        asked
    }

    #[test]
    fn thirty_silent_ones_keep_the_last_one_waiting_for_less_than_a_tenth_of_a_second() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=31).map(|host| holder(host, 1)));
        let rounds = [0, 24, 25, 49, 50, 74, 75].map(|ms| ask_all(&mut plan, ms * MS).len());
        assert_eq!(rounds, [4, 0, 8, 0, 16, 0, 3]);
    }

    #[test]
    fn while_one_answers_few_others_are_asked_but_not_for_long() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=31).map(|host| holder(host, 1)));
        assert_eq!(ask_all(&mut plan, Duration::ZERO).len(), FIRST_WIDTH);
        plan.begun(holder(1, 1), Begun::Short);
        assert_eq!(ask_all(&mut plan, 25 * MS).len(), FIRST_WIDTH - 1);
        (5..8).for_each(|host| plan.begun(holder(host, 1), Begun::Short));
        assert_eq!(ask_all(&mut plan, 499 * MS), []);
        // Those that were asked later have their time, too.
        assert_eq!(ask_all(&mut plan, 500 * MS).len(), 1);
        assert_eq!(plan.next_wake(500 * MS), Some(525 * MS));
        assert_eq!(ask_all(&mut plan, 525 * MS).len(), FIRST_WIDTH << MAX_DOUBLINGS);
    }

    #[test]
    fn long_descriptions_that_wait_for_each_other_keep_a_short_one_waiting_no_longer_than_silence()
    {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=31).map(|host| holder(host, 1)));
        let mut long = 0;
        let rounds = [0, 25, 50, 75].map(|ms| {
            let asked = ask_all(&mut plan, ms * MS);
            for holder in &asked {
                plan.begun(*holder, Begun::Short);
                plan.begun(*holder, if long < 2 { Begun::Long } else { Begun::Queued });
                long += 1;
            }
            asked.len()
        });
        assert_eq!(rounds, [4, 6, 14, 7]);
    }

    #[test]
    fn who_answers_at_once_that_it_has_none_makes_room_for_the_next_at_once() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=31).map(|host| holder(host, 1)));
        let mut asked = 0;
        while let Some(Step::Ask(address)) = plan.next(MS) {
            plan.ended(MS, address, Fault::NotFound);
            asked += 1;
        }
        assert_eq!(asked, 31);
    }

    #[test]
    fn one_from_elsewhere_is_asked_before_the_rest_of_a_crowd() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=30).map(|port| holder(1, port)).chain([holder(2, 1)]));
        assert_eq!(ask_all(&mut plan, Duration::ZERO)[..2], [holder(1, 1), holder(2, 1)]);
    }

    #[test]
    fn hosts_of_one_prefix_are_told_apart_and_one_from_elsewhere_comes_before_them() {
        let address = |text: &str, port| SocketAddr::new(text.parse().expect("an address"), port);
        let crowd = (1..=30).map(|port| address("2001:db8::1", port));
        let mut plan = Plan::default();
        plan.learn(
            Duration::ZERO,
            crowd.chain([address("2001:db8::2", 1), address("2001:db8:1::1", 1)]),
        );
        let asked = ask_all(&mut plan, Duration::ZERO);
        let expected =
            [address("2001:db8::1", 1), address("2001:db8:1::1", 1), address("2001:db8::2", 1)];
        assert_eq!(asked[..3], expected);
    }

    #[test]
    fn a_whole_swarm_behind_one_address_is_asked_all_the_same() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=4).map(|port| holder(1, port)));
        assert_eq!(ask_all(&mut plan, Duration::ZERO).len(), 4);
    }

    #[test]
    fn who_had_no_place_is_asked_again_and_who_lied_is_not() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, [holder(1, 1), holder(2, 1)]);
        assert_eq!(ask_all(&mut plan, Duration::ZERO).len(), 2);
        plan.ended(MS, holder(1, 1), Fault::Full);
        plan.ended(MS, holder(2, 1), Fault::False);
        assert!(plan.needs_holders());
        assert_eq!(ask_all(&mut plan, FULL_AGAIN), []);
        assert_eq!(plan.next_wake(FULL_AGAIN), Some(FULL_AGAIN + MS));
        assert_eq!(ask_all(&mut plan, FULL_AGAIN + MS), [holder(1, 1)]);
        assert_eq!(plan.faults().collect::<Vec<_>>(), [Fault::Full, Fault::False]);
    }

    #[test]
    fn when_very_many_are_slow_the_oldest_question_makes_room_but_not_a_long_description() {
        let mut plan = Plan::default();
        plan.learn(Duration::ZERO, (1..=50).map(|host| holder(host, 1)));
        let mut now = Duration::ZERO;
        while plan.open().count() < AT_ONCE {
            ask_all(&mut plan, now);
            now += HEDGE_AFTER;
        }
        plan.begun(holder(1, 1), Begun::Long);
        let now = 2 * MAKES_ROOM_AFTER;
        assert_eq!(plan.next(now), Some(Step::GiveUp(holder(2, 1))));
        assert_eq!(plan.next(now), Some(Step::Ask(holder(33, 1))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever comes of the questions, never too many are open, no peer is asked that is being
        /// asked or lied, and all are asked in bounded time.
        #[test]
        fn all_are_asked_soon_and_never_too_many_at_once(
            holders in 1u8..200,
            ends in prop::collection::vec((0u16..400, 0usize..8, 0u8..6), 0..200),
        ) {
            let mut plan = Plan::default();
            plan.learn(Duration::ZERO, (0..holders).map(|host| holder(host % 7, 100 + u16::from(host))));
            let (mut open, mut lied, mut seen) = (Vec::new(), Vec::new(), std::collections::BTreeSet::new());
            let mut ends = ends.into_iter();
            let mut now = Duration::ZERO;
            while now < Duration::from_secs(60) && seen.len() < usize::from(holders) {
                while let Some(step) = plan.next(now) {
                    match step {
                        Step::Ask(address) => {
                            prop_assert!(!open.contains(&address) && !lied.contains(&address));
                            seen.insert(address);
                            open.push(address);
                        }
                        Step::GiveUp(address) => open.retain(|other| *other != address),
                    }
                    prop_assert!(open.len() <= AT_ONCE);
                }
                if let Some((pause, which, fault)) = ends.next() {
                    now += u32::from(pause) * MS;
                    if !open.is_empty() {
                        let address = open.remove(which % open.len());
                        let fault = Fault::ALL[usize::from(fault) % Fault::ALL.len()];
                        if fault == Fault::False {
                            lied.push(address);
                        }
                        plan.ended(now, address, fault);
                    }
                } else {
                    match plan.next_wake(now) {
                        Some(wake) => { prop_assert!(wake > now); now = wake; }
                        None => break,
                    }
                }
            }
            prop_assert_eq!(seen.len(), usize::from(holders), "after {:?}", now);
        }
    }
}
