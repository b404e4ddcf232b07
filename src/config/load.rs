use std::env::VarError;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{Environment, ReadFault};
use super::{Loaded, parse};
use crate::model::{Problem, Source, Span};

/// Reads the configuration at `path` and everything that it refers to.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    const LARGEST: usize = 1 << 20;
    let name = path.display().to_string();
    match read(path, LARGEST) {
        Ok(text) => parse(&Arc::new(Source { name, text }), &Machine),
        Err(fault) => {
            let code = match fault {
                ReadFault::TooLarge { .. } => "config::too-large",
                ReadFault::NotText { .. } => "config::not-utf8",
                _ => "config::unreadable",
            };
            let nothing = Arc::new(Source { name: name.clone(), text: String::new() });
            let problem = Problem::error(code, format!("the configuration `{name}` cannot be used: {fault}"));
            let problem = match fault {
                ReadFault::Missing => problem.hint("name another one with --config"),
                ReadFault::TooLarge { .. } => problem.hint("is this the right file?"),
                _ => problem,
            };
            Err(vec![problem.at(&nothing, Span::default())])
        }
    }
}

/// `config.yaml` here, otherwise the one of the machine.
pub fn default_path() -> PathBuf {
    let here = PathBuf::from("config.yaml");
    let machine = PathBuf::from("/etc/tollgate/config.yaml");
    if !here.exists() && machine.exists() { machine } else { here }
}

/// The process environment and the disk.
struct Machine;

impl Environment for Machine {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        std::env::var(name)
    }

    fn text(&self, path: &Path, limit: usize) -> Result<String, ReadFault> {
        read(path, limit)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut names: Vec<String> =
            fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    fn is_open_to_everybody(&self, path: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }
}

fn read(path: &Path, limit: usize) -> Result<String, ReadFault> {
    let other = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ReadFault::Missing,
        _ => ReadFault::Other(error.to_string()),
    };
    // Asked before opening: to open a pipe would wait for somebody to write into it.
    if !fs::metadata(path).map_err(other)?.is_file() {
        return Err(ReadFault::NotAFile);
    }
    let mut bytes = Vec::new();
    // Bounded although the size is known: a file may grow, and those under /proc say 0.
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(other)?.take(bound).read_to_end(&mut bytes).map_err(other)?;
    if bytes.len() > limit {
        return Err(ReadFault::TooLarge { limit });
    }
    String::from_utf8(bytes).map_err(|error| ReadFault::NotText { offset: error.utf8_error().valid_up_to() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_text_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("text"), "abc").unwrap();
        fs::write(at("bytes"), [b'a', 0xff]).unwrap();
        assert_eq!(read(&at("text"), 3).as_deref(), Ok("abc"));
        assert_eq!(read(&at("text"), 2), Err(ReadFault::TooLarge { limit: 2 }));
        assert_eq!(read(&at("bytes"), 9), Err(ReadFault::NotText { offset: 1 }));
        assert_eq!(read(&at("nothing"), 9), Err(ReadFault::Missing));
        assert_eq!(read(folder.path(), 9), Err(ReadFault::NotAFile));
        assert_eq!(read(Path::new("/dev/zero"), 9), Err(ReadFault::NotAFile));
    }
}
