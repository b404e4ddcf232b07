use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::wire::{self, Ask, PROTOCOL, Tell};
use super::{Sockets, SuccessionError, own_user, private_folder, sockets_path};
use crate::gateway::{Gateway, clock};

/// A successor that takes longer between two messages has failed: it asks for nothing before it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message is a line of at most this many bytes.
const LONGEST: u64 = 64 << 10;

/// Waits for a successor and hands over to it.
pub(in crate::server) struct Succession {
    gateway: Arc<Gateway>,
    sockets: Arc<Sockets>,
    path: Option<PathBuf>,
    happened: watch::Sender<bool>,
}

impl Succession {
    /// Hands over through the configured socket, if there is one.
    pub(in crate::server) fn new(gateway: &Arc<Gateway>, sockets: &Arc<Sockets>) -> Result<Self, SuccessionError> {
        let path = gateway.snapshot().config.lifecycle.upgrade_socket.clone();
        if let Some(path) = &path {
            private_folder(path)?;
        }
        Ok(Self { gateway: Arc::clone(gateway), sockets: Arc::clone(sockets), path, happened: watch::Sender::new(false) })
    }

    /// Resolves when a successor serves.
    pub(in crate::server) async fn happened(&self) {
        let _ = self.happened.subscribe().wait_for(|happened| *happened).await;
    }

    /// Resolves when proxy and console have taken their sockets.
    pub(super) async fn listeners_began(&self) {
        self.sockets.taken_by(2).await;
    }

    /// Listens for successors, one at a time. Never returns.
    pub(in crate::server) async fn offer(&self) {
        if let Some(path) = &self.path {
            match bind(path) {
                Ok(listener) => self.meet(&listener).await,
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "no upgrade is possible: the socket cannot be made")
                }
            }
        }
        std::future::pending().await
    }

    async fn meet(&self, listener: &UnixListener) {
        while !*self.happened.borrow() {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            match self.converse(stream).await {
                Ok(pid) => {
                    tracing::info!(pid, "a successor serves; this process leaves");
                    self.happened.send_replace(true);
                }
                Err(error) => tracing::warn!(%error, "an upgrade was given up; this process goes on"),
            }
        }
    }

    /// Answers one process until it serves; anything else is an error, after which nothing has changed.
    async fn converse(&self, stream: UnixStream) -> io::Result<u32> {
        let peer = stream.peer_cred()?.uid();
        if peer != 0 && own_user() != Some(peer) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let (mut pid, mut has_sockets) = (0, false);
        loop {
            let mut heard = Vec::new();
            tokio::time::timeout(PATIENCE, (&mut read).take(LONGEST).read_until(b'\n', &mut heard)).await??;
            let (told, bytes) = match wire::parse(&heard)? {
                _ if self.gateway.is_draining() => (refused("it is stopping"), Vec::new()),
                Ask::Hello { protocol, .. } if protocol != PROTOCOL => {
                    (refused("it speaks another version of this protocol"), Vec::new())
                }
                Ask::Hello { pid: theirs, .. } => {
                    pid = theirs;
                    let heritage = self.gateway.lasting.throttling.heritage(clock::now());
                    let version = env!("CARGO_PKG_VERSION").to_owned();
                    let hello = Tell::Hello { version, pid: std::process::id(), secret: heritage.secret, clock: heritage.clock };
                    (hello, Vec::new())
                }
                Ask::Sockets => match self.give().await {
                    Ok(()) => {
                        has_sockets = true;
                        (Tell::Sockets, Vec::new())
                    }
                    Err(why) => (Tell::Refused { why }, Vec::new()),
                },
                Ask::Limits => {
                    let limits = self.gateway.lasting.throttling.leave(clock::now());
                    (Tell::Limits { bytes: limits.len() as u64 }, limits)
                }
                Ask::Ready if has_sockets => {
                    // Whether it hears this or not: it serves.
                    let _ = write.write_all(&wire::line(&Tell::Leaving)).await;
                    return Ok(pid);
                }
                Ask::Ready => (refused("it has given no sockets"), Vec::new()),
            };
            tokio::time::timeout(PATIENCE, async {
                write.write_all(&wire::line(&told)).await?;
                write.write_all(&bytes).await
            })
            .await??;
        }
    }

    /// Sends the listening sockets; both processes have them then.
    async fn give(&self) -> Result<(), String> {
        let (Some(table), Some(path)) = (self.sockets.table().cloned(), self.path.clone()) else {
            return Err("it has no sockets yet".to_owned());
        };
        let path = sockets_path(&path);
        let sending = tokio::task::spawn_blocking(move || table.lock().send_to_sock(&*path.to_string_lossy()));
        match sending.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the sockets cannot be sent: {error}")),
            Err(_) => Err("the sockets cannot be sent".to_owned()),
        }
    }
}

fn refused(why: &str) -> Tell {
    Tell::Refused { why: why.to_owned() }
}

/// Takes the place of whatever was there: of a process that was killed, or of the predecessor, which needs it no longer.
fn bind(path: &PathBuf) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
