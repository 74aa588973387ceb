//! Who downloads: the local server, or a peer in this process.

use tnet_peer::{Shortage, Summary};
use tokio_util::sync::CancellationToken;

use super::foreground::Foreground;
use super::handed_over::Server;
use super::job::Job;
use crate::args::{Get, Global};
use crate::exit::Failure;
use crate::render::Output;
use crate::render::progress::DownloadView;

pub(super) enum Downloader {
    Server(Server),
    Here(Foreground),
}

impl Downloader {
    pub(super) async fn start(
        args: &Get,
        of_several: bool,
        global: &Global,
        output: Output,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        if args.foreground {
            Foreground::start(global, args.linger, of_several).await.map(Self::Here)
        } else {
            Server::find(global, output, stop).await.map(Self::Server)
        }
    }

    /// Downloads one file, and shows how it goes.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        view: &mut DownloadView,
        output: Output,
        stop: &CancellationToken,
    ) -> Result<Summary, Failure> {
        match self {
            Self::Server(server) => server.fetch(job, view, output, stop).await,
            Self::Here(here) => here.fetch(job, view, output, stop).await,
        }
    }

    /// What the process that downloads has nothing left of, if it has none.
    pub(super) async fn shortage(&self) -> Option<Shortage> {
        match self {
            Self::Server(server) => server.shortage().await,
            Self::Here(here) => here.shortage().await,
        }
    }

    /// The server goes on; a peer of our own serves what it got for a while if all went well, and
    /// ends.
    pub(super) async fn end(self, all_well: bool, output: Output, stop: &CancellationToken) {
        match self {
            Self::Server(_) => {}
            Self::Here(here) => here.end(all_well, output, stop).await,
        }
    }
}
