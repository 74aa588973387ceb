//! Short by default, at full length when asked.

/// Whether `TNET_SOAK` asks for the full length.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("TNET_SOAK").is_some()
}

/// How much of something: `short` by default, `full` at full length.
pub(crate) fn length<T>(short: T, full: T) -> T {
    if is_soak() { full } else { short }
}
