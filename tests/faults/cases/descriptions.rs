//! Holders whose descriptions are false, slow or endless.

use crate::support::case::cases;

cases![];
