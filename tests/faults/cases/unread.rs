//! Questions by the thousand whose answers are never read.

use crate::support::case::cases;

cases![];
