//! Tells when the files of a configuration change.
//!
//! Folders are watched and names filtered, because editors replace a file instead of writing into it, and because Kubernetes
//! swaps the symbolic link `..data` beside the files of a ConfigMap. What a file links to is watched as well.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Changes closer together than this are one: an editor makes several of one save.
const QUIET: Duration = Duration::from_millis(20);
/// A file that never stops changing does not put off a reload for longer than this.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    orders: mpsc::Sender<Message>,
    changes: tokio::sync::mpsc::Receiver<()>,
}

enum Message {
    Seen(notify::Result<Event>),
    Follow(Vec<PathBuf>),
    End,
}

impl Watch {
    /// Begins to watch [`Loaded::watched`](super::Loaded::watched).
    pub fn start(watched: &[PathBuf]) -> notify::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let outbox = orders.clone();
        let watcher = notify::recommended_watcher(move |event| {
            // Nobody listens any more only when the watch ends.
            let _ = outbox.send(Message::Seen(event));
        })?;
        let mut lookout = Lookout { watcher, targets: Targets::default(), folders: BTreeSet::new() };
        lookout.follow(watched);
        let (report, changes) = tokio::sync::mpsc::channel(1);
        thread::Builder::new()
            .name("tollgate-watch".into())
            .spawn(move || lookout.run(&inbox, &report))
            .map_err(notify::Error::io)?;
        Ok(Self { orders, changes })
    }

    /// Waits for the next change; several at once are one. `None` means that nothing will be told any more.
    pub async fn changed(&mut self) -> Option<()> {
        self.changes.recv().await
    }

    /// Watches other files from now on, without missing a change in between.
    pub fn follow(&self, watched: &[PathBuf]) {
        let _ = self.orders.send(Message::Follow(watched.to_vec()));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.orders.send(Message::End);
    }
}

/// The thread behind a [`Watch`].
struct Lookout {
    watcher: RecommendedWatcher,
    targets: Targets,
    /// What the watcher watches.
    folders: BTreeSet<PathBuf>,
}

/// What counts as a change.
#[derive(Default)]
struct Targets {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// What the files link to.
    real: BTreeSet<PathBuf>,
}

impl Lookout {
    fn run(mut self, inbox: &mpsc::Receiver<Message>, report: &tokio::sync::mpsc::Sender<()>) {
        let mut pending: Option<Instant> = None;
        loop {
            let message = match pending {
                Some(since) if since.elapsed() >= PATIENCE => Err(RecvTimeoutError::Timeout),
                Some(_) => inbox.recv_timeout(QUIET),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Seen(event)) if self.matters(&event) => {
                    pending.get_or_insert_with(Instant::now);
                }
                Ok(Message::Seen(_)) => {}
                Ok(Message::Follow(watched)) => self.follow(&watched),
                Err(RecvTimeoutError::Timeout) => {
                    pending = None;
                    // Links may lead elsewhere and folders may be new ones now.
                    self.renew();
                    // A full channel holds a change that nobody took yet, which tells the same.
                    let _ = report.try_send(());
                }
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn follow(&mut self, watched: &[PathBuf]) {
        self.targets = Targets::default();
        for path in watched {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            // What is neither (yet) may become a folder or a file; its name is looked for in its parent either way.
            if path.is_dir() {
                self.targets.folders.insert(path);
            } else {
                self.targets.files.insert(path);
            }
        }
        self.renew();
    }

    /// Watches the folders of all targets, of what they link to, and the folders above: a removed folder may come back.
    fn renew(&mut self) {
        self.targets.real = self.targets.files.iter().filter_map(|file| file.canonicalize().ok()).collect();
        let mut wanted = BTreeSet::new();
        for path in self.targets.files.iter().chain(&self.targets.folders) {
            wanted.extend(path.parent().map(Path::to_owned));
            wanted.extend(path.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned)));
        }
        for folder in &self.targets.folders {
            wanted.insert(folder.clone());
            wanted.extend(folder.canonicalize());
        }
        for file in &self.targets.files {
            wanted.extend(file.parent().and_then(Path::parent).map(Path::to_owned));
        }
        for gone in self.folders.difference(&wanted) {
            let _ = self.watcher.unwatch(gone);
        }
        // Watching again what is watched already is cheap, and is needed for a folder that was replaced by another one.
        self.folders = wanted.into_iter().filter(|path| self.watcher.watch(path, RecursiveMode::NonRecursive).is_ok()).collect();
    }

