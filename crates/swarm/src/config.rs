//! Every number the decisions depend on, with its unit, its default and why.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Default of [`Config::max_links_per_peer`].
pub(crate) const MAX_LINKS_PER_PEER: usize = 4096;

/// How many chunks may be under way in one direction. Exhaustive: callers write it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Bytes under way; more only below `min`.
    pub bytes: u64,
    /// At least this many chunks, however big.
    pub min: u32,
    /// At most this many chunks, however small.
    pub max: u32,
}

impl SlotLimits {
    /// Of uploads. Fewer, and an uplink has nothing to send while an answer is on its way; more,
    /// and a chunk that few have waits behind others.
    pub const UPLOADS: SlotLimits = SlotLimits { bytes: 8 * MIB, min: 6, max: 20 };

    /// Of downloads that we ask for ourselves: half as many, so that the rest goes to sources that
    /// offer a slot. With as many as upload slots all are spoken for when an idle uplink offers
    /// itself.
    pub const DOWNLOADS: SlotLimits = SlotLimits { bytes: 4 * MIB, min: 4, max: 10 };
}

/// Settings of a [`Swarm`](crate::Swarm). Not `#[non_exhaustive]`: callers write
/// `Config { max_peers, ..Config::default() }`, which a new field does not break.
#[derive(Debug, Clone)]
pub struct Config {
    /// Chunks being sent at once. A request beyond it is answered with busy, and the peer waits in
    /// line.
    pub upload_slots: SlotLimits,
    /// Where the slots for downloads last shorter than this, because chunks come fast, there are
    /// more of them, up to four times as many; for uploads, of which twice as many are under way,
    /// twice the time.
    pub slot_turnover_time: Duration,
    /// Thousandths of the time of the own downloads that an upload may take, before there are fewer
    /// upload slots. Zero: their number never changes.
    pub slow_uplink_per_mille: u32,
    /// Chunks asked for at once.
    pub download_slots: SlotLimits,
    /// Download slots that exist only for sources that offer or keep a slot for us, in thousandths
    /// of the download slots. Without them three of four such slots come back after a round trip in
    /// which they were idle.
    pub extra_offer_slots_per_mille: u32,
    /// Whether free upload slots are offered to peers that have not asked for one.
    pub offers: bool,
    /// A peer that gives back a slot, or lets it lapse, is offered none for so long. In 100 ms a
    /// link of 1 Gbit/s carries 190 chunks of 64 KiB: there idle uplinks waited for peers that had
    /// long had room again.
    pub offer_pause: Duration,
    /// Chunks asked for at one source at once while there are others: one in service, the rest to
    /// hide the round trip, which is as long as the queues on the way. With two, and 24 slots, one
    /// of 16 receivers now and then lagged behind.
    pub requests_per_source: u32,
    /// Bytes arrived but not yet in the file, at which asking stops: the disk's back-pressure.
    pub storing_bytes: u64,
    /// How long a stored chunk waits at most for others to be announced with it.
    pub have_delay: Duration,
    /// Pause between two announcements of all that we hold of a file from which chunks go missing.
    pub reopen_after: Duration,
    /// Chunks that are announced at once: this part of the file. They need not wait longer.
    pub have_batch_divisor: u32,
    /// How long an upload slot is kept for a peer that was told it is free.
    pub reservation: Duration,
    /// After a busy, how long to wait for the wake-up before asking again regardless.
    pub busy_retry_after: Duration,
    /// A source with requests open must deliver in each such window; doubled after each failure of
    /// that source.
    pub progress_window: Duration,
    /// Windows in a row without enough bytes, after which the connection is given up.
    pub stalls_to_drop: u32,
    /// Bytes per second below which a source counts as stalled. 24 slots on 1 Mbit/s get 5 kB/s
    /// each.
    pub progress_floor: u64,
    /// Age of a request at which a free slot may ask another peer for the same chunk, when nothing
    /// else is left.
    pub hedge_after: Duration,
    /// Chunks asked for twice, at most this share of the file's chunks (per mille), and at least 2.
    pub hedge_per_mille: u32,
    /// Age at which such a chunk may be asked for again even when that share is used up: else a few
    /// peers that trickle could hold up the end.
    pub late_after: Duration,
    /// Corrupt chunks from one peer before it is banned.
    pub strikes_to_ban: u32,
    /// Requests refused for chunks a peer had announced, before its word is worth nothing.
    pub refusals_to_cut: u32,
    /// How long a ban lasts.
    pub ban: Duration,
    /// How long a peer that broke the protocol is left alone: its next attempt is likely to go the
    /// same way.
    pub violation_ban: Duration,
    /// How long a peer may take to say what it holds of a file, before it makes room for another.
    pub open_timeout: Duration,
    /// Kept slots a peer may leave unused in a row, before it is not woken any more.
    pub unused_offers_limit: u32,
    /// Peers connected for one file, at which we stop connecting to more. 50 are as good as all.
    pub neighbours: usize,
    /// Peers connected in all, both directions. A quarter is only for those we call.
    pub max_peers: usize,
    /// Addresses remembered in all.
    pub max_addresses: usize,
    /// Files that one connection has in common. For one more, the least useful of them is closed.
    pub max_links_per_peer: usize,
    /// Bytes of all links that others open; then those of least use are closed, of the source with
    /// most.
    pub link_bytes: u64,
    /// First pause before a failed address is tried again; doubled each time.
    pub reconnect_after: Duration,
    /// Longest such pause.
    pub reconnect_at_most: Duration,
    /// First pause before the coordinator is asked again for an unfinished file; doubled each time.
    pub lookup_after: Duration,
    /// Longest such pause.
    pub lookup_at_most: Duration,
    /// How often neighbours are told of each other.
    pub exchange_every: Duration,
}

impl Config {
    /// Peers that called us, at most: many callers must not keep us from calling others.
    pub(crate) fn max_callers(&self) -> usize {
        self.max_peers - self.max_peers / 4
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            upload_slots: SlotLimits::UPLOADS,
            slot_turnover_time: Duration::from_millis(10),
            slow_uplink_per_mille: 2000,
            download_slots: SlotLimits::DOWNLOADS,
            extra_offer_slots_per_mille: 500,
            offers: true,
            offer_pause: Duration::from_millis(20),
            requests_per_source: 3,
            storing_bytes: 24 * 1024 * 1024,
            have_delay: Duration::from_millis(200),
            reopen_after: Duration::from_secs(1),
            have_batch_divisor: 128,
            reservation: Duration::from_millis(500),
            busy_retry_after: Duration::from_secs(2),
            progress_window: Duration::from_secs(3),
            stalls_to_drop: 5,
            progress_floor: 2 * 1024,
            hedge_after: Duration::from_secs(1),
            hedge_per_mille: 20,
            late_after: Duration::from_secs(30),
            strikes_to_ban: 2,
            refusals_to_cut: 16,
            ban: Duration::from_secs(600),
            violation_ban: Duration::from_secs(60),
            open_timeout: Duration::from_secs(10),
            unused_offers_limit: 3,
            neighbours: 50,
            max_peers: 1000,
            max_addresses: 4096,
            max_links_per_peer: MAX_LINKS_PER_PEER,
            link_bytes: 10 * MIB,
            reconnect_after: Duration::from_millis(500),
            reconnect_at_most: Duration::from_secs(30),
            lookup_after: Duration::from_secs(1),
            lookup_at_most: Duration::from_secs(30),
            exchange_every: Duration::from_secs(20),
        }
    }
}
