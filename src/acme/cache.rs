use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use crate::model::settings::Acme;
use crate::tls::Pair;

/// Whether a certificate has to be ordered: there is none, it is for other names, or a third of its life is left.
pub(super) fn is_due(acme: &Acme, now: Duration) -> bool {
    let Ok(text) = fs::read_to_string(acme.file()) else { return true };
    let Ok(pair) = Pair::read(&text, &text) else { return true };
    let covers_all = acme.names.iter().all(|name| pair.names.contains(name));
    let life = pair.not_after.saturating_sub(pair.not_before);
    !covers_all || now + life / 3 >= pair.not_after
}

/// Puts key and certificate into one file, so that both change at once.
pub(super) fn write(acme: &Acme, pem: &str) -> io::Result<()> {
    write_secretly(&acme.file(), pem)
}

/// The account that an earlier process made at this server.
pub(super) fn account(acme: &Acme) -> Option<String> {
    fs::read_to_string(acme.account_file()).ok()
}

pub(super) fn write_account(acme: &Acme, text: &str) -> io::Result<()> {
    write_secretly(&acme.account_file(), text)
}

fn write_secretly(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}
