use std::env;
use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, Result};
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

/// Passes everything on to one address and does nothing else.
struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Arguments: where to listen, where to pass on to, threads; then, if TLS is wanted, where, the certificate and its key.
pub(crate) fn serve(work_stealing: bool) {
    let mut arguments = env::args().skip(1);
    let mut argument = |what: &str| arguments.next().unwrap_or_else(|| panic!("{what} is missing"));
    let listen = argument("the address to listen on");
    let upstream = argument("the upstream").parse().expect("the upstream is an address");
    let threads = argument("the number of threads").parse().expect("threads are a number");
    let mut arguments = env::args().skip(4);

    let conf = ServerConf { threads, work_stealing, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Bare { upstream });
    proxy.add_tcp(&listen);
    if let (Some(address), Some(certificate), Some(key)) = (arguments.next(), arguments.next(), arguments.next()) {
        let mut tls = TlsSettings::intermediate(&certificate, &key).expect("the certificate can be read");
        tls.enable_h2();
        proxy.add_tls_with_settings(&address, None, tls);
    }
    server.add_service(proxy);
    server.run_forever();
}
