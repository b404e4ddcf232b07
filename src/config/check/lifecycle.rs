use std::time::Duration;

use crate::config::environment::Surroundings;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::Lifecycle;

const DAY: Duration = Duration::from_secs(86_400);

/// Pingora keeps both names of the socket in a `sockaddr_un`, whose path has 108 bytes.
const SOCKET_PATH: usize = 96;

/// The keys of `server:` that say how connections and the process end.
pub(super) fn lower(server: &Section<'_>, grace: Duration, surroundings: &Surroundings<'_>) -> Lifecycle {
    let up_to = |longest| Duration::from_secs(1)..=longest;
    let drain_wait = server.optional("drain_wait").and_then(|field| {
        let wait = field.duration(Duration::ZERO..=Duration::from_secs(3_600))?;
        if wait >= grace && !wait.is_zero() {
            let message = "`drain_wait` leaves nothing of `grace` to requests that still run when the listeners close";
            field.note(
                Problem::error("config::bad-value", message)
                    .label("not shorter than `grace`")
                    .hint("`grace` begins at SIGTERM and holds `drain_wait`: make it longer"),
            );
        }
        Some(wait)
    });
    let upgrade_socket = server.optional("upgrade_socket").and_then(|field| {
        let word = field.word()?;
        let path = surroundings.resolve(word.text);
        if path.as_os_str().len() > SOCKET_PATH {
            return word
                .unusable("a path of a socket", "at most 96 bytes with its folder, for example /run/tollgate/upgrade.sock");
        }
        Some(path)
    });
    let usual = Lifecycle::within(grace);
    Lifecycle {
        drain_wait: drain_wait.unwrap_or(usual.drain_wait),
        upgrade_socket,
        websocket_max_age: server
            .optional("websocket_max_age")
            .and_then(|field| field.duration(up_to(30 * DAY)))
            .unwrap_or(usual.websocket_max_age),
        websocket_idle: server
            .optional("websocket_idle")
            .and_then(|field| field.duration(up_to(DAY)))
            .unwrap_or(usual.websocket_idle),
    }
}
