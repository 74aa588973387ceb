//! Directories and files that are exchanged while they are read or written.

use crate::support::case::cases;

cases![];
