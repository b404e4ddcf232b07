//! The folder that is written into. Nothing in it is lost.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::draft::{ADMINISTRATION, LIMIT};
use crate::cli::Failure;

pub(super) struct Folder {
    root: PathBuf,
    pub(super) has_rules: bool,
}

impl Folder {
    /// Looks before anything is asked or written.
    pub(super) fn open(root: &Path, force: bool) -> Result<Self, Failure> {
        let config = root.join("config.yaml");
        if config.exists() && !force {
            return Err(Failure::new(format!(
                "{} exists and stays as it is; with --force it is renamed and a new one is written",
                config.display()
            )));
        }
        let entries = fs::read_dir(root.join("rules"));
        let has_rules = entries.is_ok_and(|mut entries| entries.next().is_some());
        Ok(Self { root: root.to_owned(), has_rules })
    }

    /// Whether the rules of a draft are here or can be.
    pub(super) fn may_have_rules(&self) -> bool {
        !self.has_rules || [LIMIT, ADMINISTRATION].iter().all(|name| self.root.join(name).is_file())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Renames what has this name, and says to what.
    pub(super) fn set_aside(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let path = self.root.join(name);
        if !path.exists() {
            return Ok(None);
        }
        for number in 1..1000 {
            let aside = self.root.join(format!("{name}.before-{number}"));
            // A link is made only where nothing is, a rename would replace what another process put there meanwhile.
            match fs::hard_link(&path, &aside) {
                Ok(()) => {
                    fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
                    return Ok(Some(aside));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("rename", &path, &error)),
            }
        }
        Err(Failure::new(format!("{} has been set aside a thousand times", path.display())))
    }

    /// Writes a file that was not there. A secret is readable by its owner alone.
    pub(super) fn write(&self, name: &str, text: &str, is_secret: bool) -> Result<(), Failure> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("create", parent, &error))?;
        }
        let mode = if is_secret { 0o600 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| failed("write", &path, &error))
    }

    /// Writes a secret unless the same one is there already.
    pub(super) fn keep_secret(&self, name: &str, text: &str) -> Result<bool, Failure> {
        match fs::read_to_string(self.root.join(name)) {
            Ok(known) if known.trim_end_matches('\n') == text => return Ok(false),
            Ok(_) => drop(self.set_aside(name)?),
            Err(_) => {}
        }
        self.write(name, text, true).map(|()| true)
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {error}", path.display()))
}
