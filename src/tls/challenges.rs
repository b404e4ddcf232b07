use std::collections::HashMap;

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{AlpnError, NameType, SniError, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Builder, X509Extension, X509Name};
use parking_lot::RwLock;

/// The protocol of RFC 8737 §6.2 in a list, its length before it.
const OFFERED: &[u8] = b"\x0aacme-tls/1";

/// `id-pe-acmeIdentifier`.
const IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// What an ACME server asks for while it looks whether names are ours. Empty nearly always.
#[derive(Default)]
pub struct Challenges {
    /// HTTP-01: tokens and what stands behind them.
    tokens: RwLock<HashMap<String, String>>,
    /// TLS-ALPN-01: names and what is shown for them.
    names: RwLock<HashMap<String, SslContext>>,
    /// For all of `names`.
    acceptor: RwLock<Option<SslAcceptor>>,
}

impl Challenges {
    /// Answers RFC 8555 §8.3 from now on.
    pub fn answer(&self, token: &str, authorization: &str) {
        self.tokens.write().insert(token.to_owned(), authorization.to_owned());
    }

    /// The answer to a token.
    pub fn answer_to(&self, token: &str) -> Option<String> {
        self.tokens.read().get(token).cloned()
    }

    /// Answers RFC 8737 for this name from now on, with the SHA-256 of the key authorization.
    ///
    /// # Errors
    /// What OpenSSL says.
    pub fn show(&self, name: &str, digest: &[u8]) -> Result<(), ErrorStack> {
        let context = proof(name, digest)?;
        let mut names = self.names.write();
        names.insert(name.to_owned(), context);
        *self.acceptor.write() = Some(acceptor(names.clone())?);
        Ok(())
    }

    /// For a connection that offers `acme-tls/1`.
    pub fn acceptor(&self) -> Option<SslAcceptor> {
        self.acceptor.read().clone()
    }

    /// Whether the first record of a connection offers it. Who writes the same bytes elsewhere gets an acceptor that knows nothing else.
    pub fn is_asked_in(record: &[u8]) -> bool {
        memchr::memmem::find(record, OFFERED).is_some()
    }

    /// Forgets everything that was asked.
    pub fn clear(&self) {
        self.tokens.write().clear();
        self.names.write().clear();
        *self.acceptor.write() = None;
    }
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenges")
    }
}

fn acceptor(names: HashMap<String, SslContext>) -> Result<SslAcceptor, ErrorStack> {
    let mut builder = speaking_acme_only()?;
    builder.set_servername_callback(move |ssl, _| {
        let name = ssl.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase);
        match name.and_then(|name| names.get(&name)) {
            Some(context) => ssl.set_ssl_context(context).map_err(|_| SniError::ALERT_FATAL),
            None => Err(SniError::ALERT_FATAL),
        }
    });
    Ok(builder.build())
}

fn speaking_acme_only() -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_alpn_select_callback(|_, wanted| openssl::ssl::select_next_proto(OFFERED, wanted).ok_or(AlpnError::ALERT_FATAL));
    Ok(builder)
}

fn proof(name: &str, digest: &[u8]) -> Result<SslContext, ErrorStack> {
    let key = new_key()?;
    // RFC 8737 §3: the extension holds an OCTET STRING of the digest.
    let content = [&[4, u8::try_from(digest.len()).unwrap_or(0)], digest].concat();
    let extension =
        X509Extension::new_from_der(&*Asn1Object::from_str(IDENTIFIER)?, true, &*Asn1OctetString::new_from_bytes(&content)?)?;
    let certificate = self_signed(&[name], &key, Some(extension))?;
    let mut builder = speaking_acme_only()?;
    builder.set_certificate(&certificate)?;
    builder.set_private_key(&key)?;
    Ok(builder.build().into_context())
}

/// A certificate that nobody trusts, for a listener that waits for its first one: handshakes fail at the client and not here.
pub(super) fn placeholder(names: &[String]) -> Result<(X509, PKey<Private>), ErrorStack> {
    let key = new_key()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok((self_signed(&names, &key, None)?, key))
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)
}

fn self_signed(names: &[&str], key: &PKey<Private>, extension: Option<X509Extension>) -> Result<X509, ErrorStack> {
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", "Tollgate placeholder")?;
    let subject = subject.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let serial: Asn1Integer = BigNum::from_u32(1)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(key)?;
    // Dates that need no clock; nobody trusts it anyway.
    builder.set_not_before(&*Asn1Time::from_unix(0)?)?;
    builder.set_not_after(&*Asn1Time::from_str("20991231235959Z")?)?;
    let mut alternative = SubjectAlternativeName::new();
    for name in names {
        alternative.dns(name);
    }
    let alternative = alternative.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(alternative)?;
    if let Some(extension) = extension {
        builder.append_extension(extension)?;
    }
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
