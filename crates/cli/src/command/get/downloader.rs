//! The two ways to download: through the local server, or with a peer in this process.

use tnet_peer::{Shortage, Summary};

use super::in_process::InProcess;
use super::job::Job;
use super::via_server::Server;
use crate::config::Config;
use crate::config::typed::Get;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::progress::DownloadView;

pub(super) enum Downloader {
    Server(Server),
    Here(InProcess),
}

impl Downloader {
    pub(super) async fn start(
        args: &Get,
        of_several: bool,
        config: &Config,
        context: &Context,
    ) -> Result<Self, Failure> {
        if args.foreground {
            InProcess::start(config, args.linger, of_several).await.map(Self::Here)
        } else {
            Server::find(config, context).await.map(Self::Server)
        }
    }

    /// Downloads one file, and shows the progress.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        view: &mut DownloadView,
        context: &Context,
    ) -> Result<Summary, Failure> {
        match self {
            Self::Server(server) => server.fetch(job, view, context).await,
            Self::Here(here) => here.fetch(job, view, context).await,
        }
    }

    /// The lack of file descriptors of the downloading process, if there is one.
    pub(super) async fn shortage(&self) -> Option<Shortage> {
        match self {
            Self::Server(server) => server.shortage().await,
            Self::Here(here) => here.shortage().await,
        }
    }

    /// The server goes on. A peer of this process seeds for a while if all went well, and ends.
    pub(super) async fn end(self, all_well: bool, context: &Context) {
        match self {
            Self::Server(_) => {}
            Self::Here(here) => here.end(all_well, context).await,
        }
    }
}
