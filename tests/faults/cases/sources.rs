//! Crowds of one source: silent, dripping, lying, or sending others against a third.

use crate::support::case::cases;

cases![];
