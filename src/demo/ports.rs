use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The ports of `tollgate demo`, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// `--issuer-port`; FusionAuth's own is the default.
    pub issuer: u16,
    /// `--orders-port`
    pub orders: u16,
    /// `--reports-port`
    pub reports: u16,
    /// `--dedicated-port`
    pub dedicated: u16,
    /// `--port`, of the gateway.
    pub gateway: u16,
    /// `--admin-port`
    pub admin: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { issuer: 9011, orders: 9101, reports: 9102, dedicated: 9103, gateway: 8080, admin: 9090 }
    }
}

impl Ports {
    /// Binds each port for a moment, so that a busy one is named before anything was started or printed.
    pub fn probe(&self) -> Result<(), PortTaken> {
        // Held together until the end: two flags with the same number collide here, too.
        let mut held = Vec::new();
        for (port, purpose, flag) in self.purposes() {
            let listener = TcpListener::bind(loopback(port)).map_err(|source| PortTaken { port, purpose, flag, source })?;
            held.push(listener);
        }
        Ok(())
    }

    /// Where the issuer listens.
    pub fn issuer_address(&self) -> SocketAddr {
        loopback(self.issuer)
    }

    /// Where orders, reports and dedicated listen.
    pub fn service_addresses(&self) -> [SocketAddr; 3] {
        [self.orders, self.reports, self.dedicated].map(loopback)
    }

    /// Where the gateway listens.
    pub fn gateway_address(&self) -> SocketAddr {
        loopback(self.gateway)
    }

    /// Where operators ask.
    pub fn admin_address(&self) -> SocketAddr {
        loopback(self.admin)
    }

    fn purposes(&self) -> [(u16, &'static str, &'static str); 6] {
        [
            (self.issuer, "the demo issuer", "--issuer-port"),
            (self.orders, "the orders service", "--orders-port"),
            (self.reports, "the reports service", "--reports-port"),
            (self.dedicated, "the dedicated service", "--dedicated-port"),
            (self.gateway, "the gateway", "--port"),
            (self.admin, "the admin listener", "--admin-port"),
        ]
    }
}

/// A port that the demo needs and cannot have.
#[derive(Debug)]
pub struct PortTaken {
    port: u16,
    purpose: &'static str,
    flag: &'static str,
    source: std::io::Error,
}

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, purpose, flag, source } = self;
        let why = match source.kind() {
            std::io::ErrorKind::AddrInUse => "is already in use",
            std::io::ErrorKind::PermissionDenied => "needs more privileges",
            _ => "cannot be opened",
        };
        write!(f, "port {port} for {purpose} {why}; choose another with {flag} PORT")
    }
}

impl std::error::Error for PortTaken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_named_with_its_purpose_and_its_flag() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ports = Ports { issuer: 0, orders: 0, reports: port, dedicated: 0, gateway: 0, admin: 0 };
        let error = ports.probe().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("port {port} for the reports service is already in use; choose another with --reports-port PORT")
        );
    }

    #[test]
    fn two_flags_with_one_number_collide() {
        let free = TcpListener::bind(loopback(0)).unwrap().local_addr().unwrap().port();
        let ports = Ports { issuer: 0, orders: 0, reports: 0, dedicated: 0, gateway: free, admin: free };
        assert!(ports.probe().unwrap_err().to_string().ends_with("--admin-port PORT"));
    }

    #[test]
    fn free_ports_pass_and_stay_free() {
        let ports = Ports { issuer: 0, orders: 0, reports: 0, dedicated: 0, gateway: 0, admin: 0 };
        ports.probe().unwrap();
        ports.probe().unwrap();
    }
}
