//! The binary upgrade: a second process takes the listening sockets and the limits over, and only then does the first one leave.
//!
//! Pingora's own way (SIGQUIT) lets the old process go whether somebody took its sockets or not. Its parts are used here, the table of
//! sockets and the message that carries them, in an order in which nothing can be lost:
//!
//! 1. The successor reads its configuration, compiles its rules, opens the ledger and fetches the keys. It asks for nothing before
//!    it could serve.
//! 2. It gets the sockets, and then the buckets of the limits as they are at that moment.
//! 3. It serves, and says so. If it dies before, the predecessor has lost nothing: it never stopped.
//! 4. The predecessor closes its own handles of the sockets, tells the clients of open connections to close them, and leaves.

mod inheritance;
mod predecessor;
mod successor;
mod wire;

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

pub(super) use inheritance::{Inheriting, Sockets};
pub(super) use predecessor::Dismissal;
pub use predecessor::Predecessor;
pub(super) use successor::Succession;

/// Why the sockets could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// `server.upgrade_socket` is not set.
    #[error("an upgrade needs `server.upgrade_socket` in the configuration, the same as in the running gateway's")]
    NoSocket,
    /// Other users could put a socket of theirs there.
    #[error("{} must be a folder that nobody else can enter (mode 0700) and that belongs to this user", .0.display())]
    Folder(PathBuf),
    /// Nobody answers there.
    #[error("no gateway answers at {}: {source}", .path.display())]
    Nobody {
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The predecessor says no.
    #[error("the running gateway does not hand over: {0}")]
    Refused(String),
    /// Something between.
    #[error("the hand-over broke off: {0}")]
    Broken(String),
}

/// Where the sockets themselves go through: pingora makes it writable for everybody, so the folder must be private.
fn sockets_path(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".fd");
    name.into()
}

/// Makes sure of the folder.
fn private_folder(socket: &Path) -> Result<(), SuccessionError> {
    let folder = socket.parent().unwrap_or(Path::new("."));
    let not_private = || SuccessionError::Folder(folder.to_owned());
    if !folder.exists() {
        std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(|_| not_private())?;
    }
    let is_ours =
        |data: std::fs::Metadata| data.is_dir() && data.mode() & 0o077 == 0 && own_user().is_some_and(|uid| uid == data.uid());
    if folder.metadata().is_ok_and(is_ours) { Ok(()) } else { Err(not_private()) }
}

/// Who owns this process, as its entry in /proc says.
fn own_user() -> Option<u32> {
    Some(std::fs::metadata("/proc/self").ok()?.uid())
}
