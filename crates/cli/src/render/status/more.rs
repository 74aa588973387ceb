//! Lists that are cut.

use super::super::terminal::Layout;
use super::super::units::grouped;

/// The line that counts what is not shown; none if there is nothing more.
pub(super) fn and_more(more: u64, where_to_look: &str, layout: Layout) -> Option<String> {
    (more > 0)
        .then(|| format!("  {} and {} more ({where_to_look})", layout.ellipsis(), grouped(more)))
}
