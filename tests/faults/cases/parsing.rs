//! Bytes that are no messages.

use tnet_testkit::{Cli, Network};

use crate::support::case::cases;
use crate::support::process::memory;

cases![
    1 "a length prefix of 4 GiB, then a trickle" a_length_of_4_gib_is_refused_at_the_prefix;
];

async fn a_length_of_4_gib_is_refused_at_the_prefix() -> String {
    let network = Network::builder().start().await;
    let ann: Cli = network.user("ann");
    let server = ann.server(Vec::<&str>::new()).await;
    let before = memory(server.pid());
    format!("{before:?}")
}
