//! How long to go on: enough to see it work each time, or for as long as it takes to believe it.

/// `quick` in everyday runs, `long` when `TNET_SOAK` is set.
pub(crate) fn at_length(quick: u32, long: u32) -> u32 {
    if std::env::var_os("TNET_SOAK").is_some() { long } else { quick }
}
