use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env::VarError;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a configuration refers to outside its own text, so that [`parse`](super::parse) itself touches neither the process
/// environment nor a disk.
pub trait Environment {
    /// An environment variable.
    fn variable(&self, name: &str) -> Result<String, VarError>;

    /// The text of a file of at most `limit` bytes.
    fn text(&self, path: &Path, limit: usize) -> Result<String, ReadFault>;

    /// The names of the files in a folder, sorted; empty if there is no such folder.
    fn names(&self, folder: &Path) -> Vec<String>;

    /// Whether every account of the machine may read the file.
    fn is_open_to_everybody(&self, _path: &Path) -> bool {
        false
    }

    /// Since the Unix epoch: certificates end.
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// Nothing is there.
    #[error("there is no such file")]
    Missing,
    /// A folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It would not fit.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// How much is read at most.
        limit: usize,
    },
    /// Not text.
    #[error("it is not UTF-8 text (first bad byte at offset {offset})")]
    NotText {
        /// How many bytes are fine.
        offset: usize,
    },
    /// What the operating system says.
    #[error("it cannot be read: {0}")]
    Other(String),
}

/// An [`Environment`] seen from the folder of the configuration; remembers what was looked at.
pub(super) struct Surroundings<'a> {
    folder: &'a Path,
    environment: &'a dyn Environment,
    watched: RefCell<BTreeSet<PathBuf>>,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(folder: &'a Path, environment: &'a dyn Environment) -> Self {
        Self { folder, environment, watched: RefCell::default() }
    }

    pub(super) fn variable(&self, name: &str) -> Result<String, VarError> {
        self.environment.variable(name)
    }

    /// The path that `written` means, without `./`: two spellings of one folder are one folder.
    pub(super) fn resolve(&self, written: impl AsRef<Path>) -> PathBuf {
        let path = self.folder.join(written);
        path.components().filter(|component| *component != Component::CurDir).collect()
    }

    pub(super) fn text(&self, path: &Path, limit: usize) -> Result<String, ReadFault> {
        self.watch(path);
        self.environment.text(path, limit)
    }

    pub(super) fn names(&self, folder: &Path) -> Vec<String> {
        self.watch(folder);
        self.environment.names(folder)
    }

    pub(super) fn is_open_to_everybody(&self, path: &Path) -> bool {
        self.environment.is_open_to_everybody(path)
    }

    pub(super) fn now(&self) -> Duration {
        self.environment.now()
    }

    pub(super) fn watch(&self, path: &Path) {
        self.watched.borrow_mut().insert(path.to_owned());
    }

    pub(super) fn watched(self) -> Vec<PathBuf> {
        self.watched.into_inner().into_iter().collect()
    }
}
