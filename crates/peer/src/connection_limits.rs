//! How many connections the descriptors of the process allow.

use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::strangers;

/// Of files that stay open, and of what else a process has open. Of few descriptors, half.
const OTHERS: usize = 256 + 64;

/// Connections that are told goodbye and not closed yet.
const FAREWELLS: usize = 64;

/// Bounds the connections by what the process may have open, and answers how many may be saying
/// goodbye at once. A place that no descriptor is left for would keep everybody out, the useful
/// too.
pub(crate) fn fit(config: &mut Config) -> usize {
    let most = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    fit_into(most.unwrap_or(usize::MAX), config)
}

fn fit_into(most: usize, config: &mut Config) -> usize {
    let room = most - OTHERS.min(most / 2);
    let farewells = FAREWELLS.min(room / 8).max(1);
    config.max_strangers = config.max_strangers.min(room / 8).max(1);
    let strangers = config.max_strangers + strangers::leaving(config.max_strangers);
    let peers = room.saturating_sub(strangers + farewells).max(1);
    if peers < config.swarm.max_peers {
        tracing::info!(most, peers, "fewer connections than configured, for want of descriptors");
        config.swarm.max_peers = peers;
    }
    farewells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fits_into_what_the_process_may_open() {
        for most in [8, 64, 256, 1024, 4096, 65_536, usize::MAX] {
            let mut config = Config::default();
            let farewells = fit_into(most, &mut config);
            let strangers = config.max_strangers + strangers::leaving(config.max_strangers);
            let open = config.swarm.max_peers + strangers + farewells + OTHERS.min(most / 2);
            assert!(open <= most, "{open} of {most}");
            assert!(
                config.swarm.max_peers >= most.min(1000) / 8,
                "{} of {most}",
                config.swarm.max_peers
            );
        }
    }

    #[test]
    fn with_enough_of_them_the_configuration_stands() {
        let mut config = Config::default();
        fit_into(4096, &mut config);
        assert_eq!((config.swarm.max_peers, config.max_strangers), (1000, 256));
    }
}
