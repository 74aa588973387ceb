//! Eviction by sampling. For one eviction a few candidates are compared, the next time the few
//! after them, and the one whose source has most is evicted.

use std::net::IpAddr;

use tnet_sources::SourceCounts;

/// Which of the candidates in a list are compared next.
#[derive(Debug)]
pub(crate) struct EvictionSampler {
    /// Candidates that are compared for one eviction.
    compared: usize,
    /// Amounts of an address below this are not significant; see [`SourceCounts::coarse_rank`].
    grain: u64,
    cursor: usize,
}

impl EvictionSampler {
    pub(crate) const fn new(compared: usize, grain: u64) -> EvictionSampler {
        EvictionSampler { compared, grain, cursor: 0 }
    }

    /// The position, of `count`, of the candidate whose source has most, and by how much that is
    /// more than the source of `newcomer` has.
    pub(crate) fn pick(
        &mut self,
        counts: &SourceCounts,
        newcomer: IpAddr,
        count: usize,
        ip_of: impl Fn(usize) -> IpAddr,
    ) -> Option<(usize, u64)> {
        let compared = count.min(self.compared);
        let candidates = (0..compared).map(|step| (self.cursor + step) % count);
        let heaviest =
            heaviest(candidates.map(|at| (at, ip_of(at))), counts, newcomer, self.grain)?;
        self.cursor = (self.cursor + compared) % count;
        Some(heaviest)
    }
}

/// The candidate whose source has most, and by how much that is more than the source of `newcomer`
/// has.
pub(crate) fn heaviest<K>(
    candidates: impl Iterator<Item = (K, IpAddr)>,
    counts: &SourceCounts,
    newcomer: IpAddr,
    grain: u64,
) -> Option<(K, u64)> {
    let (key, ip) = candidates.max_by_key(|(_, ip)| counts.coarse_rank(*ip, grain))?;
    Some((key, counts.surplus(ip, newcomer, grain)))
}
