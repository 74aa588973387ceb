//! Liveness: every honest host that wants the file and stays has it by the deadline, as long as one
//! honest full holder stays.

use super::Breach;
use crate::units::{HostId, Nanos, number};
use crate::world::{Character, Holds, HostChange, World};

/// `progress` says for each host whether it has ever been done, and how many chunks are on its
/// disk.
pub(crate) fn unfinished(world: &World, deadline: Nanos, progress: &[(bool, u32)]) -> Vec<Breach> {
    if !a_full_holder_stays(world) {
        return Vec::new();
    }
    let hosts = world.hosts.iter().zip(progress).enumerate();
    let late = hosts.filter(|(_, (plan, (was_done, _)))| plan.must_finish() && !was_done);
    let breach =
        |host: HostId, stored| Breach::Unfinished { host, stored, chunks: world.chunks, deadline };
    late.map(|(host, (_, (_, stored)))| breach(number(host), *stored)).collect()
}

fn a_full_holder_stays(world: &World) -> bool {
    world.hosts.iter().any(|plan| {
        let goes = |change: &(Nanos, HostChange)| {
            matches!(change.1, HostChange::Leave | HostChange::Vanish | HostChange::Crash)
        };
        let comes_back =
            plan.changes.last().is_some_and(|(_, change)| *change == HostChange::Rejoin);
        plan.holds == Holds::Everything
            && plan.character == Character::Honest
            && (comes_back || !plan.changes.iter().any(goes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Parameters, Scenario};

    fn world() -> World {
        Scenario::Equal.world(&Parameters { receivers: 2, chunks: 4, ..Parameters::default() })
    }

    #[test]
    fn a_host_that_is_late_is_named() {
        let expected = Breach::Unfinished { host: 2, stored: 3, chunks: 4, deadline: 9 };
        assert_eq!(unfinished(&world(), 9, &[(false, 4), (true, 4), (false, 3)]), [expected]);
    }

    #[test]
    fn nothing_is_expected_when_the_only_full_holder_leaves() {
        let mut world = world();
        world.hosts[0].changes.push((1, HostChange::Leave));
        assert_eq!(unfinished(&world, 9, &[(false, 4), (false, 0), (false, 0)]), []);
    }

    #[test]
    fn nothing_is_expected_of_corrupt_hosts_and_of_hosts_that_leave() {
        let mut world = world();
        world.hosts[1].character = Character::Boaster;
        world.hosts[2].changes.push((1, HostChange::Crash));
        assert_eq!(unfinished(&world, 9, &[(false, 4), (false, 0), (false, 0)]), []);
    }
}