    fn matters(&self, event: &notify::Result<Event>) -> bool {
        // An overflow of the kernel's queue says that something was missed.
        let Ok(event) = event else { return true };
        let is_change = match event.kind {
            // To read is no change: a reload would cause the next one.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        };
        is_change && (event.need_rescan() || event.paths.iter().any(|path| self.targets.include(path)))
    }
}

impl Targets {
    fn include(&self, path: &Path) -> bool {
        let is_rule_in = |folder: &Path| self.folders.contains(folder) && path.extension() == Some(OsStr::new("rhai"));
        self.files.contains(path)
            || self.real.contains(path)
            || self.folders.contains(path)
            || path.file_name() == Some(OsStr::new("..data"))
            || path.parent().is_some_and(is_rule_in)
            || self.files.iter().chain(&self.folders).any(|target| target.parent() == Some(path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const LONG_ENOUGH: Duration = Duration::from_millis(50);

    fn watch(paths: &[PathBuf], test: impl AsyncFnOnce(&mut Watch)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { test(&mut Watch::start(paths).unwrap()).await });
    }

    async fn told(watch: &mut Watch) {
        tokio::time::timeout(SOON, watch.changed()).await.expect("the change is told").expect("the watch runs");
    }

    async fn not_told(watch: &mut Watch) {
        assert!(tokio::time::timeout(LONG_ENOUGH, watch.changed()).await.is_err(), "nothing changed");
    }

    #[test]
    fn writing_and_replacing_are_told_reading_and_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        fs::write(&config, "a").unwrap();
        watch(std::slice::from_ref(&config), async |watch| {
            fs::read(&config).unwrap();
            fs::write(folder.path().join("neighbour"), "x").unwrap();
            not_told(watch).await;
            fs::write(&config, "b").unwrap();
            told(watch).await;
            for text in ["c", "d"] {
                fs::write(folder.path().join("new"), text).unwrap();
                fs::rename(folder.path().join("new"), &config).unwrap();
                told(watch).await;
            }
        });
    }

    #[test]
    fn a_new_rule_and_a_folder_that_comes_back_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules");
        fs::create_dir(&rules).unwrap();
        watch(std::slice::from_ref(&rules), async |watch| {
            fs::write(rules.join("a.rhai"), "").unwrap();
            told(watch).await;
            fs::remove_dir_all(&rules).unwrap();
            told(watch).await;
            fs::create_dir(&rules).unwrap();
            told(watch).await;
            fs::write(rules.join("b.rhai"), "").unwrap();
            told(watch).await;
        });
    }

    #[cfg(unix)]
    #[test]
    fn the_swap_of_a_kubernetes_link_is_told() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("config.yaml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/config.yaml", at("config.yaml")).unwrap();
        watch(&[at("config.yaml")], async |watch| {
            for version in ["..2", "..1"] {
                symlink(version, at("..tmp")).unwrap();
                fs::rename(at("..tmp"), at("..data")).unwrap();
                told(watch).await;
                assert_eq!(fs::read_to_string(at("config.yaml")).unwrap(), version);
            }
        });
    }

    #[test]
    fn other_files_can_be_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "").unwrap();
        watch(std::slice::from_ref(&old), async |watch| {
            watch.follow(std::slice::from_ref(&new));
            fs::write(&new, "").unwrap();
            told(watch).await;
            fs::write(&old, "x").unwrap();
            not_told(watch).await;
        });
    }
}
