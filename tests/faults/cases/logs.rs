//! Names that would forge a line or drive a terminal.

use crate::support::case::cases;

cases![];
