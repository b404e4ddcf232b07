//! Sockets: which are opened, and how long they may take.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pingora::prelude::Session;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

use super::door::Door;
use super::guard::Guard;
use crate::gateway::Gateway;
use crate::model::settings::Listener;

/// Between two reads of a body.
const READ: Duration = Duration::from_secs(30);

/// For the rest of a body that nobody wants, before the connection is closed instead of reused.
const DRAIN: Duration = Duration::from_secs(5);

/// The proxy as a pingora service on every listener. The endpoints are plain TCP; what else a listener asks for is done by its [`Door`].
pub fn service(conf: &Arc<ServerConf>, gateway: &Arc<Gateway>, listeners: &[Listener]) -> Service<Door> {
    let guard = Guard::new(Arc::clone(gateway));
    let mut service = Service::new("proxy".to_owned(), Door::new(conf, gateway, Arc::clone(&guard)));
    service.set_connection_filter(guard.filter());
    for listener in listeners {
        service.add_tcp(&listener.address.to_string());
    }
    service
}

/// Binds an address for a moment: pingora itself would try for half a minute, panic in a task and stay up without a listener.
///
/// # Errors
/// What the operating system says.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    // SO_REUSEADDR is set by the standard library here and by pingora there, so connections in TIME_WAIT do not disturb.
    TcpListener::bind(address).map(drop)
}

/// Sets what pingora leaves open-ended.
pub(super) fn limit(session: &mut Session) {
    session.set_read_timeout(Some(READ));
    session.set_total_drain_timeout(Some(DRAIN));
}
