use std::fmt::Write;
use std::net::IpAddr;

use openssl::hash::MessageDigest;
use openssl::x509::{X509NameRef, X509Ref};

use crate::model::ClientCertificate;

/// Alternative names that are read.
const MOST_NAMES: usize = 256;

/// What a verified certificate says about its client.
pub(super) fn read(certificate: &X509Ref) -> ClientCertificate {
    let mut read = ClientCertificate {
        subject: distinguished_name(certificate.subject_name()),
        issuer: distinguished_name(certificate.issuer_name()),
        serial: certificate
            .serial_number()
            .to_bn()
            .and_then(|number| Ok(number.to_hex_str()?.to_lowercase()))
            .unwrap_or_default(),
        fingerprint: certificate.digest(MessageDigest::sha256()).map(|digest| hexadecimal(&digest)).unwrap_or_default(),
        ..ClientCertificate::default()
    };
    // A certificate may hold thousands; rules get a list of bounded length.
    for name in certificate.subject_alt_names().iter().flatten().take(MOST_NAMES) {
        if let Some(text) = name.dnsname() {
            read.dns_names.push(text.to_owned());
        } else if let Some(text) = name.uri() {
            read.uris.push(text.to_owned());
        } else if let Some(text) = name.email() {
            read.emails.push(text.to_owned());
        } else if let Some(address) = name.ipaddress().and_then(address) {
            read.ips.push(address);
        }
    }
    read
}

/// RFC 4514 §2: the most specific part first, with the keywords that everybody knows.
fn distinguished_name(name: &X509NameRef) -> String {
    let mut parts: Vec<String> = Vec::new();
    for entry in name.entries() {
        let kind = entry.object();
        let keyword = kind.nid().short_name().map_or_else(|_| kind.to_string(), str::to_owned);
        let value = entry.data().to_string().map(|text| escaped(&text)).unwrap_or_default();
        parts.push(format!("{keyword}={value}"));
    }
    parts.reverse();
    parts.join(",")
}

/// RFC 4514 §2.4. A value must not be able to look like two parts.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            '#' | ' ' if at == 0 => out.extend(['\\', c]),
            ' ' if at == last => out.extend(['\\', c]),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use openssl::x509::X509Name;

    use super::*;

    #[test]
    fn rfc4514_a_value_cannot_look_like_another_part() {
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("O", "Acme, Inc.").unwrap();
        name.append_entry_by_text("CN", " a+CN=root\u{1}").unwrap();
        assert_eq!(distinguished_name(&name.build()), "CN=\\ a\\+CN=root\\01,O=Acme\\, Inc.");
    }
}
