use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::prelude::HttpPeer;
use pingora::protocols::TcpKeepalive;
use pingora::tls::pkey::PKey;
use pingora::tls::x509::X509;
use pingora::upstreams::peer::ALPN;
use pingora::utils::tls::CertKey;

use crate::model::settings::{Upstream, UpstreamProtocol, UpstreamTls};
use crate::traffic::Pool;

/// How the servers of one upstream are reached, made once for all its requests: certificates are parsed here and nowhere else.
pub(in crate::proxy) struct Outlet {
    template: HttpPeer,
    /// SNI by position in the configuration.
    names: Vec<String>,
}

/// Requests on one HTTP/2 connection at the same time; what most servers allow.
const H2_STREAMS: usize = 100;
/// A dead HTTP/2 connection would otherwise look idle for ever.
const H2_PING: Duration = Duration::from_secs(30);
/// A peer that vanished without a word is noticed a minute and a half later.
const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 3,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};

impl Outlet {
    /// The outlet of a pool. `None` if its certificates are unusable, which the configuration's check has ruled out; nothing is sent
    /// then.
    pub(in crate::proxy) fn of(pool: &Pool) -> Option<Arc<Self>> {
        pool.prepared().or_make(|| Self::new(pool.settings()))?.as_ref().clone()
    }

    fn new(upstream: &Upstream) -> Option<Arc<Self>> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut template = HttpPeer::new(nowhere, upstream.tls.is_some(), String::new());
        template.group_key = group_key(upstream);
        let options = &mut template.options;
        options.total_connection_timeout = Some(upstream.timeouts.connect.saturating_mul(2));
        options.connection_timeout = Some(upstream.timeouts.connect);
        options.read_timeout = Some(upstream.timeouts.read);
        options.write_timeout = Some(upstream.timeouts.write);
        options.idle_timeout = Some(upstream.timeouts.idle);
        options.tcp_keepalive = Some(TCP_KEEPALIVE);
        options.max_h2_streams = H2_STREAMS;
        options.alpn = match (upstream.protocol, &upstream.tls) {
            (UpstreamProtocol::Http2, _) => ALPN::H2,
            (UpstreamProtocol::Auto, Some(_)) => ALPN::H2H1,
            (UpstreamProtocol::Auto, None) | (UpstreamProtocol::Http1, _) => ALPN::H1,
        };
        if options.alpn != ALPN::H1 {
            options.h2_ping_interval = Some(H2_PING);
        }
        let mut names = vec![String::new(); upstream.servers.len()];
        if let Some(tls) = &upstream.tls {
            secure(&mut template, tls)?;
            let name = |host: &String| tls.server_name.clone().unwrap_or_else(|| host.clone());
            names = upstream.servers.iter().map(|server| name(&server.host)).collect();
        }
        Some(Arc::new(Self { template, names }))
    }

    /// The way to one server.
    pub(in crate::proxy) fn peer(&self, address: SocketAddr, server: usize) -> HttpPeer {
        let mut peer = self.template.clone();
        peer._address = address.into();
        if let Some(name) = self.names.get(server) {
            peer.sni.clone_from(name);
        }
        peer
    }
}

fn secure(peer: &mut HttpPeer, tls: &UpstreamTls) -> Option<()> {
    peer.options.verify_cert = tls.verify;
    peer.options.verify_hostname = tls.verify;
    if let Some(ca) = &tls.ca {
        let certificates = X509::stack_from_pem(ca.as_bytes()).ok().filter(|all| !all.is_empty())?;
        peer.options.ca = Some(Arc::new(certificates.into_boxed_slice()));
    }
    if let Some((chain, key)) = &tls.identity {
        let chain = X509::stack_from_pem(chain.as_bytes()).ok().filter(|all| !all.is_empty())?;
        let key = PKey::private_key_from_pem(key.expose().as_bytes()).ok()?;
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, key)));
    }
    Some(())
}

/// Keeps kept connections apart: pingora's own key ignores whom a connection trusts and what it speaks, so without this one a
/// connection made with `verify: false` would be used after a reload that says `true`.
fn group_key(upstream: &Upstream) -> u64 {
    let mut hasher = DefaultHasher::new();
    upstream.name.hash(&mut hasher);
    upstream.protocol.hash(&mut hasher);
    if let Some(tls) = &upstream.tls {
        (&tls.server_name, tls.verify, &tls.ca, tls.minimum_version).hash(&mut hasher);
        if let Some((chain, key)) = &tls.identity {
            (chain, key.expose()).hash(&mut hasher);
        }
    }
    hasher.finish()
}
