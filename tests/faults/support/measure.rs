//! Figures of several runs.

/// The one in the middle.
///
/// # Panics
/// If there is none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
