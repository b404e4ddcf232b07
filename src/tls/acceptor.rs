use std::collections::HashMap;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, NameType, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode,
    SslVersion, select_next_proto,
};
use openssl::x509::X509;

use super::names::covers;
use super::pair::{PairFault, chain_of, key_of};
use crate::model::settings::{Certificate, Protocols, Tls, TlsVersion};

/// Everything a listener needs for handshakes, immutable: another configuration makes another one, and connections that there are
/// keep theirs.
///
/// Settings: TLS 1.2 and 1.3, Mozilla's intermediate ciphers in the server's order, no compression, no renegotiation, no early data.
/// Sessions are resumed by tickets only, whose keys live as long as the acceptor, so nothing is remembered per client.
pub struct Acceptor {
    main: SslAcceptor,
    shown: Arc<Shown>,
}

/// The certificates and who gets which.
struct Shown {
    contexts: Vec<SslContext>,
    names: Vec<Vec<String>>,
    exact: HashMap<String, usize>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, usize>,
}

/// Why an acceptor cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AcceptorFault {
    /// A certificate or its key.
    #[error("{0}")]
    Pair(#[from] PairFault),
    /// What OpenSSL says.
    #[error("OpenSSL refuses it: {}", reason(.0))]
    OpenSsl(#[from] ErrorStack),
    /// No certificate at all.
    #[error("there is no certificate")]
    Nothing,
}

/// Of which version of TLS a cipher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherKind {
    /// A cipher of TLS 1.2.
    Tls12,
    /// A suite of TLS 1.3.
    Tls13,
}

/// Recognises a cipher by its OpenSSL name, if it is one to use: forward secret and authenticated (RFC 9325 §4.2).
pub fn cipher_kind(name: &str) -> Option<CipherKind> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    let mut builder = SslContext::builder(SslMethod::tls()).ok().filter(|_| is_plain)?;
    if name.starts_with("TLS_") {
        return builder.set_ciphersuites(name).is_ok().then_some(CipherKind::Tls13);
    }
    let is_modern =
        (name.starts_with("ECDHE-") || name.starts_with("DHE-")) && ["GCM", "CHACHA20"].iter().any(|word| name.contains(word));
    (is_modern && builder.set_cipher_list(name).is_ok()).then_some(CipherKind::Tls12)
}

fn reason(stack: &ErrorStack) -> &'static str {
    stack.errors().first().and_then(|error| error.reason()).unwrap_or("no reason given")
}

impl Acceptor {
    /// Compiles the settings of a listener.
    ///
    /// # Errors
    /// When OpenSSL does not want a certificate, a key or a cipher.
    pub fn new(tls: &Tls, protocols: Protocols) -> Result<Self, AcceptorFault> {
        let mut contexts = Vec::with_capacity(tls.certificates.len());
        for certificate in &tls.certificates {
            contexts.push(build(tls, certificate, protocols)?.build().into_context());
        }
        let names: Vec<Vec<String>> = tls.certificates.iter().map(|certificate| certificate.names.clone()).collect();
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (index, name) in names.iter().enumerate().flat_map(|(index, names)| names.iter().map(move |name| (index, name))) {
            match name.strip_prefix("*.") {
                Some(parent) => wildcard.entry(parent.to_owned()).or_insert(index),
                None => exact.entry(name.clone()).or_insert(index),
            };
        }
        let shown = Arc::new(Shown { contexts, names, exact, wildcard });
        let mut main = build(tls, tls.certificates.first().ok_or(AcceptorFault::Nothing)?, protocols)?;
        let choose = Arc::clone(&shown);
        main.set_servername_callback(move |ssl, _| {
            let context = ssl.servername(NameType::HOST_NAME).and_then(|name| choose.contexts.get(choose.find(name)?));
            if let Some(context) = context
                && ssl.set_ssl_context(context).is_err()
            {
                return Err(openssl::ssl::SniError::ALERT_FATAL);
            }
            // Who asks for an unknown name gets the first certificate and can look at it; a client that cares will leave.
            Ok(())
        });
        Ok(Self { main: main.build(), shown })
    }

    /// For pingora.
    pub fn ssl(&self) -> &SslAcceptor {
        &self.main
    }

    /// Whether the certificate that a client saw who asked for `server_name` is good for `host`, too.
    pub fn covers(&self, server_name: &str, host: &str) -> bool {
        let index = self.shown.find(server_name).unwrap_or(0);
        self.shown.names.get(index).is_some_and(|names| names.iter().any(|name| covers(name, host)))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("names", &self.shown.names).finish_non_exhaustive()
    }
}

impl Shown {
    /// The exact name, then the wildcard.
    fn find(&self, name: &str) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(&name).or_else(parent).copied()
    }
}

fn build(tls: &Tls, certificate: &Certificate, protocols: Protocols) -> Result<SslAcceptorBuilder, AcceptorFault> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_options(
        SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE
            // The one exception: a client that puts ChaCha20 first has no hardware for AES.
            | SslOptions::PRIORITIZE_CHACHA,
    );
    builder.set_min_proto_version(Some(match tls.minimum {
        TlsVersion::Tls12 => SslVersion::TLS1_2,
        TlsVersion::Tls13 => SslVersion::TLS1_3,
    }))?;
    if !tls.ciphers.is_empty() {
        builder.set_cipher_list(&tls.ciphers.join(":"))?;
    }
    if !tls.suites.is_empty() {
        builder.set_ciphersuites(&tls.suites.join(":"))?;
    }
    let (leaf, chain) = chain_of(&certificate.chain)?;
    builder.set_certificate(&leaf)?;
    for between in chain {
        builder.add_extra_chain_cert(between)?;
    }
    builder.set_private_key(&*key_of(certificate.key.expose())?)?;
    builder.check_private_key()?;
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    // Without it OpenSSL refuses to resume sessions of clients that showed a certificate.
    builder.set_session_id_context(b"tollgate")?;
    if let Some(client) = &tls.client {
        let must = if client.required { SslVerifyMode::FAIL_IF_NO_PEER_CERT } else { SslVerifyMode::NONE };
        builder.set_verify(SslVerifyMode::PEER | must);
        for authority in X509::stack_from_pem(client.ca.as_bytes())? {
            builder.add_client_ca(&authority)?;
            builder.cert_store_mut().add_cert(authority)?;
        }
    }
    let offered: &'static [u8] = match (protocols.http1, protocols.http2) {
        (true, true) => b"\x02h2\x08http/1.1",
        (_, false) => b"\x08http/1.1",
        (false, true) => b"\x02h2",
    };
    // RFC 7301 §3.2: who names protocols and none of ours is told so, instead of being spoken to in another one.
    builder.set_alpn_select_callback(move |_, wanted| select_next_proto(offered, wanted).ok_or(AlpnError::ALERT_FATAL));
    Ok(builder)
}
