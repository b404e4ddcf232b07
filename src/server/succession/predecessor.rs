use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora::server::Fds;

use super::wire::{self, Ask, PROTOCOL, Tell};
use super::{Succession, SuccessionError, inheritance, private_folder, sockets_path};
use crate::gateway::{Gateway, clock};
use crate::model::Moment;
use crate::model::settings::Config;
use crate::throttling::{Heritage, Throttling};
use crate::traffic::keep_resolved;

/// How long the predecessor may take for one answer; pingora's part of the hand-over tries once a second, six times.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a successor may take from its start to its first connection.
const RENEWAL: Duration = Duration::from_secs(120);

/// How long the issuers may take to give their keys before the upgrade is given up.
const KEYS: Duration = Duration::from_secs(30);

/// The running gateway that this process is about to succeed.
pub struct Predecessor {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    heritage: Heritage,
    met_at: Moment,
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

impl Predecessor {
    /// Finds it.
    ///
    /// # Errors
    /// Nothing has happened to it in any of them.
    pub fn meet(config: &Config) -> Result<Self, SuccessionError> {
        let socket = config.lifecycle.upgrade_socket.clone().ok_or(SuccessionError::NoSocket)?;
        private_folder(&socket)?;
        let nobody = |source| SuccessionError::Nobody { path: socket.clone(), source };
        let stream = UnixStream::connect(&socket).map_err(nobody)?;
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(nobody)?;
        let mut stream = BufReader::new(stream);
        match ask(&mut stream, &Ask::Hello { protocol: PROTOCOL, pid: std::process::id() })? {
            Tell::Hello { version, pid, secret, clock } => {
                let heritage = Heritage { secret, clock };
                Ok(Self { socket, stream, heritage, met_at: clock::now(), pid, version })
            }
            other => Err(refusal(other)),
        }
    }

    /// Makes it start a successor of itself. Answers the successor's process id, once that serves.
    ///
    /// # Errors
    /// It ended, or takes longer than two minutes; the gateway's own log says why, and it goes on.
    pub fn renew(mut self, config: &Config) -> Result<u32, SuccessionError> {
        let pid = match ask(&mut self.stream, &Ask::Start)? {
            Tell::Started { pid } => pid,
            other => return Err(refusal(other)),
        };
        let began = Instant::now();
        while began.elapsed() < RENEWAL {
            // It answers here once it has the sockets and serves.
            if Self::meet(config).is_ok_and(|gateway| gateway.pid == pid) {
                return Ok(pid);
            }
            if !std::path::Path::new("/proc").join(pid.to_string()).exists() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(SuccessionError::Broken(format!("process {pid} does not serve; see the gateway's log")))
    }

    /// The tables of limits that go on where its are.
    pub fn throttling(&self, max_keys: usize) -> Throttling {
        Throttling::succeeding(max_keys, self.heritage, self.met_at)
    }

    /// Waits until this process could serve.
    pub(in crate::server) fn prepare(&self, gateway: &Gateway) -> Result<(), SuccessionError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SuccessionError::Broken(error.to_string()))?;
        let keys = std::sync::Arc::clone(&gateway.lasting.keys);
        let ready = async {
            while !gateway.is_ready() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        runtime
            .block_on(async {
                tokio::select! {
                    () = keys.keep_fresh() => Ok(()),
                    () = keep_resolved(&gateway.lasting.pools, clock::steady) => Ok(()),
                    waited = tokio::time::timeout(KEYS, ready) => waited,
                }
            })
            .map_err(|_| SuccessionError::Broken("keys of an issuer or addresses of upstreams did not come in 30 s".to_owned()))
    }

    /// Takes the sockets, and last the limits.
    pub(in crate::server) fn take(&mut self, gateway: &Gateway, addresses: &[String]) -> Result<Fds, SuccessionError> {
        let path = sockets_path(&self.socket);
        let _ = std::fs::remove_file(&path);
        let there = path.clone();
        let receiving = thread::spawn(move || {
            let mut given = Fds::new();
            given.get_from_sock(&*there.to_string_lossy()).map(|()| given)
        });
        let began = Instant::now();
        while !path.exists() {
            if began.elapsed() > PATIENCE || receiving.is_finished() {
                return Err(SuccessionError::Broken(format!("{} cannot be made", path.display())));
            }
            thread::sleep(Duration::from_millis(5));
        }
        match ask(&mut self.stream, &Ask::Sockets)? {
            Tell::Sockets => {}
            other => return Err(refusal(other)),
        }
        let given = match receiving.join() {
            Ok(Ok(given)) => inheritance::claimed(given, addresses),
            Ok(Err(error)) => return Err(SuccessionError::Broken(error.to_string())),
            Err(_) => return Err(SuccessionError::Broken("the sockets could not be received".to_owned())),
        };
        let bytes = match ask(&mut self.stream, &Ask::Limits)? {
            Tell::Limits { bytes } => bytes,
            other => return Err(refusal(other)),
        };
        let mut limits = Vec::new();
        (&mut self.stream).take(bytes).read_to_end(&mut limits).map_err(broken)?;
        let taken = gateway.lasting.throttling.take_over(&limits);
        tracing::info!(limits = taken, "sockets and limits are taken over");
        Ok(given)
    }
}

/// A predecessor that waits to hear that it may leave.
pub(in crate::server) struct Dismissal(Mutex<Option<Predecessor>>);

impl Dismissal {
    pub(in crate::server) fn new(predecessor: Predecessor) -> Self {
        Self(Mutex::new(Some(predecessor)))
    }

    /// Says that this process serves, once its listeners have their sockets.
    pub(in crate::server) async fn send(&self, succession: &Succession) {
        succession.listeners_began().await;
        let Some(mut predecessor) = self.0.lock().take() else { return };
        let told = tokio::task::spawn_blocking(move || ask(&mut predecessor.stream, &Ask::Ready)).await;
        match told {
            Ok(Ok(Tell::Leaving)) => tracing::info!("the predecessor leaves"),
            // Both serve on the same sockets; nothing is lost, but somebody has to look.
            other => tracing::error!(?other, "the predecessor may not have heard that it can leave; end it with SIGTERM"),
        }
    }
}

fn ask(stream: &mut BufReader<UnixStream>, question: &Ask) -> Result<Tell, SuccessionError> {
    stream.get_mut().write_all(&wire::line(question)).map_err(broken)?;
    wire::read(stream).map_err(broken)
}

fn broken(error: io::Error) -> SuccessionError {
    SuccessionError::Broken(error.to_string())
}

fn refusal(told: Tell) -> SuccessionError {
    match told {
        Tell::Refused { why } => SuccessionError::Refused(why),
        _ => SuccessionError::Broken("another answer than the one that was asked for".to_owned()),
    }
}
