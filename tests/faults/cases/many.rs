//! Very many files by one command.

use crate::support::case::cases;

cases![];
