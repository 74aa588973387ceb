//! Crowds that hold the places of a peer.

use crate::support::case::cases;

cases![];
