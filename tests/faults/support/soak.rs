//! How long a case goes on: enough to see that it works, or as long as it takes to believe it.

/// The file of the table, relative to the root of the project.
pub(crate) const TABLE: &str = "TNET_FAULTS_TABLE";

/// Whether `TNET_SOAK` asks for the full length.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("TNET_SOAK").is_some()
}

/// `quick` in everyday runs, `long` when the full length is asked for.
pub(crate) fn at_length<T>(quick: T, long: T) -> T {
    if is_soak() { long } else { quick }
}

/// Whether figures are kept: at full length, and when the table is written. In everyday runs only
/// the bounds matter.
pub(crate) fn figures_count() -> bool {
    is_soak() || std::env::var_os(TABLE).is_some()
}

/// How often something is measured whose median is the figure: once where only its bound matters,
/// and that bound is far away.
pub(crate) fn runs(of_the_figure: usize) -> usize {
    if figures_count() { of_the_figure } else { 1 }
}
