//! Trees on disk: directories that are one content.

mod whole;

pub(crate) use whole::WholeTree;
