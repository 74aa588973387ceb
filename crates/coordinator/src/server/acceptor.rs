//! Gives each new connection a permit and a task, or turns it away. Every task that it starts is in
//! its set.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use tnet_net::{LogThrottle, accept, tune_for_messages};

use crate::config::Config;
use crate::registry::networks::AllowAdvertise;
use crate::registry::table::{Epoch, LimitExceeded};
use crate::server::admission::{Admission, ConnectionPermit};
use crate::server::connection::{Connection, refuse};
use crate::server::message::RegistrarEvent;
use crate::server::message_stream::LargeMessageMemory;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Silence after which the kernel asks whether the other machine is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Pause between such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Connections that are told at the same time why they are refused; others are just closed.
const MAX_REFUSALS: usize = 64;

/// Where connections arrive.
#[derive(Debug)]
pub(crate) struct Acceptor {
    config: Config,
    allow_advertise: Arc<AllowAdvertise>,
    registrar: mpsc::Sender<RegistrarEvent>,
    stop: CancellationToken,
    admission: Admission,
    large: LargeMessageMemory,
    /// Connections with a permit, and refusals.
    tasks: JoinSet<()>,
    /// Of each task with one. A table beside the set, because a task that panics cannot give its
    /// permit back.
    permits: HashMap<task::Id, ConnectionPermit>,
    last_epoch: u64,
    started: Instant,
    accept_log: LogThrottle,
    refusal_log: LogThrottle,
}

impl Acceptor {
    pub(crate) fn new(
        config: Config,
        registrar: mpsc::Sender<RegistrarEvent>,
        stop: CancellationToken,
    ) -> Acceptor {
        let admission = Admission::new(config.max_connections, config.max_connections_per_ip);
        let large = LargeMessageMemory::new(
            usize::try_from(config.large_message_bytes).unwrap_or(usize::MAX),
        );
        Acceptor {
            allow_advertise: Arc::new(config.allow_advertise.clone()),
            config,
            registrar,
            stop,
            admission,
            large,
            tasks: JoinSet::new(),
            permits: HashMap::new(),
            last_epoch: 0,
            started: Instant::now(),
            accept_log: LogThrottle::default(),
            refusal_log: LogThrottle::default(),
        }
    }

    /// Accepts for ever; no error of the listener ends it.
    pub(crate) async fn accept_connections(&mut self, listener: &TcpListener) {
        loop {
            let failed = |error: &std::io::Error| {
                if let Some(suppressed) = self.accept_log.due(self.started.elapsed()) {
                    warn!(%error, suppressed, "cannot accept connections, retrying");
                }
            };
            select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => self.release(ended),
                (stream, remote) = accept(listener, ACCEPT_PAUSE, failed) => {
                    self.admit(stream, remote);
                }
            }
        }
    }

    /// Waits until the last task has ended.
    pub(crate) async fn drain(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.release(ended);
        }
    }

    fn admit(&mut self, stream: TcpStream, remote: SocketAddr) {
        let ip = remote.ip();
        tune_for_messages(&stream, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL);
        let permit = match self.admission.enter(ip) {
            Ok(permit) => permit,
            Err(hit) => return self.refuse(stream, ip, hit),
        };
        self.last_epoch += 1;
        let connection = Connection {
            remote,
            allow_advertise: Arc::clone(&self.allow_advertise),
            epoch: Epoch(self.last_epoch),
            registrar: self.registrar.clone(),
            stop: self.stop.clone(),
            taken: permit.taken.clone(),
            memory: self.large.share_for(ip),
            hello_deadline: self.config.hello_deadline,
            message_deadline: self.config.message_deadline,
            write_deadline: self.config.write_deadline,
            max_unsent: self.config.max_unsent,
        };
        let task = self.tasks.spawn(connection.serve(stream));
        self.permits.insert(task.id(), permit);
    }

    fn refuse(&mut self, stream: TcpStream, ip: IpAddr, hit: LimitExceeded) {
        if let Some(suppressed) = self.refusal_log.due(self.started.elapsed()) {
            warn!(%ip, limit = ?hit.limit, value = hit.value, suppressed, "connection refused");
        }
        // A busy registrar misses the count of a flood; that is no reason to wait for it.
        let _ = self.registrar.try_send(RegistrarEvent::Refused(hit.limit));
        if self.tasks.len() - self.permits.len() < MAX_REFUSALS {
            let (stop, deadline) = (self.stop.clone(), self.config.hello_deadline);
            self.tasks.spawn(async move {
                stop.run_until_cancelled(refuse(stream, hit, deadline)).await;
            });
        }
    }

    fn release(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(failed) => {
                // Our fault, met by one connection: the others go on.
                error!(error = %failed, "a connection's task panicked");
                failed.id()
            }
        };
        if let Some(permit) = self.permits.remove(&id) {
            self.admission.leave(permit);
        }
    }
}
