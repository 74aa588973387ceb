//! Accepts peers. Connections without a hello are few at a time and have little time for it; a lack
//! of descriptors pauses accepting and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use tnet_net::{Descriptors, Strangers, accept, tune};
use tokio::net::{TcpListener, TcpStream};
use tracing::Instrument;

use crate::dialer::{Dialer, connection_span};

/// Pause after the system refused to accept, for example for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) dialer: Dialer,
    pub(crate) max_strangers: usize,
    pub(crate) descriptors: Descriptors,
}

impl Listener {
    pub(crate) async fn run(self) {
        let strangers = Strangers::new(self.max_strangers);
        loop {
            let failed = |error: &std::io::Error| {
                if !self.descriptors.note(error) {
                    tracing::warn!(%error, "cannot accept peers for a moment");
                }
            };
            let (stream, remote) = accept(&self.socket, PAUSE, failed).await;
            self.welcome(stream, remote, &strangers).await;
        }
    }

    async fn welcome(&self, stream: TcpStream, remote: SocketAddr, strangers: &Strangers) {
        if tune(&stream).is_err() {
            return;
        }
        let stranger = strangers.admit(remote.ip()).await;
        let dialer = self.dialer.clone();
        let accepting = dialer.accept(stream, remote, stranger).instrument(connection_span(remote));
        self.dialer.context.tasks.spawn(accepting);
    }
}
