//! How bytes travel between peers and to a coordinator: sockets that are tuned for many short
//! messages beside long data, addresses as people write them, time for deadlines, and caps per
//! address for callers that have proven nothing.
//!
//! Nothing here knows what is said on a connection. Where one address competes with another, it
//! competes by the rules of `tnet_proto` for sources.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use std::time::Duration;
//! use tnet_net::{Connector, Descriptors, NarrowPaths, listen};
//!
//! let listener = listen(([127, 0, 0, 1], 0).into(), None)?;
//! let connector = Connector::new(NarrowPaths::default(), Descriptors::new());
//! let connector = connector.with_timeout(Duration::from_secs(1));
//! let connecting = connector.connect(listener.local_addr()?);
//! let (connected, accepted) = tokio::join!(connecting, listener.accept());
//! assert_eq!(connected?.stream.local_addr()?, accepted?.1);
//! # Ok(())
//! # }
//! ```

mod accept;
mod address;
mod clock;
mod connection_limits;
mod connector;
pub mod descriptors;
mod log_throttle;
mod narrow_paths;
mod reach;
mod resolver;
mod socket;
mod strangers;

pub use accept::accept;
pub use address::{AddressError, Advertise, CoordinatorAddress, parse_listen};
pub use clock::{CLOCK_INTERVAL, Clock, Elapsed, wall_clock};
pub use connection_limits::ConnectionLimits;
pub use connector::{Connection, Connector};
pub use descriptors::{Descriptors, Shortage};
pub use log_throttle::LogThrottle;
pub use narrow_paths::{Narrow, NarrowPaths, SMALL_SEGMENT};
pub use reach::OwnReach;
pub use resolver::{ResolveError, Resolver};
pub use socket::{WRITE_AT_MOST, is_here, listen, tune, tune_for_messages};
pub use strangers::{Introduced, Stranger, Strangers};
