use clap::Args;

use super::{Failure, Source, check, terminal};
use crate::server::Predecessor;

/// Make a running gateway start a successor of itself, from the program that lies in its place now, and wait until that serves.
#[derive(Debug, Args)]
pub(super) struct Upgrade {
    #[command(flatten)]
    source: Source,
}

impl Upgrade {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let config = check::load(&self.source.path())?.config;
        let failed = |error: crate::server::SuccessionError| Failure::new(error.to_string());
        let gateway = Predecessor::meet(&config).map_err(failed)?;
        let (pid, version) = (gateway.pid, gateway.version.clone());
        let successor = gateway.renew(&config).map_err(failed)?;
        terminal::print(&format!("process {successor} serves; process {pid} ({version}) leaves"));
        Ok(())
    }
}
