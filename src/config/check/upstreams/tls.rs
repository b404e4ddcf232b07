use std::net::IpAddr;
use std::sync::Arc;

use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Secret, Server, TlsVersion, UpstreamTls};

const LARGEST: usize = 1 << 20;

/// `tls`, or what applies without it if the servers are `https://`; and the field if it is there.
pub(super) fn lower<'a>(
    section: &Section<'a>,
    servers: &[Server],
    is_secure: Option<bool>,
    surroundings: &Surroundings<'_>,
) -> (Option<UpstreamTls>, Option<Field<'a>>) {
    let field = section.optional("tls");
    let tls = field.map_or_else(UpstreamTls::default, |field| field.section(|tls| read(tls, surroundings)));
    if is_secure != Some(true) {
        return (None, field);
    }
    let by_address = servers.iter().find(|server| server.host.parse::<IpAddr>().is_ok());
    if let Some(server) = by_address.filter(|_| tls.verify && tls.server_name.is_none()) {
        // Pingora checks nothing at all without a name to check.
        let message = format!("`{}` is an address, and a certificate is checked by name", server.host);
        let problem = Problem::error("config::missing-key", message).label("`tls.server_name` is missing");
        let at = field.or_else(|| section.optional("servers"));
        if let Some(at) = at {
            at.note_at_key(problem.hint("for example `tls: { server_name: api.internal }`"));
        }
    }
    (Some(tls), field)
}

fn read(section: &Section<'_>, surroundings: &Surroundings<'_>) -> UpstreamTls {
    let server_name = section.optional("server_name").and_then(server_name);
    let verify = section.optional("verify");
    let is_verified = verify.and_then(Field::yes_or_no).unwrap_or(true);
    if let Some(field) = verify.filter(|_| !is_verified) {
        let problem = Problem::warning("config::unverified-upstream", "any server that answers at the address is believed");
        field.note(problem.label("the certificate is not checked").hint("name the authority that signed it in `tls.ca`"));
    }
    let ca = section.optional("ca");
    if let Some(field) = ca.filter(|_| !is_verified) {
        let problem = Problem::warning("config::contradiction", "`ca` is not looked at, because `verify` is false");
        field.note_at_key(problem.label("without effect"));
    }
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    UpstreamTls {
        server_name,
        verify: is_verified,
        ca: ca.and_then(|field| certificates(field, surroundings)),
        identity: identity(section, surroundings),
        minimum_version: section
            .optional("minimum_version")
            .and_then(|field| field.one_of(&versions))
            .unwrap_or(TlsVersion::Tls12),
    }
}

fn server_name(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if word.text.len() <= 253 && word.text.split('.').all(is_label) && word.text.parse::<IpAddr>().is_err() {
        return Some(word.text.to_ascii_lowercase());
    }
    word.unusable("a host name", "SNI carries names only (RFC 6066 §3), for example api.internal")
}

/// The text of a file, watched from now on, so that its change is a reload.
fn text(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<String> {
    let word = field.word()?;
    let path = surroundings.resolve(word.text);
    match surroundings.text(&path, LARGEST) {
        Ok(text) => Some(text),
        Err(fault) => {
            let message = format!("{} cannot be read: {fault}", word.shown_or("the file"));
            word.note(Problem::error("config::unreadable-file", message).label("not readable"));
            None
        }
    }
}

fn certificates(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<Arc<str>> {
    let text = text(field, surroundings)?;
    let is_good = X509::stack_from_pem(text.as_bytes()).is_ok_and(|all| !all.is_empty());
    if is_good {
        return Some(text.into());
    }
    let problem = Problem::error("config::bad-certificate", "the file holds no certificate in PEM").label("not a certificate");
    field.note(problem.hint("it begins with -----BEGIN CERTIFICATE-----"));
    None
}

fn identity(section: &Section<'_>, surroundings: &Surroundings<'_>) -> Option<(Arc<str>, Secret)> {
    let (chain_field, key_field) = match (section.optional("certificate"), section.optional("private_key")) {
        (Some(chain), Some(key)) => (chain, key),
        (None, None) => return None,
        (Some(_), None) => {
            section.missing("`private_key` is missing", "a certificate is shown by who has its key");
            return None;
        }
        (None, Some(_)) => {
            section.missing("`certificate` is missing", "a key without its certificate proves nothing");
            return None;
        }
    };
    let chain = certificates(chain_field, surroundings);
    let key = private_key(key_field, surroundings);
    let (chain, key) = (chain?, key?);
    let leaf = X509::stack_from_pem(chain.as_bytes()).ok()?.into_iter().next()?;
    let parsed = PKey::private_key_from_pem(key.expose().as_bytes()).ok()?;
    if !leaf.public_key().is_ok_and(|public| public.public_eq(&parsed)) {
        let problem = Problem::error("config::conflict", "the private key does not belong to the certificate");
        key_field.note_at_key(problem.label("another key").hint("the first certificate of the file is the gateway's own"));
        return None;
    }
    Some((chain, key))
}

fn private_key(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<Secret> {
    let text = text(field, surroundings)?;
    // An encrypted key would make OpenSSL ask for its password on the terminal.
    let is_encrypted = text.contains("ENCRYPTED");
    if is_encrypted || PKey::private_key_from_pem(text.as_bytes()).is_err() {
        let problem = Problem::error("config::bad-certificate", "the file holds no private key in PEM that can be used");
        field.note_at_key(
            problem.label("not a private key").hint("it begins with -----BEGIN PRIVATE KEY-----, and has no password"),
        );
        return None;
    }
    let path = surroundings.resolve(field.word()?.text);
    if surroundings.is_open_to_everybody(&path) {
        let problem = Problem::warning("config::readable-secret", "every account of this machine may read the private key");
        field.note_at_key(problem.label("too open").hint("chmod 600"));
    }
    Some(Secret::new(&text))
}
