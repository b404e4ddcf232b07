//! What systemd is told (sd_notify(3)). Without systemd nobody is: the variable `NOTIFY_SOCKET` is not set then.

use sd_notify::{NotifyState, notify};

/// The process serves. Its id is said, too: a successor was not started by systemd, which would take the predecessor's end for the
/// service's.
pub(super) fn ready(status: &str) {
    say(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready, NotifyState::Status(status)]);
}

/// A configuration is being loaded.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        say(&[NotifyState::Reloading, now]);
    }
}

/// What `systemctl status` shows.
pub(super) fn status(status: &str) {
    say(&[NotifyState::Status(status)]);
}

/// The process will end.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping: no new connections after drain_wait")]);
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
