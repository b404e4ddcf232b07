use std::time::Duration;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509VerifyResult};

/// A certificate with its chain and its key, as files hold them, after a look at whether they belong together.
#[derive(Debug)]
pub struct Pair {
    /// DNS names, lower case.
    pub names: Vec<String>,
    /// From when it is valid, since the Unix epoch.
    pub not_before: Duration,
    /// Until when.
    pub not_after: Duration,
    /// What is odd about the chain but does not prevent its use.
    pub doubt: Option<&'static str>,
}

/// Why two files are no pair. Says nothing of what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    /// No `BEGIN CERTIFICATE`, or not one behind it.
    #[error("the certificate file holds no certificate in PEM")]
    NoCertificate,
    /// No `BEGIN PRIVATE KEY`, or not one behind it, or one with a passphrase.
    #[error("the key file holds no private key in PEM that can be read without a passphrase")]
    NoKey,
    /// Each is fine, but they are not a pair.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The chain is not in the order that TLS asks for.
    #[error("certificate {0} of the chain did not sign the one before it")]
    Order(usize),
    /// Its time cannot be read.
    #[error("the certificate's validity cannot be read")]
    Validity,
}

impl Pair {
    /// Looks at both files' texts.
    ///
    /// # Errors
    /// When they cannot be used together.
    pub fn read(chain: &str, key: &str) -> Result<Self, PairFault> {
        let (certificate, rest) = chain_of(chain)?;
        let key = key_of(key)?;
        if !certificate.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(PairFault::Mismatch);
        }
        let mut below = &certificate;
        for (at, above) in rest.iter().enumerate() {
            if above.issued(below) != X509VerifyResult::OK {
                return Err(PairFault::Order(at + 2));
            }
            below = above;
        }
        let names: Vec<String> =
            certificate.subject_alt_names().iter().flatten().filter_map(|name| name.dnsname().map(str::to_lowercase)).collect();
        let doubt = names.is_empty().then_some("it has no DNS name among its subject alternative names, so clients refuse it");
        Ok(Self {
            names,
            not_before: unix(certificate.not_before()).ok_or(PairFault::Validity)?,
            not_after: unix(certificate.not_after()).ok_or(PairFault::Validity)?,
            doubt,
        })
    }
}

/// How many certificates a file of authorities holds.
///
/// # Errors
/// [`PairFault::NoCertificate`] if there is none.
pub fn authorities(text: &str) -> Result<usize, PairFault> {
    match X509::stack_from_pem(text.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates.len()),
        _ => Err(PairFault::NoCertificate),
    }
}

pub(super) fn chain_of(text: &str) -> Result<(X509, Vec<X509>), PairFault> {
    let mut all = X509::stack_from_pem(text.as_bytes()).map_err(|_| PairFault::NoCertificate)?.into_iter();
    let first = all.next().ok_or(PairFault::NoCertificate)?;
    Ok((first, all.collect()))
}

pub(super) fn key_of(text: &str) -> Result<PKey<Private>, PairFault> {
    // With the plain call OpenSSL would ask for a passphrase on the terminal and wait.
    PKey::private_key_from_pem_callback(text.as_bytes(), |_| Ok(0)).map_err(|_| PairFault::NoKey)
}

fn unix(time: &Asn1TimeRef) -> Option<Duration> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
