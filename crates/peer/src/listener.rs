//! Accepts peers. Strangers are few at a time and have little time to introduce themselves; running
//! out of descriptors pauses accepting and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::descriptors::Descriptors;
use crate::dialer::Dialer;
use crate::network;
use crate::strangers::Strangers;

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
            match self.socket.accept().await {
                Ok((stream, remote)) => {
                    self.welcome(stream, network::canonical(remote), &strangers).await
                }
                Err(error) => {
                    if !self.descriptors.note(&error) {
                        tracing::warn!(%error, "cannot accept peers for a moment");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn welcome(&self, stream: TcpStream, remote: SocketAddr, strangers: &Strangers) {
        if network::tune(&stream).is_err() {
            return;
        }
        let stranger = strangers.admit(remote.ip()).await;
        let dialer = self.dialer.clone();
        self.dialer.context.tasks.spawn(async move {
            dialer.accept(stream, remote, stranger).await;
        });
    }
}
