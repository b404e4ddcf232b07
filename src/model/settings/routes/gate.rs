use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// Who may come at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// `allow_ips`; `None` lets every address in.
    pub allow: Option<Arc<[IpNet]>>,
    /// `deny_ips`; stronger than `allow`.
    pub deny: Arc<[IpNet]>,
    /// `maintenance`
    pub maintenance: Option<Maintenance>,
}

/// `maintenance`: 503 for everybody but a few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// For `Retry-After`.
    pub retry_after: Duration,
    /// Who gets through, to look at the result.
    pub except: Arc<[IpNet]>,
}

impl Gate {
    /// Whether nobody is stopped.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty() && self.maintenance.is_none()
    }

    /// Whether this address may not come.
    pub fn bars(&self, ip: &IpAddr) -> bool {
        contains(&self.deny, ip) || self.allow.as_ref().is_some_and(|allowed| !contains(allowed, ip))
    }
}

impl Maintenance {
    /// Whether this address gets through.
    pub fn spares(&self, ip: &IpAddr) -> bool {
        contains(&self.except, ip)
    }
}

fn contains(networks: &[IpNet], ip: &IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}
