//! What the fuzz targets need of this crate's insides: each function takes bytes that come from
//! outside and answers what was made of them. Only there with the feature `fuzzing`, and no part of
//! the API.

pub use crate::info_search::fuzzing::description_from;
pub use tnet_session::fuzzing::{Heard, listen_to};
