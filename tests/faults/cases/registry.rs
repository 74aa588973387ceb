//! Floods and false ports at the coordinator, and peers that claim to be others.

use crate::support::case::cases;

cases![];
