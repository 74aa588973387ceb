//! Bytes on a disk that are not any more what they were.

use crate::support::case::cases;

cases![];
