use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{count, lifecycle};
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Lifecycle, Listener};

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// `listeners:` and `admin:`
pub(super) fn lower(top: &Section<'_>) -> (Vec<Listener>, SocketAddr) {
    let mut taken: Vec<SocketAddr> = Vec::new();
    let mut listeners = Vec::new();
    if let Some(field) = top.required("listeners", "for example `listeners: [{ address: 127.0.0.1:8080 }]`") {
        for item in field.some_items("without a listener nobody can call") {
            item.section(|listener| {
                listener.not_built_yet("tls", "listeners speak plain HTTP; terminate TLS in front of Tollgate");
                let field = listener.required("address", "an IP address and a port, for example 0.0.0.0:8080");
                listeners.extend(field.and_then(|field| address(field, &mut taken)).map(|address| Listener { address }));
            });
        }
    }
    let admin = top.optional("admin").and_then(|field| {
        field.section(|admin| {
            let field = admin.optional("address")?;
            let address = address(field, &mut taken)?;
            if !address.ip().is_loopback() {
                let message = "the admin listener can be reached from other machines, and asks nobody who they are";
                let problem = Problem::warning("config::public-admin", message).label("not a loopback address");
                field.note(problem.hint("use 127.0.0.1 unless a firewall or a network policy stands before it"));
            }
            Some(address)
        })
    });
    (listeners, admin.unwrap_or(ADMIN))
}

/// `server:` as threads (0: one for each core), grace, and what happens within it.
pub(super) fn server(top: &Section<'_>, surroundings: &Surroundings<'_>) -> (usize, Duration, Lifecycle) {
    const GRACE: Duration = Duration::from_secs(10);
    let (threads, grace, lifecycle) = top.optional("server").map_or((None, GRACE, None), |field| {
        field.section(|server| {
            let threads = server.optional("threads").and_then(|field| field.number(0..=1024));
            let grace = server.optional("grace").and_then(|field| field.duration(Duration::ZERO..=Duration::from_secs(3600)));
            let grace = grace.unwrap_or(GRACE);
            (threads, grace, Some(lifecycle::lower(server, grace, surroundings)))
        })
    });
    (count(threads).unwrap_or(0), grace, lifecycle.unwrap_or_else(|| Lifecycle::within(grace)))
}

fn address(field: Field<'_>, taken: &mut Vec<SocketAddr>) -> Option<SocketAddr> {
    let word = field.word()?;
    let Ok(address) = word.text.parse::<SocketAddr>() else {
        return word.unusable("an IP address with a port", "for example 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080");
    };
    // Port 0 lets the system choose, each time another one.
    if address.port() != 0 && taken.contains(&address) {
        word.note(Problem::error("config::duplicate-name", "another listener has this address").label("taken"));
    }
    taken.push(address);
    Some(address)
}
