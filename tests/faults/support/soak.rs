//! How long to go on: enough to see it work each time, or for as long as it takes to believe it.

/// Whether `TNET_SOAK` asks for the full length.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("TNET_SOAK").is_some()
}

/// `quick` in everyday runs, `long` when the full length is asked for.
pub(crate) fn at_length<T>(quick: T, long: T) -> T {
    if is_soak() { long } else { quick }
}
