use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Gate, Maintenance};

/// `allow_ips`, `deny_ips` and `maintenance` of a route.
pub(super) fn lower(section: &Section<'_>, everywhere: Option<&Maintenance>) -> Gate {
    let allow = section.optional("allow_ips").map(|field| networks(field, "leave it out to let every address in"));
    let deny = section.optional("deny_ips").map(|field| networks(field, "leave it out to bar nobody"));
    let own = section.optional("maintenance");
    Gate { allow, deny: deny.unwrap_or_default(), maintenance: own.map_or_else(|| everywhere.cloned(), maintenance) }
}

/// `maintenance`: `true`, `false` or how.
pub(in crate::config::check) fn maintenance(field: Field<'_>) -> Option<Maintenance> {
    const RETRY: Duration = Duration::from_secs(600);
    if !field.is_mapping() {
        return field.yes_or_no()?.then(|| Maintenance { retry_after: RETRY, except: Arc::default() });
    }
    field.section(|section| {
        let range = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
        let retry_after = section.optional("retry_after").and_then(|field| field.duration(range));
        let except = section.optional("except").map(|field| networks(field, "leave it out to let nobody through"));
        Some(Maintenance { retry_after: retry_after.unwrap_or(RETRY), except: except.unwrap_or_default() })
    })
}

/// Addresses and networks.
fn networks(field: Field<'_>, why: &str) -> Arc<[IpNet]> {
    field.some_items(why).into_iter().filter_map(network).collect()
}

fn network(field: Field<'_>) -> Option<IpNet> {
    let word = field.word()?;
    let network = word.text.parse::<IpNet>().or_else(|_| word.text.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = network else {
        return word.unusable("an address or a network", "for example 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32");
    };
    if network.trunc() != network {
        let problem = Problem::error("config::bad-value", format!("{} is an address within a network", word.shown()));
        word.note(problem.label("which of them?").hint(format!("write `{}` for the network", network.trunc())));
        return None;
    }
    Some(network)
}
